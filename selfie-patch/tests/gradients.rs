//! Gradients flow through split, join and gather to the right places: against hand values and
//! finite differences.

use candle_core::{Device, Tensor, Var};
use selfie_patch::{PatchGrid, Result, gather};

/// 0.10, 0.11, 0.12, .. in the given shape.
fn ramp(dims: &[usize]) -> Result<Tensor> {
    let count = dims.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| 0.1 + 0.01 * i as f64).collect();
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

/// Compares the gradient of the quadratic `f` at the ramp of this shape with central differences,
/// which are exact for it.
fn assert_gradient(dims: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let x = Var::from_tensor(&ramp(dims)?)?;
    let gradients = f(&x)?.backward()?;
    let gradient = gradients.get(&x).expect("the input is reached").flatten_all()?.to_vec1::<f64>()?;
    let values = x.flatten_all()?.to_vec1::<f64>()?;
    let at = |i: usize, step: f64| -> Result<f64> {
        let mut values = values.clone();
        values[i] += step;
        Ok(f(&Tensor::from_vec(values, dims, &Device::Cpu)?)?.to_scalar()?)
    };
    for (i, gradient) in gradient.into_iter().enumerate() {
        let difference = at(i, 0.5)? - at(i, -0.5)?;
        assert!((gradient - difference).abs() < 1e-10, "element {i}: {gradient} and {difference}");
    }
    Ok(())
}

/// The sum of w x^2, with weights w that are all different: no permutation of the gradient goes
/// unseen.
fn weighted_squares(x: &Tensor) -> Result<Tensor> {
    let weights = (ramp(x.dims())? + 1.0)?;
    Ok((x.sqr()? * weights)?.sum_all()?)
}

#[test]
fn split_hands_each_pixel_its_own_gradient() -> Result<()> {
    // The loss takes the pixel at the top left of patch 1, which is column 2 of row 0.
    let image = Var::from_tensor(&ramp(&[1, 1, 2, 4])?)?;
    let patches = PatchGrid::new(2, 4, 2)?.split(&image)?; // (1, 2, 1, 2, 2)
    let gradients = patches.flatten_from(2)?.get(0)?.get(1)?.get(0)?.backward()?;
    let gradient = gradients.get(&image).expect("the image is reached");
    assert_eq!(gradient.flatten_all()?.to_vec1::<f64>()?, [0., 0., 1., 0., 0., 0., 0., 0.]);
    Ok(())
}

#[test]
fn split_agrees_with_finite_differences() -> Result<()> {
    let grid = PatchGrid::new(4, 6, 2)?;
    assert_gradient(&[2, 3, 4, 6], |images| weighted_squares(&grid.split(images)?))
}

#[test]
fn join_agrees_with_finite_differences() -> Result<()> {
    let grid = PatchGrid::new(3, 9, 3)?;
    assert_gradient(&[2, 3, 2, 3, 3], |patches| weighted_squares(&grid.join(patches)?))
}

#[test]
fn gather_adds_up_the_gradients_of_a_repeated_cell() -> Result<()> {
    // Image 0 takes cell 1 twice, image 1 takes cells 2 and 0; the upstream gradients are 1, 2, 3,
    // 4.
    let embeddings = Var::from_tensor(&ramp(&[2, 3, 1])?)?;
    let index = Tensor::new(&[[1u32, 1], [2, 0]], &Device::Cpu)?;
    let upstream = Tensor::new(&[[[1f64], [2.]], [[3.], [4.]]], &Device::Cpu)?;
    let gradients = (gather(&embeddings, &index)? * upstream)?.backward()?;
    let gradient = gradients.get(&embeddings).expect("the embeddings are reached");
    assert_eq!(gradient.flatten_all()?.to_vec1::<f64>()?, [0., 3., 0., 4., 0., 3.]);
    Ok(())
}

#[test]
fn gather_agrees_with_finite_differences() -> Result<()> {
    let index = Tensor::new(&[[3u32, 0, 1], [2, 2, 4]], &Device::Cpu)?;
    assert_gradient(&[2, 5, 3], |embeddings| weighted_squares(&gather(embeddings, &index)?))
}

#[test]
fn gather_takes_strided_tensors() -> Result<()> {
    let embeddings = ramp(&[2, 3, 5])?.transpose(1, 2)?; // (B, N, D) = (2, 5, 3)
    let index = Tensor::new(&[[3u32, 2], [0, 2], [1, 4]], &Device::Cpu)?.t()?; // (B, K) = (2, 3)
    let expected = gather(&embeddings.contiguous()?, &index.contiguous()?)?.to_vec3::<f64>()?;
    assert_eq!(gather(&embeddings, &index)?.to_vec3::<f64>()?, expected);
    assert_eq!(expected[1][2], embeddings.get(1)?.get(4)?.to_vec1::<f64>()?);
    Ok(())
}

#[test]
fn a_chain_of_split_and_gather_agrees_with_finite_differences() -> Result<()> {
    let (grid, index) = (PatchGrid::new(4, 4, 2)?, Tensor::new(&[[2u32, 1]], &Device::Cpu)?);
    assert_gradient(&[1, 3, 4, 4], |images| weighted_squares(&gather(&grid.split(images)?.flatten_from(2)?, &index)?))
}
