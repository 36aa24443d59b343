//! Random changes of colour and sharpness, by the formulas of torchvision on Pillow images: `ColorJitter`,
//! `RandomGrayscale`, `GaussianBlur`. All are off unless they are asked for; the paper names none.

use rand::RngCore;

use super::draw::{shuffle, unit};
use super::error::{DataError, DataResult};
use super::image8::{Image8, luma};
use super::resize::reflect;

/// How colours and sharpness may change. Saturation, hue and gray concern images of three channels and leave others as
/// they are.
///
/// ```
/// use selfie_train::Colours;
/// let simclr = Colours { jitter: [0.4, 0.4, 0.4, 0.1], jitter_share: 0.8, grayscale: 0.2, blur: 0.5 };
/// assert!(simclr.validate(&Colours::FINETUNE_KEYS).is_ok());
/// assert!(Colours::default().are_off());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colours {
    /// Strengths of brightness, contrast, saturation (factors from 1 - s to 1 + s) and hue (turns from -s to s, at most
    /// half a turn); they are applied in random order.
    pub jitter: [f64; 4],
    /// Share of the images that are jittered.
    pub jitter_share: f64,
    /// Share of the images that lose their colour.
    pub grayscale: f64,
    /// Share of the images that are blurred, with a deviation of 0.1 to 2 pixels and a window of a tenth of the image.
    pub blur: f64,
}

impl Default for Colours {
    fn default() -> Self {
        Self { jitter: [0.0; 4], jitter_share: 1.0, grayscale: 0.0, blur: 0.0 }
    }
}

impl Colours {
    /// Whether nothing changes.
    pub fn are_off(&self) -> bool {
        self.jitter == [0.0; 4] && self.grayscale == 0.0 && self.blur == 0.0
    }

    /// The settings' names in the section `[data]`.
    pub const DATA_KEYS: [&'static str; 4] = ["data.jitter", "data.jitter_share", "data.grayscale", "data.blur"];

    /// The settings' names in the section `[finetune]`.
    pub const FINETUNE_KEYS: [&'static str; 4] =
        ["finetune.jitter", "finetune.jitter_share", "finetune.grayscale", "finetune.blur"];

    /// Checks every number; `keys` are the settings' names.
    ///
    /// # Errors
    /// [`DataError::Config`] names the first that is out of its range.
    pub fn validate(&self, keys: &[&'static str; 4]) -> DataResult<()> {
        let fail = |key: usize, met: f64, expected: &str| {
            Err(DataError::config(keys[key], format!("{met}, expected {expected}")))
        };
        let [brightness, contrast, saturation, hue] = self.jitter;
        for strength in [brightness, contrast, saturation] {
            if !(strength.is_finite() && strength >= 0.0) {
                return fail(0, strength, "0 or more");
            }
        }
        if !(0.0..=0.5).contains(&hue) {
            return fail(0, hue, "a hue from 0 to 0.5");
        }
        for (key, share) in [(1, self.jitter_share), (2, self.grayscale), (3, self.blur)] {
            if !(0.0..=1.0).contains(&share) {
                return fail(key, share, "a share from 0 to 1");
            }
        }
        Ok(())
    }

    /// Changes `image` at random. What is off draws nothing from `rng`.
    pub(super) fn apply(&self, image: &mut Image8, rng: &mut impl RngCore) {
        if self.jitter != [0.0; 4] && unit(rng) < self.jitter_share {
            let [brightness, contrast, saturation, hue] = self.jitter;
            let around_one = |strength: f64, at: f64| (1.0 - strength).max(0.0) * (1.0 - at) + (1.0 + strength) * at;
            let changes: [f64; 4] = [
                around_one(brightness, unit(rng)),
                around_one(contrast, unit(rng)),
                around_one(saturation, unit(rng)),
                hue * (2.0 * unit(rng) - 1.0),
            ];
            let mut order = [0, 1, 2, 3];
            shuffle(&mut order, rng);
            for which in order {
                let factor = changes[which];
                match which {
                    _ if self.jitter[which] == 0.0 => {}
                    0 => brighten(image, factor),
                    1 => change_contrast(image, factor),
                    2 => saturate(image, factor),
                    _ => turn_hue(image, factor),
                }
            }
        }
        if self.grayscale > 0.0 && unit(rng) < self.grayscale {
            lose_colour(image);
        }
        if self.blur > 0.0 && unit(rng) < self.blur {
            let window = (image.width().min(image.height()) / 10).max(2) | 1;
            gaussian_blur(image, 0.1 + 1.9 * unit(rng), window);
        }
    }
}

/// Pillow's `blend`: from `from` towards and past `to`, cut to bytes.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8 // saturates
}

fn brighten(image: &mut Image8, factor: f64) {
    for value in image.pixels_mut() {
        *value = blend(0, *value, factor as f32);
    }
}

/// Away from the mean of the gray image, or of all bytes where there is none.
fn change_contrast(image: &mut Image8, factor: f64) {
    let pixels = image.pixels();
    let (sum, count) = if image.channels() == 3 {
        let (pixels, _) = pixels.as_chunks::<3>();
        (pixels.iter().map(|pixel| u64::from(luma(pixel))).sum::<u64>(), pixels.len())
    } else {
        (pixels.iter().map(|&value| u64::from(value)).sum(), pixels.len())
    };
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    for value in image.pixels_mut() {
        *value = blend(mean, *value, factor as f32);
    }
}

fn saturate(image: &mut Image8, factor: f64) {
    each_colour(image, |pixel| {
        let gray = luma(&pixel);
        pixel.map(|value| blend(gray, value, factor as f32))
    });
}

fn lose_colour(image: &mut Image8) {
    each_colour(image, |pixel| [luma(&pixel); 3]);
}

fn turn_hue(image: &mut Image8, turn: f64) {
    let shift = (turn * 255.0) as i32 as u8; // towards zero, then around the circle
    each_colour(image, |pixel| {
        let [hue, saturation, value] = to_hsv(pixel);
        of_hsv([hue.wrapping_add(shift), saturation, value])
    });
}

fn each_colour(image: &mut Image8, change: impl Fn([u8; 3]) -> [u8; 3]) {
    if image.channels() == 3 {
        let (pixels, _) = image.pixels_mut().as_chunks_mut::<3>();
        pixels.iter_mut().for_each(|pixel| *pixel = change(*pixel));
    }
}

/// Pillow's hue, saturation and value, 0 to 255 each.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let below = |value: u8| f32::from(most - value) / range;
    let sixths = match most {
        _ if r == most => below(b) - below(g),
        _ if g == most => 2.0 + below(r) - below(b),
        _ => 4.0 + below(g) - below(r),
    };
    let hue = (sixths / 6.0 + 1.0).fract();
    [(hue * 255.0) as u8, (range / f32::from(most) * 255.0) as u8, most]
}

fn of_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixths = f32::from(hue) * 6.0 / 255.0;
    let (sector, within) = (sixths.floor(), sixths.fract());
    let (strength, v) = (f32::from(saturation) / 255.0, f32::from(value));
    let p = (v * (1.0 - strength)).round() as u8;
    let q = (v * (1.0 - strength * within)).round() as u8;
    let t = (v * (1.0 - strength * (1.0 - within))).round() as u8;
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

/// A Gaussian of deviation `sigma` over a window of `size` pixels, an odd number, borders reflected; one direction after
/// the other, in floats.
fn gaussian_blur(image: &mut Image8, sigma: f64, size: usize) {
    let (width, height, channels, half) = (image.width(), image.height(), image.channels(), size / 2);
    if half >= width.min(height) {
        return; // nothing to reflect
    }
    let weights: Vec<f64> = (0..size).map(|i| (-0.5 * ((i as f64 - half as f64) / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let kernel: Vec<f32> = weights.iter().map(|weight| (weight / sum) as f32).collect();
    let stride = width * channels;
    let add = |to: &mut [f32], weight: f32, from: &[f32]| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
    };
    let mut rows = vec![0.0; height * stride]; // blurred along the rows, (H, W, C)
    let mut padded = vec![0.0; (width + 2 * half) * channels];
    for (row, bytes) in rows.chunks_exact_mut(stride).zip(image.pixels().chunks_exact(stride)) {
        for (x, pixel) in padded.chunks_exact_mut(channels).enumerate() {
            let from = reflect(x, half, width) * channels;
            pixel.iter_mut().zip(&bytes[from..]).for_each(|(to, from)| *to = f32::from(*from));
        }
        for (i, weight) in kernel.iter().enumerate() {
            add(row, *weight, &padded[i * channels..i * channels + stride]);
        }
    }
    let mut blurred = vec![0.0; stride];
    for (y, bytes) in image.pixels_mut().chunks_exact_mut(stride).enumerate() {
        blurred.fill(0.0);
        for (i, weight) in kernel.iter().enumerate() {
            let from = reflect(y + i, half, height) * stride;
            add(&mut blurred, *weight, &rows[from..from + stride]);
        }
        bytes.iter_mut().zip(&blurred).for_each(|(to, from)| *to = from.round_ties_even() as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Golden, mean_difference};
    use super::*;
    use crate::seed::{Purpose, stream};

    fn agrees(golden: &Golden, name: &str, change: impl Fn(&mut Image8)) {
        let mut image = golden.image("small");
        change(&mut image);
        let difference = mean_difference(&image, &golden.image(name));
        assert!(difference < 0.05, "{name}: {difference}");
    }

    #[test]
    fn every_change_is_pillows() {
        let golden = Golden::read();
        for factor in [0.6, 1.4] {
            agrees(&golden, &format!("brightness.{factor}"), |image| brighten(image, factor));
            agrees(&golden, &format!("contrast.{factor}"), |image| change_contrast(image, factor));
            agrees(&golden, &format!("saturation.{factor}"), |image| saturate(image, factor));
        }
        for turn in [-0.2, 0.1] {
            agrees(&golden, &format!("hue.{turn}"), |image| turn_hue(image, turn));
        }
        agrees(&golden, "gray", lose_colour);
        for sigma in [0.4, 1.7] {
            agrees(&golden, &format!("blur.{sigma}.5"), |image| gaussian_blur(image, sigma, 5));
        }
    }

    #[test]
    fn what_is_off_draws_nothing_and_shares_are_kept() {
        let golden = Golden::read();
        let mut count = 0;
        for i in 0..400 {
            let rng = &mut stream(0, Purpose::Augmentation, 0, i);
            let mut image = golden.image("small");
            Colours::default().apply(&mut image, rng);
            assert_eq!(rng.next_u64(), stream(0, Purpose::Augmentation, 0, i).next_u64());
            Colours { grayscale: 0.3, ..Colours::default() }.apply(&mut image, rng);
            count += usize::from(image != golden.image("small"));
        }
        assert!((90..150).contains(&count), "{count} of 400, expected 120");
    }

    #[test]
    fn all_changes_together_keep_size_and_channels() {
        let all = Colours { jitter: [0.8, 0.8, 0.8, 0.5], jitter_share: 1.0, grayscale: 0.5, blur: 1.0 };
        for channels in [1, 3, 4] {
            for (width, height) in [(1, 1), (2, 9), (30, 20)] {
                let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
                let pixels = (0..width * height * channels).map(|i| (i * 37) as u8).collect();
                let mut image = Image8::new(width, height, pixels).unwrap();
                all.apply(&mut image, rng);
                assert_eq!((image.width(), image.height(), image.channels()), (width, height, channels));
            }
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let text = |colours: Colours| colours.validate(&Colours::DATA_KEYS).unwrap_err().to_string();
        assert!(text(Colours { jitter: [0.0, 0.0, 0.0, 0.6], ..Default::default() }).starts_with("data.jitter: 0.6,"));
        assert!(text(Colours { jitter: [-1.0, 0.0, 0.0, 0.0], ..Default::default() }).starts_with("data.jitter: -1,"));
        assert!(text(Colours { blur: 1.5, ..Default::default() }).starts_with("data.blur: 1.5,"));
    }
}
