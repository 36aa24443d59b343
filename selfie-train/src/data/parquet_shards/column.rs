//! One column of a row group: its bytes in the file, and the values in them.

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::Type;
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::super::storage::read_range;
use super::pages;
use super::schema::guarded;

/// No compression of the format makes more of a byte; a file that claims so is damaged.
const MOST_COMPRESSION: u64 = 1100;

/// The image files of a row group; none where a row has no bytes.
pub(in super::super) struct Images(Vec<Option<ByteArray>>);

impl Images {
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        Some(self.0.get(row)?.as_ref()?.data())
    }
}

/// A column chunk whose place was checked.
pub(in super::super) struct Chunk {
    meta: ColumnChunkMetaData,
    start: u64,
    length: u64,
}

impl Chunk {
    /// The chunk of `meta` in a file of `file_length` bytes.
    pub(super) fn new(meta: &ColumnChunkMetaData, file_length: u64) -> Result<Self, String> {
        let (first, length) =
            (meta.dictionary_page_offset().unwrap_or(meta.data_page_offset()), meta.compressed_size());
        let place = u64::try_from(first).ok().zip(u64::try_from(length).ok());
        let (start, length) = place
            .filter(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= file_length))
            .ok_or_else(|| {
                format!("{length} bytes at {first}, expected them inside of the file's {file_length}: cut off?")
            })?;
        let most = length.saturating_mul(MOST_COMPRESSION);
        if u64::try_from(meta.uncompressed_size()).map_or(true, |size| size > most) {
            return Err(format!("{} bytes in {length}, expected at most {most}", meta.uncompressed_size()));
        }
        Ok(Self { meta: meta.clone(), start, length })
    }

    /// Bytes that its values take, about.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        u64::try_from(self.meta.uncompressed_size()).unwrap_or(0)
    }

    /// Reads the chunk in one go.
    pub(super) fn read_bytes(&self, file: &Path) -> Result<Bytes, String> {
        Ok(read_range(file, self.start..self.start + self.length).map(Bytes::from)?)
    }

    /// Byte arrays, of a column of such.
    pub(super) fn byte_arrays(&self, bytes: Bytes, rows: usize) -> Result<Images, String> {
        let values = self.values::<ByteArrayType>(bytes, rows)?;
        Ok(Images(values))
    }

    /// Whole numbers, of a column of such.
    pub(super) fn integers(&self, bytes: Bytes, rows: usize) -> Result<Vec<Option<i64>>, String> {
        if self.meta.column_type() == Type::INT32 {
            let values = self.values::<Int32Type>(bytes, rows)?;
            return Ok(values.into_iter().map(|value| value.map(i64::from)).collect());
        }
        self.values::<Int64Type>(bytes, rows)
    }

    fn values<T: DataType>(&self, bytes: Bytes, rows: usize) -> Result<Vec<Option<T::T>>, String> {
        pages::check(&bytes, self.bytes_in_memory())?;
        let chunk = Arc::new(Held { start: self.start, bytes });
        let fail = |error: ParquetError| error.to_string();
        guarded(|| {
            let pages = SerializedPageReader::new(chunk, &self.meta, rows, None).map_err(fail)?;
            let descriptor = self.meta.column_descr_ptr();
            let top = descriptor.max_def_level();
            let reader = get_column_reader(descriptor, Box::new(pages));
            let mut reader = get_typed_column_reader::<T>(reader);
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values).map_err(fail)?;
            if read != rows {
                return Err(format!("{read} rows, expected {rows}"));
            }
            if top == 0 {
                return Ok(values.into_iter().map(Some).collect());
            }
            let mut values = values.into_iter();
            Ok(levels.iter().map(|&level| if level == top { values.next() } else { None }).collect())
        })
    }
}

/// A stretch of a file in memory, addressed by the file's own offsets.
struct Held {
    start: u64,
    bytes: Bytes,
}

impl Length for Held {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Held {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let rest = start.checked_sub(self.start).filter(|&at| at <= self.bytes.len() as u64);
        let at = rest.ok_or_else(|| ParquetError::EOF(format!("a page at {start}, outside of its column chunk")))?;
        Ok(self.bytes.slice(at as usize..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let rest = self.get_read(start)?.into_inner();
        match length <= rest.len() {
            true => Ok(rest.slice(..length)),
            false => Err(ParquetError::EOF(format!("{length} bytes at {start}, beyond the column chunk"))),
        }
    }
}
