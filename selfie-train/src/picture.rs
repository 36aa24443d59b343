//! The paper's qualitative picture (arXiv 1906.02940, figure 1 in effect): an image, what of it the model sees, and the patch that it
//! chooses for each masked cell.
//!
//! Right and wrong are told apart without colour: a right patch has a solid frame and a tick, a wrong one a dashed
//! frame and a cross. The two colours are from Okabe and Ito's palette, which colour-blind readers tell apart.

mod canvas;

use std::io::Cursor;

use candle_core::{D, Device};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::data::{Image8, Transform};
use crate::error::{Error, Result};
use crate::model::Mode;
use crate::probe::EvalSet;
use crate::seed::{Purpose, derive, stream};
use crate::task::{MaskedPatches, Phase};
pub use canvas::Canvas;

/// Side that a panel has at least, in pixels.
const PANEL: usize = 224;
/// Enough that marks keep their edges.
const JPEG_QUALITY: u8 = 86;
/// Between panels, in pixels.
const GAP: usize = 8;

/// What one image asks of a model, and what the model answers.
#[derive(Debug, Clone)]
pub struct Riddle {
    /// The image's name in its data set.
    pub name: String,
    /// The image as the model gets it.
    pub image: Image8,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// The masked cells, counted row by row.
    pub targets: Vec<usize>,
    /// For each of them the masked cell whose patch the model chose, among all of the image.
    pub choices: Vec<usize>,
}

impl Riddle {
    /// Returns the riddles of the images of `set` that can be read ([`EvalSet::pictured`] chooses such), each under its first mask, in
    /// eval mode.
    ///
    /// # Errors
    /// Returns an error if an image cannot be read that must not be left out, or the model fails.
    pub fn of_set(task: &MaskedPatches, set: &EvalSet, device: &Device) -> Result<Vec<Self>> {
        let seed = derive(set.seed, Purpose::Evaluation, 0, 0);
        let transform = Transform::eval(set.image_size);
        let mut riddles = Vec::with_capacity(set.images.len());
        let mut loader = set.batches(device)?;
        while let Some(batch) = loader.next()? {
            let puzzle = task.puzzle(&batch.keys, Phase::Eval { seed }, device)?;
            let output = task.model().forward(&batch.images, &puzzle, Mode::Eval)?;
            let answers = output.logits.detach().argmax(D::Minus1)?.to_vec2::<u32>()?; // (B, M)
            let targets = puzzle.mask.targets.to_vec2::<u32>()?; // (B, M)
            for ((&index, targets), answers) in batch.indices.iter().zip(targets).zip(answers) {
                let targets: Vec<_> = targets.iter().map(|&cell| cell as usize).collect();
                let Ok(image) = set.images.load(index) else {
                    continue; // read a moment ago, and gone since
                };
                // The view of evaluation draws nothing.
                let mut unused = stream(0, Purpose::Augmentation, 0, 0);
                riddles.push(Self {
                    name: set.images.name(index),
                    image: transform.apply(&image, &mut unused)?,
                    patch_size: task.model().grid().patch_size(),
                    choices: answers.iter().map(|&answer| targets[answer as usize]).collect(),
                    targets,
                });
            }
        }
        Ok(riddles)
    }

    /// Cells that got their own patch.
    #[must_use]
    pub fn right(&self) -> usize {
        self.targets.iter().zip(&self.choices).filter(|(target, choice)| target == choice).count()
    }

    /// The image alone.
    ///
    /// # Errors
    /// Not for an image that was read; as for the other two.
    pub fn original(&self) -> Result<Image8> {
        Ok(self.canvas().finish()?)
    }

    /// The image as the model sees it: masked cells are hatched.
    ///
    /// # Errors
    /// As [`Riddle::original`].
    pub fn seen(&self) -> Result<Image8> {
        let mut canvas = self.canvas();
        self.targets.iter().for_each(|&cell| canvas.hatch(self.place(cell), self.side()));
        Ok(canvas.finish()?)
    }

    /// The image with the chosen patches in its masked cells, each marked as right or wrong.
    ///
    /// # Errors
    /// As [`Riddle::original`].
    pub fn answered(&self) -> Result<Image8> {
        let original = self.canvas();
        let mut canvas = self.canvas();
        for (&target, &choice) in self.targets.iter().zip(&self.choices) {
            canvas.copy(&original, self.place(choice), self.place(target), self.side());
            canvas.mark(self.place(target), self.side(), target == choice);
        }
        Ok(canvas.finish()?)
    }

    fn canvas(&self) -> Canvas {
        Canvas::enlarged(&self.image, self.scale())
    }

    /// Small images are shown larger, each pixel as a square.
    fn scale(&self) -> usize {
        PANEL.div_ceil(self.image.width())
    }

    /// Side of a cell as it is drawn.
    fn side(&self) -> usize {
        self.patch_size * self.scale()
    }

    /// Left upper corner of a cell as it is drawn.
    fn place(&self, cell: usize) -> (usize, usize) {
        let columns = self.image.width() / self.patch_size;
        (cell % columns * self.side(), cell / columns * self.side())
    }
}

/// One row an image: original, seen, answered.
///
/// # Errors
/// Where there is no riddle.
pub fn draw_all(riddles: &[Riddle]) -> Result<Image8> {
    let side = riddles.first().map_or(0, |riddle| riddle.image.width() * riddle.scale());
    let step = side + GAP;
    let mut sheet = Canvas::blank(3 * step - GAP, (riddles.len() * step).saturating_sub(GAP));
    for (y, riddle) in riddles.iter().enumerate() {
        for (x, panel) in [riddle.original()?, riddle.seen()?, riddle.answered()?].iter().enumerate() {
            sheet.paste(panel, (x * step, y * step));
        }
    }
    Ok(sheet.finish()?)
}

/// `image` as a PNG file.
///
/// # Errors
/// Where the encoder fails, which it does not in memory.
pub fn encode_png(image: &Image8) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    encode(image, PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive))?;
    Ok(file.into_inner())
}

/// `image` as a JPEG file, for photographs in a page that must stay small.
///
/// # Errors
/// As [`encode_png`].
pub fn encode_jpeg(image: &Image8) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    encode(image, JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))?;
    Ok(file.into_inner())
}

fn encode(image: &Image8, encoder: impl ImageEncoder) -> Result<()> {
    let (width, height) = (image.width() as u32, image.height() as u32);
    let written = encoder.write_image(image.pixels(), width, height, ExtendedColorType::Rgb8);
    written.map_err(|error| Error::io("a picture")(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four cells of 112 pixels, each of one grey; cells 0 and 3 are masked, 0 is found and 3 is given 0's patch.
    fn riddle() -> Riddle {
        let grey = |x: usize, y: usize| [40, 90, 140, 190][x / 112 + 2 * (y / 112)];
        let pixels = (0..224 * 224).flat_map(|at| [grey(at % 224, at / 224); 3]).collect();
        let image = Image8::new(224, 224, pixels).unwrap();
        Riddle { name: "x".to_owned(), image, patch_size: 112, targets: vec![0, 3], choices: vec![0, 0] }
    }

    #[test]
    fn chosen_patches_lie_in_the_masked_cells() {
        let riddle = riddle();
        let answered = riddle.answered().unwrap();
        // The centre of each cell, where there is no mark.
        let centres = [(56, 56), (168, 56), (56, 168), (168, 168)].map(|(x, y)| answered.pixel(x, y)[0]);
        assert_eq!(centres, [40, 90, 140, 40]);
        assert_eq!(riddle.right(), 1);
    }

    #[test]
    fn what_is_masked_is_not_seen() {
        let seen = riddle().seen().unwrap();
        assert!((0..112).all(|at| seen.pixel(at, 60)[0] != 40 && seen.pixel(112 + at, 170)[0] != 190));
        assert_eq!((seen.pixel(168, 56)[0], seen.pixel(56, 168)[0]), (90, 140));
    }

    #[test]
    fn right_and_wrong_differ_without_colour() {
        let answered = riddle().answered().unwrap();
        let luminance = |(x, y): (usize, usize)| answered.pixel(x, y).iter().map(|&c| u32::from(c)).sum::<u32>();
        let edge = |left: usize, top: usize| (20..80).map(|at| luminance((left + at, top + 1))).collect::<Vec<_>>();
        let changes = |edge: &[u32]| edge.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 100).count();
        assert_eq!(changes(&edge(0, 0)), 0); // a solid frame
        assert!(changes(&edge(112, 112)) > 2); // a dashed one
    }

    #[test]
    fn a_sheet_has_three_panels_a_row_and_is_a_png() {
        let sheet = draw_all(&[riddle(), riddle()]).unwrap();
        assert_eq!((sheet.width(), sheet.height()), (3 * 224 + 16, 2 * 224 + 8));
        let again = Image8::decode(&encode_png(&sheet).unwrap(), "sheet.png", 3).unwrap();
        assert!(again == sheet);
        assert!(draw_all(&[]).is_err());
    }
}
