//! The grid cuts images where it says, and loses nothing.

use candle_core::{DType, Device, Tensor};
use selfie_patch::{PatchConfig, PatchGrid, Result};

/// An image whose elements are all different: (B, C, H, W).
fn counting(dims: [usize; 4]) -> Result<Tensor> {
    let count = dims.iter().product::<usize>() as u32;
    Ok(Tensor::arange(0, count, &Device::Cpu)?.reshape(&dims[..])?)
}

#[test]
fn a_two_by_two_grid_by_hand() -> Result<()> {
    // Row 0 of the image is 0 1 2 3, row 1 is 4 5 6 7, and so on: the first patch is its top left
    // corner.
    let patches = PatchGrid::new(4, 4, 2)?.split(&counting([1, 1, 4, 4])?)?;
    assert_eq!(patches.dims(), [1, 4, 1, 2, 2]);
    let expected = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]];
    assert_eq!(patches.flatten_from(2)?.get(0)?.to_vec2::<u32>()?, expected);
    Ok(())
}

#[test]
fn channels_stay_in_their_patch() -> Result<()> {
    // Two channels of one row: 0 1 2 3 and 4 5 6 7.
    let patches = PatchGrid::new(1, 4, 1)?.split(&counting([1, 2, 1, 4])?)?;
    assert_eq!(patches.flatten_from(2)?.get(0)?.to_vec2::<u32>()?, [[0, 4], [1, 5], [2, 6], [3, 7]]);
    Ok(())
}

#[test]
fn cells_are_numbered_row_by_row() -> Result<()> {
    let grid = PatchGrid::new(6, 9, 3)?; // 2 rows of 3 cells
    let patches = grid.split(&counting([1, 1, 6, 9])?)?;
    let corners = patches.flatten_from(2)?.narrow(2, 0, 1)?.flatten_all()?;
    assert_eq!(corners.to_vec1::<u32>()?, [0, 3, 6, 27, 30, 33]);
    assert_eq!((grid.rows(), grid.cols(), grid.num_patches(), grid.patch_size()), (2, 3, 6, 3));
    Ok(())
}

#[test]
fn join_inverts_split_at_odd_sizes() -> Result<()> {
    for ([b, c, h, w], p) in
        [([1, 1, 1, 1], 1), ([2, 3, 15, 35], 5), ([3, 5, 7, 21], 7), ([1, 2, 9, 5], 1), ([5, 1, 6, 4], 2)]
    {
        let (grid, images) = (PatchGrid::new(h, w, p)?, counting([b, c, h, w])?);
        let patches = grid.split(&images)?;
        assert_eq!(patches.dims(), [b, h * w / p / p, c, p, p]);
        assert_eq!(grid.join(&patches)?.flatten_all()?.to_vec1::<u32>()?, images.flatten_all()?.to_vec1::<u32>()?);
    }
    Ok(())
}

#[test]
fn split_takes_strided_images() -> Result<()> {
    let grid = PatchGrid::new(4, 6, 2)?;
    let images = counting([2, 4, 6, 3])?.permute((0, 3, 1, 2))?; // channels-last in memory
    let expected = grid.split(&images.contiguous()?)?.flatten_all()?.to_vec1::<u32>()?;
    assert_eq!(grid.split(&images)?.flatten_all()?.to_vec1::<u32>()?, expected);
    Ok(())
}

#[test]
fn split_keeps_the_element_type() -> Result<()> {
    for dtype in [DType::U8, DType::BF16, DType::F16, DType::F32, DType::F64] {
        let images = Tensor::zeros((1, 3, 8, 8), dtype, &Device::Cpu)?;
        assert_eq!(PatchGrid::new(8, 8, 4)?.split(&images)?.dtype(), dtype);
    }
    Ok(())
}

#[test]
fn presets_have_the_papers_grids() -> Result<()> {
    for (config, side, targets) in
        [(PatchConfig::cifar10(), 4, 4), (PatchConfig::imagenet32(), 4, 4), (PatchConfig::imagenet224(), 7, 12)]
    {
        config.validate()?;
        let grid = config.grid()?;
        assert_eq!((grid.rows(), grid.cols(), config.num_targets), (side, side, targets));
    }
    Ok(())
}
