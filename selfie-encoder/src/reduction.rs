//! Batch statistics over several processes (synchronised batch norm): what this crate asks of whoever connects them.
//!
//! A batch that R processes share is normalised by the statistics of all its rows if their moments are summed before they
//! are used, and on the way back the two sums of each norm's gradient. Both are a few numbers a channel. How they travel
//! is no affair of this crate; without a [`Reduction`] every process keeps to its own rows.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Storage, Tensor, bail};
use std::fmt::Debug;
use std::sync::Arc;

/// Sums over the processes that share a batch.
///
/// ```
/// use candle_core::{Result, Tensor};
/// /// Three processes that all have the same rows.
/// #[derive(Debug)]
/// struct Alike;
/// impl selfie_encoder::Reduction for Alike {
///     fn sum(&self, part: &Tensor) -> Result<Tensor> {
///         part * 3.0
///     }
/// }
/// use candle_core::{DType, Device};
/// use candle_nn::{VarBuilder, VarMap};
/// use selfie_encoder::{EncoderConfig, Mode, Trunk};
/// let variables = VarMap::new();
/// let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let trunk = Trunk::new(&EncoderConfig { width: 8, ..EncoderConfig::cifar10() }, vb)?;
/// let patches = Tensor::rand(0f32, 1., (6, 3, 8, 8), &Device::Cpu)?;
/// let alone = trunk.forward(&patches, Mode::Train)?;
/// let shared = trunk.with_shared_norms(std::sync::Arc::new(Alike)).forward(&patches, Mode::Train)?;
/// assert!((alone - shared)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-4);
/// # Ok::<(), selfie_encoder::Error>(())
/// ```
pub trait Reduction: Debug + Send + Sync {
    /// The sum of `part` over all processes: same shape, type and device, the same bits in each process. It has no gradient of
    /// its own. All processes call it equally often and in the same order.
    ///
    /// # Errors
    /// Where another process cannot be reached.
    fn sum(&self, part: &Tensor) -> Result<Tensor>;
}

/// The sums of `values` over all processes.
pub(crate) fn sum_values(reduction: &dyn Reduction, values: Vec<f64>) -> Result<Vec<f64>> {
    let n = values.len();
    let sums = reduction.sum(&Tensor::from_vec(values, n, &candle_core::Device::Cpu)?)?.to_vec1()?;
    if sums.len() != n {
        bail!("reduction: got a sum of {} values, expected {n}, as in the part", sums.len());
    }
    Ok(sums)
}

/// The sum of `part` over all processes as a differentiable op: what each process does with it counts in everybody's gradient.
pub(crate) fn sum_tracked(reduction: &Arc<dyn Reduction>, part: &Tensor) -> Result<Tensor> {
    let total = reduction.sum(&part.detach())?.contiguous()?;
    if total.shape() != part.shape() {
        bail!("reduction: got a sum of shape {:?}, expected {:?}, as of the part", total.shape(), part.shape());
    }
    part.apply_op1(Total { total, reduction: Arc::clone(reduction) })
}

/// Its value is known before the op runs: sums travel as tensors, ops work on storages.
struct Total {
    total: Tensor,
    reduction: Arc<dyn Reduction>,
}

impl CustomOp1 for Total {
    fn name(&self) -> &'static str {
        "selfie-sum-over-processes"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        match &*self.total.storage_and_layout().0 {
            Storage::Cpu(total) => Ok((total.try_clone(self.total.layout())?, self.total.shape().clone())),
            _ => bail!("{}: the sum is on another device than its part", self.name()),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        match &*self.total.storage_and_layout().0 {
            Storage::Cuda(total) => Ok((total.try_clone(self.total.layout())?, self.total.shape().clone())),
            _ => bail!("{}: the sum is on another device than its part", self.name()),
        }
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        match &*self.total.storage_and_layout().0 {
            Storage::Metal(total) => Ok((total.try_clone(self.total.layout())?, self.total.shape().clone())),
            _ => bail!("{}: the sum is on another device than its part", self.name()),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.reduction.sum(&gradient.contiguous()?)?))
    }
}

#[cfg(test)]
mod tests;
