//! Mean and deviation per channel: measured from images, and applied while bytes become the floats of a batch.

use super::dataset::Dataset;
use super::error::{DataError, DataResult};
use super::image8::Image8;
use super::visit::visit_images;

/// Turns bytes into floats: `(byte / 255 - mean) / std` for each channel, by a table of 256 entries.
///
/// ```
/// use selfie_train::{Image8, Normalise};
/// let image = Image8::new(1, 1, vec![0, 51, 255])?;
/// let mut floats = Vec::new();
/// Normalise::new(&[0.5; 3], &[0.5; 3])?.append(&image, &mut floats);
/// assert_eq!(floats, [-1.0, -0.6, 1.0]);
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone)]
pub struct Normalise {
    mean: Vec<f32>,
    std: Vec<f32>,
    tables: Vec<[f32; 256]>, // one a channel
}

impl Normalise {
    /// Takes mean and standard deviation per channel, of pixels scaled to 0..1.
    ///
    /// # Errors
    /// [`DataError::Config`] if there are none or not as many of both, or a deviation is not above 0.
    pub fn new(mean: &[f32], std: &[f32]) -> DataResult<Self> {
        if mean.is_empty() || mean.len() != std.len() {
            let (met, deviations) = (mean.len(), std.len());
            let reason = format!("{met} numbers beside {deviations} of data.std, expected one a channel of both");
            return Err(DataError::config("data.mean", reason));
        }
        check("data.mean", mean, |m| m.is_finite(), "finite")?;
        check("data.std", std, |s| s.is_finite() && s > 0.0, "above 0")?;
        let table = |(m, s): (&f32, &f32)| std::array::from_fn(|byte| (byte as f32 / 255.0 - m) / s);
        let tables = mean.iter().zip(std).map(table).collect();
        Ok(Self { mean: mean.to_vec(), std: std.to_vec(), tables })
    }

    /// Number of channels C.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Mean per channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Standard deviation per channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Appends the floats of `image` to `floats`, (C, H, W). Room that is reserved is not cleared first.
    ///
    /// # Panics
    /// If the image has another number of channels.
    pub fn append(&self, image: &Image8, floats: &mut Vec<f32>) {
        assert_eq!(image.channels(), self.channels(), "one mean per channel");
        for (c, table) in self.tables.iter().enumerate() {
            if self.channels() == 3 {
                let (pixels, _) = image.pixels().as_chunks::<3>();
                floats.extend(pixels.iter().map(|pixel| table[usize::from(pixel[c])]));
            } else {
                let plane = image.pixels()[c..].iter().step_by(self.channels());
                floats.extend(plane.map(|byte| table[usize::from(*byte)]));
            }
        }
    }
}

fn check(field: &'static str, values: &[f32], valid: impl Fn(f32) -> bool, expected: &str) -> DataResult<()> {
    match values.iter().find(|&&v| !valid(v)) {
        None => Ok(()),
        Some(v) => Err(DataError::config(field, format!("{v}, expected {expected}"))),
    }
}

/// Mean and standard deviation per channel over all pixels of at most `max_images` images, evenly spaced in the set (or all
/// of evenly spaced blocks, where the source reads such); pixels are scaled to 0..1.
///
/// The sums are of whole numbers, so the result is the same however many threads count. A channel that never changes gets
/// the deviation of one step of 8 bits. Images that cannot be read are left out where [`Dataset::with_bad_images`] allows it.
///
/// # Errors
/// [`DataError::Config`] without images, the error of an image that cannot be read, [`DataError::TooManyBad`].
pub fn channel_stats(dataset: &Dataset, max_images: usize) -> DataResult<(Vec<f32>, Vec<f32>)> {
    channel_stats_of(dataset, max_images, &|| ())
}

/// As [`channel_stats`]; `done` is called after each image.
///
/// # Errors
/// As [`channel_stats`].
pub fn channel_stats_of(
    dataset: &Dataset,
    max_images: usize,
    done: &(dyn Fn() + Sync),
) -> DataResult<(Vec<f32>, Vec<f32>)> {
    let sample = dataset.sample(max_images);
    if sample.is_empty() {
        return Err(DataError::config("data.source", "no images to measure mean and deviation from"));
    }
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    let parts = visit_images(dataset, &sample, threads, |part: &mut Part, i, image| {
        match image {
            Ok(image) => part.histogram.get_or_insert_with(|| Histogram::new(dataset.channels())).add(&image),
            Err(error) if dataset.bad_images().skips(&error) => part.bad.push((i, error)),
            Err(error) => return Err(error),
        }
        done();
        Ok(())
    })?;
    let mut total = Histogram::new(dataset.channels());
    let mut bad = Vec::new();
    for part in parts {
        part.histogram.iter().for_each(|histogram| total.merge(histogram));
        bad.extend(part.bad);
    }
    bad.sort_unstable_by_key(|(i, _)| *i);
    for (i, error) in &bad {
        dataset.bad_images().report(&dataset.name(*i), &error.reason())?;
    }
    if bad.len() == sample.len()
        && let Some((_, error)) = bad.pop()
    {
        return Err(error); // no image is left to measure
    }
    Ok((0..dataset.channels()).map(|c| total.mean_and_std(c)).unzip())
}

/// What one thread counted.
#[derive(Default)]
struct Part {
    histogram: Option<Histogram>,
    bad: Vec<(usize, DataError)>,
}

/// How often each byte occurs in each channel.
struct Histogram(Vec<[u64; 256]>);

impl Histogram {
    fn new(channels: usize) -> Self {
        Self(vec![[0; 256]; channels])
    }

    fn add(&mut self, image: &Image8) {
        for pixel in image.pixels().chunks_exact(self.0.len()) {
            for (counts, byte) in self.0.iter_mut().zip(pixel) {
                counts[usize::from(*byte)] += 1;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for (to, from) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            *to += from;
        }
    }

    fn mean_and_std(&self, channel: usize) -> (f32, f32) {
        let moment = |power: i32| -> f64 {
            let counts = self.0[channel].iter().enumerate();
            counts.map(|(byte, &n)| n as f64 * (byte as f64 / 255.0).powi(power)).sum()
        };
        let pixels = moment(0);
        let mean = moment(1) / pixels;
        let variance = moment(2) / pixels - mean * mean;
        (mean as f32, variance.max(0.0).sqrt().max(1.0 / 255.0) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_planar() {
        let image = Image8::new(2, 1, vec![0, 255, 0, 255, 0, 0]).unwrap();
        let mut floats = Vec::new();
        let normalise = Normalise::new(&[0.0, 0.5, 0.0], &[1.0, 0.25, 2.0]).unwrap();
        normalise.append(&image, &mut floats);
        assert_eq!(floats, [0.0, 1.0, 2.0, -2.0, 0.0, 0.0]); // (C, H, W)
    }

    #[test]
    fn any_number_of_channels_is_planar() {
        for channels in [1, 2, 5] {
            let image = Image8::new(2, 1, (0..2 * channels as u8).collect()).unwrap();
            let means: Vec<f32> = (0..channels).map(|c| c as f32).collect();
            let normalise = Normalise::new(&means, &vec![1.0; channels]).unwrap();
            let mut floats = Vec::new();
            normalise.append(&image, &mut floats);
            assert_eq!(floats.len(), 2 * channels);
            for c in 0..channels {
                let expected = [c, channels + c].map(|byte| byte as f32 / 255.0 - c as f32);
                assert_eq!(floats[2 * c..2 * c + 2], expected);
            }
        }
    }

    #[test]
    fn stats_are_those_of_all_pixels() {
        let images =
            vec![Image8::new(1, 1, vec![0, 100, 255]).unwrap(), Image8::new(3, 1, [255, 100, 255].repeat(3)).unwrap()];
        let data = Dataset::from_images(images, &[], &[]).unwrap();
        let (mean, std) = channel_stats(&data, 10).unwrap();
        assert_eq!(mean, [0.75, 100.0 / 255.0, 1.0]);
        assert!((std[0] - 0.1875f32.sqrt()).abs() < 1e-6);
        assert_eq!(std[1..], [1.0 / 255.0; 2]); // constant channels
        let (first, _) = channel_stats(&data, 1).unwrap();
        assert_eq!(first[0], 0.0);
        assert!(channel_stats(&data, 0).is_err());
    }
}
