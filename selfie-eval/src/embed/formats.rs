//! The three kinds of files, each written as a stream from the rows on disk: to a temporary file, then renamed.
//!
//! `.safetensors`: a tensor a kind of features (n, D), `labels` (n, -1 where there is none), `splits` (n; 0 train, 1
//! test), and `names`, all of them as bytes with a zero byte after each. `.npy`: one array (n, D), with a table
//! `.tsv` of name, split, label and class beside it. `.parquet`: a row an image, its features as a list.

mod parquet;

use std::fs::File;
use std::io::{BufWriter, Result as IoResult, Write};
use std::path::{Path, PathBuf};

use selfie_train::{escape_field, shorten_floats};
use serde_json::{Value, json};

use super::images::{Images, Known};
use super::partial::{Partial, folder};
use crate::error::{Error, Result};
use crate::features::FeatureKind;

/// What the file is, as its name says.
///
/// ```
/// use selfie_eval::EmbedFormat;
/// assert_eq!(EmbedFormat::of("features.npy".as_ref())?, EmbedFormat::Npy);
/// assert!(EmbedFormat::of("features.csv".as_ref()).is_err());
/// # Ok::<(), selfie_eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedFormat {
    /// Named tensors.
    Safetensors,
    /// One array, and a table beside it.
    Npy,
    /// A table with everything.
    Parquet,
}

impl EmbedFormat {
    /// The kind that the name of `out` ends in.
    ///
    /// # Errors
    /// [`Error::Config`] for any other ending.
    pub fn of(out: &Path) -> Result<Self> {
        match out.extension().and_then(|suffix| suffix.to_str()) {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            Some("parquet") => Ok(Self::Parquet),
            _ => {
                let reason =
                    format!("met {}, expected a name that ends in .safetensors, .npy or .parquet", out.display());
                Err(Error::config("--out", reason))
            }
        }
    }

    /// Whether `out` may be written: it is not there yet, and holds the kinds of features that are asked for.
    ///
    /// # Errors
    /// [`Error::Config`] where not.
    pub fn check(self, out: &Path, kinds: &[FeatureKind]) -> Result<()> {
        if self == Self::Npy && kinds.len() > 1 {
            return Err(Error::config("--features", "missing: a .npy file holds one array, expected image or patches"));
        }
        // One beside rows that wait to be finished is of the same call, which was killed between its two files.
        let table = (self == Self::Npy && !folder(out).exists()).then(|| out.with_extension("tsv"));
        match [Some(out), table.as_deref()].into_iter().flatten().find(|path| path.exists()) {
            Some(path) => {
                Err(Error::config("--out", format!("{} is there already, expected a new file", path.display())))
            }
            None => Ok(()),
        }
    }
}

/// All rows, ready for their file.
pub(super) struct Finished<'a> {
    pub(super) partial: &'a Partial,
    pub(super) images: &'a Images,
    /// Each kind with its width D, in the order of a row.
    pub(super) widths: &'a [(FeatureKind, usize)],
    pub(super) of: &'a Value,
    pub(super) rows: usize,
}

impl Finished<'_> {
    /// Writes the files; their names, the features first.
    pub(super) fn write(&self, out: &Path, format: EmbedFormat) -> Result<Vec<PathBuf>> {
        match format {
            EmbedFormat::Safetensors => replace(out, |file| self.safetensors(file))?,
            EmbedFormat::Parquet => replace(out, |file| parquet::write(self, file))?,
            EmbedFormat::Npy => {
                // The table first: where the array is, everything is.
                let table = out.with_extension("tsv");
                replace(&table, |file| self.table(file))?;
                replace(out, |file| self.npy(file))?;
                return Ok(vec![out.to_path_buf(), table]);
            }
        }
        Ok(vec![out.to_path_buf()])
    }

    /// What is known of each row's image, handed to `take`.
    pub(super) fn each_known(&self, mut take: impl FnMut(&Known) -> IoResult<()>) -> Result<()> {
        let gone = || std::io::Error::other("an image is gone");
        self.partial.each(|row| take(&self.images.known(row.image).ok_or_else(gone)?))
    }

    fn safetensors(&self, file: &mut impl Write) -> Result<()> {
        let mut name_bytes = 0;
        self.each_known(|known| {
            name_bytes += plain(&known.name).len() + 1;
            Ok(())
        })?;
        let rows = self.rows;
        let mut entries = vec![("labels".to_owned(), "I64", vec![rows], 8 * rows)];
        for (kind, width) in self.widths {
            entries.push((kind.to_string(), "F32", vec![rows, *width], 4 * rows * width));
        }
        entries.push(("splits".to_owned(), "U8", vec![rows], rows));
        entries.push(("names".to_owned(), "U8", vec![name_bytes], name_bytes));
        let io = Error::io("the file of features");
        put(file, &header(&entries, &self.metadata())).map_err(io)?;

        self.each_known(|known| file.write_all(&known.label.map_or(-1i64, i64::from).to_le_bytes()))?;
        let mut start = 0;
        for (_, width) in self.widths {
            self.partial.each(|row| put_floats(file, &row.values[start..start + width]))?;
            start += width;
        }
        self.each_known(|known| file.write_all(&[u8::from(known.split == "test")]))?;
        self.each_known(|known| {
            file.write_all(plain(&known.name).as_bytes())?;
            file.write_all(&[0])
        })
    }

    fn npy(&self, file: &mut impl Write) -> Result<()> {
        let width: usize = self.widths.iter().map(|(_, width)| width).sum();
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", self.rows);
        let magic = b"\x93NUMPY\x01\x00";
        let length = (magic.len() + 2 + header.len() + 1).next_multiple_of(64) - magic.len() - 2;
        header += &" ".repeat(length - 1 - header.len());
        header.push('\n');
        let head = [magic.as_slice(), &(length as u16).to_le_bytes(), header.as_bytes()].concat();
        put(file, &head).map_err(Error::io("the file of features"))?;
        self.partial.each(|row| put_floats(file, row.values))
    }

    fn table(&self, file: &mut impl Write) -> Result<()> {
        put(file, b"name\tsplit\tlabel\tclass\n").map_err(Error::io("the table of names"))?;
        self.each_known(|known| {
            let label = known.label.map(|label| label.to_string()).unwrap_or_default();
            writeln!(
                file,
                "{}\t{}\t{label}\t{}",
                escape_field(&known.name),
                known.split,
                escape_field(self.class(known))
            )
        })
    }

    /// The name of the class; empty where there is none.
    pub(super) fn class(&self, known: &Known) -> &str {
        known.label.and_then(|label| self.images.classes().get(label as usize)).map_or("", String::as_str)
    }

    /// What a file says of itself.
    pub(super) fn metadata(&self) -> Value {
        let mut metadata = json!({ "format": "selfie features", "of": self.of, "classes": self.images.classes() });
        shorten_floats(&mut metadata);
        metadata.sort_all_objects();
        metadata
    }
}

/// A name without the byte that ends it in the file.
fn plain(name: &str) -> String {
    name.replace('\0', "\u{fffd}")
}

/// The opening of a safetensors file: name, type, shape and bytes of each tensor.
fn header(entries: &[(String, &str, Vec<usize>, usize)], metadata: &Value) -> Vec<u8> {
    let mut parts = vec![format!("\"__metadata__\":{}", json!({ "selfie_features": metadata.to_string() }))];
    let mut start = 0;
    for (name, kind, shape, bytes) in entries {
        let end = start + bytes;
        let (name, shape) = (json!(name), json!(shape));
        parts.push(format!("{name}:{{\"dtype\":\"{kind}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}"));
        start = end;
    }
    let mut header = format!("{{{}}}", parts.join(","));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

fn put(file: &mut impl Write, bytes: &[u8]) -> IoResult<()> {
    file.write_all(bytes)
}

fn put_floats(file: &mut impl Write, values: &[f32]) -> IoResult<()> {
    file.write_all(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

/// Makes `path` hold what `write` writes, or leaves it as it was.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = File::create(&temporary).map_err(Error::io(path))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let written = write(&mut out).and_then(|()| {
        let safe = out.flush().and_then(|()| out.get_ref().sync_all());
        safe.and_then(|()| std::fs::rename(&temporary, path)).map_err(Error::io(path))
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary); // the first error is the one to tell
    }
    written
}
