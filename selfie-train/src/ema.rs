//! An exponential moving average of the weights and running statistics: after each update, ema ← d ema + (1 - d) w.
//!
//! An option (`run.ema_decay`), after Polyak and Juditsky's averaging in the form that self-supervised training uses (MoCo, BYOL). Running
//! statistics are averaged with the weights that they belong to. Evaluations, `encoder.safetensors` and `--from` take the average
//! where a run keeps one; training itself never sees it.

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, bail};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::store::{HostTensor, ParamStore, Weights};

/// Elements that one task covers; the arithmetic of an element does not depend on it.
const CHUNK: usize = 1 << 14;

/// The average of every tensor of a store.
pub struct Ema {
    decay: f64,
    names: Vec<String>,
    /// In the order of the store. Their content changes in place.
    averages: Vec<Tensor>,
}

impl Ema {
    /// Averages that begin as the present content of `store`; none where `decay` is 0.
    ///
    /// # Errors
    /// Where memory on the device cannot be had.
    pub fn new(decay: f64, store: &ParamStore) -> Result<Option<Self>> {
        if decay == 0.0 {
            return Ok(None);
        }
        let (names, tensors): (Vec<_>, Vec<_>) = store.tensors().into_iter().unzip();
        let averages = tensors.iter().map(|tensor| tensor.copy()).collect::<candle_core::Result<_>>()?;
        Ok(Some(Self { decay, names, averages }))
    }

    /// Moves the averages towards the present content of `store`.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn update(&mut self, store: &ParamStore) -> Result<()> {
        for (average, (_, now)) in self.averages.iter_mut().zip(store.tensors()) {
            let now = now.detach();
            if now.device().is_cpu() && now.dtype() == DType::F32 {
                average.inplace_op2(&now, &Towards { share: (1.0 - self.decay) as f32 })?;
            } else {
                *average = ((&*average * self.decay)? + (now * (1.0 - self.decay))?)?;
            }
        }
        Ok(())
    }

    /// Runs `work` with the averages in the place of the weights, which then come back to the bit.
    ///
    /// # Errors
    /// Of `work`, or where the device fails.
    pub fn in_place_of<T>(&self, store: &ParamStore, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let trained =
            store.tensors().iter().map(|(_, tensor)| tensor.copy()).collect::<candle_core::Result<Vec<_>>>()?;
        store.set_all(&self.averages)?;
        let result = work();
        store.set_all(&trained)?;
        result
    }

    /// Names and copies of the averages.
    pub(crate) fn copied(&self) -> Result<Vec<(String, HostTensor)>> {
        let pairs = self.names.iter().zip(&self.averages);
        pairs.map(|(name, average)| Ok((name.clone(), HostTensor::copy(average)?))).collect()
    }

    /// Takes over saved averages.
    ///
    /// # Errors
    /// [`Error::Weights`] where one is missing or has another shape.
    pub(crate) fn load(&mut self, saved: &Weights) -> Result<()> {
        for (name, average) in self.names.iter().zip(&mut self.averages) {
            let wrong = |reason: String| Error::Weights { path: saved.path().to_path_buf(), reason };
            let found = saved.get(name).ok_or_else(|| wrong(format!("the average of {name} is missing")))?;
            if found.dims() != average.dims() {
                let (got, expected) = (found.dims(), average.dims());
                return Err(wrong(format!("the average of {name} has shape {got:?}, expected {expected:?}")));
            }
            *average = found.to_device(average.device())?.to_dtype(average.dtype())?.copy()?;
        }
        Ok(())
    }
}

/// average ← average + share (now - average), in one pass.
struct Towards {
    share: f32,
}

impl InplaceOp2 for Towards {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        average_at: &Layout,
        now: &CpuStorage,
        now_at: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(average), CpuStorage::F32(now)) = (average, now) else {
            bail!("{}: expected f32", self.name())
        };
        let (Some((a0, a1)), Some((n0, n1))) = (average_at.contiguous_offsets(), now_at.contiguous_offsets()) else {
            bail!("{}: expected contiguous tensors", self.name())
        };
        average[a0..a1].par_chunks_mut(CHUNK).zip(now[n0..n1].par_chunks(CHUNK)).for_each(|(average, now)| {
            average.iter_mut().zip(now).for_each(|(average, now)| *average += self.share * (now - *average));
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_nn::Init;

    fn store() -> ParamStore {
        let store = ParamStore::new(0, &Device::Cpu);
        store.builder().get_with_hints(2, "weight", Init::Const(1.0)).unwrap();
        store.builder().get_with_hints(2, "running_mean", Init::Const(0.0)).unwrap();
        store
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn averages_follow_weights_and_statistics_by_their_share() {
        let store = store();
        let mut ema = Ema::new(0.75, &store).unwrap().unwrap();
        let now = [[5f32, 1.0], [8.0, 0.0]].map(|values| Tensor::new(&values, &Device::Cpu).unwrap());
        store.set_all(&now).unwrap();
        ema.update(&store).unwrap();
        // 0.75 * 1 + 0.25 * 5 = 2; 0.75 * 0 + 0.25 * 8 = 2
        assert_eq!((values(&ema.averages[0]), values(&ema.averages[1])), (vec![2.0, 1.0], vec![2.0, 0.0]));
    }

    #[test]
    fn the_trained_weights_come_back_also_after_a_failure() {
        let store = store();
        let ema = Ema::new(0.5, &store).unwrap().unwrap();
        store.set_all(&[7f32, 9.0].map(|value| Tensor::new(&[value, value], &Device::Cpu).unwrap())).unwrap();
        let seen: Result<()> = ema.in_place_of(&store, || {
            assert_eq!(values(&store.get("weight").unwrap()), [1.0, 1.0]);
            Err(Error::config("anything", "failed"))
        });
        assert!(seen.is_err());
        assert_eq!(values(&store.get("weight").unwrap()), [7.0, 7.0]);
        assert_eq!(values(&store.get("running_mean").unwrap()), [9.0, 9.0]);
    }

    #[test]
    fn no_decay_means_no_average() {
        assert!(Ema::new(0.0, &store()).unwrap().is_none());
    }
}
