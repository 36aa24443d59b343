//! `cargo xtask tidy`: what neither the compiler nor clippy can know of this project's rules.
//!
//! Each check is a small function over one file. A line of code that must break a rule says so on itself or on the
//! line before: `// tidy: REASON`. A finding reads `file:line: what, and what to do`.

mod candle;
mod code;
mod layout;
mod manifest;
mod publish;
mod source;
mod text;
mod tree;

use std::fmt;

use anyhow::{Result, bail};

use source::Source;
use tree::Tree;

use crate::project_root;

/// The crates that know nothing of each other; tensors are their interface.
pub const LEAF_CRATES: &[&str] = &["selfie-patch", "selfie-encoder", "selfie-attnpool", "selfie-loss"];
/// The crates that other programs build on: they print nothing and do not stop their caller.
const LIBRARY_CRATES: &[&str] = &["selfie-patch", "selfie-encoder", "selfie-attnpool", "selfie-loss", "selfie-train"];
/// All crates with a page of their own.
pub const CRATES: &[&str] =
    &["selfie-patch", "selfie-encoder", "selfie-attnpool", "selfie-loss", "selfie-train", "selfie-eval"];

/// The checks of one Rust file.
const SOURCE_CHECKS: &[fn(&Source) -> Vec<Finding>] = &[
    layout::opens_with_docs,
    code::no_unfinished_code,
    code::libraries_do_not_print,
    code::no_unwrap,
    code::unsafe_stays_in_its_modules,
    candle::no_traps,
];

/// A broken rule and the way out.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Prints every finding; an error when there is one.
pub fn run() -> Result<()> {
    let tree = Tree::read(&project_root())?;
    let findings = findings(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy: 1 finding"),
        count => bail!("tidy: {count} findings"),
    }
}

fn findings(tree: &Tree) -> Vec<Finding> {
    let sources: Vec<Source> =
        tree.texts().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| Source::new(path, text)).collect();
    let mut findings: Vec<Finding> =
        sources.iter().flat_map(|source| SOURCE_CHECKS.iter().flat_map(move |check| check(source))).collect();
    findings.extend(candle::one_file_knows_the_device_features(&sources));
    for (path, text) in tree.texts() {
        findings.extend(layout::is_short(path, text));
        findings.extend(layout::has_a_telling_name(path));
        findings.extend(text::no_workplace_paths(path, text));
        findings.extend(text::links_resolve(path, text, &|target| tree.exists(target)));
        findings.extend(text::python_says_how_to_run(path, text));
        findings.extend(text::golden_program_is_registered(path));
        findings.extend(manifest::depends_downwards(path, text));
    }
    findings.extend(CRATES.iter().flat_map(|name| manifest::readme_is_the_docs(name, tree)));
    findings.extend(CRATES.iter().flat_map(|name| publish::is_ready_to_publish(name, tree)));
    findings.extend(publish::changelog_tells_the_version(tree));
    findings.sort();
    findings
}
