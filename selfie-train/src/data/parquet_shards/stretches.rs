//! The parts that the images of a row group are read in.
//!
//! Writers choose the size of a row group by its rows (DuckDB 122,880, Polars all of them) or by its bytes, so that it holds from
//! a few images to all of them. A small one is read whole. A larger one is read a few pages at a time: memory is bounded by
//! [`STRETCH`], or by the largest page if that is larger.

use std::ops::Range;

use super::pages::Pages;

/// Bytes up to which a row group is read whole.
pub(super) const WHOLE: u64 = 32 << 20;

/// Bytes of a part of a larger row group, about.
const STRETCH: u64 = 4 << 20;

/// Rows of a part, at most: also rows without bytes take memory.
pub(super) const MOST_ROWS: usize = 1 << 16;

/// Consecutive rows of a row group that are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The pages that hold them; empty if they are the whole row group.
    pub(super) pages: Range<usize>,
    /// Rows of these pages in front of them.
    pub(super) skip: usize,
    pub(super) rows: usize,
    /// Bytes that they take in memory, about.
    pub(super) bytes: u64,
}

impl Stretch {
    /// All rows of a row group.
    pub(super) fn whole(rows: usize, bytes: u64) -> Self {
        Self { pages: 0..0, skip: 0, rows, bytes }
    }
}

/// Divides the pages of a row group of `rows` rows.
pub(super) fn divide(pages: &Pages, rows: usize) -> Result<Vec<Stretch>, String> {
    let in_pages = pages.data.iter().fold(0usize, |sum, page| sum.saturating_add(page.rows));
    if in_pages != rows {
        return Err(format!("{in_pages} rows in its pages, expected {rows}"));
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for (number, page) in pages.data.iter().enumerate() {
        let dictionary = pages.dictionary.as_ref().filter(|_| page.uses_dictionary).map_or(0, |(_, size)| *size);
        // Whether the values need the dictionary or not, a part holds the bytes of its pages.
        if let Some(last) = stretches.last_mut()
            && last.bytes + dictionary.max(page.unpacked) <= STRETCH
            && last.skip + last.rows + page.rows <= MOST_ROWS
        {
            last.pages.end = number + 1;
            last.rows += page.rows;
            last.bytes += page.unpacked;
            continue;
        }
        for skip in (0..page.rows).step_by(MOST_ROWS) {
            let rows = (page.rows - skip).min(MOST_ROWS);
            stretches.push(Stretch { pages: number..number + 1, skip, rows, bytes: page.unpacked + dictionary });
        }
    }
    Ok(stretches)
}

#[cfg(test)]
mod tests {
    use super::super::pages::Page;
    use super::*;

    fn pages(sizes: &[(u64, usize)]) -> Pages {
        let page = |&(unpacked, rows)| Page { bytes: 0..unpacked, unpacked, rows, uses_dictionary: false };
        Pages { dictionary: None, data: sizes.iter().map(page).collect() }
    }

    fn divided(sizes: &[(u64, usize)]) -> Vec<(Range<usize>, usize, usize)> {
        let rows = sizes.iter().map(|(_, rows)| rows).sum();
        let stretches = divide(&pages(sizes), rows).unwrap();
        stretches.into_iter().map(|s| (s.pages, s.skip, s.rows)).collect()
    }

    #[test]
    fn pages_are_taken_together_until_they_fill_a_stretch() {
        let mib = |count: u64| count << 20;
        assert_eq!(divided(&[(mib(1), 10); 6]), [(0..4, 0, 40), (4..6, 0, 20)]);
        assert_eq!(divided(&[(mib(9), 7), (mib(1), 1), (mib(1), 2)]), [(0..1, 0, 7), (1..3, 0, 3)]);
    }

    #[test]
    fn a_page_of_very_many_rows_is_read_in_parts() {
        assert_eq!(
            divided(&[(9, MOST_ROWS + 5), (9, MOST_ROWS - 5)]),
            [(0..1, 0, MOST_ROWS), (0..1, MOST_ROWS, 5), (1..2, 0, MOST_ROWS - 5)]
        );
    }

    #[test]
    fn rows_that_are_in_no_page_are_an_error() {
        let error = divide(&pages(&[(9, 3)]), 4).unwrap_err();
        assert!(error.contains("3 rows in its pages, expected 4"), "{error}");
    }
}
