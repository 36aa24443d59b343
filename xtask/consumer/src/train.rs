//! selfie-train alone: a pretraining on somebody's own images, stopped and gone on with.

use std::error::Error;
use std::path::Path;

use selfie_train::{
    DeviceChoice, Image8, Override, PretrainOptions, Pretrained, RunConfig, RunDir, encode_png, pretrain,
};

use crate::ensure;

/// Two steps, then two more from the checkpoint.
pub fn pretrain_and_go_on() -> Result<String, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (images, out) = (folder.path().join("images"), folder.path().join("run"));
    draw_images(&images)?;

    let mut overrides = vec![Override::flag("data", "data.source", format!("folder:{}", images.display()))];
    let small = ["encoder.width=2", "encoder.depths=[1]", "run.batch_size=4", "run.steps=2", "data.holdout=0"];
    for setting in small {
        overrides.push(Override::set(setting)?);
    }
    let config = RunConfig::resolve("quick", None, &overrides)?;
    let options = PretrainOptions { out: out.clone(), device: DeviceChoice::Cpu, quiet: true, ..Default::default() };
    let report = pretrain(config, &options)?;
    ensure(report.steps == 2 && report.loss.is_finite(), "two steps with a finite loss")?;

    let longer = RunDir::open(&out)?.config()?.with_overrides(None, &[Override::set("run.steps=4")?])?;
    let report = pretrain(longer, &PretrainOptions { resume: true, ..options })?;
    ensure(report.steps == 4, "four steps after going on")?;

    let trunk = Pretrained::open(&out.join("encoder.safetensors"), None)?;
    ensure(trunk.encoder.get("layer1.0.conv1.weight").is_some(), "torchvision's names")?;
    Ok(format!("{} steps in two sessions, loss {:.3}, chance {}", report.steps, report.loss, report.chance))
}

/// Eight images of 32 x 32 pixels.
fn draw_images(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for number in 0..8u32 {
        let pixels = (0..32 * 32 * 3u32).map(|i| (i * (7 + number) % 251) as u8).collect();
        std::fs::write(folder.join(format!("{number}.png")), encode_png(&Image8::new(32, 32, pixels)?)?)?;
    }
    Ok(())
}
