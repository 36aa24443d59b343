//! Lines of a list, in any of the forms that lists of images have.
//!
//! | form | a line |
//! |---|---|
//! | plain | `photos/a.jpg` |
//! | tab | `photos/a.jpg`, tab, `cat` |
//! | Caffe | `photos/a.jpg 3` |
//! | CSV | `photos/a.jpg,cat`, with quotes if needed; with a heading the columns may be others |
//! | MXNet `.lst` | `17`, tab, `3.000000`, tab, `photos/a.jpg` |

use std::borrow::Cow;
use std::path::Path;

use super::super::names::os_name;
use super::super::source::has_image_suffix;

/// What a list may hold, for messages.
pub(super) const EXPECTED: &str = "the path of an image, then maybe a tab and a label (or PATH,LABEL as CSV, PATH NUMBER, or INDEX, LABEL, PATH with tabs)";

/// Lines that decide about the form.
const DECIDING: usize = 16;

/// How the fields of a line are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Tab,
    Caffe,
    Csv { path: usize, label: Option<usize>, columns: usize },
    Mxnet,
}

/// A path and its label.
pub(super) type Entry<'a> = (Cow<'a, [u8]>, Option<Cow<'a, str>>);

/// The lines of a list with their numbers, counted from 1, without a byte-order mark and without empty lines. Lines end in LF,
/// CR LF, or CR alone.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let end = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    let lines = (1..).zip(bytes.split(move |&byte| byte == end));
    lines.map(|(number, line)| (number, line.trim_ascii_end())).filter(|(_, line)| !line.is_empty())
}

impl Form {
    /// The form of a list, and whether its first line is a heading.
    pub(super) fn of(bytes: &[u8], is_csv: bool) -> Result<(Self, bool), String> {
        let deciding: Vec<&[u8]> = lines(bytes).take(DECIDING).map(|(_, line)| line).collect();
        // A heading may be like no other line.
        let (Some(first), [line, ..]) = (deciding.first(), &deciding[usize::from(deciding.len() > 1)..]) else {
            return Ok((Self::Plain, false));
        };
        let rest = &deciding[usize::from(deciding.len() > 1)..];
        if rest.iter().all(|line| is_mxnet(line)) {
            return Ok((Self::Mxnet, !is_mxnet(first)));
        }
        if rest.iter().any(|line| line.contains(&b'\t')) {
            return Ok((Self::Tab, is_heading(&deciding, b'\t')));
        }
        if is_csv || rest.iter().all(|line| line.contains(&b',') && !is_image(line)) {
            return Self::csv(first, line);
        }
        let numbered = rest.iter().any(|line| caffe(line).is_some());
        if numbered {
            return Ok((Self::Caffe, caffe(first).is_none() && !is_image(first)));
        }
        Ok((Self::Plain, is_heading(&deciding, b'\n')))
    }

    fn csv(first: &[u8], line: &[u8]) -> Result<(Self, bool), String> {
        let fields = |line: &[u8]| -> Vec<String> {
            let fields = csv_fields(line).unwrap_or_default();
            fields.iter().map(|field| String::from_utf8_lossy(field).trim().to_ascii_lowercase()).collect()
        };
        let (names, values) = (fields(first), fields(line));
        let image = |values: &[String]| values.iter().position(|value| has_image_suffix(Path::new(value)));
        let heading = image(&names).is_none() && image(&values).is_some();
        let path = image(&values).unwrap_or(0);
        let named = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let label = match (heading, values.len()) {
            (_, 1) => None,
            (true, _) => {
                let known = named(&["label", "labels", "class", "class_name", "classname", "category", "target", "y"]);
                known.filter(|&at| at != path).or((values.len() == 2).then_some(1 - path.min(1)))
            }
            (false, 2) => Some(1 - path),
            (false, columns) => return Err(format!("{columns} columns without a heading, expected {EXPECTED}")),
        };
        if heading && label.is_none() && values.len() > 1 {
            return Err(format!("the columns {}, expected one called label or class", names.join(", ")));
        }
        Ok((Self::Csv { path, label, columns: values.len() }, heading))
    }

    /// The path and the label of a line.
    pub(super) fn entry<'a>(self, line: &'a [u8]) -> Result<Entry<'a>, String> {
        let (path, label): (Cow<[u8]>, Option<Cow<[u8]>>) = match self {
            Self::Plain => (line.into(), None),
            Self::Tab => {
                let mut fields = line.split(|&byte| byte == b'\t');
                let (path, label) = (fields.next().unwrap_or_default(), fields.next());
                if fields.next().is_some() {
                    return Err("more than one tab".to_owned());
                }
                (path.into(), label.map(Into::into))
            }
            Self::Caffe => match caffe(line) {
                Some((path, label)) => (path.into(), Some(label.into())),
                None if is_image(line) => (line.into(), None),
                None => return Err("no number at the end".to_owned()),
            },
            Self::Csv { path, label, columns } => {
                let mut fields = csv_fields(line).ok_or("a quote that is not closed")?;
                if fields.len() != columns {
                    return Err(format!("{} columns instead of {columns}", fields.len()));
                }
                let label = label.map(|at| Cow::Owned(std::mem::take(&mut fields[at])));
                (Cow::Owned(std::mem::take(&mut fields[path])), label)
            }
            Self::Mxnet => {
                let mut fields = line.split(|&byte| byte == b'\t');
                let (_, path, label) = (fields.next(), fields.next_back().unwrap_or_default(), fields.next());
                (path.into(), label.map(Into::into))
            }
        };
        if path.is_empty() || path.contains(&0) {
            return Err("no path".to_owned());
        }
        let label = label.map(|label| match label {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(|text| Cow::Borrowed(text.trim())),
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map(|text| Cow::Owned(text.trim().to_owned())).map_err(|e| e.utf8_error())
            }
        });
        let label = label.transpose().map_err(|_| "a label that is not UTF-8 text")?;
        let label = if matches!(self, Self::Csv { .. } | Self::Mxnet) { label.map(whole) } else { label };
        Ok((path, label.filter(|label| !label.is_empty() && label != "-1")))
    }
}

/// A whole number without its decimals: tables write labels as `3.0`.
fn whole(label: Cow<str>) -> Cow<str> {
    match label.split_once('.') {
        Some((number, zeros)) if number.parse::<i64>().is_ok() && zeros.bytes().all(|digit| digit == b'0') => {
            Cow::Owned(number.to_owned())
        }
        _ => label,
    }
}

fn is_image(line: &[u8]) -> bool {
    has_image_suffix(Path::new(&os_name(line)))
}

/// Whether a line is an index, one or more numbers, and a path, with tabs between.
fn is_mxnet(line: &[u8]) -> bool {
    let fields: Vec<_> = line.split(|&byte| byte == b'\t').collect();
    let [index, labels @ .., path] = fields.as_slice() else { return false };
    let number = |field: &[u8]| std::str::from_utf8(field).is_ok_and(|text| text.trim().parse::<f64>().is_ok());
    let is_index = std::str::from_utf8(index).is_ok_and(|text| text.trim().parse::<u64>().is_ok());
    is_index && !labels.is_empty() && labels.iter().all(|label| number(label)) && !number(path)
}

/// The path and the number of a line `PATH NUMBER`.
fn caffe(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().rposition(|byte| *byte == b' ')?;
    let (path, label) = (line[..space].trim_ascii_end(), &line[space + 1..]);
    let digits = label.strip_prefix(b"-").unwrap_or(label);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    (is_number && is_image(path)).then_some((path, label))
}

/// Whether the first line is a heading: it begins with a bare word, and all others with the path of an image.
fn is_heading(deciding: &[&[u8]], separator: u8) -> bool {
    let path = |line: &&[u8]| line.split(|&byte| byte == separator).next().is_some_and(is_image);
    let bare = |line: &[u8]| !line.contains(&b'.') && !line.contains(&b'/');
    match deciding {
        [first, rest @ ..] if !rest.is_empty() => bare(first) && rest.iter().all(path),
        _ => false,
    }
}

/// The fields of a line of CSV; `None` if a quote is not closed.
fn csv_fields(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut fields, mut field) = (Vec::new(), Vec::new());
    let (mut quoted, mut bytes) = (false, line.iter().copied().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => field.extend(bytes.next()),
            b'"' if quoted => quoted = false,
            b'"' if field.is_empty() => quoted = true,
            b',' if !quoted => fields.push(std::mem::take(&mut field)),
            byte => field.push(byte),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[cfg(test)]
#[path = "lines/tests.rs"]
mod tests;
