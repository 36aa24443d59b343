//! The footer of a parquet file: which columns hold the images and the labels, and where their row groups lie.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
    RowGroupMetaData,
};
use parquet::file::reader::ChunkReader;

use super::column::Chunk;
use super::columns::{Column, Wanted, find_image, find_label};

/// Rows of a file, at most, if it has fewer bytes: rows without bytes of their own take memory too.
const MOST_EMPTY_ROWS: u64 = 1 << 22;

/// The columns that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Layout {
    pub(super) image: Column,
    pub(super) label: Option<Column>,
    /// Why a column with the name of a label column is not used.
    pub(super) no_label: Option<String>,
    /// The hub's names of the classes, if the file carries them.
    pub(super) class_names: Option<Vec<String>>,
}

/// The parts of a row group that matter.
pub(in super::super) struct Group {
    pub(super) rows: usize,
    pub(super) images: Chunk,
    pub(super) labels: Option<Chunk>,
}

/// Reads the footer of a file of `length` bytes.
pub(in super::super) fn read(
    file: &impl ChunkReader,
    length: u64,
    wanted: &Wanted,
) -> Result<(Layout, Vec<Group>), String> {
    guarded(|| {
        let options = ParquetMetaDataOptions::new().with_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let reader = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Skip)
            .with_metadata_options(Some(options));
        let metadata =
            reader.parse_and_finish(file).map_err(|error| format!("no parquet file, or a damaged one: {error}"))?;
        let layout = Layout::of(&metadata, wanted)?;
        let group = |(number, group)| {
            Group::of(group, &layout, length).map_err(|reason| format!("row group {number}: {reason}"))
        };
        let groups: Vec<_> = metadata.row_groups().iter().enumerate().map(group).collect::<Result<_, _>>()?;
        let (rows, most) = (groups.iter().map(|group| group.rows as u64), MOST_EMPTY_ROWS.max(length));
        match rows.fold(0, u64::saturating_add) {
            rows if rows > most => Err(format!("{rows} rows in {length} bytes, expected at most {most} rows")),
            _ => Ok((layout, groups)),
        }
    })
}

/// Runs the parquet crate; a panic of it over a damaged file becomes an error.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("damaged: its parquet reader gave up".to_owned()))
}

impl Layout {
    fn of(metadata: &ParquetMetaData, wanted: &Wanted) -> Result<Self, String> {
        let schema = metadata.file_metadata().schema_descr();
        let image = find_image(schema, wanted)?;
        let (label, no_label) = match find_label(schema, wanted) {
            Ok(label) => (label, None),
            Err(reason) if wanted.label.is_some() => return Err(reason),
            Err(reason) => (None, Some(reason)),
        };
        let class_names = label.as_ref().and_then(|label| class_names(metadata, &label.name));
        Ok(Self { image, label, no_label, class_names })
    }

    /// Describes what differs in another file of the same split; ends in what was expected.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let describe = |column: Option<&Column>| match column {
            Some(column) => format!("{} ({})", column.name, column.described),
            None => "none".to_owned(),
        };
        let pairs =
            [("image", Some(&self.image), Some(&other.image)), ("label", self.label.as_ref(), other.label.as_ref())];
        for (what, ours, theirs) in pairs {
            let agree = match (ours, theirs) {
                (Some(ours), Some(theirs)) => ours.name == theirs.name && ours.values.agrees_with(theirs.values),
                // A file whose values are no labels makes the whole set unlabeled.
                (ours, theirs) => {
                    (ours.is_none() && theirs.is_none()) || self.no_label.is_some() || other.no_label.is_some()
                }
            };
            if !agree {
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

    /// Describes why the labels of a file of another split cannot have the same classes.
    pub(super) fn other_classes(&self, other: &Self) -> Option<String> {
        let (Some(ours), Some(theirs)) = (&self.label, &other.label) else { return None };
        if !ours.values.agrees_with(theirs.values) {
            let describe = |column: &Column| format!("{} ({})", column.name, column.described);
            return Some(format!("label column {}, expected one such as {}", describe(theirs), describe(ours)));
        }
        let (Some(ours), Some(theirs)) = (&self.class_names, &other.class_names) else { return None };
        (ours != theirs).then(|| format!("other names of classes ({}), expected the same {}", theirs.len(), ours.len()))
    }
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
            let meta = group.columns().get(column.number).ok_or_else(|| format!("no column {}", column.name))?;
            Chunk::new(meta, length).map_err(|reason| format!("column {}: {reason}", column.name))
        };
        let (images, labels) = (chunk(&layout.image)?, layout.label.as_ref().map(chunk).transpose()?);
        Ok(Self { rows, images, labels })
    }
}
