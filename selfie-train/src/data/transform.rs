//! From an image of any size to the square that the model sees: random changes for training, one fixed view for evaluation.
//!
//! The numbers are torchvision's (`RandomResizedCrop`, `RandomCrop` with reflected padding, `Resize` and `CenterCrop`).
//! The paper does not give its augmentation. Zero padding would tell a patch at the border from one inside, so crops pad by
//! reflection.

use rand::RngCore;

use super::colour::Colours;
use super::config::{Augment, DataConfig};
use super::draw::{below, unit};
use super::error::DataResult;
use super::image8::Image8;
use super::resize::{Area, centre, reflected_window, resize_area};

/// What makes an image of any size one of `size` x `size`.
///
/// ```
/// use rand::SeedableRng;
/// use selfie_train::{Augment, Image8, Transform};
/// let image = Image8::new(40, 30, vec![128; 40 * 30 * 3])?;
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
/// let view = Transform::train(Augment::RandomResizedCrop, 32).apply(&image, &mut rng)?;
/// assert_eq!((view.width(), view.height()), (32, 32));
/// # Ok::<(), selfie_train::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    augment: Augment,
    size: usize,
    crop: Crop,
    flip: f64,
    colours: Colours,
}

/// What a random resized crop may take: shares of the area, ratios of width to height.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Crop {
    scale: [f64; 2],
    ratio: [f64; 2],
}

impl Transform {
    /// The random changes of training, with the ranges of a default [`DataConfig`].
    pub fn train(augment: Augment, size: usize) -> Self {
        Self::of(&DataConfig { augment, ..DataConfig::default() }, size)
    }

    /// The random changes of pretraining that `config` sets.
    pub fn of(config: &DataConfig, size: usize) -> Self {
        let crop = Crop { scale: config.crop_scale, ratio: config.crop_ratio };
        Self { augment: config.augment, size, crop, flip: config.flip, colours: config.colours() }
    }

    /// The same with another kind of view.
    #[must_use]
    pub fn with_augment(self, augment: Augment) -> Self {
        Self { augment, ..self }
    }

    /// The same with other changes of colour and sharpness.
    #[must_use]
    pub fn with_colours(self, colours: Colours) -> Self {
        Self { colours, ..self }
    }

    /// Returns the view of evaluation: an image of `size` x `size` as it is; of any other image the center, after its short side
    /// was resized to [`Transform::eval_resize`]. Its geometry is that of torchvision's `Resize` and `CenterCrop`.
    pub fn eval(size: usize) -> Self {
        Self::train(Augment::None, size)
    }

    /// Returns the length in pixels that the evaluation view of `size` resizes the short side of an image to: 256 for 224.
    #[must_use]
    pub const fn eval_resize(size: usize) -> usize {
        (size * 256 + 112) / 224
    }

    /// Side of the images that come out, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Makes an image of [`Transform::size`] on each side; evaluation draws nothing from `rng`.
    ///
    /// # Errors
    /// [`crate::DataError::Config`] if the size is zero.
    pub fn apply(&self, image: &Image8, rng: &mut impl RngCore) -> DataResult<Image8> {
        let mut view = match self.augment {
            Augment::RandomResizedCrop => resize_area(image, self.crop.draw(image, rng), self.size)?,
            Augment::PaddedCrop => self.padded_crop(image, rng)?,
            Augment::Flip | Augment::None => self.eval_view(image)?,
        };
        if self.augment != Augment::None {
            // Not below `flip`: at a half this is the stream's first bit.
            if unit(rng) >= 1.0 - self.flip {
                view.flip();
            }
            self.colours.apply(&mut view, rng);
        }
        Ok(view)
    }

    fn padded_crop(&self, image: &Image8, rng: &mut impl RngCore) -> DataResult<Image8> {
        let square = centre(image, self.size, self.size)?;
        let pad = self.size / 8; // 4 pixels at 32
        let (left, top) = (below(2 * pad + 1, rng), below(2 * pad + 1, rng));
        reflected_window(&square, pad, left, top)
    }

    fn eval_view(&self, image: &Image8) -> DataResult<Image8> {
        let fits = (image.width(), image.height()) == (self.size, self.size);
        let side = if fits { self.size } else { Self::eval_resize(self.size) };
        centre(image, side, self.size)
    }
}

impl Crop {
    /// torchvision's `RandomResizedCrop.get_params`: ten attempts, else the largest centred area of a ratio in the range.
    fn draw(&self, image: &Image8, rng: &mut impl RngCore) -> Area {
        let (width, height) = (image.width(), image.height());
        let [narrow, wide] = self.ratio;
        let uniform = |[low, high]: [f64; 2], rng: &mut _| low + (high - low) * unit(rng);
        for _ in 0..10 {
            let pixels = (width * height) as f64 * uniform(self.scale, rng);
            let ratio = uniform([narrow.ln(), wide.ln()], rng).exp();
            let w = (pixels * ratio).sqrt().round_ties_even() as usize;
            let h = (pixels / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = below(height - h + 1, rng);
                let left = below(width - w + 1, rng);
                return Area { left, top, width: w, height: h };
            }
        }
        let ratio = width as f64 / height as f64;
        let whole = |length: f64, most: usize| (length.round_ties_even() as usize).clamp(1, most);
        let (w, h) = if ratio < narrow {
            (width, whole(width as f64 / narrow, height))
        } else if ratio > wide {
            (whole(height as f64 * wide, width), height)
        } else {
            (width, height)
        };
        Area { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, stream};

    fn random_area(image: &Image8, rng: &mut impl RngCore) -> Area {
        Transform::train(Augment::RandomResizedCrop, 1).crop.draw(image, rng)
    }

    fn blank(width: usize, height: usize) -> Image8 {
        Image8::new(width, height, vec![0; width * height * 3]).unwrap()
    }

    /// Every pixel different: red tells the column, green the row.
    fn map(size: usize) -> Image8 {
        let pixels = (0..size * size).flat_map(|i| [(i % size) as u8, (i / size) as u8, 0]);
        Image8::new(size, size, pixels.collect()).unwrap()
    }

    #[test]
    fn areas_lie_inside_and_keep_to_scale_and_ratio() {
        let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
        let image = blank(300, 200);
        let mut shares = Vec::new();
        for _ in 0..10_000 {
            let area = random_area(&image, rng);
            assert!(area.width >= 1 && area.left + area.width <= 300);
            assert!(area.height >= 1 && area.top + area.height <= 200);
            let ratio = area.width as f64 / area.height as f64;
            assert!((0.73..1.37).contains(&ratio), "{area:?}");
            shares.push((area.width * area.height) as f64 / 60_000.0);
        }
        shares.sort_by(f64::total_cmp);
        assert!(shares[0] > 0.078 && shares[0] < 0.085 && shares[9_999] > 0.85);
    }

    #[test]
    fn areas_of_extreme_images_lie_inside() {
        let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
        for (width, height) in [(1, 1), (1, 2), (3, 1), (1, 999), (999, 2), (7, 5)] {
            for _ in 0..500 {
                let area = random_area(&blank(width, height), rng);
                assert!(area.width >= 1 && area.left + area.width <= width, "{area:?}");
                assert!(area.height >= 1 && area.top + area.height <= height, "{area:?}");
            }
        }
    }

    #[test]
    fn the_fallback_is_the_largest_centred_area() {
        // A 1:50 strip can hold no area of 8 % whose ratio is 3:4 or more.
        let area = random_area(&blank(10, 500), &mut stream(0, Purpose::Augmentation, 0, 0));
        assert_eq!(area, Area { left: 0, top: 243, width: 10, height: 13 });
    }

    #[test]
    fn ranges_and_shares_are_settings() {
        let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
        let config = DataConfig { crop_scale: [0.25, 0.25], crop_ratio: [1.0, 1.0], flip: 0.0, ..Default::default() };
        let transform = Transform::of(&config, 8);
        for _ in 0..100 {
            let area = transform.crop.draw(&blank(100, 100), rng);
            assert_eq!((area.width, area.height), (50, 50));
        }
        let flips = |flip, rng: &mut _| {
            let transform = Transform::of(&DataConfig { augment: Augment::Flip, flip, ..Default::default() }, 16);
            (0..200).filter(|_| transform.apply(&map(16), rng).unwrap() != map(16)).count()
        };
        assert_eq!((flips(0.0, rng), flips(1.0, rng)), (0, 200));
        let few = flips(0.2, rng);
        assert!((20..65).contains(&few), "{few} of 200, expected 40");
        let gray = transform.with_colours(Colours { grayscale: 1.0, ..Colours::default() });
        let view = gray.apply(&map(100), rng).unwrap();
        assert!(view.pixels().chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
    }

    #[test]
    fn a_padded_crop_moves_by_at_most_an_eighth_and_uses_every_offset() {
        let transform = Transform::train(Augment::PaddedCrop, 32);
        let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let view = transform.apply(&map(32), rng).unwrap();
            let (a, b) = (view.pixel(15, 0)[0], view.pixel(16, 0)[0]);
            let flipped = a > b;
            let column = if flipped { b } else { a }; // column 15 of the window before the flip
            seen.insert((column, view.pixel(0, 16)[1], flipped));
        }
        let columns: std::collections::BTreeSet<_> = seen.iter().map(|s| s.0).collect();
        let rows: std::collections::BTreeSet<_> = seen.iter().map(|s| s.1).collect();
        assert_eq!(columns, (11..=19).collect());
        assert_eq!(rows, (12..=20).collect());
        assert_eq!(seen.len(), 9 * 9 * 2);
    }

    #[test]
    fn flip_flips_every_second_time_and_does_nothing_else() {
        let transform = Transform::train(Augment::Flip, 16);
        let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
        let mut mirrored = map(16);
        mirrored.flip();
        let views: Vec<_> = (0..1_000).map(|_| transform.apply(&map(16), rng).unwrap()).collect();
        let flips = views.iter().filter(|v| **v == mirrored).count();
        assert!(views.iter().all(|v| *v == mirrored || *v == map(16)));
        assert!((440..560).contains(&flips), "{flips}");
    }

    #[test]
    fn the_evaluation_view_of_an_image_that_fits_is_the_image() {
        let rng = &mut stream(0, Purpose::Augmentation, 0, 0);
        assert_eq!(Transform::eval(24).apply(&map(24), rng).unwrap(), map(24));
        // 256 x 512 at 224: no resizing, 16 pixels off at the top, 144 at the left.
        let photo = Image8::new(512, 256, (0..512 * 256 * 3).map(|i| (i % 251) as u8).collect());
        let photo = photo.unwrap();
        let view = Transform::eval(224).apply(&photo, rng).unwrap();
        assert_eq!(view.pixel(0, 0), photo.pixel(144, 16));
        assert_eq!(view.pixel(223, 223), photo.pixel(367, 239));
    }
}
