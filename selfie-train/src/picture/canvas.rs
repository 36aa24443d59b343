//! Pixels to draw on: hatching, frames, and marks with soft edges.

use crate::data::{DataResult, Image8};

/// Okabe and Ito's blue, for what is right, and their vermilion, for what is wrong.
const RIGHT: [u8; 3] = [0, 114, 178];
const WRONG: [u8; 3] = [213, 94, 0];
const PAPER: [u8; 3] = [255, 255, 255];
/// Ground and lines of a masked cell.
const HIDDEN: [[u8; 3]; 2] = [[112, 118, 126], [150, 156, 164]];

/// An RGB picture in the making; what lies outside is left out.
///
/// ```
/// use selfie_train::Canvas;
/// let mut canvas = Canvas::blank(20, 10);
/// canvas.stroke((5.0, 5.0), (15.0, 5.0), 2.0, [0, 0, 0]);
/// let picture = canvas.finish()?;
/// assert_eq!((picture.pixel(10, 5), picture.pixel(10, 9)), (&[0, 0, 0][..], &[255, 255, 255][..]));
/// # Ok::<(), selfie_train::DataError>(())
/// ```
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Canvas {
    /// White.
    #[must_use]
    pub fn blank(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![PAPER; width * height] }
    }

    /// `image` in colour, with each pixel as a square of `scale`.
    #[must_use]
    pub fn enlarged(image: &Image8, scale: usize) -> Self {
        let (width, height) = (image.width() * scale, image.height() * scale);
        let pixels = (0..width * height).map(|at| colour(image, at % width / scale, at / width / scale)).collect();
        Self { width, height, pixels }
    }

    /// The picture.
    ///
    /// # Errors
    /// Where it has no pixel.
    pub fn finish(self) -> DataResult<Image8> {
        Image8::new(self.width, self.height, self.pixels.into_flattened())
    }

    /// Puts `image` with its left upper corner at `at`.
    pub fn paste(&mut self, image: &Image8, (left, top): (usize, usize)) {
        for y in 0..image.height() {
            for x in 0..image.width() {
                self.set(left + x, top + y, colour(image, x, y));
            }
        }
    }

    /// Copies a square of `from`.
    pub(super) fn copy(&mut self, from: &Self, source: (usize, usize), target: (usize, usize), side: usize) {
        for at in 0..side * side {
            let (x, y) = (at % side, at / side);
            self.set(target.0 + x, target.1 + y, from.pixels[(source.1 + y) * from.width + source.0 + x]);
        }
    }

    /// Hides a square under diagonal lines.
    pub(super) fn hatch(&mut self, (left, top): (usize, usize), side: usize) {
        let period = (side / 5).max(4);
        for at in 0..side * side {
            let (x, y) = (at % side, at / side);
            self.set(left + x, top + y, HIDDEN[usize::from((x + y) % period < period.div_ceil(4))]);
        }
    }

    /// Marks a square as right (solid frame, tick) or wrong (dashed frame, cross).
    pub(super) fn mark(&mut self, (left, top): (usize, usize), side: usize, right: bool) {
        let colour = if right { RIGHT } else { WRONG };
        let thick = (side / 14).clamp(2, 6);
        let dash = (side / 6).max(3);
        for at in 0..side * side {
            let (x, y) = (at % side, at / side);
            let inset = x.min(y).min(side - 1 - x).min(side - 1 - y);
            if inset < thick {
                let along = if y.min(side - 1 - y) == inset { x } else { y };
                let gap = !right && along / dash % 2 == 1;
                self.set(left + x, top + y, if gap { PAPER } else { colour });
            }
        }
        self.badge((left, top), side, thick, colour, right);
    }

    /// A disc in the corner with a tick or a cross in it.
    fn badge(&mut self, (left, top): (usize, usize), side: usize, thick: usize, colour: [u8; 3], right: bool) {
        let radius = (side as f32 / 5.5).clamp(5.5, 14.0);
        let centre = (left as f32 + thick as f32 + radius, top as f32 + thick as f32 + radius);
        let at = |x: f32, y: f32| (centre.0 + x * radius, centre.1 + y * radius);
        self.stroke(centre, centre, radius, colour);
        let pen = radius / 6.5;
        let strokes: &[[(f32, f32); 2]] = if right {
            &[[(-0.45, 0.05), (-0.12, 0.38)], [(-0.12, 0.38), (0.48, -0.34)]]
        } else {
            &[[(-0.36, -0.36), (0.36, 0.36)], [(-0.36, 0.36), (0.36, -0.36)]]
        };
        for [a, b] in strokes {
            self.stroke(at(a.0, a.1), at(b.0, b.1), pen, PAPER);
        }
    }

    /// A line with round ends and soft edges, `radius` to each side; a disc where both ends are one.
    pub fn stroke(&mut self, a: (f32, f32), b: (f32, f32), radius: f32, colour: [u8; 3]) {
        let span = |a: f32, b: f32, most: usize| {
            let from = (a.min(b) - radius - 1.0).max(0.0) as usize;
            from..((a.max(b) + radius + 2.0).max(0.0) as usize).min(most)
        };
        for y in span(a.1, b.1, self.height) {
            for x in span(a.0, b.0, self.width) {
                let cover = (radius + 0.5 - distance((x as f32 + 0.5, y as f32 + 0.5), a, b)).clamp(0.0, 1.0);
                self.blend(x, y, colour, cover);
            }
        }
    }

    /// Lays `colour` over a pixel; `cover` 1 hides what was there.
    pub fn blend(&mut self, x: usize, y: usize, colour: [u8; 3], cover: f32) {
        if x < self.width && y < self.height {
            let pixel = &mut self.pixels[y * self.width + x];
            for (to, from) in pixel.iter_mut().zip(colour) {
                *to = (f32::from(*to) + cover * (f32::from(from) - f32::from(*to))).round() as u8;
            }
        }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = colour;
        }
    }
}

/// A pixel as red, green and blue: of an image with one or two channels the first as gray, of others the first three.
fn colour(image: &Image8, x: usize, y: usize) -> [u8; 3] {
    match *image.pixel(x, y) {
        [r, g, b, ..] => [r, g, b],
        [gray, ..] => [gray; 3],
        [] => PAPER,
    }
}

/// From `p` to the nearest point between `a` and `b`.
fn distance(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (along, across) = ((b.0 - a.0, b.1 - a.1), (p.0 - a.0, p.1 - a.1));
    let length = along.0 * along.0 + along.1 * along.1;
    let share = if length == 0.0 { 0.0 } else { ((across.0 * along.0 + across.1 * along.1) / length).clamp(0.0, 1.0) };
    (across.0 - share * along.0).hypot(across.1 - share * along.1)
}
