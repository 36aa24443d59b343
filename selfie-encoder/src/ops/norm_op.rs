//! Batch norm with ReLU as a Candle op: [`super::norm`] on tensors.

use super::norm::{GradientSums, InputGradient, Moments, Norm};
use super::shapes::check_rows;
use super::tiles::{Tile, Tiling};
use super::{Normalised, Statistics, floats, with_floats};
use crate::reduction::Reduction;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, Mutex, PoisonError};

/// What the forward pass leaves behind: the norm for the backward pass, the moments for the running statistics.
type Left = Arc<Mutex<Option<(Norm, Option<Moments>)>>>;

struct BatchNorm {
    running: Option<(Vec<f32>, Vec<f32>)>,
    shared: Option<Arc<dyn Reduction>>,
    relu: bool,
    left: Left,
}

pub(super) fn batch_norm(
    x: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    statistics: Statistics,
    relu: bool,
) -> Result<Normalised> {
    let (running, shared) = match statistics {
        Statistics::Batch => (None, None),
        Statistics::Shared(reduction) => (None, Some(Arc::clone(reduction))),
        Statistics::Running(mean, variance) => (Some((mean.to_vec1()?, variance.to_vec1()?)), None),
    };
    let left = Left::default();
    let packed = Tensor::stack(&[gamma, beta], 0)?; // (2, C)
    let y = x.contiguous()?.apply_op2(&packed, BatchNorm { running, shared, relu, left: left.clone() })?;
    let moments = match &*left.lock().unwrap_or_else(PoisonError::into_inner) {
        Some((_, Some(moments))) => {
            let (mean, variance) = moments.finish(1);
            let n = mean.len();
            Some((Tensor::from_vec(mean, n, x.device())?, Tensor::from_vec(variance, n, x.device())?))
        }
        _ => None,
    };
    Ok((y, moments))
}

/// Tiles of rows of one channel vector each.
fn tiling(rows: usize, channels: usize) -> Tiling {
    Tiling::new(rows, 1, channels, 0)
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "selfie-batch-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, p: &CpuStorage, lp: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, parameters) = (floats(x, lx)?, floats(p, lp)?);
        let channels = parameters.len() / 2;
        let (gamma, beta) = parameters.split_at(channels);
        let rows = x.len() / channels;
        let mut y = vec![0.0; x.len()];
        let tiling = tiling(rows, channels);
        let part = |tile: &Tile| tile.images.len() * channels;
        let at = |tile: &Tile| tile.images.start * channels..tile.images.end * channels;
        let (norm, moments) = match &self.running {
            Some((mean, variance)) => (Norm::new(mean.clone(), variance, gamma, beta, None), None),
            None => {
                let of = if self.shared.is_some() { Moments::exactly_of } else { Moments::of };
                let (parts, _) = tiling.run(&mut y, part, || (), |(), tile, _| of(&x[at(tile)], channels));
                let mut moments = Moments::empty(channels);
                parts.iter().for_each(|m| moments.merge(m));
                if let Some(reduction) = &self.shared {
                    moments = moments.over(reduction.as_ref())?;
                    check_rows(moments.count)?;
                }
                let (mean, variance) = moments.finish(0);
                let norm = Norm::new(mean, &variance, gamma, beta, Some(moments.count));
                (norm.exactly(self.shared.is_some()), Some(moments))
            }
        };
        tiling.run(&mut y, part, || (), |(), tile, y| norm.apply(&x[at(tile)], y, self.relu));
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((norm, moments));
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, p: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((norm, _)) = &*left else { bail!("selfie-batch-norm: backward before forward") };
        let channels = norm.mean.len();
        let mut g: Vec<f32> = dy.flatten_all()?.to_vec1()?;
        let rows = g.len() / channels;
        let tiling = tiling(rows, channels);
        let part = |tile: &Tile| tile.images.len() * channels;
        let at = |tile: &Tile| tile.images.start * channels..tile.images.end * channels;
        let mut dx = vec![0.0; g.len()];
        let sums = with_floats(x, |x| {
            with_floats(y, |y| {
                let (parts, _) = tiling.run(
                    &mut g,
                    part,
                    || (),
                    |(), tile, g| {
                        let kept = self.relu.then(|| &y[at(tile)]);
                        GradientSums::of(g, kept, &x[at(tile)], norm)
                    },
                );
                let mut sums = GradientSums::empty(channels);
                parts.iter().for_each(|s| sums.merge(s));
                let all = self.shared.as_ref().map_or(Ok(sums.clone()), |reduction| sums.over(reduction.as_ref()))?;
                let line = InputGradient::new(norm, &all);
                tiling.run(&mut dx, part, || (), |(), tile, dx| line.apply(&g[at(tile)], &x[at(tile)], dx));
                Ok::<_, candle_core::Error>(sums)
            })
        })???;
        let (gamma, beta) = sums.parameters(norm);
        let dp = Tensor::from_vec([gamma, beta].concat(), p.shape(), p.device())?;
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), Some(dp)))
    }
}
