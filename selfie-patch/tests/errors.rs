//! Bad input is refused by an error that names the thing, the value and what was expected.

use candle_core::{DType, Device, Tensor};
use selfie_patch::{Error, Mask, MaskSampler, MaskScope, PatchConfig, PatchGrid, Result, gather};

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

fn zeros(dims: &[usize], dtype: DType) -> Result<Tensor> {
    Ok(Tensor::zeros(dims, dtype, &Device::Cpu)?)
}

#[test]
fn configurations_out_of_range_are_refused() {
    let base = PatchConfig::cifar10;
    for (config, expected) in [
        (
            PatchConfig { image_size: 33, ..base() },
            "image_size: 33 is not divisible by patch_size 8, expected 32 or 40",
        ),
        (PatchConfig { image_size: 0, ..base() }, "image_size: 0 pixels, expected 1 to 65535"),
        (
            PatchConfig { image_size: usize::MAX, ..base() },
            "image_size: 18446744073709551615 pixels, expected 1 to 65535",
        ),
        (PatchConfig { patch_size: 0, ..base() }, "patch_size: 0 pixels, expected 1 to 32, which is image_size"),
        (PatchConfig { patch_size: 64, ..base() }, "patch_size: 64 pixels, expected 1 to 32, which is image_size"),
        (PatchConfig { num_targets: 0, ..base() }, "num_targets: 0 of 16 patches leaves no target, expected 1 to 15"),
        (
            PatchConfig { num_targets: 99, ..base() },
            "num_targets: 99 of 16 patches leaves no context, expected 1 to 15",
        ),
    ] {
        assert_eq!(message(config.validate()), expected);
    }
}

#[test]
fn a_grid_of_one_cell_has_nothing_to_mask() {
    let config = PatchConfig { patch_size: 32, num_targets: 1, ..PatchConfig::cifar10() };
    let expected = "num_targets: 1 of 1 patches leaves no context; cut the image into more patches";
    assert_eq!(message(config.validate()), expected);
}

#[test]
fn grids_that_do_not_divide_are_refused() {
    assert_eq!(message(PatchGrid::new(8, 10, 4)), "width: 10 is not divisible by patch_size 4, expected 8 or 12");
    assert_eq!(message(PatchGrid::new(7, 8, 4)), "height: 7 is not divisible by patch_size 4, expected 4 or 8");
}

#[test]
fn samplers_check_their_numbers() {
    let refused = |n, m| message(MaskSampler::new(n, m, MaskScope::PerImage));
    assert_eq!(refused(16, 0), "num_targets: 0 of 16 patches leaves no target, expected 1 to 15");
    assert_eq!(refused(16, 16), "num_targets: 16 of 16 patches leaves no context, expected 1 to 15");
    assert_eq!(refused(1 << 32, 4), "num_patches: 4294967296 patches, expected at most 16777216");
}

#[test]
fn no_images_are_refused() -> Result<()> {
    let sampler = MaskSampler::new(16, 4, MaskScope::PerImage)?;
    let refused = message(sampler.sample(5..5, 0, &Device::Cpu));
    assert_eq!(refused, "images: expected the number of at least 1 image, got none");
    Ok(())
}

#[test]
fn images_and_patches_of_another_shape_are_refused() -> Result<()> {
    let grid = PatchGrid::new(8, 12, 4)?;
    let images = |dims: &[usize]| -> Result<String> { Ok(message(grid.split(&zeros(dims, DType::F32)?))) };
    assert_eq!(images(&[2, 3, 12, 8])?, "images: expected [B, C, 8, 12], got [2, 3, 12, 8] of f32");
    assert_eq!(images(&[3, 8, 12])?, "images: expected [B, C, 8, 12], got [3, 8, 12] of f32");
    let patches = |dims: &[usize]| -> Result<String> { Ok(message(grid.join(&zeros(dims, DType::U8)?))) };
    assert_eq!(patches(&[2, 5, 3, 4, 4])?, "patches: expected [B, 6, C, 4, 4], got [2, 5, 3, 4, 4] of u8");
    assert_eq!(patches(&[2, 6, 3, 4, 2])?, "patches: expected [B, 6, C, 4, 4], got [2, 6, 3, 4, 2] of u8");
    Ok(())
}

#[test]
fn indices_of_another_shape_or_type_are_refused() -> Result<()> {
    let embeddings = zeros(&[2, 16, 3], DType::F32)?;
    for (dims, dtype, got) in [
        (&[2, 4][..], DType::I64, "[2, 4] of i64"),
        (&[3, 4], DType::U32, "[3, 4] of u32"),
        (&[4], DType::U32, "[4] of u32"),
        (&[2, 0], DType::U32, "[2, 0] of u32"),
    ] {
        let refused = message(gather(&embeddings, &zeros(dims, dtype)?));
        assert_eq!(refused, format!("index: expected [2, K] of u32, K at least 1, got {got}"));
    }
    Ok(())
}

#[test]
fn embeddings_of_another_shape_are_refused() -> Result<()> {
    let index = zeros(&[2, 4], DType::U32)?;
    let refused = message(gather(&zeros(&[2, 16], DType::F32)?, &index));
    assert_eq!(refused, "embeddings: expected [B, N, D], none of them 0, got [2, 16] of f32");
    let refused = message(gather(&zeros(&[2, 0, 3], DType::F32)?, &index));
    assert_eq!(refused, "embeddings: expected [B, N, D], none of them 0, got [2, 0, 3] of f32");
    Ok(())
}

#[test]
fn a_cell_past_the_end_does_not_reach_the_next_image() -> Result<()> {
    let embeddings = zeros(&[2, 16, 3], DType::F32)?;
    let index = Tensor::new(&[[0u32, 15], [3, 16]], &Device::Cpu)?;
    let expected = "index: image 1 of the batch points at cell 16, expected a cell below 16";
    assert_eq!(message(gather(&embeddings, &index)), expected);
    Ok(())
}

#[test]
fn a_mask_of_another_grid_is_refused() -> Result<()> {
    let mask = MaskSampler::new(16, 15, MaskScope::PerImage)?.sample(0..1, 0, &Device::Cpu)?;
    assert!(message(mask.as_grid(8)).starts_with("targets: image 0 of the batch points at cell "));
    let mask = Mask { targets: zeros(&[2, 0], DType::U32)?, ..mask };
    assert_eq!(message(mask.as_grid(0)), "targets: expected [B, M] of u32, none of them 0, got [2, 0] of u32");
    Ok(())
}

#[test]
fn every_small_shape_is_split_and_joined_by_its_definition_or_refused() -> Result<()> {
    let (mut right, mut refused) = (0, 0);
    for [height, width, patch] in (0..5).flat_map(|h| (0..5).flat_map(move |w| (0..4).map(move |p| [h, w, p]))) {
        let fits = height * width * patch > 0 && height % patch == 0 && width % patch == 0;
        let grid = match PatchGrid::new(height, width, patch) {
            Ok(grid) => grid,
            Err(Error::Config { .. }) if !fits => {
                refused += 1;
                continue;
            }
            other => panic!("{height}x{width} in {patch}: {other:?}"),
        };
        let count = 2 * 3 * height * width;
        let images = Tensor::arange(0, count as u32, &Device::Cpu)?.reshape((2, 3, height, width))?;
        let patches = grid.split(&images)?;
        let cells = patches.flatten_all()?.to_vec1::<u32>()?;
        let columns = width / patch;
        for (i, got) in cells.into_iter().enumerate() {
            let (x, y, c) = (i % patch, i / patch % patch, i / (patch * patch) % 3);
            let (n, b) = (i / (3 * patch * patch) % (count / 6 / (patch * patch)), i / (count / 2));
            let (row, column) = (n / columns * patch + y, n % columns * patch + x);
            assert_eq!(got as usize, ((b * 3 + c) * height + row) * width + column);
        }
        assert_eq!(grid.join(&patches)?.flatten_all()?.to_vec1::<u32>()?, (0..count as u32).collect::<Vec<_>>());
        for wrong in [vec![2, 3, height, width + 1], vec![3, height, width], vec![height], vec![]] {
            let wrong = zeros(&wrong, DType::F32)?;
            let errors = [grid.split(&wrong), grid.join(&wrong)].map(|result| result.unwrap_err());
            assert!(errors.iter().all(|error| matches!(error, Error::Shape { .. })), "{errors:?}");
        }
        right += 1;
    }
    assert!(right > 20 && refused > 50, "{right} right, {refused} refused");
    Ok(())
}

#[test]
fn every_small_index_gathers_its_rows_or_is_refused() -> Result<()> {
    for [b, n, k, cell] in
        (0..3).flat_map(|b| (0..3).flat_map(move |n| (0..3).flat_map(move |k| (0..3).map(move |c| [b, n, k, c]))))
    {
        let embeddings = zeros(&[b, n, 2], DType::F32)?;
        let index = Tensor::full(cell as u32, (b, k), &Device::Cpu)?;
        match gather(&embeddings, &index) {
            Ok(rows) => assert!(rows.dims() == [b, k, 2] && b * n * k > 0 && cell < n),
            Err(Error::Cell { .. }) => assert!(b * n * k > 0 && cell >= n),
            Err(Error::Shape { .. }) => assert!(b * n * k == 0),
            Err(error) => panic!("{b}, {n}, {k}, {cell}: {error}"),
        }
        let mask = Mask { targets: index.clone(), context: index };
        for patches in [n, usize::MAX] {
            match mask.as_grid(patches) {
                Ok(grid) => assert!(grid.dims() == [b, n] && patches == n && cell < n),
                Err(Error::Shape { .. } | Error::Cell { .. } | Error::Config { .. }) => {}
                Err(error) => panic!("{b}, {k}, {cell} in {patches}: {error}"),
            }
        }
    }
    Ok(())
}
