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

/// Writes all files of `report` into `folder`.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_comparison(report: &CompareReport, folder: &Path) -> Result<CompareFiles> {
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
    Ok(CompareFiles { page: write("report.html", page(report, &svg).as_bytes())?, json, markdown })
}

fn page(report: &CompareReport, svg: &str) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>Comparison · Selfie</title><style>{STYLE}</style></head>\n<body><main>\n\
         <header><p>Does pretraining help?</p><h1 class=\"name\">{}</h1></header>\n",
        escape(&report.data)
    );
    let (above, rows) = tables(&report.markdown());
    out += &format!("<p>{}</p>\n<div class=\"chart\">{svg}</div>\n<h2>In numbers</h2><p></p>\n{rows}", escape(&above));
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
    out += "<h2>Each training</h2><p></p>\n<div class=\"scroll\"><table class=\"wide\"><tr><td>from</td><td>labels</td><td>seed</td><td>rate</td><td>training loss</td><td>top-1</td></tr>";
    for cell in &report.cells {
        out += &format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.4}</td><td>{:.4}</td></tr>",
            escape(&cell.from),
            escape(&cell.labels),
            cell.seed,
            cell.lr,
            cell.train_loss,
            cell.accuracy.top1
        );
    }
    let words = report.environment["command"].as_array().into_iter().flatten().skip(1);
    let command: Vec<_> = words.filter_map(serde_json::Value::as_str).map(quoted).collect();
    let device = report.environment["device"].as_str().unwrap_or("unknown");
    out + &format!(
        "</table></div>\n<h2>How to repeat it</h2><p>{:.2} hours of training on {}.</p>\n<pre>cargo xtask {}</pre>\n\
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

/// A Markdown text of a paragraph and one table, as the paragraph and HTML.
fn tables(markdown: &str) -> (String, String) {
    let (rows, words): (Vec<_>, Vec<_>) = markdown.lines().partition(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let inner = line.trim_matches('|').split('|');
        inner.map(|cell| format!("<td>{}</td>", escape(cell.trim()))).collect::<String>()
    };
    let body = rows.iter().filter(|line| !line.starts_with("|---")).map(|line| format!("<tr>{}</tr>", cells(line)));
    let table = format!("<div class=\"scroll\"><table class=\"wide\">{}</table></div>\n", body.collect::<String>());
    let words = words.into_iter().filter(|line| !line.starts_with("Left out")); // they have their own list
    (words.collect::<Vec<_>>().join(" ").trim().to_owned(), table)
}
