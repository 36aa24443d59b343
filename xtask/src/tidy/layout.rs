//! Files: how they open, how long they are, what they are called.

use super::Finding;
use super::source::Source;

const MOST_LINES: usize = 400;
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager"];

/// A file says what it is before anything else; a crate's own page does that with its README.
pub fn opens_with_docs(source: &Source) -> Vec<Finding> {
    let opening = source.text();
    if opening.starts_with("//!") || opening.starts_with("#![doc = include_str!(") {
        return Vec::new();
    }
    vec![Finding::new(&source.path, 1, "no module docs, open with a `//!` sentence that says what the file is")]
}

/// A program or library file has one idea, and an end.
pub fn is_short(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let counts = path.ends_with(".rs") || path.ends_with(".py");
    (counts && lines > MOST_LINES)
        .then(|| Finding::new(path, lines, format!("{lines} lines, split it: {MOST_LINES} are the most")))
}

/// A name says what is inside.
pub fn has_a_telling_name(path: &str) -> Option<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".rs").or_else(|| name.strip_suffix(".py"))?;
    if EMPTY_NAMES.contains(&stem) {
        return Some(Finding::new(path, 1, format!("the name '{stem}' says nothing, call the file by what is in it")));
    }
    // Code that several test programs share can only stand in a `mod.rs`.
    let in_tests = path.split('/').any(|folder| folder == "tests");
    (stem == "mod" && !in_tests).then(|| Finding::new(path, 1, "a mod.rs, name it after its folder, beside the folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_come_first() {
        let findings = |text| opens_with_docs(&Source::new("a/src/lib.rs", text)).len();
        assert_eq!(findings("//! A crate.\n"), 0);
        assert_eq!(findings("#![doc = include_str!(\"../README.md\")]\n"), 0);
        assert_eq!(findings("use x;\n//! Late.\n"), 1);
        assert_eq!(findings(""), 1);
    }

    #[test]
    fn only_programs_are_measured() {
        let long = "x\n".repeat(MOST_LINES + 1);
        assert!(is_short("a/src/b.rs", &long).is_some());
        assert!(is_short("Cargo.lock", &long).is_none());
        assert!(is_short("a/src/b.rs", &long[2..]).is_none());
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert!(has_a_telling_name("a/src/utils.rs").is_some());
        assert!(has_a_telling_name("a/src/b/mod.rs").is_some());
        assert!(has_a_telling_name("a/tests/support/mod.rs").is_none());
        assert!(has_a_telling_name("a/src/common_names.rs").is_none());
        assert!(has_a_telling_name("a/README.md").is_none());
    }
}
