//! Cutting and resizing of 8-bit images.
//!
//! Resizing is antialiased bilinear as in Pillow, by `fast_image_resize`. It rounds to bytes between its two passes as
//! Pillow does; where it takes the vertical pass first single values may differ by one.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::error::{DataError, DataResult};
use super::image8::Image8;

/// A rectangle of whole pixels, inside of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Resizes `area` to `size` x `size`; pixels outside of the area have no influence.
///
/// The crate takes the vertical pass first. Where the image grows that makes more rows for the other pass, which costs five
/// times as much, so here the horizontal one goes first, as in Pillow.
pub(super) fn resize_area(image: &Image8, area: Area, size: usize) -> DataResult<Image8> {
    if area.height >= size {
        return resize(image, area, bilinear(), (size, size));
    }
    let wide = resize(image, area, bilinear(), (size, area.height))?;
    let whole = Area { left: 0, top: 0, width: size, height: area.height };
    resize(&wide, whole, bilinear(), (size, size))
}

/// Resizes so that the short side becomes `side`, then cuts `size` x `size` pixels, at most `side`, from the centre.
///
/// Only the centre is computed: a photograph of 1 x 10,000 pixels costs no more than a square one.
pub(super) fn centre(image: &Image8, side: usize, size: usize) -> DataResult<Image8> {
    let (width, height) = (image.width(), image.height());
    if side == size && (width, height) == (size, size) {
        return Ok(image.clone());
    }
    let short = width.min(height);
    // torchvision cuts the long side's fraction off.
    let scaled = |length: usize| side * length / short;
    let span = |length: usize| {
        // torchvision's centre crop rounds half a pixel to even.
        let start = ((scaled(length) - size) as f64 / 2.0).round_ties_even();
        let scale = length as f64 / scaled(length) as f64;
        let start = start * scale;
        (start, (size as f64 * scale).min(length as f64 - start))
    };
    let ((left, box_width), (top, box_height)) = (span(width), span(height));
    let whole = Area { left: 0, top: 0, width, height };
    resize(image, whole, bilinear().crop(left, top, box_width, box_height), (size, size))
}

/// Cuts a window of the image's own size out of the image padded by `pad` pixels of reflection on each side; `left` and
/// `top` count from the padded image's corner and are at most `2 * pad`.
pub(super) fn reflected_window(image: &Image8, pad: usize, left: usize, top: usize) -> DataResult<Image8> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let columns: Vec<usize> = (0..width).map(|x| reflect(left + x, pad, width)).collect();
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for y in 0..height {
        let row = image.row(reflect(top + y, pad, height));
        for &x in &columns {
            pixels.extend_from_slice(&row[x * channels..(x + 1) * channels]);
        }
    }
    Image8::new(width, height, pixels)
}

/// The place, in a line of `n` pixels, of place `i` of the line padded by `pad`: `2 1 | 0 1 2 3 | 2 1`, the border pixel is
/// not repeated (numpy's and torchvision's `reflect`). `pad` is below `n`.
pub(super) fn reflect(i: usize, pad: usize, n: usize) -> usize {
    let from_start = i.abs_diff(pad);
    from_start.min((2 * (n - 1)).abs_diff(from_start))
}

fn bilinear() -> ResizeOptions {
    // No channel is taken for an alpha that the others would have to be weighted with.
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false)
}

/// Resizes `area`, or the box of the `options` inside it, to `width` x `height`. Other numbers of
/// channels than 1 and 3 go one by one, because each type of pixel compiles all of the resizing code anew.
fn resize(image: &Image8, area: Area, options: ResizeOptions, (width, height): (usize, usize)) -> DataResult<Image8> {
    let mut pixels = vec![0; width * height * image.channels()];
    match image.channels() {
        1 => resize_typed::<U8>(image, area, options, (width, height), &mut pixels)?,
        3 => resize_typed::<U8x3>(image, area, options, (width, height), &mut pixels)?,
        channels => {
            let mut resized = vec![0; width * height];
            for c in 0..channels {
                let plane = image.pixels().iter().skip(c).step_by(channels).copied().collect();
                let plane = Image8::new(image.width(), image.height(), plane)?;
                resize_typed::<U8>(&plane, area, options, (width, height), &mut resized)?;
                for (to, from) in pixels[c..].iter_mut().step_by(channels).zip(&resized) {
                    *to = *from;
                }
            }
        }
    }
    Image8::new(width, height, pixels)
}

/// [`resize`] of pixels of one type, named in one place only because each type compiles all of the resizing code.
fn resize_typed<P: InnerPixel + PixelTrait>(
    image: &Image8,
    area: Area,
    options: ResizeOptions,
    (to_width, to_height): (usize, usize),
    pixels: &mut [u8],
) -> DataResult<()> {
    let to_u32 = |v: usize| u32::try_from(v).map_err(failed);
    let (width, height) = (to_u32(image.width())?, to_u32(image.height())?);
    let whole = TypedImageRef::<P>::from_buffer(width, height, image.pixels()).map_err(failed)?;
    let [left, top, width, height] = [area.left, area.top, area.width, area.height].map(|v| v as u32);
    let from = TypedCroppedImage::new(whole, left, top, width, height).map_err(failed)?;
    let mut to = TypedImage::<P>::from_buffer(to_u32(to_width)?, to_u32(to_height)?, pixels).map_err(failed)?;
    Resizer::new().resize_typed(&from, &mut to, &options).map_err(failed)
}

fn failed(reason: impl std::fmt::Display) -> DataError {
    DataError::config("image", format!("cannot be resized: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Golden, mean_difference};
    use super::*;

    /// An image whose three channels are `value(x, y)`.
    fn gray(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Image8 {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| [value(x, y); 3]).collect();
        Image8::new(width, height, pixels).unwrap()
    }

    #[test]
    fn reflection_does_not_repeat_the_border() {
        let line: Vec<_> = (0..8).map(|i| reflect(i, 2, 4)).collect();
        assert_eq!(line, [2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(reflect(0, 0, 1), 0);
    }

    #[test]
    fn a_window_of_a_padded_ramp_is_the_ramp_reflected() {
        let ramp = gray(4, 4, |x, y| (10 * y + x) as u8);
        let row = |image: &Image8, y| (0..4).map(|x| image.pixel(x, y)[0]).collect::<Vec<_>>();
        let corner = reflected_window(&ramp, 2, 0, 4).unwrap();
        assert_eq!(row(&corner, 0), [22, 21, 20, 21]);
        assert_eq!(row(&corner, 2), [22, 21, 20, 21]); // row 4 is row 2 again
        assert_eq!(row(&corner, 3), [12, 11, 10, 11]);
        assert_eq!(reflected_window(&ramp, 2, 2, 2).unwrap(), ramp);
    }

    #[test]
    fn a_constant_stays_a_constant() {
        let constant = gray(37, 91, |_, _| 173);
        for size in [8, 37, 64, 224] {
            let area = Area { left: 3, top: 5, width: 30, height: 80 };
            let resized = resize_area(&constant, area, size).unwrap();
            assert!(resized.pixels().iter().all(|&v| v == 173));
            assert!(centre(&constant, size + 3, size).unwrap().pixels().iter().all(|&v| v == 173));
        }
    }

    #[test]
    fn resizing_agrees_with_pillow() {
        let golden = Golden::read();
        let picture = golden.image("picture");
        let names = golden.names("resized");
        assert_eq!(names.len(), 4);
        for name in names {
            let numbers: Vec<usize> = name.split('.').map(|number| number.parse().unwrap()).collect();
            let &[left, top, width, height, size] = &*numbers else { panic!("{name}") };
            let resized = resize_area(&picture, Area { left, top, width, height }, size).unwrap();
            let difference = mean_difference(&resized, &golden.image(&format!("resized.{name}")));
            assert!(difference < 0.2, "{name}: {difference}");
        }
        let centred = centre(&picture, 36, 32).unwrap();
        let difference = mean_difference(&centred, &golden.image("centre.36.32"));
        assert!(difference < 1.0, "{difference}");
    }

    #[test]
    fn every_channel_is_resized_alike() {
        let one = gray(31, 45, |x, y| (7 * x + 3 * y * y) as u8);
        let area = Area { left: 1, top: 4, width: 29, height: 40 };
        let expected = resize_area(&one, area, 16).unwrap();
        for channels in [1, 2, 4, 5] {
            let spread = one.pixels().chunks_exact(3).flat_map(|pixel| vec![pixel[0]; channels]).collect();
            let image = Image8::new(31, 45, spread).unwrap();
            let resized = resize_area(&image, area, 16).unwrap();
            assert_eq!(resized.channels(), channels);
            let same = |(a, b): (&[u8], &[u8])| a.iter().all(|v| *v == b[0]);
            assert!(resized.pixels().chunks_exact(channels).zip(expected.pixels().chunks_exact(3)).all(same));
            let window = reflected_window(&image, 3, 0, 6).unwrap();
            let reference = reflected_window(&one, 3, 0, 6).unwrap();
            assert!(window.pixels().chunks_exact(channels).zip(reference.pixels().chunks_exact(3)).all(same));
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        // 200 -> 50 columns: each averages with weights symmetric around 4x + 1.5.
        let ramp = gray(200, 200, |x, _| x as u8);
        let area = Area { left: 0, top: 0, width: 200, height: 200 };
        let resized = resize_area(&ramp, area, 50).unwrap();
        for x in 2..48 {
            let expected = 4.0 * x as f64 + 1.5;
            assert!((f64::from(resized.pixel(x, 25)[0]) - expected).abs() <= 1.0, "column {x}");
        }
    }

    #[test]
    fn what_lies_outside_the_area_has_no_influence() {
        let image = gray(64, 64, |x, y| if (16..48).contains(&x) && (8..56).contains(&y) { 200 } else { 0 });
        let area = Area { left: 16, top: 8, width: 32, height: 48 };
        let resized = resize_area(&image, area, 20).unwrap();
        assert!(resized.pixels().iter().all(|&v| v == 200));
    }

    #[test]
    fn the_centre_is_cut_without_resizing_where_the_short_side_fits() {
        let image = gray(9, 6, |x, y| (10 * y + x) as u8);
        // (9 - 4) / 2 = 2.5 rounds to the even 2, (6 - 4) / 2 = 1.
        let cut = centre(&image, 6, 4).unwrap();
        assert_eq!((cut.pixel(0, 0)[0], cut.pixel(3, 3)[0]), (12, 45));
        // (7 - 4) / 2 = 1.5 rounds to the even 2, where rounding down gives 1.
        let cut = centre(&gray(7, 4, |x, _| x as u8), 4, 4).unwrap();
        assert_eq!((cut.pixel(0, 0)[0], cut.pixel(3, 0)[0]), (2, 5));
    }

    #[test]
    fn a_very_long_image_is_handled() {
        let line = gray(1, 20_000, |_, y| (y / 100) as u8);
        let cut = centre(&line, 256, 224).unwrap();
        assert_eq!((cut.width(), cut.height()), (224, 224));
        assert!(cut.pixels().iter().all(|&v| v.abs_diff(100) <= 1));
    }
}
