//! Two processes, here threads, that share a batch, against one that has all of it.

use super::Reduction;
use crate::tests::{Variables, assert_close, noise};
use crate::{Block, EncoderConfig, Mode, Statistics, Stem, Trunk, batch_norm};
use candle_core::{Result, Tensor, Var};
use std::sync::{Arc, Barrier, Mutex};

/// Where the threads meet: each puts its part down, waits for the others, and takes the sum away.
#[derive(Debug)]
struct Meeting {
    parts: Mutex<Vec<Option<Tensor>>>,
    barrier: Barrier,
}

/// One of the threads.
#[derive(Debug)]
struct Member(Arc<Meeting>, usize);

impl Reduction for Member {
    fn sum(&self, part: &Tensor) -> Result<Tensor> {
        self.0.parts.lock().unwrap()[self.1] = Some(part.clone());
        self.0.barrier.wait();
        let parts: Vec<_> = self.0.parts.lock().unwrap().iter().flatten().cloned().collect();
        self.0.barrier.wait();
        parts[1..].iter().try_fold(parts[0].clone(), |sum, part| sum + part)
    }
}

/// What each of two threads makes of its part of `rows` things; the first gets fewer.
fn shared<T: Send>(rows: usize, work: impl Fn(std::ops::Range<usize>, Arc<dyn Reduction>) -> T + Sync) -> Vec<T> {
    let meeting = Arc::new(Meeting { parts: Mutex::new(vec![None, None]), barrier: Barrier::new(2) });
    let cut = rows / 3;
    std::thread::scope(|scope| {
        let start = |(at, part): (usize, std::ops::Range<usize>)| {
            let (member, work) = (Arc::new(Member(meeting.clone(), at)), &work);
            scope.spawn(move || work(part, member))
        };
        let threads: Vec<_> = [0..cut, cut..rows].into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Output, and every variable with its gradient where it has one, of a trunk on some rows of `x`.
fn pass(
    config: &EncoderConfig,
    x: &Tensor,
    rows: std::ops::Range<usize>,
    reduction: Option<Arc<dyn Reduction>>,
) -> (Tensor, Vec<(String, Tensor)>) {
    let variables = Arc::<Variables>::default();
    let trunk = Trunk::new(config, variables.builder()).unwrap();
    let trunk = reduction.into_iter().fold(trunk, Trunk::with_shared_norms);
    let part = |t: &Tensor| t.narrow(0, rows.start, rows.len()).unwrap();
    let y = trunk.forward(&part(x), Mode::Train).unwrap();
    let loss = (&y * part(&noise(&[x.dim(0).unwrap(), trunk.embed_dim()], 99))).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let of = |(name, t): (String, Tensor)| (name, gradients.get(&t).cloned().unwrap_or(t));
    (y.detach(), variables.all().into_iter().map(of).collect())
}

#[test]
fn two_halves_with_shared_norms_are_the_whole_batch() {
    let small = EncoderConfig { width: 8, depths: vec![2, 1], ..EncoderConfig::cifar10() };
    let pooled = EncoderConfig { stem: Stem::ImageNet, ..small.clone() };
    let v2 = EncoderConfig { block: Block::V2, ..small.clone() };
    for (config, x) in
        [(small, noise(&[9, 3, 8, 8], 1)), (pooled, noise(&[6, 3, 33, 32], 2)), (v2, noise(&[9, 3, 8, 8], 3))]
    {
        let rows = x.dim(0).unwrap();
        let (y, whole) = pass(&config, &x, 0..rows, None);
        let halves = shared(rows, |rows, reduction| pass(&config, &x, rows, Some(reduction)));
        assert_close("embeddings", &Tensor::cat(&[&halves[0].0, &halves[1].0], 0).unwrap(), &y, 1e-4);
        for (i, (name, whole)) in whole.iter().enumerate() {
            let [a, b] = [&halves[0].1[i].1, &halves[1].1[i].1];
            if name.contains("running") {
                assert_close(name, a, whole, 1e-5);
                assert_close(name, b, a, 0.0);
            } else {
                assert_close(name, &(a + b).unwrap(), whole, 1e-3);
            }
        }
    }
}

#[test]
fn candle_s_own_ops_share_norms_too() {
    let (x, g) = (noise(&[6, 2, 2, 5], 4), noise(&[6, 2, 2, 5], 5));
    let [gamma, beta] = [6, 7].map(|seed| noise(&[5], seed));
    let pass = |rows: std::ops::Range<usize>, reduction: Option<Arc<dyn Reduction>>| {
        let part = |t: &Tensor| t.narrow(0, rows.start, rows.len()).unwrap();
        let x = Var::from_tensor(&part(&x)).unwrap();
        let statistics = reduction.as_ref().map_or(Statistics::Batch, Statistics::Shared);
        let (y, moments) = crate::ops::composed_batch_norm(&x, (&gamma, &beta), statistics, true).unwrap();
        let dx = (&y * part(&g)).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
        let (mean, variance) = moments.unwrap();
        [y.detach(), dx, mean, variance]
    };
    let [y, dx, mean, variance] = pass(0..6, None);
    let halves = shared(6, |rows, reduction| pass(rows, Some(reduction)));
    for (at, whole) in [y, dx].iter().enumerate() {
        assert_close("rows", &Tensor::cat(&[&halves[0][at], &halves[1][at]], 0).unwrap(), whole, 1e-5);
    }
    for (half, (at, whole)) in halves.iter().flat_map(|half| [(half, (2, &mean)), (half, (3, &variance))]) {
        assert_close("statistics", &half[at], whole, 1e-5);
    }
    // And the kernel's own.
    let kernel = batch_norm(&x, (&gamma, &beta), Statistics::Batch, true).unwrap().1.unwrap();
    assert_close("variance", &variance, &kernel.1, 1e-5);
}

/// A sum that lost a value, or counts one value only.
#[derive(Debug)]
struct Wrong(fn(&Tensor) -> Result<Tensor>);

impl Reduction for Wrong {
    fn sum(&self, part: &Tensor) -> Result<Tensor> {
        self.0(part)
    }
}

#[test]
fn a_sum_of_another_length_and_a_single_value_are_named() {
    let error = |wrong: fn(&Tensor) -> Result<Tensor>, side: usize| {
        let variables = Arc::<Variables>::default();
        let config = EncoderConfig { width: 4, depths: vec![1], ..EncoderConfig::cifar10() };
        let trunk = Trunk::new(&config, variables.builder()).unwrap().with_shared_norms(Arc::new(Wrong(wrong)));
        let x = noise(&[1, 3, side, side], 1);
        trunk.forward(&x, Mode::Train).unwrap_err().to_string()
    };
    let text = error(|part| part.narrow(0, 1, part.dim(0)? - 1), 4);
    assert!(text.contains("got a sum of 8 values, expected 9"), "{text}");
    let text = error(|part| Ok(part.clone()), 1);
    assert!(text.contains("got 1 value per channel over all processes, expected more than one"), "{text}");
}
