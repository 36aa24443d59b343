//! Every image of a selection once, on several threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::dataset::Dataset;
use super::error::{DataError, DataResult};
use super::image8::Image8;

/// Loads the images with these numbers and shows each, or its error, to `look`, with what its thread has gathered so far;
/// returns what the threads gathered.
///
/// Threads take images in the order of `numbers`, so that blocks are read once. Which thread takes which image is left to
/// chance: what they gather must not depend on it.
///
/// # Errors
/// The first error that `look` returns; no further images are loaded then.
pub fn visit_images<T: Default + Send>(
    dataset: &Dataset,
    numbers: &[u32],
    threads: usize,
    look: impl Fn(&mut T, usize, DataResult<Image8>) -> DataResult<()> + Sync,
) -> DataResult<Vec<T>> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut gathered = T::default();
        while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let i = number as usize;
            let image = dataset.guarded(i, || dataset.load(i));
            look(&mut gathered, i, image).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(gathered)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let panicked = |_| DataError::config("data.source", "a thread that looked at images panicked");
        workers.into_iter().map(|worker| worker.join().map_err(panicked)?).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(count: u8) -> Dataset {
        let images = (0..count).map(|i| Image8::new(1, 1, vec![i; 3]).unwrap()).collect();
        Dataset::from_images(images, &[], &[]).unwrap()
    }

    #[test]
    fn every_image_is_seen_once() {
        let look = |seen: &mut Vec<u8>, i: usize, image: DataResult<Image8>| {
            assert_eq!(usize::from(image?.pixel(0, 0)[0]), i);
            seen.push(i as u8);
            Ok(())
        };
        let mut seen = visit_images(&data(50), &(0..50).collect::<Vec<_>>(), 3, look).unwrap().concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_error_of_a_look_ends_it() {
        let look = |(): &mut (), i: usize, _: DataResult<Image8>| match i {
            3 => Err(DataError::config("x", "three")),
            _ => Ok(()),
        };
        assert!(visit_images(&data(9), &[1, 3, 5], 2, look).unwrap_err().to_string().contains("three"));
    }
}
