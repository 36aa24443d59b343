//! Sums between NVIDIA cards, one card a rank, by NCCL: what lies there does not pass through the machines' memory.
//!
//! Compiled and linked where it was written, never run: there was no card.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, NcclType, ReduceOp};
use candle_core::cuda_backend::{CudaDType, CudaDevice};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Storage, Tensor, WithDType, bail};

use super::Link;
use crate::error::{Error, Result};

/// The cards of all ranks.
pub(super) struct Cards {
    comm: Mutex<Communicator>,
    ranks: usize,
}

/// NCCL's handle on the stream of this rank's card.
struct Communicator(Comm);

// SAFETY: NCCL takes a communicator from any thread as long as one uses it at a time, which the mutex around it sees to.
#[expect(unsafe_code, reason = "cudarc's handle holds a pointer")]
unsafe impl Send for Communicator {}

impl Cards {
    /// Connects the card of this rank to those of the others; rank 0's invitation travels by `link`.
    pub(super) fn connect(link: &dyn Link, device: &CudaDevice) -> Result<Self> {
        let failed = |error| Error::config("ranks", format!("NCCL does not start: {error:?}"));
        let mut invitation = *Id::new().map_err(failed)?.internal();
        // Small whole numbers travel exactly as floats.
        let mut values: Vec<f32> = invitation.iter().map(|&byte| f32::from(byte)).collect();
        link.broadcast(&mut values);
        invitation.iter_mut().zip(values).for_each(|(byte, value)| *byte = value as _);
        let stream = device.cuda_stream();
        let comm = Comm::from_rank(stream, link.rank(), link.size(), Id::uninit(invitation)).map_err(failed)?;
        Ok(Self { comm: Mutex::new(Communicator(comm)), ranks: link.size() })
    }

    /// The sum over all ranks of what lies on the card.
    pub(super) fn sum(&self, part: &Tensor) -> candle_core::Result<Tensor> {
        match part.dtype() {
            DType::F32 => self.sum_of::<f32>(part),
            DType::F64 => self.sum_of::<f64>(part),
            other => bail!("a sum over ranks takes f32 or f64, got {other:?}"),
        }
    }

    fn sum_of<T: WithDType + CudaDType + DeviceRepr + NcclType>(&self, part: &Tensor) -> candle_core::Result<Tensor> {
        let part = part.contiguous()?;
        let (storage, layout) = part.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { bail!("NCCL sums what lies on a card") };
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("NCCL sums contiguous tensors") };
        let device = storage.device.clone();
        let own = storage.as_cuda_slice::<T>()?.slice(start..end);
        // SAFETY: every element is written by the sum before anything reads it.
        #[expect(unsafe_code, reason = "zeros would be written only to be overwritten")]
        let mut sum = unsafe { device.alloc::<T>(end - start)? };
        let failed = |error| candle_core::Error::Msg(format!("NCCL's sum over {} ranks: {error:?}", self.ranks));
        let comm = self.comm.lock().unwrap_or_else(PoisonError::into_inner);
        comm.0.all_reduce(&own, &mut sum, &ReduceOp::Sum).map_err(failed)?;
        let sum = Storage::Cuda(CudaStorage::wrap_cuda_slice(sum, device));
        Ok(Tensor::from_storage(sum, part.shape(), BackpropOp::none(), false))
    }
}

impl std::fmt::Debug for Cards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cards", self.ranks)
    }
}
