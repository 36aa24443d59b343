//! Crates: what they depend on, and that each has a page.

use super::source::Source;
use super::tree::Tree;
use super::{CRATES, Finding, LEAF_CRATES};

/// Data flows one way. A leaf crate has no dependency in the workspace, selfie-train has the leaves, selfie-eval has
/// all, and xtask has neither those nor candle.
pub fn depends_downwards(path: &str, text: &str) -> Vec<Finding> {
    let Some(name) = path.strip_suffix("/Cargo.toml") else {
        return Vec::new();
    };
    let allowed: &[&str] = match name {
        "selfie-train" => LEAF_CRATES,
        "selfie-eval" => CRATES,
        _ if LEAF_CRATES.contains(&name) || name == "xtask" => &[],
        _ => return Vec::new(),
    };
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Finding::new(path, 1, format!("not TOML, {}", error.message()))];
        }
    };
    let line_of = |name: &str| {
        let is_it = |line: &str| line.trim_start().trim_start_matches('"').starts_with(name);
        text.lines().position(is_it).map_or(1, |i| i + 1)
    };
    let ours = |name: &str| CRATES.contains(&name);
    let banned = |wanted: &&String| {
        (ours(wanted) && !allowed.contains(&wanted.as_str())) || (name == "xtask" && wanted.starts_with("candle"))
    };
    let finding = |wanted: &String| {
        let what = format!("{name} depends on {wanted}, take it out: patch, encoder, attnpool, loss -> train -> eval");
        Finding::new(path, line_of(wanted), what)
    };
    dependencies(&manifest).iter().filter(banned).map(finding).collect()
}

/// The names in every table of dependencies, those of targets included.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else {
            continue;
        };
        if ["dependencies", "dev-dependencies", "build-dependencies"].contains(&key.as_str()) {
            names.extend(table.iter().map(|(key, value)| {
                let renamed = value.get("package").and_then(|package| package.as_str());
                renamed.unwrap_or(key).to_owned()
            }));
        } else if key == "target" {
            names.extend(table.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    names
}

/// The README of a crate has an example, and is its docs, so that the example runs.
pub fn readme_is_the_docs(name: &str, tree: &Tree) -> Vec<Finding> {
    let (readme, library) = (format!("{name}/README.md"), format!("{name}/src/lib.rs"));
    let mut findings = Vec::new();
    match tree.text(&readme) {
        None => findings.push(Finding::new(&readme, 1, "no README, write one with an example that runs")),
        Some(text) if !text.lines().any(|line| line.starts_with("```rust")) => {
            findings.push(Finding::new(&readme, 1, "no example, add a ```rust block that ends in an assertion"));
        }
        Some(_) => {}
    }
    let includes = |text| Source::new(&library, text).lines().any(|line| is_include(line.text));
    if !tree.text(&library).is_some_and(includes) {
        let what = "the README is not the crate's docs, open with #![doc = include_str!(\"../README.md\")]";
        findings.push(Finding::new(&library, 1, what));
    }
    findings
}

fn is_include(line: &str) -> bool {
    line.trim() == "#![doc = include_str!(\"../README.md\")]"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        depends_downwards(path, text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn leaves_do_not_know_each_other() {
        let text = "[dependencies]\ncandle-core = \"0\"\n[dev-dependencies]\nselfie-patch.workspace = true\n";
        assert_eq!(lines("selfie-loss/Cargo.toml", text), [4]);
        assert!(lines("selfie-train/Cargo.toml", text).is_empty());
    }

    #[test]
    fn a_new_name_or_a_target_hides_nothing() {
        let renamed = "[dependencies]\nx = { package = \"selfie-eval\", path = \"../selfie-eval\" }\n";
        assert_eq!(lines("selfie-train/Cargo.toml", renamed).len(), 1);
        let target = "[target.'cfg(unix)'.dependencies]\nselfie-patch.workspace = true\n";
        assert_eq!(lines("selfie-encoder/Cargo.toml", target), [2]);
    }

    #[test]
    fn xtask_builds_without_candle() {
        assert_eq!(lines("xtask/Cargo.toml", "[dependencies]\ncandle-core = \"0\"\n"), [2]);
    }

    #[test]
    fn a_readme_has_an_example_and_is_the_docs() {
        let good = [
            ("a/README.md", "# a\n```rust\nassert!(true);\n```\n"),
            ("a/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n"),
        ];
        assert_eq!(readme_is_the_docs("a", &Tree::of(&good)), []);
        let bad = [("a/README.md", "# a\n"), ("a/src/lib.rs", "//! A crate.\n")];
        assert_eq!(readme_is_the_docs("a", &Tree::of(&bad)).len(), 2);
        assert_eq!(readme_is_the_docs("a", &Tree::of(&[])).len(), 2);
    }
}
