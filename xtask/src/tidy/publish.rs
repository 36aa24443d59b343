//! What crates.io and docs.rs ask of the crates that may be published, and what a user of one alone relies on: the same device features
//! under the same names everywhere.

use super::tree::Tree;
use super::{CRATES, Finding};

/// Candle's features that every crate hands on, all under Candle's names.
const DEVICE_FEATURES: &[&str] = &["cuda", "cudnn", "metal", "accelerate", "mkl"];

/// The findings of one crate's manifest; [`super::manifest`] tells where it is no TOML.
pub fn is_ready_to_publish(name: &str, tree: &Tree) -> Vec<Finding> {
    let path = format!("{name}/Cargo.toml");
    let Some(manifest) = tree.text(&path).and_then(|text| text.parse::<toml::Table>().ok()) else {
        return Vec::new();
    };
    let mut whats = missing_facts(name, &manifest);
    whats.extend(missing_features(&manifest));
    whats.extend(
        ["LICENSE-APACHE", "LICENSE-MIT"].into_iter().filter(|file| !tree.exists(&format!("{name}/{file}"))).map(
            |file| format!("no {file} beside it, and so none in the package: link it (ln -s ../{file} {name}/{file})"),
        ),
    );
    whats.into_iter().map(|what| Finding::new(&path, 1, what)).collect()
}

fn missing_facts(name: &str, manifest: &toml::Table) -> Vec<String> {
    let Some(package) = manifest.get("package").and_then(toml::Value::as_table) else {
        return vec!["no [package]".to_owned()];
    };
    let facts = ["description", "readme", "keywords", "categories", "license", "rust-version", "version"];
    let mut whats: Vec<String> =
        facts.iter().filter(|fact| !package.contains_key(**fact)).map(|fact| format!("no package.{fact}")).collect();
    let documentation = format!("https://docs.rs/{name}");
    if package.get("documentation").and_then(toml::Value::as_str) != Some(&documentation) {
        whats.push(format!("package.documentation is not {documentation}"));
    }
    let excluded = package.get("exclude").and_then(toml::Value::as_array);
    if !excluded.is_some_and(|all| all.iter().any(|entry| entry.as_str() == Some("/tests"))) {
        whats.push("package.exclude lacks \"/tests\": golden files would be published".to_owned());
    }
    let docs_rs = package.get("metadata").and_then(|metadata| metadata.get("docs")).and_then(|docs| docs.get("rs"));
    if docs_rs.is_none() {
        whats.push("no [package.metadata.docs.rs]: say what docs.rs builds".to_owned());
    }
    whats
}

/// A device feature of a crate names it for every dependency that has it.
fn missing_features(manifest: &toml::Table) -> Vec<String> {
    let names = |key: &str| manifest.get(key).and_then(toml::Value::as_table);
    let has_devices =
        |name: &&String| CRATES.contains(&name.as_str()) || ["candle-core", "candle-nn"].contains(&name.as_str());
    let below: Vec<&String> =
        names("dependencies").into_iter().flat_map(toml::Table::keys).filter(has_devices).collect();
    let mut whats = Vec::new();
    for feature in DEVICE_FEATURES {
        let handed_on = names("features").and_then(|features| features.get(*feature)).and_then(toml::Value::as_array);
        let Some(handed_on) = handed_on else {
            whats.push(format!("no feature {feature}: hand on Candle's"));
            continue;
        };
        let lacks = |wanted: &String| !handed_on.iter().any(|entry| entry.as_str() == Some(wanted));
        let wanted = below.iter().map(|dependency| format!("{dependency}/{feature}"));
        whats.extend(wanted.filter(lacks).map(|wanted| format!("feature {feature} lacks \"{wanted}\"")));
    }
    whats
}

/// The newest version of CHANGELOG.md is the workspace's, so that no release goes without its entry.
pub fn changelog_tells_the_version(tree: &Tree) -> Vec<Finding> {
    const CHANGELOG: &str = "CHANGELOG.md";
    let workspace = tree.text("Cargo.toml").and_then(|text| text.parse::<toml::Table>().ok());
    let version = workspace.as_ref().and_then(|table| table.get("workspace")?.get("package")?.get("version")?.as_str());
    let Some(version) = version else {
        return vec![Finding::new("Cargo.toml", 1, "no workspace.package.version")];
    };
    let headings = tree.text(CHANGELOG).unwrap_or_default().lines().enumerate();
    // `## [0.1.0] - 2026-11-25`; what is not released yet stands above it.
    let newest = headings
        .filter_map(|(i, line)| Some((i + 1, line.strip_prefix("## [")?.split_once(']')?.0)))
        .find(|(_, heading)| *heading != "Unreleased");
    match newest {
        Some((_, heading)) if heading == version => Vec::new(),
        Some((line, heading)) => {
            let what = format!("the newest version is {heading}, but the workspace's is {version}: write its entry");
            vec![Finding::new(CHANGELOG, line, what)]
        }
        None => {
            vec![Finding::new(CHANGELOG, 1, format!("no entry for version {version}, add '## [{version}] - DATE'"))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[package]
name = "a"
description = "x"
readme = "README.md"
keywords = ["x"]
categories = ["science"]
license.workspace = true
rust-version.workspace = true
version.workspace = true
documentation = "https://docs.rs/a"
exclude = ["/tests"]
[package.metadata.docs.rs]
targets = []
[dependencies]
candle-core.workspace = true
selfie-loss.workspace = true
serde.workspace = true
[features]
cuda = ["candle-core/cuda", "selfie-loss/cuda"]
cudnn = ["cuda", "candle-core/cudnn", "selfie-loss/cudnn"]
metal = ["candle-core/metal", "selfie-loss/metal"]
accelerate = ["candle-core/accelerate", "selfie-loss/accelerate"]
mkl = ["candle-core/mkl", "selfie-loss/mkl"]
"#;

    fn whats(manifest: &str) -> Vec<String> {
        let files = [("a/Cargo.toml", manifest), ("a/LICENSE-MIT", ""), ("a/LICENSE-APACHE", "")];
        is_ready_to_publish("a", &Tree::of(&files)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_complete_manifest_passes() {
        assert_eq!(whats(GOOD), [""; 0]);
    }

    #[test]
    fn a_feature_that_stops_half_way_is_found() {
        assert_eq!(whats(&GOOD.replace("\"selfie-loss/metal\"", "")), ["feature metal lacks \"selfie-loss/metal\""]);
        assert_eq!(whats(&GOOD.replace("mkl =", "blas =")), ["no feature mkl: hand on Candle's"]);
    }

    #[test]
    fn what_a_registry_shows_is_asked_for() {
        assert_eq!(whats(&GOOD.replace("description =", "title =")), ["no package.description"]);
        assert!(whats(&GOOD.replace("docs.rs/a", "docs.rs/b"))[0].contains("https://docs.rs/a"));
        assert!(whats(&GOOD.replace("[\"/tests\"]", "[]"))[0].contains("golden"));
        assert!(whats(&GOOD.replace("metadata.docs.rs", "metadata.other"))[0].contains("docs.rs"));
        assert_eq!(is_ready_to_publish("a", &Tree::of(&[("a/Cargo.toml", GOOD)])).len(), 2);
    }

    #[test]
    fn the_changelog_begins_with_the_version_of_the_workspace() {
        let found = |changelog: &str| {
            let workspace = ("Cargo.toml", "[workspace.package]\nversion = \"0.2.0\"\n");
            changelog_tells_the_version(&Tree::of(&[workspace, ("CHANGELOG.md", changelog)]))
        };
        assert_eq!(found("# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-01\n\n## [0.1.0] - 2026-11-25\n"), []);
        assert_eq!(found("# Changelog\n\n## [0.1.0] - 2026-11-25\n")[0].line, 3);
        assert_eq!(found("").len(), 1);
    }
}
