//! The processes that share one training, called ranks as in MPI: which of them this is, and the few things that all do at once.
//!
//! Each rank takes its part of every batch; what they compute is summed in one flat tensor a step. Three ways to do so: one
//! process, which has nothing to sum; MPI; and NCCL for what lies on NVIDIA's cards, with MPI for everything else. All ranks
//! call the same functions in the same order, and only rank 0 writes and speaks.

#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod started;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::store::{ParamStore, checksum};
pub(crate) use started::{local_rank, local_size};
pub use started::{own_cores, started_as, started_together};

/// What connects the ranks.
trait Link: Debug + Send + Sync {
    /// Which one this is, counted from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// The sum over all ranks: same shape, type and device, the same bits everywhere.
    fn sum(&self, part: &Tensor) -> candle_core::Result<Tensor>;
    /// Rank 0's values in place of everybody's.
    fn broadcast(&self, values: &mut [f32]);
    /// Everybody's value, by rank.
    fn gather(&self, value: u64) -> Vec<u64>;
    /// Leaves in good order, together with all others.
    fn finish(&self);
}

/// One process.
#[derive(Debug)]
struct Alone;

impl Link for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn sum(&self, part: &Tensor) -> candle_core::Result<Tensor> {
        Ok(part.clone())
    }
    fn broadcast(&self, _: &mut [f32]) {}
    fn gather(&self, value: u64) -> Vec<u64> {
        vec![value]
    }
    fn finish(&self) {}
}

/// The processes that share a training, as one of them sees them.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_encoder::Reduction;
/// use selfie_train::Ranks;
/// let ranks = Ranks::default(); // one process
/// assert_eq!((ranks.rank(), ranks.size()), (0, 1));
/// assert_eq!(ranks.sum(&Tensor::new(&[1f32, 2.], &Device::Cpu)?)?.to_vec1::<f32>()?, [1., 2.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Ranks {
    link: Box<dyn Link>,
    /// The direct way between cards.
    #[cfg(feature = "nccl")]
    cards: std::sync::OnceLock<nccl::Cards>,
    /// Nanoseconds spent with the others: travelling, and waiting for the slowest.
    spent: AtomicU64,
}

impl Default for Ranks {
    fn default() -> Self {
        Self::of(Alone)
    }
}

impl Ranks {
    fn of(link: impl Link + 'static) -> Self {
        Self {
            link: Box::new(link),
            #[cfg(feature = "nccl")]
            cards: std::sync::OnceLock::new(),
            spent: AtomicU64::new(0),
        }
    }

    /// The ranks that `mpirun` or `srun` started with this process; one where it was started alone.
    ///
    /// # Errors
    /// [`Error::Config`] where there are several and this program was built without the feature `mpi`, or MPI does not start.
    pub fn join() -> Result<Self> {
        match started_together() {
            0 | 1 => Ok(Self::default()),
            #[cfg(feature = "mpi")]
            several => {
                let ranks = Self::of(mpi::World::join()?);
                if ranks.size() == several {
                    return Ok(ranks);
                }
                let reason = format!(
                    "met {several} processes started together, of which MPI connects {}: the MPI that this program was built \
                     with must be the one that starts it (srun --mpi=list)",
                    ranks.size()
                );
                Err(Error::config("ranks", reason))
            }
            #[cfg(not(feature = "mpi"))]
            several => Err(Error::config(
                "ranks",
                format!(
                    "met {several} processes started together, but this program was built without the feature `mpi`: \
                     start it by cargo xtask COMMAND --ranks {several}, which builds with it"
                ),
            )),
        }
    }

    /// From here on what lies on `device`, an NVIDIA card, is summed there, if this program was built with the feature `nccl`. All
    /// ranks call it, with the same kind of device.
    ///
    /// # Errors
    /// [`Error::Config`] where NCCL does not start.
    pub fn use_cards(&self, device: &Device) -> Result<()> {
        let kind = if device.is_cpu() { "CPU" } else { "GPU" };
        self.check_same("--device: the devices", kind)?;
        #[cfg(feature = "nccl")]
        if let (Device::Cuda(device), false) = (device, self.is_alone()) {
            // A second device keeps to the first one's group: there is one a process.
            let _ = self.cards.set(nccl::Cards::connect(self.link.as_ref(), device)?);
        }
        tracing::debug!(ranks = ?self.link, ?device, "computing");
        Ok(())
    }

    /// Which one this is, counted from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.link.rank()
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.link.size()
    }

    /// Whether this is the one that writes and speaks.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there is only one.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// Rank 0's weights and running statistics in place of everybody's.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn broadcast(&self, store: &ParamStore) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let tensors = store.tensors();
        let mut values = Vec::with_capacity(tensors.len());
        for (_, tensor) in &tensors {
            let mut flat = tensor.flatten_all()?.to_vec1::<f32>()?;
            self.timed(|| self.link.broadcast(&mut flat));
            values.push(Tensor::from_vec(flat, tensor.shape(), tensor.device())?);
        }
        Ok(store.set_all(&values)?)
    }

    /// Does `work` on rank 0 before the others, which then find what it has downloaded or indexed.
    ///
    /// # Errors
    /// Those of `work`; where it is rank 0's, the others wait until they are ended with it.
    pub fn root_first<T, E>(&self, work: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
        let meet = || drop(self.timed(|| self.link.gather(0)));
        if !self.is_root() {
            meet();
        }
        let done = work()?;
        if self.is_root() {
            meet();
        }
        Ok(done)
    }

    /// The sum of everybody's `count`.
    #[must_use]
    pub fn count(&self, count: usize) -> usize {
        let counts = self.timed(|| self.link.gather(count as u64));
        usize::try_from(counts.iter().sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// Whether all ranks mean the same by `what`, which `value` stands for on each.
    ///
    /// # Errors
    /// [`Error::Ranks`] where they do not.
    pub fn check_same(&self, what: &str, value: &str) -> Result<()> {
        let sums = self.timed(|| self.link.gather(crc32fast::hash(value.as_bytes()).into()));
        match sums.iter().position(|&other| other != sums[0]) {
            None => Ok(()),
            Some(rank) => {
                let own =
                    if value.len() < 80 { format!(" (here, on rank {}: {value})", self.rank()) } else { String::new() };
                Err(Error::Ranks { reason: format!("{what} of rank {rank} differ from those of rank 0{own}") })
            }
        }
    }

    /// Whether all ranks have the same weights and running statistics, to the bit, after `step` steps.
    ///
    /// # Errors
    /// [`Error::Ranks`] where they do not, with the checksum of each.
    pub fn check_equal(&self, store: &ParamStore, step: u64) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let sum = checksum(store.tensors().iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        let sums = self.timed(|| self.link.gather(sum.into()));
        if sums.iter().all(|&other| other == sums[0]) {
            return Ok(());
        }
        let sums = sums.iter().map(|sum| format!("{sum:08x}")).collect::<Vec<_>>().join(", ");
        Err(Error::Ranks { reason: format!("the weights differ after step {step}: their checksums are {sums}") })
    }

    /// Time spent with the other ranks so far, waiting for the slowest included. What NCCL sums is not in it: a card goes on by itself.
    #[must_use]
    pub fn time_spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Leaves in good order, together with all others; nothing may be asked of them afterwards. A process that ends without
    /// it, by an error or by a signal, is taken for dead by what started it, which then ends the others.
    pub fn finish(&self) {
        self.link.finish();
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent.fetch_add(nanoseconds, Ordering::Relaxed);
        result
    }
}

/// The sum over all ranks: of a step's gradients, and of the statistics of norms over the whole batch.
impl selfie_encoder::Reduction for Ranks {
    fn sum(&self, part: &Tensor) -> candle_core::Result<Tensor> {
        self.timed(|| {
            #[cfg(feature = "nccl")]
            if let (Some(cards), true) = (self.cards.get(), part.device().is_cuda()) {
                return cards.sum(part);
            }
            self.link.sum(part)
        })
    }
}
