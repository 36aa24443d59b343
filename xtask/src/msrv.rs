//! The least toolchain (MSRV): stated once, as the workspace's `rust-version`, and checked as far as a machine allows.
//!
//! Two checks. No dependency that Cargo.lock chose may state more than we do; that can be told everywhere. And the workspace must
//! compile with that toolchain: where it is the one that runs, the other steps have shown it; where rustup has it beside a newer one, it
//! checks the workspace in a target folder of its own; else this is said to be unchecked. Clippy adds that no newer part of the standard library is used.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, project_root};

/// Checks, and prints what was checked; whether it passes.
pub fn check() -> Result<bool> {
    let manifest = std::fs::read_to_string(project_root().join("Cargo.toml"))?;
    let least = stated(&manifest)?;
    let rustc = rustc()?;
    let mut arguments = vec!["metadata", "--format-version=1", "--offline"];
    arguments.extend(["--filter-platform", &rustc.host]);
    let metadata = output(cargo().args(arguments).current_dir(project_root()))?;
    let demanding = demanding(&metadata, &least)?;
    for (name, version) in &demanding {
        println!("{name} needs Rust {version}, the workspace states {least}: take an older {name}, or state more");
    }
    let compiles = if minor(&rustc.version) == minor(&least) {
        println!("Rust {least}, the least that is stated, is the toolchain that runs: the other steps are its check");
        true
    } else if output(Command::new("rustup").args(["run", &least, "rustc", "--version"])).is_ok() {
        let arguments =
            ["run", &least, "cargo", "check", "--workspace", "--all-targets", "--target-dir", "target/msrv"];
        Command::new("rustup").args(arguments).current_dir(project_root()).status()?.success()
    } else {
        println!(
            "NOT CHECKED: that it compiles with Rust {least}; this is {}. `rustup toolchain install {least}`",
            rustc.version
        );
        true
    };
    Ok(demanding.is_empty() && compiles)
}

/// `workspace.package.rust-version`.
fn stated(manifest: &str) -> Result<String> {
    let table: toml::Table = manifest.parse()?;
    let version = table.get("workspace").and_then(|workspace| workspace.get("package")?.get("rust-version")?.as_str());
    Ok(version.context("Cargo.toml has no workspace.package.rust-version")?.to_owned())
}

/// Packages that state a newer toolchain than `least`, with it.
fn demanding(metadata: &str, least: &str) -> Result<Vec<(String, String)>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let stated = packages.iter().filter_map(|package| {
        Some((package["name"].as_str()?.to_owned(), package["rust_version"].as_str()?.to_owned()))
    });
    Ok(stated.filter(|(_, version)| minor(version) > minor(least)).collect())
}

/// Major and minor number: a patch release adds nothing to the language.
fn minor(version: &str) -> Vec<u32> {
    version.split(['.', '-']).take(2).filter_map(|part| part.parse().ok()).collect()
}

struct Rustc {
    version: String,
    host: String,
}

fn rustc() -> Result<Rustc> {
    let text = output(Command::new("rustc").arg("-vV").current_dir(project_root()))?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(str::to_owned).with_context(|| format!("rustc -vV has no {name}"))
    };
    Ok(Rustc { version: field("release")?, host: field("host")? })
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{:?} does not start", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(minor("1.100") > minor("1.95.2"));
        assert_eq!(minor("1.95.0-nightly"), minor("1.95"));
        assert!(minor("2.0") > minor("1.95"));
    }

    #[test]
    fn a_dependency_that_asks_for_more_is_named() {
        let metadata = r#"{"packages": [{"name": "a", "rust_version": "1.96"}, {"name": "b", "rust_version": "1.95.1"},
                          {"name": "c", "rust_version": null}]}"#;
        assert_eq!(demanding(metadata, "1.95").unwrap(), [("a".to_owned(), "1.96".to_owned())]);
        assert!(demanding("{}", "1.95").is_err());
    }

    #[test]
    fn the_workspace_states_a_version() {
        assert_eq!(stated("[workspace.package]\nrust-version = \"1.95\"\n").unwrap(), "1.95");
        assert!(stated("[workspace]\n").is_err());
    }
}
