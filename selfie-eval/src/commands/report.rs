//! `selfie report`: the page of a run.

use std::path::{Path, PathBuf};

use selfie_eval::{Result, write_report};
use selfie_train::{DeviceChoice, RunDir};

use super::screen::{Screen, complain};
use super::{pools, program};

/// Write report.html into a run's directory: curves, the masked patches it finds, neighbours, settings
///
/// The page needs nothing else: no network, no script. Its pictures also lie as PNG files in report/. Every pretraining
/// ends with it.
#[derive(clap::Args)]
pub struct Options {
    /// The run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Results as one JSON object, the only line on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let run = RunDir::open(&options.run)?;
    pools::ensure(0)?;
    let device = options.device.parse::<DeviceChoice>()?.select()?;
    let screen = Screen::new(options.json, options.json).describing_data();
    let written = screen.busy("making the report", || write_report(&run, &device, &program::name()))?;
    if let Some(reason) = &written.left_out {
        complain(format!("what it learned is left out: {reason}"));
    }
    screen.result(format!(
        "wrote      {} ({:.1} MB)\n           {} pictures in {}",
        written.page.display(),
        written.page_bytes as f64 / 1e6,
        written.pictures.len(),
        options.run.join("report").display()
    ))?;
    screen.json(&written)
}

/// The report at the end of a run. The run is safe by then, so that a report that cannot be made is said and no failure.
pub fn at_the_end(run: &Path, device: DeviceChoice, screen: &Screen) -> Result<()> {
    let make = || write_report(&RunDir::open(run)?, &device.select()?, &program::name());
    let written = screen.busy("making the report", make);
    match written {
        Ok(written) => screen.result(format!("report     {}", written.page.display())),
        Err(error) => {
            complain(format!("no report: {error}"));
            Ok(())
        }
    }
}
