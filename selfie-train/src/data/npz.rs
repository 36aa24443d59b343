//! NumPy's `.npz` archives: where the numbers of an array lie in the file, so that they need not all be read.
//!
//! `numpy.savez` stores arrays as they are, and their bytes are read in place. `numpy.savez_compressed` packs them: a small array is
//! unpacked into memory, a large one once into the user's cache folder.

mod npy;

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use zip::{CompressionMethod, ZipArchive};

use super::error::{DataError, DataResult};
use super::index_cache::{self, file_state};
use super::storage::read_range;
pub(super) use npy::Header;

/// Packed arrays up to this many bytes are held in memory.
const SMALL: u64 = 64 << 20;

/// An array of an archive.
pub(super) struct Array {
    pub(super) header: Header,
    pub(super) place: Place,
}

/// Where the numbers of an array are.
pub(super) enum Place {
    /// In a file, from this byte on.
    File(PathBuf, u64),
    /// Here.
    Memory(Vec<u8>),
}

impl Array {
    /// The array `name` of the archive `path`; what must be unpacked and is not small goes to `cache`.
    pub(super) fn open(path: &Path, name: &str, cache: Option<&Path>) -> DataResult<Self> {
        let fail = |reason: String| DataError::format(path, reason);
        let (length, changed) = file_state(path).map_err(DataError::io(path))?;
        let file = BufReader::new(File::open(path).map_err(DataError::io(path))?);
        let mut archive = Archive::open(file, length).map_err(fail)?;
        match archive.find(name).map_err(fail)? {
            Found::Stored(header, start) => Ok(Self { header, place: Place::File(path.to_path_buf(), start) }),
            Found::Packed(header, start) => {
                let unpacked = cache.filter(|_| header.bytes() > SMALL).map(|cache| {
                    let key = format!("{}:{length}:{changed}:{name}", path.display());
                    index_cache::file_for(cache, "array", Path::new(&key)).with_extension("npy")
                });
                let place = match unpacked {
                    Some(file) => {
                        let whole = start + header.bytes();
                        if std::fs::metadata(&file).map_or(0, |meta| meta.len()) != whole {
                            archive.unpack_to(name, &file).map_err(fail)?;
                        }
                        Place::File(file, start)
                    }
                    None => Place::Memory(archive.unpack(name, &header).map_err(fail)?),
                };
                Ok(Self { header, place })
            }
        }
    }

    /// All bytes of the array.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match &self.place {
            Place::File(file, start) => Ok(read_range(file, *start..*start + self.header.bytes())?),
            Place::Memory(bytes) => Ok(bytes.clone()),
        }
    }
}

/// An archive that is being read.
pub(super) struct Archive<R> {
    zip: ZipArchive<R>,
    length: u64,
}

/// An array, and the byte where its numbers begin: in the archive, or in the unpacked member.
pub(super) enum Found {
    Stored(Header, u64),
    Packed(Header, u64),
}

impl<R: Read + Seek> Archive<R> {
    /// The archive in `reader`, of `length` bytes.
    pub(super) fn open(reader: R, length: u64) -> Result<Self, String> {
        let zip = ZipArchive::new(reader).map_err(|error| format!("no .npz archive, or a damaged one: {error}"))?;
        Ok(Self { zip, length })
    }

    /// Finds the array `name`, and checks that it is as long as its header says.
    pub(super) fn find(&mut self, name: &str) -> Result<Found, String> {
        let member = format!("{name}.npy");
        let names: Vec<_> = self.zip.file_names().flatten().map(Cow::into_owned).collect();
        let mut file = self.zip.by_name(&member).map_err(|error| {
            format!("the array {name}: {error}; expected a member {member}, met {}", names.join(", "))
        })?;
        let (size, method, start) = (file.size(), file.compression(), file.data_start());
        let (header, header_bytes) = Header::read(&mut file).map_err(|reason| format!("the array {name}: {reason}"))?;
        let expected = header_bytes.checked_add(header.bytes());
        if expected != Some(size) {
            return Err(format!("the array {name} has {size} bytes, expected {header_bytes} and those of {header}"));
        }
        if method != CompressionMethod::Stored {
            return Ok(Found::Packed(header, header_bytes));
        }
        let start = start.and_then(|start| start.checked_add(header_bytes));
        match start.filter(|start| start.checked_add(header.bytes()).is_some_and(|end| end <= self.length)) {
            Some(start) => Ok(Found::Stored(header, start)),
            None => Err(format!("the array {name} does not end inside of the file, expected {header}: cut off?")),
        }
    }

    /// The numbers of a packed array.
    pub(super) fn unpack(&mut self, name: &str, header: &Header) -> Result<Vec<u8>, String> {
        let fail = |error: &dyn std::fmt::Display| format!("the array {name}: {error}");
        let mut file = self.zip.by_name(&format!("{name}.npy")).map_err(|error| fail(&error))?;
        Header::read(&mut file).map_err(|reason| fail(&reason))?;
        let mut bytes = Vec::new(); // grows with what is there
        file.by_ref().take(header.bytes()).read_to_end(&mut bytes).map_err(|error| fail(&error))?;
        match bytes.len() as u64 == header.bytes() {
            true => Ok(bytes),
            false => Err(fail(&format!("{} bytes, expected those of {header}", bytes.len()))),
        }
    }

    /// Writes the unpacked member to `to`, whole or not at all.
    fn unpack_to(&mut self, name: &str, to: &Path) -> Result<(), String> {
        let mut file = self.zip.by_name(&format!("{name}.npy")).map_err(|error| error.to_string())?;
        let temporary = to.with_extension(format!("{}.tmp", std::process::id()));
        tracing::info!("unpacking the array {name} to {}", to.display());
        let mut copy = || {
            std::fs::create_dir_all(to.parent().unwrap_or(Path::new(".")))?;
            let mut out = File::create(&temporary)?;
            std::io::copy(&mut file, &mut out)?;
            std::fs::rename(&temporary, to)
        };
        copy().map_err(|error| {
            let _ = std::fs::remove_file(&temporary); // the first error is the one to tell
            format!("the array {name} cannot be unpacked to {}: {error}", to.display())
        })
    }
}

#[cfg(test)]
#[path = "npz/tests.rs"]
mod tests;
