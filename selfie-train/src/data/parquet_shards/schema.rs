//! The footer of a parquet file: which columns hold the images and the labels, and where their row groups lie.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::{Repetition, Type};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
    RowGroupMetaData,
};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::ColumnDescriptor;

use super::column::Chunk;

/// Names of label columns, the preferred one first.
const LABEL_NAMES: [&str; 5] = ["label", "labels", "fine_label", "class", "target"];
/// Names of columns that hold image files without a struct around them.
const IMAGE_NAMES: [&str; 4] = ["image", "img", "jpg", "png"];

/// The columns that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Layout {
    image: Column,
    label: Option<Column>,
    /// The hub's names of the classes, where the file carries them.
    pub(super) class_names: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    number: usize,
    path: String,
    kind: Type,
}

/// The parts of a row group that matter.
pub(in super::super) struct Group {
    pub(super) rows: usize,
    pub(super) images: Chunk,
    pub(super) labels: Option<Chunk>,
}

/// Reads the footer of a file of `length` bytes.
pub(in super::super) fn read(file: &impl ChunkReader, length: u64) -> Result<(Layout, Vec<Group>), String> {
    guarded(|| {
        let options = ParquetMetaDataOptions::new().with_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let reader = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Skip)
            .with_metadata_options(Some(options));
        let metadata =
            reader.parse_and_finish(file).map_err(|error| format!("no parquet file, or a damaged one: {error}"))?;
        let layout = Layout::of(&metadata)?;
        let group = |(number, group)| {
            Group::of(group, &layout, length).map_err(|reason| format!("row group {number}: {reason}"))
        };
        let groups = metadata.row_groups().iter().enumerate().map(group).collect::<Result<_, _>>()?;
        Ok((layout, groups))
    })
}

/// Runs the parquet crate; a panic of it over a damaged file becomes an error.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("damaged: its parquet reader gave up".to_owned()))
}

impl Layout {
    fn of(metadata: &ParquetMetaData) -> Result<Self, String> {
        let columns = metadata.file_metadata().schema_descr().columns();
        let columns: Vec<_> = columns.iter().enumerate().map(|(number, column)| (number, column.as_ref())).collect();
        let image = find_image(&columns).ok_or_else(|| {
            let all: Vec<_> =
                columns.iter().map(|(_, c)| format!("{} ({})", c.path().string(), c.physical_type())).collect();
            format!("columns {}, expected an image column: a struct of bytes and path", all.join(", "))
        })?;
        let label = find_label(&columns);
        let class_names = label.as_ref().and_then(|label| class_names(metadata, &label.path));
        Ok(Self { image, label, class_names })
    }

    pub(super) fn has_labels(&self) -> bool {
        self.label.is_some()
    }

    /// What another file has that this one has not, in words that end in what was expected.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let describe = |column: Option<&Column>| match column {
            Some(column) => format!("{} ({})", column.path, column.kind),
            None => "none".to_owned(),
        };
        let pairs =
            [("image", Some(&self.image), Some(&other.image)), ("label", self.label.as_ref(), other.label.as_ref())];
        for (what, ours, theirs) in pairs {
            if ours.map(|c| (&c.path, c.kind)) != theirs.map(|c| (&c.path, c.kind)) {
                return Some(format!("{what} column {}, expected {}", describe(theirs), describe(ours)));
            }
        }
        let (ours, theirs) = (&self.class_names, &other.class_names);
        (ours != theirs).then(|| {
            let count =
                |names: &Option<Vec<String>>| names.as_ref().map_or("none".to_owned(), |names| names.len().to_string());
            format!("other names of classes ({}), expected the same {}", count(theirs), count(ours))
        })
    }
}

/// `bytes` of a struct, preferably of one with an image's name; else a column of bytes with such a name.
fn find_image(columns: &[(usize, &ColumnDescriptor)]) -> Option<Column> {
    let mut found = Vec::new();
    for (number, column) in columns {
        let parts = column.path().parts();
        let rank = match parts {
            [of, bytes] if bytes == "bytes" => {
                IMAGE_NAMES.iter().position(|name| name == of).unwrap_or(IMAGE_NAMES.len())
            }
            [name] => match IMAGE_NAMES.iter().position(|known| known == name) {
                Some(rank) => IMAGE_NAMES.len() + 1 + rank,
                None => continue,
            },
            _ => continue,
        };
        if column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0 {
            found.push((rank, of_column(*number, column)));
        }
    }
    found.into_iter().min_by_key(|(rank, _)| *rank).map(|(_, column)| column)
}

fn find_label(columns: &[(usize, &ColumnDescriptor)]) -> Option<Column> {
    let is_label = |column: &ColumnDescriptor, name: &str| {
        let is_integer = matches!(column.physical_type(), Type::INT32 | Type::INT64);
        is_integer
            && column.path().parts() == [name]
            && column.self_type().get_basic_info().repetition() != Repetition::REPEATED
    };
    LABEL_NAMES.iter().find_map(|name| {
        let (number, column) = columns.iter().find(|(_, column)| is_label(column, name))?;
        Some(of_column(*number, column))
    })
}

fn of_column(number: usize, column: &ColumnDescriptor) -> Column {
    Column { number, path: column.path().string(), kind: column.physical_type() }
}

/// `info.features.LABEL.names` of the hub's own metadata.
fn class_names(metadata: &ParquetMetaData, label: &str) -> Option<Vec<String>> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    let text = entries.iter().find(|entry| entry.key == "huggingface")?.value.as_deref()?;
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let names = json["info"]["features"][label]["names"].as_array()?;
    let names: Option<Vec<_>> = names.iter().map(|name| Some(name.as_str()?.to_owned())).collect();
    names.filter(|names| !names.is_empty())
}

impl Group {
    fn of(group: &RowGroupMetaData, layout: &Layout, length: u64) -> Result<Self, String> {
        let rows =
            usize::try_from(group.num_rows()).map_err(|_| format!("{} rows, expected 0 or more", group.num_rows()))?;
        let chunk = |column: &Column| {
            let meta = group.columns().get(column.number).ok_or_else(|| format!("no column {}", column.path))?;
            Chunk::new(meta, length).map_err(|reason| format!("column {}: {reason}", column.path))
        };
        let (images, labels) = (chunk(&layout.image)?, layout.label.as_ref().map(chunk).transpose()?);
        if rows as u64 > images.bytes_in_memory() {
            return Err(format!(
                "{rows} rows in {} bytes of images, expected at least a byte each",
                images.bytes_in_memory()
            ));
        }
        Ok(Self { rows, images, labels })
    }
}
