//! The pictures of what was learned, each as one sheet for its PNG file.

use selfie_train::{Canvas, Image8, draw_all};

use super::learned::{Learned, Seen};
use super::raster::{Align, letter_width, text};
use crate::error::Result;

const INK: [u8; 3] = [34, 38, 46];
/// Between pictures.
const GAP: usize = 12;
/// Height of a line of words above a picture, and the space below the last one.
const LINE: usize = 22;
const BELOW: usize = 4;

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
    match seen.same {
        Some(true) => format!("= {}", seen.label),
        Some(false) => format!("x {}", seen.label),
        None => seen.label.clone(),
    }
}

/// Breaks `words` into lines of at most `most` characters: at spaces, or inside of a word that is longer.
fn lines(words: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for (part, letters) in letters.chunks(most.max(1)).enumerate() {
            let line = lines
                .last_mut()
                .filter(|line| part == 0 && (line.is_empty() || line.chars().count() + 1 + letters.len() <= most));
            let text: String = letters.iter().collect();
            match line {
                Some(line) if line.is_empty() => *line = text,
                Some(line) => *line += &format!(" {text}"),
                None => lines.push(text),
            }
        }
    }
    lines
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
    let broken = |(words, picture): &(&str, &'_ Image8)| (lines(words, width / letter_width()), (*picture).clone());
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(broken).collect()).collect();
    // All pictures of a row begin at one height, below the longest words.
    let above =
        |row: &Vec<(Vec<String>, Image8)>| LINE * row.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0) + BELOW;
    let total = rows.iter().map(|row| above(row) + height + GAP).sum::<usize>();
    let mut canvas = Canvas::blank(columns * (width + GAP) + GAP, total + GAP);
    let mut top = GAP;
    for row in &rows {
        for (x, (lines, picture)) in row.iter().enumerate() {
            let left = GAP + x * (width + GAP);
            for (at, line) in lines.iter().enumerate() {
                text(&mut canvas, line, left, top + at * LINE, INK, Align::Left);
            }
            canvas.paste(picture, (left, top + above(row)));
        }
        top += above(row) + height + GAP;
    }
    Ok(canvas.finish().map_err(selfie_train::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_at_spaces_and_nothing_is_lost() {
        assert_eq!(lines("x Ring-necked Pheasant", 12), ["x", "Ring-necked", "Pheasant"]);
        assert_eq!(lines("= cat", 12), ["= cat"]);
        assert_eq!(lines("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
    }
}
