//! The pictures of what was learned, each as one sheet for its PNG file.

use selfie_train::{Canvas, Image8, draw_all};

use super::learned::{Learned, Seen};
use super::raster::{Align, text};
use crate::error::Result;

const INK: [u8; 3] = [34, 38, 46];
/// Between pictures, and above one that has words over it.
const GAP: usize = 12;
const WORDS: usize = 30;

/// Name and sheet of each.
pub fn of(learned: &Learned) -> Result<Vec<(&'static str, Image8)>> {
    let mut sheets = Vec::new();
    if !learned.riddles.is_empty() {
        sheets.push(("masked-patches", draw_all(&learned.riddles)?));
    }
    if !learned.history.is_empty() {
        sheets.push(("history", history(learned)?));
    }
    if !learned.neighbours.is_empty() {
        sheets.push(("neighbours", neighbours(&learned.neighbours)?));
    }
    Ok(sheets)
}

/// A column a checkpoint, a row an image.
fn history(learned: &Learned) -> Result<Image8> {
    let columns = learned.history.iter().map(|(step, riddles)| {
        let pictures = riddles.iter().map(|riddle| {
            Ok((format!("step {step}: {}/{}", riddle.right(), riddle.targets.len()), riddle.answered()?))
        });
        pictures.collect::<Result<Vec<_>>>()
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    let rows = (0..rows).map(|row| {
        columns.iter().filter_map(|column| column.get(row)).map(|(words, picture)| (words.as_str(), picture)).collect()
    });
    grid(&rows.collect::<Vec<Vec<_>>>())
}

/// A row an image: itself, then its neighbours.
fn neighbours(rows: &[(Seen, Vec<Seen>)]) -> Result<Image8> {
    let row = |(asked, near): &(Seen, Vec<Seen>)| {
        std::iter::once(asked)
            .chain(near)
            .map(|seen| Ok((words(seen), larger(&seen.picture)?)))
            .collect::<Result<Vec<_>>>()
    };
    let rows = rows.iter().map(row).collect::<Result<Vec<_>>>()?;
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|(words, picture)| (words.as_str(), picture)).collect()).collect();
    grid(&rows)
}

fn words(seen: &Seen) -> String {
    let short: String = seen.label.chars().take(10).collect();
    match seen.same {
        Some(true) => format!("={short}"),
        Some(false) => format!("x {short}"),
        None => short,
    }
}

/// Small images with each pixel as a square.
fn larger(image: &Image8) -> Result<Image8> {
    let scale = 112usize.div_ceil(image.width()).max(1);
    Ok(Canvas::enlarged(image, scale).finish().map_err(selfie_train::Error::from)?)
}

/// Pictures of one size with words above each.
fn grid(rows: &[Vec<(&str, &Image8)>]) -> Result<Image8> {
    let first = rows.first().and_then(|row| row.first());
    let (width, height) = first.map_or((1, 1), |(_, picture)| (picture.width().max(132), picture.height()));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1);
    let mut canvas = Canvas::blank(columns * (width + GAP) + GAP, rows.len() * (height + WORDS + GAP) + GAP);
    for (y, row) in rows.iter().enumerate() {
        for (x, (words, picture)) in row.iter().enumerate() {
            let (left, top) = (GAP + x * (width + GAP), GAP + y * (height + WORDS + GAP));
            text(&mut canvas, words, left, top, INK, Align::Left);
            canvas.paste(picture, (left, top + WORDS - 4));
        }
    }
    Ok(canvas.finish().map_err(selfie_train::Error::from)?)
}
