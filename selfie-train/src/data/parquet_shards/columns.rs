//! Which columns of a parquet file hold the images and the labels.
//!
//! An image column is a struct with a binary field `bytes` (as the library `datasets` writes it) or a binary column. The first
//! one with a name of [`IMAGE_NAMES`] is used, else the only one there is. A label column has a name of [`LABEL_NAMES`] and
//! holds numbers, truth values or words. `parquet:GLOB,image=NAME,label=NAME` chooses either.

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type as Node};

/// Names of image columns, the preferred one first, in any case.
const IMAGE_NAMES: [&str; 12] = [
    "image",
    "img",
    "picture",
    "photo",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_bytes",
    "img_bytes",
    "image_data",
    "pixel_values",
];

/// Names of label columns, the preferred one first, in any case.
const LABEL_NAMES: [&str; 11] = [
    "label",
    "labels",
    "fine_label",
    "class",
    "target",
    "category",
    "cls",
    "class_label",
    "class_id",
    "label_id",
    "coarse_label",
];

/// Names of the columns that a data string chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    pub(in super::super) image: Option<String>,
    pub(in super::super) label: Option<String>,
}

impl Wanted {
    /// Splits `GLOB,image=NAME,label=NAME` into the pattern and the names; either may be missing.
    pub(in super::super) fn split(given: &str) -> (&str, Self) {
        let (mut pattern, mut wanted) = (given, Self::default());
        while let Some((rest, option)) = pattern.rsplit_once(',') {
            match option.split_once('=') {
                Some(("image", name)) => wanted.image = Some(name.to_owned()),
                Some(("label", name)) => wanted.label = Some(name.to_owned()),
                _ => break,
            }
            pattern = rest;
        }
        (pattern, wanted)
    }
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Column {
    pub(super) number: usize,
    /// Its name, without the `.bytes` of an image.
    pub(super) name: String,
    /// Its type as people call it.
    pub(super) described: String,
    pub(super) values: Values,
}

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Values {
    /// Bytes of image files.
    Images,
    /// Integers without a sign.
    Unsigned,
    /// Integers.
    Signed,
    /// Floats, of which the whole ones are labels.
    Floats,
    /// Truth values: false is class 0.
    Truth,
    /// Words.
    Words,
    /// Nulls only.
    Nothing,
}

impl Values {
    /// Whether a column of such values may hold something else than labels, whatever its name.
    pub(super) fn may_be_no_labels(self) -> bool {
        matches!(self, Self::Floats | Self::Words)
    }

    /// Whether labels of both kinds can be classes of one set.
    pub(super) fn agrees_with(self, other: Self) -> bool {
        let class = |values| match values {
            Self::Unsigned | Self::Signed | Self::Floats => Self::Signed,
            other => other,
        };
        self == Self::Nothing || other == Self::Nothing || class(self) == class(other)
    }
}

/// Finds the image column.
pub(super) fn find_image(schema: &SchemaDescriptor, wanted: &Wanted) -> Result<Column, String> {
    let mut found: Vec<_> = schema.columns().iter().enumerate().filter_map(|(i, column)| as_image(i, column)).collect();
    let none =
        || format!("columns {}, expected an image column: binary, or a struct with a binary field bytes", all(schema));
    if let Some(name) = &wanted.image {
        let place = found.iter().position(|column| column.name == *name);
        return place.map(|place| found.swap_remove(place)).ok_or_else(|| {
            let names: Vec<_> = found.iter().map(|column| column.name.as_str()).collect();
            match names.is_empty() {
                true => none(),
                false => format!("no image column {name}, expected one of {}", names.join(", ")),
            }
        });
    }
    let named = found.iter().enumerate().filter_map(|(i, column)| Some((rank(&IMAGE_NAMES, &column.name)?, i)));
    if let Some((_, best)) = named.min() {
        return Ok(found.swap_remove(best));
    }
    found.retain(|column| rank(&LABEL_NAMES, &column.name).is_none());
    match found.len() {
        0 => Err(none()),
        1 => Ok(found.remove(0)),
        _ => {
            let names: Vec<_> = found.iter().map(|column| column.name.as_str()).collect();
            let first = names[0];
            Err(format!(
                "columns {} may all hold images, expected one of them to be chosen: parquet:GLOB,image={first}",
                names.join(", ")
            ))
        }
    }
}

/// Finds the label column; the error describes columns that have its name and cannot be one.
pub(super) fn find_label(schema: &SchemaDescriptor, wanted: &Wanted) -> Result<Option<Column>, String> {
    let fields = schema.root_schema().get_fields();
    if let Some(name) = &wanted.label {
        let field = fields.iter().find(|field| field.name() == name);
        let field = field.ok_or_else(|| format!("no label column {name}, expected one of {}", all(schema)))?;
        return as_label(schema, field).map(Some).ok_or_else(|| not_labels(field));
    }
    let mut named: Vec<_> =
        fields.iter().filter_map(|field| Some((rank(&LABEL_NAMES, field.name())?, field))).collect();
    named.sort_by_key(|(rank, _)| *rank);
    match named.iter().find_map(|(_, field)| as_label(schema, field)) {
        Some(column) => Ok(Some(column)),
        None => named.first().map_or(Ok(None), |(_, field)| Err(not_labels(field))),
    }
}

fn not_labels(field: &Node) -> String {
    format!("column {} ({}), expected integers, whole floats, truth values or words", field.name(), describe(field))
}

/// Place of a name in a list; a name in the list's own case comes before another one.
fn rank(names: &[&str], name: &str) -> Option<(usize, bool)> {
    let place = names.iter().position(|known| known.eq_ignore_ascii_case(name))?;
    Some((place, names[place] != name))
}

fn as_image(number: usize, column: &ColumnDescriptor) -> Option<Column> {
    let parts = column.path().parts();
    let name = match parts {
        [of @ .., bytes] if bytes == "bytes" && !of.is_empty() => of.join("."),
        [name] => name.clone(),
        _ => return None,
    };
    let is_binary = column.logical_type_ref().is_none() && column.converted_type() == ConvertedType::NONE;
    let fits = column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0 && is_binary;
    fits.then(|| Column { number, name, described: "images".to_owned(), values: Values::Images })
}

fn as_label(schema: &SchemaDescriptor, field: &Node) -> Option<Column> {
    if !field.is_primitive() || field.get_basic_info().repetition() == Repetition::REPEATED {
        return None;
    }
    let number = schema.columns().iter().position(|column| column.path().parts() == [field.name()])?;
    let values = label_values(field)?;
    Some(Column { number, name: field.name().to_owned(), described: describe(field), values })
}

fn label_values(field: &Node) -> Option<Values> {
    let info = field.get_basic_info();
    match (info.logical_type_ref(), info.converted_type(), field.get_physical_type()) {
        (Some(LogicalType::Unknown), ..) => Some(Values::Nothing),
        (Some(LogicalType::Integer(kind)), _, Type::INT32 | Type::INT64) => {
            Some(if kind.is_signed { Values::Signed } else { Values::Unsigned })
        }
        (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _, Type::BYTE_ARRAY) => Some(Values::Words),
        (Some(_), ..) => None,
        (None, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON, Type::BYTE_ARRAY) => {
            Some(Values::Words)
        }
        (
            None,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64,
            Type::INT32 | Type::INT64,
        ) => Some(Values::Unsigned),
        (
            None,
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64,
            Type::INT32 | Type::INT64,
        ) => Some(Values::Signed),
        (None, ConvertedType::NONE, Type::FLOAT | Type::DOUBLE) => Some(Values::Floats),
        (None, ConvertedType::NONE, Type::BOOLEAN) => Some(Values::Truth),
        (None, ConvertedType::NONE, Type::BYTE_ARRAY) => Some(Values::Words),
        _ => None,
    }
}

/// Every column with its type.
fn all(schema: &SchemaDescriptor) -> String {
    let fields = schema.root_schema().get_fields();
    let fields: Vec<_> = fields.iter().map(|field| format!("{} ({})", field.name(), describe(field))).collect();
    fields.join(", ")
}

/// A type as pyarrow calls it.
fn describe(node: &Node) -> String {
    let info = node.get_basic_info();
    let (logical, converted) = (info.logical_type_ref(), info.converted_type());
    if node.is_group() {
        let fields = node.get_fields();
        let is_list = matches!(logical, Some(LogicalType::List)) || converted == ConvertedType::LIST;
        return match fields {
            [repeated] if is_list => match repeated.is_group() {
                true => {
                    format!("list<{}>", repeated.get_fields().first().map_or("?".to_owned(), |item| describe(item)))
                }
                false => format!("list<{}>", describe(repeated)),
            },
            _ => format!("struct<{}>", fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ")),
        };
    }
    let physical = match node.get_physical_type() {
        Type::BOOLEAN => "bool",
        Type::INT32 => "int32",
        Type::INT64 => "int64",
        Type::INT96 => "int96",
        Type::FLOAT => "float",
        Type::DOUBLE => "double",
        Type::BYTE_ARRAY => "binary",
        Type::FIXED_LEN_BYTE_ARRAY => "fixed-size binary",
    };
    let of = match logical {
        Some(LogicalType::Integer(kind)) => {
            return format!("{}int{}", if kind.is_signed { "" } else { "u" }, kind.bit_width);
        }
        Some(LogicalType::String) => "string",
        Some(LogicalType::Enum) => "enum",
        Some(LogicalType::Json) => "json",
        Some(LogicalType::Decimal(_)) => "decimal",
        Some(LogicalType::Date) => "date",
        Some(LogicalType::Time(_)) => "time",
        Some(LogicalType::Timestamp(_)) => "timestamp",
        Some(LogicalType::Float16) => "float16",
        Some(LogicalType::Unknown) => "null",
        Some(_) | None => match converted {
            ConvertedType::NONE => physical,
            ConvertedType::UTF8 => "string",
            other => return format!("{other:?}").to_ascii_lowercase().replace('_', ""),
        },
    };
    of.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn schema(fields: &str) -> SchemaDescriptor {
        SchemaDescriptor::new(Arc::new(parse_message_type(&format!("message schema {{ {fields} }}")).unwrap()))
    }

    const THUMBNAIL: &str = "optional group thumbnail { optional binary bytes; optional binary path (UTF8); }";

    fn image(fields: &str, wanted: &str) -> Result<String, String> {
        find_image(&schema(fields), &Wanted::split(wanted).1).map(|column| column.name)
    }

    fn label(fields: &str, wanted: &str) -> Result<Option<(String, Values)>, String> {
        let column = find_label(&schema(fields), &Wanted::split(wanted).1)?;
        Ok(column.map(|column| (column.name, column.values)))
    }

    #[test]
    fn a_named_image_column_comes_before_others_whatever_its_form() {
        let image_too = format!("{THUMBNAIL} optional binary image;");
        assert_eq!(image(&image_too, "x").unwrap(), "image");
        assert_eq!(image(&image_too, "x,image=thumbnail").unwrap(), "thumbnail");
        assert_eq!(image(&format!("optional binary png; {THUMBNAIL} optional binary Image;"), "x").unwrap(), "Image");
        assert_eq!(image(THUMBNAIL, "x").unwrap(), "thumbnail");
        assert_eq!(
            image("optional binary content; optional binary label; optional binary a (UTF8);", "x").unwrap(),
            "content"
        );
    }

    #[test]
    fn several_image_columns_without_a_known_name_are_listed() {
        let error = image(&format!("{THUMBNAIL} optional binary left; optional binary url (UTF8);"), "x").unwrap_err();
        assert!(error.contains("thumbnail, left may all hold images") && error.contains(",image=thumbnail"), "{error}");
        let error = image(&format!("{THUMBNAIL} optional int64 image;"), "x,image=right").unwrap_err();
        assert!(error.contains("no image column right, expected one of thumbnail"), "{error}");
        let lists = "optional group image (LIST) { repeated group list { optional int32 element (UINT_8); } } required int64 id;";
        let error = image(lists, "x").unwrap_err();
        assert!(error.contains("columns image (list<uint8>), id (int64), expected an image column"), "{error}");
    }

    #[test]
    fn labels_are_numbers_truth_or_words() {
        let kinds = [
            ("int64 label", Values::Signed),
            ("int32 label (INT_8)", Values::Signed),
            ("int64 label (INTEGER(64,false))", Values::Unsigned),
            ("int32 label (UINT_16)", Values::Unsigned),
            ("double label", Values::Floats),
            ("float LABEL", Values::Floats),
            ("boolean label", Values::Truth),
            ("binary label (UTF8)", Values::Words),
            ("binary label (STRING)", Values::Words),
            ("binary label", Values::Words),
        ];
        for (field, values) in kinds {
            let found = label(&format!("optional int32 id; optional {field};"), "x").unwrap().unwrap();
            assert_eq!(found.1, values, "{field}");
        }
        assert_eq!(label("optional int32 id;", "x"), Ok(None));
        let two = "optional int32 coarse_label; optional int64 fine_label;";
        assert_eq!(label(two, "x").unwrap().unwrap().0, "fine_label");
        assert_eq!(label(two, "x,label=coarse_label").unwrap().unwrap().0, "coarse_label");
    }

    #[test]
    fn a_label_column_of_another_type_is_named_with_it() {
        let list = "optional group labels (LIST) { repeated group list { optional int64 element; } }";
        assert!(label(list, "x").unwrap_err().contains("column labels (list<int64>)"));
        assert!(label("optional int32 label (DATE);", "x").unwrap_err().contains("column label (date)"));
        assert!(
            label("optional int64 target (TIMESTAMP(MILLIS,true));", "x").unwrap_err().contains("target (timestamp)")
        );
        assert!(label("optional int32 label (DECIMAL(9,2));", "x").unwrap_err().contains("label (decimal)"));
        assert!(label(THUMBNAIL, "x,label=thumbnail").unwrap_err().contains("thumbnail (struct<bytes, path>)"));
        // Another one may do.
        let found = label(&format!("{list} optional int32 class;"), "x").unwrap().unwrap();
        assert_eq!(found, ("class".to_owned(), Values::Signed));
    }

    #[test]
    fn options_stand_behind_the_pattern() {
        let of = |given| {
            let (pattern, Wanted { image, label }) = Wanted::split(given);
            (pattern.to_owned(), image, label)
        };
        assert_eq!(of("a,b/*.parquet"), ("a,b/*.parquet".to_owned(), None, None));
        assert_eq!(of("d,label=x,image=y"), ("d".to_owned(), Some("y".to_owned()), Some("x".to_owned())));
    }
}
