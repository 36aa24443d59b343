//! The nearest of a bank of labelled features by cosine, and the class that they vote for: the kNN classifier of Wu et
//! al. ("Unsupervised Feature Learning via Non-Parametric Instance Discrimination", arXiv 1805.01978, section 3.4).
//!
//! Cosines are made block by block, one matrix product a block, so memory does not grow with queries times bank. The product is
//! the encoder's, as a convolution of 1x1: 10,000 queries in 50,000 rows at D = 1024 take 7.2 to 8.5 s on two threads (Zen 4),
//! with Candle's own 15.5 to 17 s. Dots are `f32` (exact for small whole numbers, whatever the order of the sum), lengths and quotients
//! `f64`; of equal cosines the smaller index comes first. So the result depends neither on blocks nor on threads.

use std::cmp::Ordering;

use candle_core::{DType, Device, Layout, Storage, Tensor};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::features::ImageFeatures;

/// The temperature of the vote, Wu et al.'s.
const TEMPERATURE: f64 = 0.07;
/// Queries and bank rows of one product: 16 MB of cosines. The bank is packed anew for each block of queries.
const QUERIES: usize = 1024;
const BANK: usize = 4096;
/// Rows that are looked at together.
const LANES: usize = 16;
/// More than the rounding of a cosine.
const SLACK: f64 = 1e-9;

/// A row of the bank, and its cosine with a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// The row.
    pub index: u32,
    /// The cosine; 0 where either feature is zero.
    pub cosine: f64,
}

/// Labelled features to look among.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_train::Neighbours;
/// let bank = Tensor::new(&[[1f32, 0.], [0., 2.], [3., 3.]], &Device::Cpu)?;
/// let bank = Neighbours::new(&bank, vec![0, 1, 1], 2)?;
/// let found = bank.nearest(&Tensor::new(&[[0f32, 5.]], &Device::Cpu)?, 2)?;
/// assert_eq!(found[0].iter().map(|near| near.index).collect::<Vec<_>>(), [1, 2]);
/// assert_eq!(bank.vote(&found[0]), 1);
/// # Ok::<(), selfie_train::Error>(())
/// ```
pub struct Neighbours {
    features: Tensor, // (n, D)
    lengths: Vec<f64>,
    labels: Vec<u32>,
    classes: usize,
}

impl Neighbours {
    /// A bank of `features` (n, D), the rows of classes `labels`, each below `classes`.
    ///
    /// # Errors
    /// Where there is not one label a row.
    pub fn new(features: &Tensor, labels: Vec<u32>, classes: usize) -> Result<Self> {
        let features = on_cpu(features)?;
        let (n, _) = features.dims2()?;
        if labels.len() != n || labels.iter().any(|&label| label as usize >= classes) {
            return Err(shape(format!("{} labels of {n} features, expected one each, below {classes}", labels.len())));
        }
        Ok(Self { lengths: lengths(&features)?, features, labels, classes })
    }

    /// A bank of the rows of `features`, each with the class of its image.
    ///
    /// # Errors
    /// Returns an error if an image has no label.
    pub fn of(features: &ImageFeatures) -> Result<Self> {
        Self::new(features.values(), features.labels()?, features.images().classes().len())
    }

    /// The `k` nearest rows (or all, of a smaller bank) of each row of `queries` (m, D), nearest first. Features that are not
    /// finite are near to nothing.
    ///
    /// # Errors
    /// Where the queries have another width.
    pub fn nearest(&self, queries: &Tensor, k: usize) -> Result<Vec<Vec<Neighbour>>> {
        self.nearest_watched(queries, k, &mut |_| ())
    }

    /// The same; `progress` is told the number of queries done.
    ///
    /// # Errors
    /// As [`Neighbours::nearest`].
    pub fn nearest_watched(
        &self,
        queries: &Tensor,
        k: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<Neighbour>>> {
        let queries = on_cpu(queries)?;
        let (n, dim) = self.features.dims2()?;
        let (m, width) = queries.dims2()?;
        if width != dim {
            return Err(shape(format!("queries of {width} values, expected {dim}, as in the bank")));
        }
        let query_lengths = lengths(&queries)?;
        let mut all = Vec::with_capacity(m);
        for start in (0..m).step_by(QUERIES) {
            let count = QUERIES.min(m - start);
            let part = queries.narrow(0, start, count)?.reshape((count, 1, 1, dim))?; // images of one pixel
            let mut best: Vec<Best> = (0..count).map(|_| Best::new(k.min(n))).collect();
            for first in (0..n).step_by(BANK) {
                let rows = BANK.min(n - first);
                let kernel = self.features.narrow(0, first, rows)?.reshape((rows, dim, 1, 1))?;
                let dots = selfie_encoder::conv2d(&part, &kernel, 1, 0)?; // (q, 1, 1, rows)
                let (storage, layout) = dots.storage_and_layout();
                let dots = entries(&storage, layout)?;
                let of_query = |((best, dots), query): ((&mut Best, &[f32]), &f64)| {
                    best.offer_all(dots, &self.lengths[first..first + rows], *query, first as u32);
                };
                best.par_iter_mut().zip(dots.par_chunks(rows)).zip(&query_lengths[start..]).for_each(of_query);
            }
            all.extend(best.into_iter().map(Best::finish));
            progress(all.len());
        }
        Ok(all)
    }

    /// The class that `neighbours` vote for, each with the weight exp(cosine / 0.07); of equal classes the first.
    #[must_use]
    pub fn vote(&self, neighbours: &[Neighbour]) -> u32 {
        let mut votes = vec![0.0; self.classes];
        for near in neighbours {
            votes[self.labels[near.index as usize] as usize] += (near.cosine / TEMPERATURE).exp();
        }
        let best = votes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        best.map_or(0, |(class, _)| class as u32)
    }
}

/// The nearest so far of one query, among rows that come in ascending order.
struct Best {
    keep: usize,
    /// At most twice as many as are kept; thinned when full.
    found: Vec<Neighbour>,
    /// What a row must exceed: an equal one that comes later ranks behind those that are kept.
    floor: f64,
}

impl Best {
    fn new(keep: usize) -> Self {
        Self { keep, found: Vec::with_capacity(2 * keep), floor: f64::NEG_INFINITY }
    }

    /// Rows from `first` on, by their dots with the query and their lengths.
    fn offer_all(&mut self, dots: &[f32], lengths: &[f64], query: f64, first: u32) {
        for (at, (dots, lengths)) in dots.chunks(LANES).zip(lengths.chunks(LANES)).enumerate() {
            // Nearly all rows are far from the floor: a product, with room for its rounding, tells that at the price of no
            // quotient.
            let least = self.floor * query;
            let near = |(&dot, length): (&f32, &f64)| f64::from(dot) >= least * length - SLACK * query * length;
            if !dots.iter().zip(lengths).fold(false, |any, row| any | near(row)) {
                continue;
            }
            for (index, (&dot, length)) in (first + (at * LANES) as u32..).zip(dots.iter().zip(lengths)) {
                self.offer(f64::from(dot) / (query * length) + 0.0, index); // -0 becomes 0, which it equals
            }
        }
    }

    fn offer(&mut self, cosine: f64, index: u32) {
        if cosine > self.floor && self.keep > 0 {
            self.found.push(Neighbour { index, cosine });
            if self.found.len() == 2 * self.keep {
                self.found.select_nth_unstable_by(self.keep - 1, nearer);
                self.found.truncate(self.keep);
                self.floor = self.found[self.keep - 1].cosine;
            }
        }
    }

    /// Nearest first.
    fn finish(mut self) -> Vec<Neighbour> {
        self.found.sort_unstable_by(nearer);
        self.found.truncate(self.keep);
        self.found
    }
}

fn nearer(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.cosine.total_cmp(&a.cosine).then(a.index.cmp(&b.index))
}

/// Those of a contiguous tensor in main memory, where they lie.
fn entries<'a>(storage: &'a Storage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((start, end))) => Ok(&storage.as_slice()?[start..end]),
        _ => candle_core::bail!("a product in main memory has no contiguous entries there"),
    }
}

fn on_cpu(features: &Tensor) -> candle_core::Result<Tensor> {
    features.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()
}

/// Euclidean lengths of the rows; 1 for zeros, whose cosines are then 0.
fn lengths(features: &Tensor) -> Result<Vec<f64>> {
    let (n, dim) = features.dims2()?;
    if n * dim == 0 {
        return Err(shape(format!("features of shape {:?}, expected (n, D), neither of them 0", features.dims())));
    }
    let values = features.flatten_all()?.to_vec1::<f32>()?;
    let length = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let or_one = |length: f64| if length > 0.0 { length } else { 1.0 };
    Ok(values.par_chunks(dim).map(|row| or_one(length(row))).collect())
}

fn shape(what: String) -> Error {
    candle_core::Error::Msg(what).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, stream};
    use rand::RngCore;

    /// Whole numbers from -3 to 3, among them zeros, repeated rows and multiples.
    fn whole(n: usize, dim: usize, salt: u64) -> Vec<Vec<f32>> {
        let rng = &mut stream(7, Purpose::ImageOrder, salt, 0);
        let mut rows: Vec<Vec<f32>> =
            (0..n).map(|_| (0..dim).map(|_| (rng.next_u32() % 7) as f32 - 3.0).collect()).collect();
        for i in (0..n).step_by(5) {
            rows[i] = rows[i / 2].iter().map(|x| 2.0 * x).collect();
        }
        rows[n / 3] = vec![0.0; dim];
        rows
    }

    fn tensor(rows: &[Vec<f32>]) -> Tensor {
        Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
    }

    /// All cosines of a query, sorted, by loops alone.
    fn plainly(bank: &[Vec<f32>], query: &[f32], k: usize) -> Vec<(u32, f64)> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
        let length = |a: &[f32]| if dot(a, a) > 0.0 { dot(a, a).sqrt() } else { 1.0 };
        let mut all: Vec<(u32, f64)> =
            (0..).zip(bank).map(|(i, row)| (i, dot(row, query) / (length(query) * length(row)))).collect();
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    #[test]
    fn whole_numbers_give_exactly_what_loops_give() {
        // More rows than one block, and more queries.
        for (n, m, dim, k) in [(BANK + 77, 3, 5, 20), (300, QUERIES + 3, 4, 200), (6, 2, 3, 20), (1, 1, 1, 1)] {
            let (bank, queries) = (whole(n, dim, 1), whole(m, dim, 2));
            let labels: Vec<u32> = (0..n as u32).map(|i| i * i % 3).collect();
            let found = Neighbours::new(&tensor(&bank), labels.clone(), 3).unwrap();
            for (query, near) in queries.iter().zip(found.nearest(&tensor(&queries), k).unwrap()) {
                let expected = plainly(&bank, query, k);
                assert_eq!(near.iter().map(|near| (near.index, near.cosine)).collect::<Vec<_>>(), expected);
                let mut votes = [0.0; 3];
                expected.iter().for_each(|(i, cosine)| votes[labels[*i as usize] as usize] += (cosine / 0.07).exp());
                let class = (0..3).rev().max_by(|&a, &b| votes[a].total_cmp(&votes[b])).unwrap();
                assert_eq!(found.vote(&near), class as u32);
            }
        }
    }

    #[test]
    fn near_images_outvote_many_far_ones() {
        // Two of class 1 at cosine 0.9 against eight of class 0 at 0.5: e^(0.9/0.07) is 300 times e^(0.5/0.07).
        let bank = tensor(&vec![vec![1.0]; 10]);
        let bank = Neighbours::new(&bank, vec![0, 0, 0, 0, 1, 0, 0, 1, 0, 0], 2).unwrap();
        let near = |index, cosine| Neighbour { index, cosine };
        let far = [0, 1, 2, 3, 5, 6, 8, 9].map(|index| near(index, 0.5));
        assert_eq!(bank.vote(&[&[near(4, 0.9), near(7, 0.9)][..], &far].concat()), 1);
        assert_eq!(bank.vote(&[near(4, 0.2), near(0, 0.2)]), 0); // of equal classes the first
    }

    #[test]
    fn what_is_not_finite_is_near_to_nothing() {
        let bank = Neighbours::new(&tensor(&[vec![f32::NAN, 1.0], vec![1.0, 1.0]]), vec![0, 1], 2).unwrap();
        let found = bank.nearest(&tensor(&[vec![1.0, 0.0], vec![f32::INFINITY, 0.0]]), 2).unwrap();
        assert_eq!((found[0].len(), found[0][0].index, found[1].len()), (1, 1, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bank = tensor(&[vec![1.0, 0.0]]);
        assert!(Neighbours::new(&bank, vec![], 2).is_err() && Neighbours::new(&bank, vec![2], 2).is_err());
        let error = Neighbours::new(&bank, vec![1], 2).unwrap().nearest(&tensor(&[vec![1.0]]), 1).unwrap_err();
        assert!(error.to_string().contains("queries of 1 values, expected 2"), "{error}");
    }
}
