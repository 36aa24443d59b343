//! A chart as pixels, for the PNG files beside the page: to put into a mail or a paper.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use selfie_train::{Canvas, Image8};

use super::chart::{Chart, Stroke, short};
use crate::error::Result;

const WIDTH: usize = 960;
const HEIGHT: usize = 540;
/// Room for the labels: left, right, top, bottom.
const MARGIN: [usize; 4] = [96, 36, 64, 64];
const FONT: RasterHeight = RasterHeight::Size20;

pub const INK: [u8; 3] = [34, 38, 46];
pub const SOFT: [u8; 3] = [96, 102, 112];
pub const GRID: [u8; 3] = [224, 226, 230];
/// The page's colours of the first, second and third line, and three more; all but the third are Okabe and Ito's, which most
/// eyes tell apart.
pub const LINES: [[u8; 3]; 6] =
    [[0, 114, 178], [213, 94, 0], [0, 140, 105], [204, 121, 167], [86, 180, 233], [230, 159, 0]];

/// The chart on white.
///
/// # Errors
/// Not for a canvas of this size.
pub fn draw(chart: &Chart) -> Result<Image8> {
    let mut canvas = Canvas::blank(WIDTH, HEIGHT);
    let (steps, values) = (chart.steps(), chart.values());
    let [left, right, top, bottom] = MARGIN.map(|margin| margin as f64);
    let (width, height) = (WIDTH as f64, HEIGHT as f64);
    let x = |step: f64| (left + steps.place(step) * (width - left - right)) as f32;
    let y = |value: f64| (height - bottom - values.place(value) * (height - top - bottom)) as f32;
    let (x0, x1) = (left as f32, (width - right) as f32);

    text(&mut canvas, chart.title, MARGIN[0], 18, INK, Align::Left);
    for &tick in &values.ticks {
        canvas.stroke((x0, y(tick)), (x1, y(tick)), 0.6, GRID);
        text(
            &mut canvas,
            &chart.number(tick),
            MARGIN[0] - 12,
            (y(tick) as usize).saturating_sub(10),
            SOFT,
            Align::Right,
        );
    }
    for &tick in &steps.ticks {
        text(&mut canvas, &short(tick), x(tick) as usize, HEIGHT - MARGIN[3] + 12, SOFT, Align::Centre);
    }
    text(&mut canvas, "steps", WIDTH - MARGIN[1], HEIGHT - 28, SOFT, Align::Right);
    if let Some((name, level)) = chart.reference {
        let mut from = x0;
        while from < x1 {
            canvas.stroke((from, y(level)), ((from + 10.0).min(x1), y(level)), 1.0, SOFT);
            from += 18.0;
        }
        text(&mut canvas, name, MARGIN[0] + 8, (y(level) as usize).saturating_sub(24), SOFT, Align::Left);
    }
    let mut legend = WIDTH - MARGIN[1];
    for (series, colour) in chart.series.iter().zip(LINES).rev() {
        for pair in series.points.windows(2) {
            let at = |point: (f64, f64)| (x(point.0), y(point.1));
            canvas.stroke(at(pair[0]), at(pair[1]), 1.4, colour);
        }
        if series.stroke == Stroke::Dotted {
            for &(step, value) in series.points.iter().take(60) {
                canvas.stroke((x(step), y(value)), (x(step), y(value)), 4.5, colour);
            }
        }
        let value = series.last().map(|value| chart.number(value)).unwrap_or_default();
        let name = format!("{} {value}", series.name);
        text(&mut canvas, &name, legend, 18, colour, Align::Right);
        legend = legend.saturating_sub((name.chars().count() + 2) * get_raster_width(FontWeight::Regular, FONT));
    }
    Ok(canvas.finish().map_err(selfie_train::Error::from)?)
}

/// Which end of a text is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Centre,
    Right,
}

/// Returns the width of a character in pixels.
pub fn letter_width() -> usize {
    get_raster_width(FontWeight::Regular, FONT)
}

/// Writes `words` with their upper edge at `y`; characters that the font lacks become `?`.
pub fn text(canvas: &mut Canvas, words: &str, x: usize, y: usize, colour: [u8; 3], align: Align) {
    let advance = get_raster_width(FontWeight::Regular, FONT);
    let length = advance * words.chars().count();
    let start = match align {
        Align::Left => x,
        Align::Centre => x.saturating_sub(length / 2),
        Align::Right => x.saturating_sub(length),
    };
    for (at, character) in words.chars().enumerate() {
        let found = get_raster(character, FontWeight::Regular, FONT);
        let Some(glyph) = found.or_else(|| get_raster('?', FontWeight::Regular, FONT)) else {
            continue;
        };
        for (row, line) in glyph.rows().enumerate() {
            for (column, &cover) in line.iter().enumerate() {
                canvas.blend(start + at * advance + column, y + row, colour, f32::from(cover) / 255.0);
            }
        }
    }
}
