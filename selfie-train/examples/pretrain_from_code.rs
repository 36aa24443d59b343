//! A short pretraining from code, its curve, and the picture of what it learned to tell apart.
//!
//! `cargo run -p selfie-train --example pretrain_from_code -- [DATA] [RUN]`
//!
//! DATA is what `--data` takes: a folder of photographs, `cifar10:DIR`, ...; without it the sample of the sources. RUN is the
//! folder that the run is written to; it must hold none yet.

use std::path::PathBuf;

use selfie_train::{
    Dataset, DeviceChoice, EvalSet, Override, PretrainOptions, Pretrained, Riddle, RunConfig, RunDir, Split, draw_all,
    encode_png, load_run, normalise_of, pretrain, read_metrics,
};

/// Far less than a network needs, so that it ends within seconds.
const SETTINGS: [&str; 8] = [
    "encoder.width=4",
    "encoder.depths=[1, 1, 1]",
    "run.steps=60",
    "run.batch_size=32",
    "run.log_every=10",
    "run.eval_every=30",
    "optim.lr=0.002",
    "optim.name=adamw",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().unwrap_or_else(|| "sample".to_owned());
    let out = arguments.next().map_or_else(|| PathBuf::from("runs/from-code"), PathBuf::from);

    // Settings: a preset, and over it what is given. Every key has a value; wrong ones are refused with their name.
    let mut overrides = SETTINGS.into_iter().map(Override::set).collect::<Result<Vec<_>, _>>()?;
    overrides.push(Override::flag("DATA", "data.source", &data));
    let config = RunConfig::resolve("quick", None, &overrides)?;

    let options = PretrainOptions { out: out.clone(), device: DeviceChoice::Cpu, quiet: true, ..Default::default() };
    let report = pretrain(config, &options)?;
    println!("{} steps in {:.1} s, {} values trained", report.steps, report.seconds, report.parameters);

    // The run's own record, a JSON object a line.
    let run = RunDir::open(&out)?;
    for line in read_metrics(&run.metrics_path())? {
        let figure = |key: &str| line[key].as_f64();
        match (figure("loss"), figure("held_out_accuracy")) {
            (Some(loss), _) => println!("step {:3}: loss {loss:.3}", line["step"]),
            (_, Some(accuracy)) => {
                println!("step {:3}: held-out accuracy {accuracy:.3}, chance {}", line["step"], line["chance"])
            }
            _ => {}
        }
    }

    // What it was trained for: the trunk, under torchvision's names.
    let trunk = Pretrained::open(&run.encoder_path(), None)?;
    println!("{} tensors in {}", trunk.encoder.iter().count(), run.encoder_path().display());

    // The paper's picture: photographs, what is masked, and which patch the model puts there.
    let device = DeviceChoice::Cpu.select()?;
    let (config, _store, task) = load_run(&run, None, &device)?;
    let test = Dataset::open(&data, Split::Test).or_else(|_| Dataset::open(&data, Split::Train))?;
    let few: Vec<_> = (0..4).map(|i| i * test.len() / 4).collect();
    let set = EvalSet {
        images: test.select(&few)?,
        passes: 1,
        image_size: config.patch.image_size,
        normalise: normalise_of(&config)?,
        batch_size: few.len(),
        workers: 1,
        seed: 0,
    };
    let picture = out.join("riddles.png");
    std::fs::write(&picture, encode_png(&draw_all(&Riddle::of_set(&task, &set, &device)?)?)?)?;
    println!("wrote {}", picture.display());
    Ok(())
}
