//! Ranks that talk by MPI: one machine or many, whatever network MPI finds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::mpi::Threading;
use ::mpi::collective::SystemOperation;
use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use candle_core::{DType, Tensor, WithDType, bail};

use super::Link;
use crate::error::{Error, Result};

/// All processes that were started together.
pub(super) struct World {
    /// Dropping it is MPI's orderly end, which waits for everybody. It is held during every call, so that one thread at a time talks.
    universe: Mutex<Option<Universe>>,
    rank: usize,
    size: usize,
}

impl World {
    /// Starts MPI, once in a process.
    pub(super) fn join() -> Result<Self> {
        let started = ::mpi::initialize_with_threading(Threading::Serialized);
        let (universe, _) = started.ok_or_else(|| Error::config("ranks", "MPI was started before in this process"))?;
        let world = universe.world();
        let number = |n: i32| usize::try_from(n).unwrap_or(0);
        Ok(Self { rank: number(world.rank()), size: number(world.size()), universe: Mutex::new(Some(universe)) })
    }

    fn hold(&self) -> MutexGuard<'_, Option<Universe>> {
        self.universe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    /// Through this machine's memory, wherever the tensor lies.
    fn sum(&self, part: &Tensor) -> candle_core::Result<Tensor> {
        let _held = self.hold();
        match part.dtype() {
            DType::F32 => sum_of::<f32>(part),
            DType::F64 => sum_of::<f64>(part),
            other => bail!("a sum over ranks takes f32 or f64, got {other:?}"),
        }
    }

    fn broadcast(&self, values: &mut [f32]) {
        let _held = self.hold();
        SimpleCommunicator::world().process_at_rank(0).broadcast_into(values);
    }

    fn gather(&self, value: u64) -> Vec<u64> {
        let _held = self.hold();
        let mut values = vec![0; self.size];
        SimpleCommunicator::world().all_gather_into(&value, &mut values[..]);
        values
    }

    fn finish(&self) {
        drop(self.hold().take());
    }
}

fn sum_of<T: WithDType + Equivalence>(part: &Tensor) -> candle_core::Result<Tensor> {
    let own = part.flatten_all()?.to_vec1::<T>()?;
    let mut sum = vec![T::zero(); own.len()];
    SimpleCommunicator::world().all_reduce_into(&own[..], &mut sum[..], SystemOperation::sum());
    Tensor::from_vec(sum, part.shape(), part.device())
}

impl Drop for World {
    /// Without [`Link::finish`] there is no orderly end: it would wait for ranks that know nothing of ours. `mpirun` sees
    /// a process that left without it, and ends the others.
    fn drop(&mut self) {
        std::mem::forget(self.hold().take());
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {} (MPI)", self.rank, self.size)
    }
}
