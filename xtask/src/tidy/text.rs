//! Pages and Python programs: links that lead somewhere, no paths of one machine, a line on how to run.

use super::Finding;
use crate::golden::PROGRAMS;

/// Folders of a workplace. Written in two pieces, so that this file passes its own check.
const WORKPLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// A path of the machine where something was written means nothing to a reader.
pub fn no_workplace_paths(path: &str, text: &str) -> Vec<Finding> {
    let starts_here = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "/.-_~}".contains(c));
    let finds = |line: &str| {
        let mut places = WORKPLACES.iter().flat_map(|place| line.match_indices(place));
        places.any(|(at, _)| starts_here(&line[..at]))
    };
    let hits = text.lines().enumerate().filter(|(_, line)| finds(line));
    hits.map(|(i, _)| Finding::new(path, i + 1, "a path of one machine, write it relative to the project")).collect()
}

/// A link of a page to a file leads to a file of the project. `exists` is asked about paths from the root.
pub fn links_resolve(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    if !path.ends_with(".md") {
        return Vec::new();
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut in_example = false;
    for (i, line) in text.lines().enumerate() {
        in_example ^= line.trim_start().starts_with("```");
        let broken = links(line).filter(|link| !in_example && !resolve(folder, link).is_some_and(|file| exists(&file)));
        findings.extend(broken.map(|link| {
            Finding::new(path, i + 1, format!("the link to '{link}' leads nowhere, name a file of the project"))
        }));
    }
    findings
}

/// The targets of a line's links to files, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let files = targets.filter(|target| !target.contains(':')).filter_map(|target| target.split('#').next());
    files.filter(|file| !file.is_empty())
}

/// The path from the root; none where the link leaves the project.
fn resolve(folder: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "" => return None,
            "." => {}
            ".." => _ = parts.pop()?,
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Our Python programs can be run by a reader who never saw them.
pub fn python_says_how_to_run(path: &str, text: &str) -> Option<Finding> {
    let is_program = path.ends_with(".py") && path.starts_with("xtask/") && !is_part(path);
    let call = format!("python {}", path.rsplit('/').next().unwrap_or(path));
    let says = |line: &str| ["usage:", "set-up:", &call].iter().any(|word| line.to_lowercase().contains(word));
    (is_program && !text.lines().take(40).any(says))
        .then(|| Finding::new(path, 1, "no line on how to run it, add 'Usage: python PROGRAM.py ...' to its opening"))
}

/// A golden program is in the table that `cargo xtask golden` runs.
pub fn golden_program_is_registered(path: &str) -> Option<Finding> {
    let name = path.strip_prefix("xtask/golden/").filter(|name| name.ends_with(".py") && !is_part(path))?;
    let known = PROGRAMS.iter().any(|(program, _)| *program == name);
    (!known).then(|| Finding::new(path, 1, "nobody runs it, add a row to PROGRAMS in xtask/src/golden.rs"))
}

/// A leading underscore marks what programs import.
fn is_part(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workplace_is_found_only_at_the_start_of_a_path() {
        let line = |before: &str| format!("x\n{before}{}main\n", WORKPLACES[0]);
        let found = |before| no_workplace_paths("a.md", &line(before)).len();
        assert_eq!([found(""), found("cd "), found("--out="), found("\"")], [1; 4]);
        assert_eq!([found("home/runner"), found("a."), found("~")], [0; 3]);
    }

    #[test]
    fn links_are_followed_from_the_page() {
        let text = "[a](b.md#x) [c](../d) ![e](f.png)\n[web](https://x.org/y) [top](#z)\n```\n[g](h)\n```\n";
        let exists = |file: &str| ["docs/b.md", "d"].contains(&file);
        let findings = links_resolve("docs/page.md", text, &exists);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("'f.png'"));
    }

    #[test]
    fn a_link_out_of_the_project_leads_nowhere() {
        assert_eq!(resolve("docs", "../../other"), None);
        assert_eq!(resolve("docs", "/etc"), None);
        assert_eq!(resolve("docs", "./a/../b/").as_deref(), Some("docs/b"));
    }

    #[test]
    fn programs_say_how_to_run_and_are_run() {
        assert!(python_says_how_to_run("xtask/golden/loss.py", "\"\"\"Loss.\"\"\"\n").is_some());
        assert!(python_says_how_to_run("xtask/golden/loss.py", "Usage: python loss.py DIR\n").is_none());
        assert!(python_says_how_to_run("xtask/golden/a.py", "Numbers: python a.py DIR\n").is_none());
        assert!(python_says_how_to_run("xtask/golden/_blocks.py", "").is_none());
        assert!(golden_program_is_registered("xtask/golden/new.py").is_some());
        assert!(golden_program_is_registered("xtask/golden/loss.py").is_none());
    }
}
