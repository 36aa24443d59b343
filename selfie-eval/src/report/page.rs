//! The page: everything in one file, no script, no request to anywhere; light or dark as its reader has it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selfie_train::{Image8, Riddle, RunDir, encode_jpeg, encode_png};

use super::chart::Chart;
use super::learned::{Learned, Seen};
use super::made::{self, quoted};
use super::svg::{escape, figure};
use super::tested::Tested;
use super::tiles;
use crate::error::Result;
use crate::runs::{RunState, RunSummary};

pub const STYLE: &str = include_str!("style.css");
/// Last characters of a file's name that are shown under a picture; a class is shown in full.
const NAME: usize = 34;

/// Returns the whole page; `learned` contains the reason if what was learned cannot be shown, and nothing for a fine-tuning.
pub fn page(
    run: &RunDir,
    summary: &RunSummary,
    charts: &[Chart],
    learned: Option<&std::result::Result<Learned, String>>,
    program: &str,
) -> Result<String> {
    let name = run.path().canonicalize().unwrap_or_else(|_| run.path().to_path_buf());
    let name = escape(&name.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{name} · Selfie</title><style>{STYLE}</style></head>\n<body><main>\n"
    );
    let tested = Tested::of(run, summary);
    out += &header(&name, run, summary, program);
    out += &tiles::of(summary, tested.as_ref());
    if let Some(tested) = &tested {
        out += &tested.classes();
    }
    match learned {
        Some(Ok(learned)) => out += &self::learned(learned)?,
        Some(Err(reason)) => {
            out += &format!("<h2>What it learned</h2><p></p><p class=\"note\">Not shown: {}.</p>\n", escape(reason));
        }
        None => {}
    }
    out += "<h2>How it went</h2><p>Each point is a mean over the steps since the one before it.</p>\n<div class=\"charts\">\n";
    charts.iter().for_each(|chart| out += &figure(chart));
    out += "</div>\n";
    out += &made::repeat(run, program);
    out += &made::settings(run);
    out += "<footer>Made by Selfie (self-supervised pretraining by masked patches, arXiv 1906.02940). The pictures lie as PNG \
            files in report/.</footer>\n</main></body></html>\n";
    Ok(out)
}

/// Returns the name and the state.
fn header(name: &str, run: &RunDir, summary: &RunSummary, program: &str) -> String {
    let RunSummary { step, steps, state, kind, .. } = summary;
    let state = match state {
        RunState::Running => format!("training: step {step} of {steps}"),
        RunState::Done => format!("done: {steps} steps"),
        RunState::Stopped => {
            let resume = format!("{program} {kind} --resume {}", quoted(&run.path().display().to_string()));
            format!("stopped after step {step} of {steps}; continue with <code>{}</code>", escape(&resume))
        }
    };
    let title = if *kind == "finetune" { "Fine-tuning" } else { "Pretraining by masked patches" };
    format!("<header><p>{title}</p><h1 class=\"name\">{name}</h1><p>{state}</p></header>\n")
}

fn learned(learned: &Learned) -> Result<String> {
    let mut out = format!(
        "<h2>What it learned</h2><p>Photographs that no step has seen ({}). Each hatched cell was hidden; for each, the model \
         chose one patch among all the hidden ones of the same image.</p>\n\
         <p class=\"key-line\"><span><b class=\"right\">✓</b>solid frame: its own patch</span>\
         <span><b class=\"wrong\">✕</b>dashed frame: the patch of another cell</span></p>\n<div class=\"riddles\">\n",
        escape(&learned.images)
    );
    for riddle in &learned.riddles {
        let pictures = [
            (riddle.original()?, "the image".to_owned()),
            (riddle.seen()?, "the image with its hidden cells hatched".to_owned()),
            (riddle.answered()?, format!("the model's choices, {} right", score(riddle))),
        ];
        out += "<figure class=\"riddle\">";
        for (picture, alt) in &pictures {
            out += &image(picture, alt, riddle.image.width())?;
        }
        let _ = writeln!(
            out,
            "<figcaption><strong>{} right</strong> · <span title=\"{}\">{}</span></figcaption></figure>",
            score(riddle),
            escape(&riddle.name),
            escape(&end_of(&riddle.name))
        );
    }
    out += "</div>\n";
    out += &history(learned)?;
    out += &neighbours(&learned.neighbours)?;
    Ok(out)
}

fn history(learned: &Learned) -> Result<String> {
    let columns = learned.history.len();
    if columns < 2 {
        return Ok(String::new());
    }
    let mut out = format!(
        "<h2>How that came about</h2><p>The same cells of the same images, by the checkpoints that the run has kept.</p>\n\
         <div class=\"scroll\"><div class=\"history\" style=\"grid-template-columns:repeat({columns},minmax(132px,1fr))\">\n"
    );
    let rows = learned.history.iter().map(|(_, riddles)| riddles.len()).min().unwrap_or(0);
    for row in 0..rows {
        for (step, riddles) in &learned.history {
            let riddle = &riddles[row];
            let when = if *step == 0 { "before training".to_owned() } else { format!("step {step}") };
            let alt = format!("{when}: {} right", score(riddle));
            out += "<figure>";
            out += &image(&riddle.answered()?, &alt, riddle.image.width())?;
            let _ =
                writeln!(out, "<figcaption>{when} · <strong>{} right</strong></figcaption></figure>", score(riddle));
        }
    }
    Ok(out + "</div></div>\n")
}

fn neighbours(rows: &[(Seen, Vec<Seen>)]) -> Result<String> {
    if rows.is_empty() {
        return Ok(String::new());
    }
    let labelled = rows.iter().any(|(_, near)| near.iter().any(|seen| seen.same.is_some()));
    let mut out = "<h2>What looks alike to it</h2><p>Left, an image that it did not train on; beside it, the training images whose \
                   features are nearest (cosine, after taking the mean image away). "
        .to_owned();
    out += if labelled { "The classes were not told to it.</p>\n" } else { "</p>\n" };
    for (asked, near) in rows {
        out += "<div class=\"near\"><figure>";
        out += &image(&asked.picture, &asked.label, asked.picture.width())?;
        let _ = write!(out, "<figcaption><strong>{}</strong></figcaption></figure><i></i>", caption(asked));
        for seen in near {
            let label = caption(seen);
            let label = match seen.same {
                Some(true) => format!("<span class=\"same\">✓ {label}</span>"),
                Some(false) => format!("<span class=\"other\">✕ {label}</span>"),
                None => label,
            };
            out += "<figure>";
            out += &image(&seen.picture, &seen.label, seen.picture.width())?;
            let _ = write!(out, "<figcaption>{label} {:.2}</figcaption></figure>", seen.cosine);
        }
        out += "</div>\n";
    }
    Ok(out)
}

/// A picture inside the page, as JPEG or PNG, whichever is smaller; `pixels` is the width that the model saw.
fn image(picture: &Image8, alt: &str, pixels: usize) -> Result<String> {
    let (png, jpeg) = (encode_png(picture)?, encode_jpeg(picture)?);
    let (kind, bytes) = if png.len() <= jpeg.len() { ("png", png) } else { ("jpeg", jpeg) };
    let class = if pixels < 100 { " class=\"pixels\"" } else { "" };
    Ok(format!(
        "<img{class} width=\"{}\" height=\"{}\" alt=\"{}\" src=\"data:image/{kind};base64,{}\">",
        picture.width(),
        picture.height(),
        escape(alt),
        STANDARD.encode(bytes)
    ))
}

/// "7 of 12".
fn score(riddle: &Riddle) -> String {
    format!("{} of {}", riddle.right(), riddle.targets.len())
}

/// The class of an image, or the end of its file's name.
fn caption(seen: &Seen) -> String {
    if seen.is_class { escape(&seen.label) } else { escape(&end_of(&seen.label)) }
}

fn end_of(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(length - NAME).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(end_of("a/b.jpg"), "a/b.jpg");
        assert_eq!(end_of(&format!("{}/file.jpg", "x".repeat(60))).chars().count(), NAME + 1);
    }
}
