//! Linear evaluation from code: how well do the frozen features of a pretraining tell classes apart, beside those of random weights?
//!
//! `cargo run -p selfie-eval --example linear_eval_from_code -- [RUN]`
//!
//! RUN is a run's folder, judged on its own data. Without it a pretraining of some seconds on the sample of the sources is made first, in
//! `runs/linear-eval-from-code`, which must not be there yet.

use std::path::{Path, PathBuf};

use selfie_eval::{FeatureKind, Frozen, LinearReport, Origin, Tuning};
use selfie_train::{DeviceChoice, Override, PretrainOptions, RunConfig, RunDir, pretrain};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = match std::env::args().nth(1) {
        Some(run) => PathBuf::from(run),
        None => short_pretraining(Path::new("runs/linear-eval-from-code"))?,
    };
    // The same geometry, labels and images for both; only the weights differ.
    let config = RunDir::open(&run)?.config()?;
    let device = DeviceChoice::Cpu.select()?;
    for from in [run.to_string_lossy().as_ref(), "scratch"] {
        let frozen = Frozen::prepare(config.clone(), &Origin::open(from, None, None)?, &device)?;
        let report = LinearReport::of(&frozen, &FeatureKind::ALL, &Tuning::default(), &mut |_| ())?;
        println!("{}, from {from}", report.protocol);
        for result in &report.results {
            let accuracy = &result.accuracy;
            println!(
                "  features of the {:8} D = {}: accuracy {:.3} on {} images of the {} split (chance {:.3})",
                result.features.to_string(),
                result.dim,
                accuracy.top1,
                accuracy.images,
                report.context.split,
                report.context.chance
            );
        }
    }
    Ok(())
}

/// Far less than a network needs; returns the run's folder.
fn short_pretraining(out: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let settings = ["encoder.width=4", "encoder.depths=[1, 1, 1]", "run.steps=60", "run.batch_size=32"];
    let overrides = settings.into_iter().map(Override::set).collect::<Result<Vec<_>, _>>()?;
    let config = RunConfig::resolve("quick", None, &overrides)?;
    let options = PretrainOptions { out: out.into(), device: DeviceChoice::Cpu, quiet: true, ..Default::default() };
    let report = pretrain(config, &options)?;
    println!("pretrained {} steps in {:.1} s: {}", report.steps, report.seconds, out.display());
    Ok(report.run_dir)
}
