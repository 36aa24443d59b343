//! How a run was made: the commands that repeat it, what it was made with, every setting.

use selfie_train::RunDir;
use serde_json::Value;

use super::svg::escape;
use crate::runs::kind;

/// Returns the commands, each beginning with `program`, and what the run was made with.
pub fn repeat(run: &RunDir, program: &str) -> String {
    let text = std::fs::read_to_string(run.path().join("env.json")).unwrap_or_default();
    let environment: Value = serde_json::from_str(&text).unwrap_or_default();
    let word = |key: &str| {
        environment[key].as_str().map(str::to_owned).or_else(|| environment[key].as_u64().map(|n| n.to_string()))
    };
    let words = environment["command"].as_array().into_iter().flatten().skip(1).filter_map(Value::as_str);
    let command = words.map(quoted).collect::<Vec<_>>().join(" ");
    let path = run.path().display();
    let mut lines = Vec::new();
    if let Some(commit) = word("git_commit") {
        lines.push(format!("git checkout {commit}"));
    }
    if !command.is_empty() {
        lines.push(format!("{program} {command}"));
    }
    if kind(run) == "pretrain" {
        lines.push(format!(
            "# with its own complete settings, whatever the presets say by then:\n\
             {program} pretrain --config {path}/config.toml --out runs/again"
        ));
    }
    let changes: Vec<_> = environment["lengthened"].as_array().into_iter().flatten().map(lengthened).collect();
    let claim = match changes.is_empty() {
        true => "The same machine and number of threads give the same bytes.".to_owned(),
        false => format!(
            "These commands alone do not repeat the run: {}, and from there on the learning rate follows the schedule of the new \
             length.",
            changes.join("; ")
        ),
    };
    let mut out =
        format!("<h2>How to repeat it</h2><p>{}</p>\n<pre>{}</pre>\n", escape(&claim), escape(&lines.join("\n")));
    let rows = ["started", "device", "threads", "selfie", "candle", "gemm", "system", "processor"];
    let rows = rows.iter().filter_map(|key| Some(((*key).to_owned(), word(key)?)));
    out += "<div class=\"sections\">";
    out += &table("environment", rows);
    out + "</div>\n"
}

/// A change of the run's length, as `env.json` notes it.
fn lengthened(change: &Value) -> String {
    format!("at step {} its length was changed from {} to {} steps", change["step"], change["from"], change["to"])
}

/// Every setting, section by section.
pub fn settings(run: &RunDir) -> String {
    let text = std::fs::read_to_string(run.config_path()).unwrap_or_default();
    let sections: toml::Table = text.parse().unwrap_or_default();
    let mut out = "<h2>Settings</h2><p>As they were resolved, in config.toml.</p>\n<div class=\"sections\">".to_owned();
    for (name, section) in &sections {
        let keys = section.as_table().into_iter().flatten();
        out += &table(name, keys.map(|(key, value)| (key.clone(), shown(value))));
    }
    out + "</div>\n"
}

fn table(caption: &str, rows: impl Iterator<Item = (String, String)>) -> String {
    let rows = rows.map(|(key, value)| format!("<tr><td>{}</td><td>{}</td></tr>", escape(&key), escape(&value)));
    format!("<table><caption>{}</caption>{}</table>\n", escape(caption), rows.collect::<String>())
}

/// A value without quotes; single-precision numbers without the digits that they do not have.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) => format!("{}", *number as f32),
        toml::Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Returns a word of a command line in the form that a shell reads as one word.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if word.chars().all(plain) && !word.is_empty() {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_line_are_quoted_where_a_shell_needs_it() {
        assert_eq!(["a=1", "two words", "it's", ""].map(quoted), ["a=1", "'two words'", "'it'\\''s'", "''"]);
    }
}
