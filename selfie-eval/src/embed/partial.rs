//! Rows on the way to a file: what is there already, and where to go on after any end.
//!
//! Beside the file F, the folder `F.part` holds `rows` (per image its number, then its features) and `state.json`: how
//! many rows are safe, which image comes next, and what all of it is of. Rows are flushed to disk before the state
//! names them, so a process killed at any moment leaves a state that is true; what lies behind it is written anew.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Time between two states.
const INTERVAL: Duration = Duration::from_secs(1);

/// What `state.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    /// Rows that are on disk.
    rows: u64,
    /// The image that comes next, counted over all splits.
    next: u64,
    /// Rows that are not finite; nothing in states of earlier versions.
    #[serde(default)]
    non_finite: NonFinite,
    /// What the rows are of.
    of: Value,
}

/// Rows that contain NaN or an infinite value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NonFinite {
    /// Number of such rows.
    pub(crate) rows: u64,
    /// Image of the first such row.
    pub(crate) first: Option<u64>,
}

/// The rows so far, open at their end.
pub(crate) struct Partial {
    folder: PathBuf,
    rows: BufWriter<File>,
    state: State,
    width: usize,
    saved: Instant,
}

/// A row: the image's number, and its features one kind behind the other.
pub(crate) struct Row<'a> {
    pub(crate) image: usize,
    pub(crate) values: &'a [f32],
}

impl Partial {
    /// Goes on with the rows beside `out`, or begins; `of` is what they are of, `width` the values of a row.
    ///
    /// # Errors
    /// [`Error::Config`] where the rows there are of something else; [`Error::Io`].
    pub(crate) fn open(out: &Path, of: &Value, width: usize) -> Result<Self> {
        let folder = folder(out);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let (rows_path, state_path) = (folder.join("rows"), folder.join("state.json"));
        let state = match std::fs::read_to_string(&state_path) {
            Ok(text) => known(&folder, &text, of)?,
            Err(_) => State { rows: 0, next: 0, non_finite: NonFinite::default(), of: of.clone() },
        };
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&rows_path);
        let file = file.map_err(Error::io(&rows_path))?;
        let (bytes, there) = (state.rows * row_bytes(width), file.metadata().map_err(Error::io(&rows_path))?.len());
        if there < bytes {
            let reason = format!(
                "{} has {there} bytes, expected {bytes}: damaged, remove {} to begin anew",
                rows_path.display(),
                folder.display()
            );
            return Err(Error::config("--out", reason));
        }
        let end = file.set_len(bytes).and_then(|()| std::io::Seek::seek(&mut &file, std::io::SeekFrom::End(0)));
        end.map_err(Error::io(&rows_path))?;
        let partial =
            Self { folder, rows: BufWriter::with_capacity(1 << 20, file), state, width, saved: Instant::now() };
        partial.write_state()?;
        Ok(partial)
    }

    /// Rows that are there, and the image that comes next.
    pub(crate) fn position(&self) -> (usize, usize) {
        (self.state.rows as usize, self.state.next as usize)
    }

    /// Returns the rows that contain NaN or an infinite value.
    pub(crate) fn non_finite(&self) -> NonFinite {
        self.state.non_finite
    }

    /// Adds rows; `next` is the image that comes after them and after all that were left out among them.
    pub(crate) fn add(&mut self, images: &[usize], values: &[f32], next: usize) -> Result<()> {
        let path = self.folder.join("rows");
        for (image, values) in images.iter().zip(values.chunks_exact(self.width)) {
            let mut row = (*image as u64).to_le_bytes().to_vec();
            row.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            self.rows.write_all(&row).map_err(Error::io(&path))?;
            if values.iter().any(|value| !value.is_finite()) {
                self.state.non_finite.rows += 1;
                self.state.non_finite.first.get_or_insert(*image as u64);
            }
        }
        self.state.rows += images.len() as u64;
        self.state.next = next as u64;
        if self.saved.elapsed() >= INTERVAL { self.save() } else { Ok(()) }
    }

    /// Brings everything to disk.
    pub(crate) fn save(&mut self) -> Result<()> {
        let path = self.folder.join("rows");
        self.rows.flush().and_then(|()| self.rows.get_ref().sync_data()).map_err(Error::io(&path))?;
        self.write_state()?;
        self.saved = Instant::now();
        Ok(())
    }

    fn write_state(&self) -> Result<()> {
        let (path, temporary) = (self.folder.join("state.json"), self.folder.join("state.json.tmp"));
        let text = serde_json::to_vec(&self.state).map_err(|error| Error::io(&path)(error.into()))?;
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.and_then(|()| std::fs::rename(&temporary, &path)).map_err(Error::io(&path))
    }

    /// Hands every row to `take`, in order.
    pub(crate) fn each(&self, mut take: impl FnMut(Row) -> std::io::Result<()>) -> Result<()> {
        let path = self.folder.join("rows");
        let mut read = || {
            let mut file = BufReader::with_capacity(1 << 20, File::open(&path)?);
            let mut bytes = vec![0; row_bytes(self.width) as usize];
            let mut values = vec![0.0; self.width];
            for _ in 0..self.state.rows {
                file.read_exact(&mut bytes)?;
                let (image, rest) = bytes.split_at(8);
                let image = image.iter().rev().fold(0u64, |number, &byte| (number << 8) | u64::from(byte));
                for (value, bytes) in values.iter_mut().zip(rest.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
                take(Row { image: image as usize, values: &values })?;
            }
            Ok(())
        };
        read().map_err(Error::io(&path))
    }

    /// Takes the folder away.
    pub(crate) fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).map_err(Error::io(&self.folder))
    }
}

/// Where the rows wait.
pub(crate) fn folder(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn row_bytes(width: usize) -> u64 {
    8 + 4 * width as u64
}

/// The state in `text`, if it is of the same.
fn known(folder: &Path, text: &str, of: &Value) -> Result<State> {
    let place = folder.display();
    let refuse = |reason: String| {
        Err(Error::config("--out", format!("{place} {reason}; remove it to begin anew, or take another name")))
    };
    let Ok(state) = serde_json::from_str::<State>(text) else {
        return refuse("holds no state of an interrupted embed".to_owned());
    };
    let keys = of.as_object().into_iter().flatten();
    match keys.into_iter().find(|(key, value)| state.of[key.as_str()] != **value) {
        None => Ok(state),
        Some((key, value)) => {
            refuse(format!("holds features of something else: {key} was {}, is {value}", state.of[key.as_str()]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(partial: &Partial) -> Vec<(usize, Vec<f32>)> {
        let mut rows = Vec::new();
        let mut keep = |row: Row| rows.push((row.image, row.values.to_vec()));
        partial
            .each(|row| {
                keep(row);
                Ok(())
            })
            .unwrap();
        rows
    }

    #[test]
    fn what_the_state_does_not_name_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (out, of) = (folder.path().join("f.npy"), json!({ "seed": 1 }));
        let mut partial = Partial::open(&out, &of, 2).unwrap();
        partial.add(&[0, 2], &[1.0, 2.0, 3.0, f32::NAN], 3).unwrap();
        partial.save().unwrap();
        partial.add(&[3], &[f32::INFINITY, 6.0], 4).unwrap(); // killed before the next state
        drop(partial);
        let partial = Partial::open(&out, &of, 2).unwrap();
        assert_eq!(partial.position(), (2, 3));
        assert_eq!(partial.non_finite(), NonFinite { rows: 1, first: Some(2) });
        let rows = rows(&partial);
        assert_eq!((rows.len(), &rows[0], rows[1].0), (2, &(0, vec![1.0, 2.0]), 2));
        assert!(rows[1].1[0] == 3.0 && rows[1].1[1].is_nan());
    }

    #[test]
    fn rows_of_something_else_are_refused_by_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("f.npy");
        Partial::open(&out, &json!({ "data": "a" }), 1).unwrap();
        let error = Partial::open(&out, &json!({ "data": "b" }), 1).err().unwrap().to_string();
        assert!(error.contains("data was \"a\", is \"b\"") && error.contains("f.npy.part"), "{error}");
    }
}
