//! Reading files from storage, for every source of images: what is wrong with a file is told apart from what is wrong with the system.
//!
//! A missing file, a link that leads nowhere or a file that is too short is the image's own fault; the image is then listed and
//! replaced. Too many open files, a network file system that stalls or a disk that fails says nothing about the image: replacing it
//! would change the run by accident. Such a read is tried again after short pauses, then the run ends with the path.
//!
//! Only regular files are read. A named pipe would block its reader forever, and a device may never end.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::{DataError, DataResult};

/// Pauses before a read is tried again, in milliseconds: 3.4 seconds in all, in which a server restarts its connection.
const PAUSES: [u64; 5] = [10, 40, 160, 640, 2560];

/// Bytes of the largest image file: twice an uncompressed one of as many pixels as the decoders accept, in RGB with 8 bits.
const MAX_FILE: u64 = 1 << 30;

/// Bytes from which on a file must begin like an image before the rest is read.
const LARGE_FILE: u64 = 64 << 20;

/// Bytes at the start of a file that show its format.
const MAGIC: u64 = 64;

/// Why bytes could not be read.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The file's own: it is missing, is not a regular file, or is too short.
    File(String),
    /// The system's, whatever the file.
    System(Arc<io::Error>),
}

impl Fault {
    /// The error of the image at `path`.
    pub(super) fn of_image(self, path: impl AsRef<Path>) -> DataError {
        match self {
            Self::File(reason) => DataError::image(path, reason),
            Self::System(source) => DataError::Storage { path: path.as_ref().to_path_buf(), source },
        }
    }

    pub(super) fn is_of_system(&self) -> bool {
        matches!(self, Self::System(_))
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::File(reason)
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::File(reason) => reason,
            Fault::System(source) => source.to_string(),
        }
    }
}

/// Reads the image file at `path`.
pub(super) fn read_image(path: &Path) -> DataResult<Vec<u8>> {
    retried(|| read_whole(path), std::thread::sleep).map_err(|fault| fault.of_image(path))
}

/// Reads the bytes `range` of a file, all of them or an error.
pub(super) fn read_range(path: &Path, range: Range<u64>) -> Result<Vec<u8>, Fault> {
    let length = range.end.saturating_sub(range.start);
    let bytes = retried(|| read_part(path, range.start, length), std::thread::sleep)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(Fault::File(format!("cut off: {} of {length} bytes at {}", bytes.len(), range.start))),
    }
}

/// The result of `read`, which is called again after a pause while the system is at fault.
fn retried<T>(mut read: impl FnMut() -> io::Result<T>, mut pause: impl FnMut(Duration)) -> Result<T, Fault> {
    let mut pauses = PAUSES.iter();
    loop {
        match read() {
            Ok(value) => return Ok(value),
            Err(error) if is_of_file(&error) => return Err(Fault::File(error.to_string())),
            Err(error) => match pauses.next() {
                Some(&milliseconds) => pause(Duration::from_millis(milliseconds)),
                None => return Err(Fault::System(Arc::new(error))),
            },
        }
    }
}

/// Whether an error depends on the file alone, so that it stays the same however often the file is read. All others count as the
/// system's, also those that are not known: a bad image must not hide behind them, nor they behind a bad image.
pub(super) fn is_of_file(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(code) = error.raw_os_error() {
        // A circular link; a socket, or a device without a driver.
        if matches!(code, libc::ELOOP | libc::ENXIO) {
            return true;
        }
    }
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::FileTooLarge
            | ErrorKind::UnexpectedEof
    )
}

/// Opens a regular file, and returns its length too.
fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Opening a named pipe would otherwise wait for a writer. On a regular file the flag does nothing.
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path)?;
    let meta = file.metadata()?;
    match meta.is_file() {
        true => Ok((file, meta.len())),
        false => {
            let kind = if meta.is_dir() { "a folder" } else { "a pipe, device or socket" };
            Err(io::Error::new(ErrorKind::InvalidData, format!("it is {kind}, expected a regular file")))
        }
    }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, length) = open_regular(path)?;
    let invalid = |reason: String| Err(io::Error::new(ErrorKind::InvalidData, reason));
    if length > MAX_FILE {
        return invalid(format!("it has {length} bytes, expected at most {MAX_FILE}"));
    }
    let mut bytes = Vec::new();
    if length > LARGE_FILE {
        file.by_ref().take(MAGIC).read_to_end(&mut bytes)?;
        if image::guess_format(&bytes).is_err() {
            return invalid(format!("it has {length} bytes and does not begin like an image"));
        }
    }
    bytes.try_reserve_exact(length as usize + 1)?; // the last byte's place shows the end without another allocation
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_part(path: &Path, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let (mut file, _) = open_regular(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new(); // grows with what is there, whatever an index says
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "storage/tests.rs"]
mod tests;
