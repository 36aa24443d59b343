//! A whole v1.5 trunk as one Candle op on the CPU, forward and backward.
//!
//! Why: Candle starts every argument's gradient from zeros and adds to it, an op at a time: several passes over each map
//! of a trunk, for nothing. Here only the embeddings (B, D) and the parameters' gradients pass through
//! autograd. A step keeps one map a convolution (its output before the norm) and one a block (its input); everything
//! else is made again tile by tile ([`crate::ops::conv`]), and maps are freed block by block on the way back.
//!
//! An op takes at most three tensors and a trunk has some 130 parameters. Each passes through a [`Tap`], which
//! makes it known to autograd for the price of one number; the op reads the parameters themselves, and the taps hand
//! over the gradients that it leaves in their slots.

mod backward;
mod forward;
mod handover;
mod stem;

use crate::bottleneck::Bottleneck;
use crate::config::Stem;
use crate::layers::{BatchNorm, Conv, Mode};
use crate::ops::{floats, with_floats};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use forward::SavedTrunk;
pub use handover::backward;
use std::sync::{Arc, Mutex, PoisonError};

/// A convolution and the norm behind it.
#[derive(Clone)]
struct Unit {
    conv: Conv,
    norm: BatchNorm,
}

/// A v1.5 trunk as the op sees it.
struct Network {
    stem: Unit,
    kind: Stem,
    /// Three units a block; a fourth is the shortcut's projection.
    blocks: Vec<Vec<Unit>>,
    /// Blocks, counted from the first, that are not trained, and the stem with them; none where the stem is trained too.
    frozen: Option<usize>,
}

impl Network {
    /// Weight, γ and β of every trained unit, in the order in which gradients are returned.
    fn parameters(&self) -> Vec<&Tensor> {
        let stem = self.frozen.is_none().then_some(&self.stem);
        let blocks = &self.blocks[self.frozen.unwrap_or(0)..];
        let units = stem.into_iter().chain(blocks.iter().flatten());
        units.flat_map(|u| [&u.conv.weight, &u.norm.gamma, &u.norm.beta]).collect()
    }
}

/// Gradient of one parameter, on its way from the trunk's backward pass to the parameter's tap.
type Slot = Arc<Mutex<Option<Vec<f32>>>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// x (B, C, H, W) -> (B, D); the first `frozen_stages` of the stages, if any, and the stem with them, are not trained.
pub(crate) fn forward(
    (stem, norm, kind): (&Conv, &BatchNorm, Stem),
    stages: &[Vec<Bottleneck>],
    frozen_stages: usize,
    x: &Tensor,
    mode: Mode,
) -> Result<Tensor> {
    let unit = |conv: &Conv, norm: &BatchNorm| Unit { conv: conv.clone(), norm: norm.clone() };
    let block = |b: &Bottleneck| {
        let mut units: Vec<Unit> = b.convs.iter().zip(&b.norms).map(|(c, n)| unit(c, n)).collect();
        if let Some((conv, Some(norm))) = &b.downsample {
            units.push(unit(conv, norm));
        }
        units
    };
    let blocks = stages.iter().flatten().map(block).collect();
    let frozen = (frozen_stages > 0).then(|| stages.iter().take(frozen_stages).map(Vec::len).sum());
    let network = Network { stem: unit(stem, norm), kind, blocks, frozen };
    let slots: Vec<Slot> = network.parameters().iter().map(|_| Slot::default()).collect();
    let taps: Vec<Tensor> = network
        .parameters()
        .into_iter()
        .zip(&slots)
        .map(|(p, slot)| p.apply_op1(Tap { slot: slot.clone() }))
        .collect::<Result<_>>()?;
    let taps = match taps.is_empty() {
        true => Tensor::zeros(1, x.dtype(), x.device())?, // everything is frozen
        false => Tensor::cat(&taps, 0)?,
    };
    let keep = taps.track_op();
    x.contiguous()?.apply_op2(&taps, TrunkOp { network, mode, keep, slots, saved: Mutex::new(None) })
}

/// Stands for one parameter in the graph: one number forwards, the parameter's gradient backwards.
struct Tap {
    slot: Slot,
}

impl CustomOp1 for Tap {
    fn name(&self) -> &'static str {
        "selfie-parameter"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), 1.into()))
    }

    fn bwd(&self, parameter: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        match lock(&self.slot).take() {
            Some(gradient) => {
                let gradient = Tensor::from_vec(gradient, parameter.shape(), parameter.device())?;
                Ok(handover::keep(parameter, gradient))
            }
            None => bail!("selfie-trunk: no gradient was left for a parameter of shape {:?}", parameter.shape()),
        }
    }
}

struct TrunkOp {
    network: Network,
    mode: Mode,
    /// Whether a backward pass can follow.
    keep: bool,
    slots: Vec<Slot>,
    saved: Mutex<Option<SavedTrunk>>,
}

impl CustomOp2 for TrunkOp {
    fn name(&self) -> &'static str {
        "selfie-trunk"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = layout.shape().dims4()?;
        let (embeddings, saved) = self.network.forward(floats(x, layout)?, shape, self.mode, self.keep)?;
        *lock(&self.saved) = saved;
        let d = embeddings.len() / shape.0;
        Ok((CpuStorage::F32(embeddings), (shape.0, d).into()))
    }

    fn bwd(&self, x: &Tensor, taps: &Tensor, _: &Tensor, dh: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(saved) = lock(&self.saved).take() else {
            bail!("selfie-trunk: a second backward pass through the same forward pass; its maps are already freed")
        };
        let dh = dh.contiguous()?;
        let gradients = with_floats(x, |x| with_floats(&dh, |dh| self.network.backward(x, saved, dh)))???;
        for (slot, gradient) in self.slots.iter().zip(gradients) {
            *lock(slot) = Some(gradient);
        }
        Ok((None, Some(taps.zeros_like()?)))
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{Variables, assert_close, backward, noise};
    use crate::{EncoderConfig, Mode, Stem, Trunk};
    use std::sync::Arc;

    /// The fused trunk and the one made of single ops agree in output, gradients and running statistics.
    fn agree(config: EncoderConfig, images: &[usize], mode: Mode) {
        agree_frozen(config, 0, images, mode);
    }

    /// The same with the first `frozen` stages frozen.
    fn agree_frozen(config: EncoderConfig, frozen: usize, images: &[usize], mode: Mode) {
        let [ours, theirs] = [Arc::<Variables>::default(), Arc::default()];
        let x = noise(images, 21);
        let trunk = |variables: &Arc<Variables>| {
            Trunk::new(&config, variables.builder()).unwrap().with_frozen_stages(frozen).unwrap()
        };
        let fused = trunk(&ours).forward(&x, mode).unwrap();
        let single = trunk(&theirs).forward_by_ops(&x, mode).unwrap();
        assert_close("embedding", &fused, &single, 1e-4);
        let (a, b) = (backward(&fused), backward(&single));
        for ((name, ours), (_, theirs)) in ours.all().iter().zip(&theirs.all()) {
            if name.contains("running") {
                assert_close(name, ours, theirs, 1e-5);
                continue;
            }
            match (a.get(ours), b.get(theirs)) {
                (Some(a), Some(b)) => assert_close(name, a, b, 2e-3),
                (a, b) => assert!(a.is_none() && b.is_none() && frozen > 0, "{name}: only one gradient"),
            }
        }
    }

    #[test]
    fn frozen_stages_have_no_gradient_and_keep_their_statistics() {
        let config = EncoderConfig { width: 8, depths: vec![2, 1, 1], ..EncoderConfig::cifar10() };
        for stem in [Stem::Small, Stem::ImageNet] {
            for frozen in 1..=2 {
                agree_frozen(EncoderConfig { stem, ..config.clone() }, frozen, &[9, 3, 16, 16], Mode::Train);
            }
        }
        let variables = Arc::<Variables>::default();
        let trunk = Trunk::new(&config, variables.builder()).unwrap().with_frozen_stages(1).unwrap();
        let before: Vec<_> = variables.all().iter().map(|(_, t)| t.copy().unwrap()).collect();
        let grads = backward(&trunk.forward(&noise(&[9, 3, 8, 8], 2), Mode::Train).unwrap());
        for ((name, tensor), before) in variables.all().iter().zip(&before) {
            let frozen = ["conv1", "bn1", "layer1"].iter().any(|part| name.starts_with(part));
            if name.contains("running") {
                let moved =
                    (tensor - before).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap() > 0.0;
                assert_eq!(moved, !frozen, "{name}");
            } else {
                assert_eq!(grads.get(tensor).is_some(), !frozen, "{name}");
            }
        }
    }

    #[test]
    fn a_wholly_frozen_trunk_passes_no_gradient_and_a_fifth_stage_cannot_be_frozen() {
        let config = EncoderConfig { width: 8, depths: vec![1, 1], ..EncoderConfig::cifar10() };
        let trunk = Trunk::new(&config, Arc::<Variables>::default().builder()).unwrap();
        let frozen = trunk.clone().with_frozen_stages(2).unwrap();
        let x = noise(&[3, 3, 8, 8], 4);
        let expected = trunk.forward(&x, Mode::Eval).unwrap();
        for y in [frozen.forward(&x, Mode::Train).unwrap(), frozen.forward_by_ops(&x, Mode::Train).unwrap()] {
            assert!(!y.track_op());
            assert_close("as in eval mode", &y, &expected, 1e-4);
        }
        let error = trunk.with_frozen_stages(3).unwrap_err().to_string();
        assert!(error.contains("3 given") && error.contains("0 to 2"), "{error}");
    }

    #[test]
    fn the_fused_trunk_equals_single_ops() {
        let small = EncoderConfig { width: 8, depths: vec![2, 1, 2], ..EncoderConfig::cifar10() };
        agree(small.clone(), &[24, 3, 8, 8], Mode::Train);
        agree(small.clone(), &[5, 3, 8, 8], Mode::Eval);
        let pooled = EncoderConfig { stem: Stem::ImageNet, in_channels: 2, depths: vec![1, 1, 1, 1], ..small };
        agree(pooled.clone(), &[3, 2, 65, 50], Mode::Train);
        agree(EncoderConfig { width: 20, ..pooled }, &[2, 2, 128, 96], Mode::Train);
    }

    #[test]
    fn the_fused_trunk_equals_single_ops_on_the_smallest_images() {
        let small = EncoderConfig { width: 4, depths: vec![1, 1], ..EncoderConfig::cifar10() };
        for stem in [Stem::Small, Stem::ImageNet] {
            for [images, height, width] in [[2, 1, 1], [3, 1, 4], [2, 2, 3], [1, 5, 9]] {
                let config = EncoderConfig { stem, ..small.clone() };
                agree(config.clone(), &[images, 3, height, width], Mode::Eval);
                agree(config, &[3 * images, 3, height + 8, width + 8], Mode::Train);
            }
        }
    }

    #[test]
    fn gradients_that_are_handed_over_are_candle_s() {
        let config = EncoderConfig { width: 8, depths: vec![1, 1], ..EncoderConfig::cifar10() };
        let variables = Arc::<Variables>::default();
        let trunk = Trunk::new(&config, variables.builder()).unwrap();
        // The trunk runs twice in one loss, and one parameter is used beside it.
        let loss = || {
            let twice = [31, 32].map(|salt| trunk.forward(&noise(&[4, 3, 8, 8], salt), Mode::Eval).unwrap());
            let beside = variables.all().remove(0).1;
            let sum = (twice[0].sqr().unwrap().sum_all().unwrap() + twice[1].sum_all().unwrap()).unwrap();
            (sum + beside.sqr().unwrap().sum_all().unwrap()).unwrap()
        };
        let (plain, handed) = (loss().backward().unwrap(), crate::backward(&loss()).unwrap());
        for (name, parameter) in variables.all().iter().filter(|(name, _)| !name.contains("running")) {
            assert_close(name, handed.get(parameter).unwrap(), plain.get(parameter).unwrap(), 1e-6);
        }
    }

    #[test]
    fn the_same_bits_every_time() {
        let config = EncoderConfig { width: 8, ..EncoderConfig::cifar10() };
        let run = || {
            let variables = Arc::<Variables>::default();
            let y = Trunk::new(&config, variables.builder())
                .unwrap()
                .forward(&noise(&[40, 3, 8, 8], 1), Mode::Train)
                .unwrap();
            let grads = backward(&y);
            let bits = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            variables.all().iter().filter_map(|(_, t)| grads.get(t).map(bits)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
