//! TensorBoard's event files, written by hand: a few protocol buffers in TFRecord frames with masked CRC-32C sums.
//!
//! A session writes a file of its own. One that resumes opens with a session log that makes TensorBoard forget
//! what an earlier session wrote after the checkpoint, so that no step stands twice there either.
//! Formats: tensorflow/core/util/event.proto, core/framework/summary.proto, core/lib/io/record_writer.h.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// What the first event of a file says.
const VERSION: &[u8] = b"brain.Event:2";
/// `SessionLog.START`.
const START: u64 = 1;

/// An open event file.
pub(crate) struct EventFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl EventFile {
    /// Begins a file in `folder` for the steps after `step`.
    pub(crate) fn create(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let (path, file) = new_file(folder, now() as u64)?;
        let mut events = Self { path, out: BufWriter::new(file) };
        let mut version = Message::default();
        version.bytes(3, VERSION);
        events.event(0, version)?;
        if step > 0 {
            let mut start = Message::default();
            start.whole(1, START);
            let mut log = Message::default();
            log.bytes(7, &start.0);
            events.event(step + 1, log)?;
        }
        events.flush()?;
        Ok(events)
    }

    /// One number under each tag; what is not finite is left out.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Message::default();
        for (tag, value) in values.iter().filter(|(_, value)| value.is_finite()) {
            let mut entry = Message::default();
            entry.bytes(1, tag.as_bytes());
            entry.float(2, *value as f32);
            summary.bytes(1, &entry.0);
        }
        let mut event = Message::default();
        event.bytes(5, &summary.0);
        self.event(step, event)?;
        self.flush()
    }

    /// A picture as PNG.
    pub(crate) fn picture(&mut self, step: u64, tag: &str, (width, height): (usize, usize), png: &[u8]) -> Result<()> {
        let mut picture = Message::default();
        picture.whole(1, height as u64);
        picture.whole(2, width as u64);
        picture.whole(3, 3); // RGB
        picture.bytes(4, png);
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.bytes(4, &picture.0);
        let mut summary = Message::default();
        summary.bytes(1, &entry.0);
        let mut event = Message::default();
        event.bytes(5, &summary.0);
        self.event(step, event)?;
        self.flush()
    }

    fn event(&mut self, step: u64, content: Message) -> Result<()> {
        let mut event = Message::default();
        event.double(1, now());
        event.whole(2, step);
        event.0.extend(content.0);
        self.out.write_all(&frame(&event.0)).map_err(Error::io(&self.path))
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Error::io(&self.path))
    }
}

/// `events.out.tfevents.SECONDS.selfie`, with later seconds where that is taken: TensorBoard reads files in the order of their names.
fn new_file(folder: &Path, seconds: u64) -> Result<(PathBuf, File)> {
    let mut at = seconds;
    loop {
        let path = folder.join(format!("events.out.tfevents.{at:010}.selfie"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => at += 1,
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
}

/// TensorBoard shows when things happened; nothing of the run's state knows.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A TFRecord: length, its sum, data, their sum.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(data.len() + 16);
    frame.extend(length);
    frame.extend(masked(&length).to_le_bytes());
    frame.extend(data);
    frame.extend(masked(data).to_le_bytes());
    frame
}

/// CRC-32C, rotated and shifted, as TFRecord stores it.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protocol buffer in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Field number and wire type: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    fn whole(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // from tensorboard.compat.proto.event_pb2 import Event; from tensorboard.compat.proto.summary_pb2 import Summary
    // Event(wall_time=1.5, step=300, summary=Summary(value=[Summary.Value(tag="loss", simple_value=0.25)])).SerializeToString().hex()
    #[test]
    fn a_scalar_is_the_bytes_that_protobuf_writes() {
        let mut entry = Message::default();
        entry.bytes(1, b"loss");
        entry.float(2, 0.25);
        let mut summary = Message::default();
        summary.bytes(1, &entry.0);
        let mut event = Message::default();
        event.double(1, 1.5);
        event.whole(2, 300);
        event.bytes(5, &summary.0);
        let hex: String = event.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "09000000000000f83f10ac022a0d0a0b0a046c6f7373150000803e");
    }

    // from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c; masked_crc32c(b"123456789")
    #[test]
    fn sums_are_masked_as_in_tfrecord() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8));
        assert_eq!(frame(b"abc").len(), 8 + 4 + 3 + 4);
    }

    #[test]
    fn a_second_session_in_the_same_second_gets_a_later_name() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..3).map(|_| new_file(folder.path(), 7).unwrap().0).collect();
        assert!(names.is_sorted() && names[0] != names[1] && names[1] != names[2], "{names:?}");
    }
}
