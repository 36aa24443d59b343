//! The report of a run: one page that needs nothing else, and its pictures as PNG files beside it.
//!
//! What is shown is read from the run directory alone: curves from `metrics.jsonl`, what was learned from the checkpoints and the
//! images that the run did not train on, the settings from `config.toml`, how to repeat it from `env.json`.

pub(crate) mod chart;
mod curves;
mod learned;
mod made;
mod page;
pub(crate) mod raster;
mod sheets;
pub(crate) mod svg;
mod tested;
mod tiles;

use std::path::PathBuf;

use candle_core::Device;
use selfie_train::{Image8, RunDir, encode_png, read_metrics};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::runs::{RunSummary, kind};
use learned::Learned;
pub use made::quoted;
pub(crate) use page::STYLE;

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct ReportFiles {
    /// The page.
    pub page: PathBuf,
    /// Its pictures.
    pub pictures: Vec<PathBuf>,
    /// Its size in bytes.
    pub page_bytes: usize,
    /// Why what was learned is not shown, where it is not.
    pub left_out: Option<String>,
}

/// Writes `report.html` and `report/*.png` into the run's directory.
///
/// Images or checkpoints that cannot be read leave their part out, and the page says why. The commands on the page begin with
/// `program`, the name that the program is started by.
///
/// # Errors
/// Where the directory holds no run, its settings or metrics cannot be read, or it cannot be written.
pub fn write_report(run: &RunDir, device: &Device, program: &str) -> Result<ReportFiles> {
    let summary = RunSummary::read(run.path())?;
    let lines = read_metrics(&run.metrics_path())?;
    let charts = curves::charts(&lines);
    // A fine-tuned network has no masked patches to find.
    let learned = match kind(run) {
        "finetune" => None,
        _ => Some(Learned::of(run, device).map_err(|error| error.to_string())),
    };

    let folder = run.path().join("report");
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let mut pictures = Vec::new();
    let mut keep = |name: &str, picture: &Image8| -> Result<()> {
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, encode_png(picture)?).map_err(Error::io(&path))?;
        pictures.push(path);
        Ok(())
    };
    for chart in &charts {
        keep(chart.file, &raster::draw(chart)?)?;
    }
    if let Some(Ok(learned)) = &learned {
        for (name, sheet) in sheets::of(learned)? {
            keep(name, &sheet)?;
        }
    }
    let page = page::page(run, &summary, &charts, learned.as_ref(), program)?;
    let path = run.path().join("report.html");
    std::fs::write(&path, &page).map_err(Error::io(&path))?;
    Ok(ReportFiles {
        page: path,
        pictures,
        page_bytes: page.len(),
        left_out: learned.and_then(std::result::Result::err),
    })
}
