//! The grid: images cut into patches, and patches put together again.
//!
//! Source: Selfie (arXiv 1906.02940), "Patch sampling method". The paper's images are square; here
//! height and width are free.
//!
//! Both directions are reshape and permute, whose gradients Candle knows. `Tensor::unfold` would be
//! the obvious call, but Candle records it as a reshape, so the gradients of the patches would come
//! back to the wrong pixels.

use candle_core::Tensor;

use crate::{Error, Result};

/// The longest side of an image. It keeps the number of cells within `u32`, the type of an index.
const MAX_SIDE: usize = 65_535;

/// A grid of square patches over images of one size. Cells are numbered row by row from the top
/// left.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use selfie_patch::PatchGrid;
///
/// let grid = PatchGrid::new(2, 4, 2)?;
/// let image = Tensor::new(&[[[[0u8, 1, 2, 3], [4, 5, 6, 7]]]], &Device::Cpu)?; // (1, 1, 2, 4)
/// let patches = grid.split(&image)?; // (1, 2, 1, 2, 2)
/// assert_eq!(patches.flatten_from(2)?.to_vec3::<u8>()?, [[[0, 1, 4, 5], [2, 3, 6, 7]]]);
/// # Ok::<(), selfie_patch::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchGrid {
    rows: usize,
    cols: usize,
    patch_size: usize,
}

impl PatchGrid {
    /// The grid over images of `height` by `width` pixels in patches of `patch_size` by
    /// `patch_size` pixels.
    ///
    /// # Errors
    /// [`Error::Config`] where one of them is zero, a side is longer than 65,535, or `patch_size`
    /// does not divide a side.
    pub fn new(height: usize, width: usize, patch_size: usize) -> Result<Self> {
        let rows = cells_along("height", height, patch_size)?;
        let cols = cells_along("width", width, patch_size)?;
        Ok(PatchGrid { rows, cols, patch_size })
    }

    /// The grid over square images, whose errors name the configuration's field.
    pub(crate) fn square(image_size: usize, patch_size: usize) -> Result<Self> {
        let cells = cells_along("image_size", image_size, patch_size)?;
        Ok(PatchGrid { rows: cells, cols: cells, patch_size })
    }

    /// Cells from top to bottom, H / P.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cells from left to right, W / P.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// P, the side of a patch in pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// N, the number of cells.
    pub fn num_patches(&self) -> usize {
        self.rows * self.cols
    }

    /// Cuts images into patches. The elements may be of any type; gradients flow back to the
    /// pixels.
    ///
    /// # Shapes
    /// `images` (B, C, H, W) -> (B, N, C, P, P), contiguous
    ///
    /// # Errors
    /// [`Error::Shape`] where the images have another height or width than the grid.
    pub fn split(&self, images: &Tensor) -> Result<Tensor> {
        let (rows, cols, p) = (self.rows, self.cols, self.patch_size);
        let (b, c) = match *images.dims() {
            [b, c, h, w] if (h, w) == (rows * p, cols * p) => (b, c),
            _ => {
                let expected = format!("[B, C, {}, {}]", rows * p, cols * p);
                return Err(Error::shape("images", expected, images));
            }
        };
        let patches = images
            .reshape((b, c, rows, p, cols, p))? // (B, C, rows, P, cols, P)
            .permute((0, 2, 4, 1, 3, 5))? // (B, rows, cols, C, P, P)
            .reshape((b, rows * cols, c, p, p))?; // (B, N, C, P, P)
        Ok(patches)
    }

    /// Puts patches together again: the inverse of [`split`](PatchGrid::split).
    ///
    /// # Shapes
    /// `patches` (B, N, C, P, P) -> (B, C, H, W), contiguous
    ///
    /// # Errors
    /// [`Error::Shape`] where the patches are not N squares of the grid's size.
    pub fn join(&self, patches: &Tensor) -> Result<Tensor> {
        let (rows, cols, p) = (self.rows, self.cols, self.patch_size);
        let (b, c) = match *patches.dims() {
            [b, n, c, h, w] if (n, h, w) == (rows * cols, p, p) => (b, c),
            _ => {
                let expected = format!("[B, {}, C, {p}, {p}]", rows * cols);
                return Err(Error::shape("patches", expected, patches));
            }
        };
        let images = patches
            .reshape((b, rows, cols, c, p, p))? // (B, rows, cols, C, P, P)
            .permute((0, 3, 1, 4, 2, 5))? // (B, C, rows, P, cols, P)
            .reshape((b, c, rows * p, cols * p))?; // (B, C, H, W)
        Ok(images)
    }
}

/// How many patches lie along a side of `side` pixels, which the caller calls `field`.
fn cells_along(field: &'static str, side: usize, patch_size: usize) -> Result<usize> {
    if !(1..=MAX_SIDE).contains(&side) {
        let reason = format!("{side} pixels, expected 1 to {MAX_SIDE}");
        return Err(Error::config(field, reason));
    }
    if !(1..=side).contains(&patch_size) {
        let reason = format!("{patch_size} pixels, expected 1 to {side}, which is {field}");
        return Err(Error::config("patch_size", reason));
    }
    if !side.is_multiple_of(patch_size) {
        let below = side - side % patch_size;
        let above = below + patch_size;
        let reason = format!("{side} is not divisible by patch_size {patch_size}, expected {below} or {above}");
        return Err(Error::config(field, reason));
    }
    Ok(side / patch_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_divides_is_counted_in_patches() {
        assert_eq!(cells_along("width", 224, 32).unwrap(), 7);
        assert_eq!(cells_along("width", 5, 5).unwrap(), 1);
        assert_eq!(cells_along("width", 3, 1).unwrap(), 3);
    }

    #[test]
    fn a_side_that_does_not_divide_names_its_neighbours() {
        let error = cells_along("width", 33, 8).unwrap_err();
        assert_eq!(error.to_string(), "width: 33 is not divisible by patch_size 8, expected 32 or 40");
    }

    #[test]
    fn the_largest_grid_still_has_u32_cells() {
        let grid = PatchGrid::new(MAX_SIDE, MAX_SIDE, 1).unwrap();
        assert!(u32::try_from(grid.num_patches()).is_ok());
    }
}
