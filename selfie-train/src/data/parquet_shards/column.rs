//! One column of a row group: its bytes in the file, and the values in them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::Type;
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::super::storage::{Fault, read_range};
use super::columns::Values;
use super::labels::Label;
use super::pages::{self, Page, Pages};
use super::schema::guarded;

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

/// The image files of consecutive rows; none if a row has no bytes.
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
        // Where a page begins is read from the pages themselves.
        let alone = meta.clone().into_builder().set_dictionary_page_offset(None).set_data_page_offset(0);
        let meta = alone.build().map_err(|error| error.to_string())?;
        Ok(Self { meta, start, length })
    }

    /// Approximate number of bytes that its values take.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        u64::try_from(self.meta.uncompressed_size()).unwrap_or(0).max(self.length)
    }

    /// Reads the whole chunk.
    pub(super) fn read_bytes(&self, file: &Path) -> Result<Bytes, Fault> {
        read_range(file, self.start..self.start + self.length).map(Bytes::from)
    }

    /// Finds the pages of the chunk.
    pub(super) fn find_pages(&self, file: &mut File) -> Result<Pages, String> {
        pages::find(file, self.start..self.start + self.length, self.meta.compression())
    }

    /// Reads consecutive pages, and the dictionary in front of them if they use it.
    pub(super) fn read_pages(&self, file: &Path, all: &Pages, pages: &[Page]) -> Result<Bytes, Fault> {
        let mut bytes = Vec::new();
        if let Some((dictionary, _)) = all.dictionary.as_ref().filter(|_| pages.iter().any(|page| page.uses_dictionary))
        {
            bytes = read_range(file, dictionary.clone())?;
        }
        if let [first, .., last] | [first @ last] = pages {
            bytes.extend(read_range(file, first.bytes.start..last.bytes.end)?);
        }
        Ok(bytes.into())
    }

    /// The image files of `rows` rows after the first `skip` ones, of a column of byte arrays.
    pub(super) fn images(&self, bytes: Bytes, skip: usize, rows: usize) -> Result<Images, String> {
        let mut images = Vec::new();
        self.each::<ByteArrayType>(bytes, skip, rows, |image| {
            images.push(image);
            Ok(())
        })?;
        Ok(Images(images))
    }

    /// Passes the labels of `rows` rows to `each`, of a column of labels.
    pub(super) fn labels(
        &self,
        bytes: Bytes,
        rows: usize,
        values: Values,
        mut each: impl FnMut(Label<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let is_unsigned = values == Values::Unsigned;
        match self.meta.column_type() {
            Type::INT32 if is_unsigned => self.each::<Int32Type>(bytes, 0, rows, |v| {
                each(v.map_or(Label::None, |v| Label::Number((v as u32).into())))
            }),
            Type::INT64 if is_unsigned => self.each::<Int64Type>(bytes, 0, rows, |v| {
                each(v.map_or(Label::None, |v| Label::Number((v as u64).into())))
            }),
            Type::INT32 => {
                self.each::<Int32Type>(bytes, 0, rows, |v| each(v.map_or(Label::None, |v| Label::Number(v.into()))))
            }
            Type::INT64 => {
                self.each::<Int64Type>(bytes, 0, rows, |v| each(v.map_or(Label::None, |v| Label::Number(v.into()))))
            }
            Type::FLOAT => {
                self.each::<FloatType>(bytes, 0, rows, |v| each(v.map_or(Label::None, |v| Label::Float(v.into()))))
            }
            Type::DOUBLE => self.each::<DoubleType>(bytes, 0, rows, |v| each(v.map_or(Label::None, Label::Float))),
            Type::BOOLEAN => {
                self.each::<BoolType>(bytes, 0, rows, |v| each(v.map_or(Label::None, |v| Label::Number(v.into()))))
            }
            Type::BYTE_ARRAY => self.each::<ByteArrayType>(bytes, 0, rows, |v| match v {
                None => each(Label::None),
                Some(word) => each(Label::Word(word.data())),
            }),
            other => Err(format!("labels of type {other}, expected numbers or words")),
        }
    }

    /// Decodes `rows` values after the first `skip` ones, a batch at a time.
    fn each<T: DataType>(
        &self,
        bytes: Bytes,
        skip: usize,
        rows: usize,
        mut each: impl FnMut(Option<T::T>) -> Result<(), String>,
    ) -> Result<(), String> {
        pages::check(&bytes, self.meta.compression())?;
        let fail = |error: ParquetError| error.to_string();
        let all = skip.saturating_add(rows);
        guarded(|| {
            let length = i64::try_from(bytes.len()).map_err(|error| error.to_string())?;
            let meta = self.meta.clone().into_builder().set_total_compressed_size(length).build().map_err(fail)?;
            let pages = SerializedPageReader::new(Arc::new(Held(bytes)), &meta, all, None).map_err(fail)?;
            let descriptor = meta.column_descr_ptr();
            let top = descriptor.max_def_level();
            let reader = get_column_reader(descriptor, Box::new(pages));
            let mut reader = get_typed_column_reader::<T>(reader);
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            let mut done = if skip > 0 { reader.skip_records(skip).map_err(fail)? } else { 0 };
            while done < all {
                values.clear();
                levels.clear();
                let wanted = BATCH.min(all - done);
                let (read, ..) = reader.read_records(wanted, Some(&mut levels), None, &mut values).map_err(fail)?;
                if read == 0 || done < skip {
                    return Err(format!("{} rows, expected {rows}", done.saturating_sub(skip)));
                }
                done += read;
                let mut values = values.drain(..);
                match top {
                    0 => values.by_ref().take(read).try_for_each(|value| each(Some(value)))?,
                    _ => levels.iter().try_for_each(|&level| match level == top {
                        true => each(values.next()),
                        false => each(None),
                    })?,
                }
            }
            Ok(())
        })
    }
}

/// Pages in memory, addressed from 0.
struct Held(Bytes);

impl Length for Held {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl ChunkReader for Held {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let start = usize::try_from(start).ok().filter(|&start| start <= self.0.len());
        let start = start.ok_or_else(|| ParquetError::EOF("a page outside of its column chunk".to_owned()))?;
        Ok(self.0.slice(start..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let rest = self.get_read(start)?.into_inner();
        match length <= rest.len() {
            true => Ok(rest.slice(..length)),
            false => Err(ParquetError::EOF(format!("{length} bytes at {start}, beyond the column chunk"))),
        }
    }
}
