//! What a comparison leaves: `compare.json`, `compare.md`, `compare.svg`, `compare.png`, and `report.html` with all of it.

use std::path::{Path, PathBuf};

use selfie_train::encode_png;
use serde::Serialize;

use super::{CompareReport, chart};
use crate::error::{Error, Result};
use crate::files;
use crate::report::svg::escape;
use crate::report::{STYLE, quoted};

/// The files of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct CompareFiles {
    /// `report.html`.
    pub page: PathBuf,
    /// `compare.json`.
    pub json: PathBuf,
    /// `compare.md`.
    pub markdown: PathBuf,
}

/// Writes all files of `report` into `folder`. The command on the page begins with `program`, the name that the program is
/// started by.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_comparison(report: &CompareReport, folder: &Path, program: &str) -> Result<CompareFiles> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(Error::io(&path)).map(|()| path)
    };
    let json = folder.join("compare.json");
    files::write_json(&json, report)?;
    let svg = chart::svg(report);
    write("compare.svg", svg.as_bytes())?;
    write("compare.png", &encode_png(&chart::pixels(report)?)?)?;
    let mut text = report.markdown();
    if let Some(paper) = &report.paper {
        text += &format!("\n{}", paper.markdown());
    }
    let markdown = write("compare.md", text.as_bytes())?;
    Ok(CompareFiles { page: write("report.html", page(report, program).as_bytes())?, json, markdown })
}

fn page(report: &CompareReport, program: &str) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>Comparison · Selfie</title><style>{STYLE}</style></head>\n<body><main>\n\
         <header><p>Does pretraining help?</p><h1 class=\"name\">{}</h1></header>\n",
        escape(&report.data)
    );
    let (above, rows) = tables(&report.markdown());
    out += &format!("<p>{}</p>\n{}<h2>In numbers</h2><p></p>\n{rows}", escape(&above), chart::figure(report));
    out += &verdicts(report);
    if let Some(paper) = &report.paper {
        let (above, rows) = tables(&paper.markdown());
        out += &format!("<h2>The paper's</h2><p>{}</p>\n{rows}", escape(&above));
    }
    if !report.left_out.is_empty() {
        let cells = report.left_out.iter().map(|left| {
            format!(
                "<li>{}, {} of the labels, seed {}: {}</li>",
                escape(&left.cell.arm),
                escape(&left.cell.labels),
                left.cell.seed,
                left.reason
            )
        });
        out += &format!("<h2>Left out</h2><p>Not trained:</p><ul>{}</ul>\n", cells.collect::<String>());
    }
    let heading = ["from", "labels", "seed", "rate", "training loss", "top-1"].map(str::to_owned);
    let trainings = report.cells.iter().map(|cell| {
        [
            cell.from.clone(),
            cell.labels.clone(),
            cell.seed.to_string(),
            cell.lr.to_string(),
            format!("{:.4}", cell.train_loss),
            format!("{:.4}", cell.accuracy.top1),
        ]
    });
    let trainings: Vec<Vec<String>> = trainings.map(Vec::from).collect();
    out += &format!("<h2>Each training</h2><p></p>\n{}", table(&heading, &trainings));
    let words = report.environment["command"].as_array().into_iter().flatten().skip(1);
    let command: Vec<_> = words.filter_map(serde_json::Value::as_str).map(quoted).collect();
    let device = report.environment["device"].as_str().unwrap_or("unknown");
    out + &format!(
        "<h2>How to repeat it</h2><p>{:.2} hours of training on {}.</p>\n<pre>{program} {}</pre>\n\
         <footer>Made by Selfie (self-supervised pretraining by masked patches, arXiv 1906.02940).</footer>\n</main></body></html>\n",
        report.hours,
        escape(device),
        escape(&command.join(" "))
    )
}

/// One sentence a share and run: whether the difference is more than chance.
fn verdicts(report: &CompareReport) -> String {
    let mut lines = String::new();
    for fraction in &report.fractions {
        for difference in &fraction.differences {
            let judged = match (difference.interval, difference.significant, difference.mean > 0.0) {
                (None, ..) => "one pair tells no interval",
                (_, false, _) => "no significant difference",
                (_, true, true) => "pretraining helped",
                (_, true, false) => "pretraining hurt",
            };
            let (labels, arm) = (escape(&fraction.labels), escape(&difference.arm));
            lines += &format!("<li>{labels} of the labels, {arm}: {judged}, {}</li>", escape(&difference.figures()));
        }
    }
    format!("<ul>{lines}</ul>\n")
}

/// Returns a Markdown text of a paragraph and one table as the paragraph and HTML.
fn tables(markdown: &str) -> (String, String) {
    let (rows, words): (Vec<_>, Vec<_>) = markdown.lines().partition(|line| line.starts_with('|'));
    let cells = |line: &&str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = rows.iter().filter(|line| !line.starts_with("|---")).map(cells).collect();
    let table = rows.split_first().map_or_else(String::new, |(heading, rows)| table(heading, rows));
    let words = words.into_iter().filter(|line| !line.starts_with("Left out")); // they have their own list
    (words.collect::<Vec<_>>().join(" ").trim().to_owned(), table)
}

/// Returns a table whose cells carry their headings: on a narrow screen each row becomes a list of heading and value.
fn table(heading: &[String], rows: &[Vec<String>]) -> String {
    let head: String = heading.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
    let cell =
        |(name, value): (&String, &String)| format!("<td data-label=\"{}\">{}</td>", escape(name), escape(value));
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", heading.iter().zip(row).map(cell).collect::<String>());
    let body: String = rows.iter().map(row).collect();
    format!("<div class=\"scroll\"><table class=\"wide\"><thead><tr>{head}</tr></thead>\n{body}</table></div>\n")
}
