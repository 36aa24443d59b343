//! Parquet: a row an image, in groups of rows that fit into memory.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::Finished;
use crate::error::{Error, Result};

/// Rows a group: 8 MB of features at D = 2048.
const GROUP: usize = 1024;

/// The rows of a group, column by column.
#[derive(Default)]
struct Group {
    names: Vec<ByteArray>,
    splits: Vec<ByteArray>,
    labels: Vec<Option<i64>>,
    classes: Vec<Option<ByteArray>>,
    /// One list a kind of features.
    features: Vec<Vec<f32>>,
}

/// Writes all rows of `finished`.
pub(super) fn write(finished: &Finished, file: &mut BufWriter<File>) -> Result<()> {
    let other = |error: parquet::errors::ParquetError| std::io::Error::other(error.to_string());
    let path = "the parquet file";
    let lists = finished.widths.iter().map(|(kind, _)| {
        format!("REQUIRED GROUP {kind} (LIST) {{ REPEATED GROUP list {{ REQUIRED FLOAT element; }} }}")
    });
    let schema = format!(
        "message features {{ REQUIRED BINARY name (STRING); REQUIRED BINARY split (STRING); OPTIONAL INT64 label; \
         OPTIONAL BINARY class (STRING); {} }}",
        lists.collect::<Vec<_>>().join(" ")
    );
    let said = KeyValue::new("selfie_features".to_owned(), finished.metadata().to_string());
    // Features do not repeat, so neither a dictionary nor a packer makes them smaller.
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(vec![said]))
        .build();
    let schema = parse_message_type(&schema).map_err(other).map_err(Error::io(path))?;
    let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
    let mut writer = writer.map_err(other).map_err(Error::io(path))?;

    let mut group = Group::of(finished);
    finished.partial.each(|row| {
        let known = finished.images.known(row.image).ok_or_else(|| std::io::Error::other("an image is gone"))?;
        let class = finished.class(&known);
        group.names.push(known.name.as_str().into());
        group.splits.push(known.split.into());
        group.labels.push(known.label.map(i64::from));
        group.classes.push((!class.is_empty()).then(|| class.into()));
        let mut start = 0;
        for (list, (_, width)) in group.features.iter_mut().zip(finished.widths) {
            list.extend_from_slice(&row.values[start..start + width]);
            start += width;
        }
        if group.names.len() == GROUP {
            let full = std::mem::replace(&mut group, Group::of(finished));
            writer.next_row_group().and_then(|rows| full.write(rows)).map_err(other)?;
        }
        Ok(())
    })?;
    if !group.names.is_empty() {
        writer.next_row_group().and_then(|rows| group.write(rows)).map_err(other).map_err(Error::io(path))?;
    }
    writer.close().map(drop).map_err(other).map_err(Error::io(path))
}

impl Group {
    fn of(finished: &Finished) -> Self {
        Self { features: vec![Vec::new(); finished.widths.len()], ..Self::default() }
    }

    fn write<W: std::io::Write + Send>(self, mut rows: SerializedRowGroupWriter<'_, W>) -> ParquetResult<()> {
        let count = self.names.len();
        texts(&mut rows, &self.names, None)?;
        texts(&mut rows, &self.splits, None)?;
        if let Some(mut column) = rows.next_column()? {
            let values: Vec<_> = self.labels.iter().flatten().copied().collect();
            column.typed::<Int64Type>().write_batch(&values, Some(&levels(&self.labels)), None)?;
            column.close()?;
        }
        let classes: Vec<_> = self.classes.iter().flatten().cloned().collect();
        texts(&mut rows, &classes, Some(&levels(&self.classes)))?;
        for list in &self.features {
            if let Some(mut column) = rows.next_column()? {
                let width = list.len() / count;
                let repeated: Vec<i16> = (0..list.len()).map(|i| i16::from(i % width != 0)).collect();
                column.typed::<FloatType>().write_batch(list, Some(&vec![1; list.len()]), Some(&repeated))?;
                column.close()?;
            }
        }
        rows.close().map(drop)
    }
}

fn texts<W: std::io::Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    values: &[ByteArray],
    levels: Option<&[i16]>,
) -> ParquetResult<()> {
    if let Some(mut column) = rows.next_column()? {
        column.typed::<ByteArrayType>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

/// 1 where there is a value.
fn levels<T>(values: &[Option<T>]) -> Vec<i16> {
    values.iter().map(|value| i16::from(value.is_some())).collect()
}
