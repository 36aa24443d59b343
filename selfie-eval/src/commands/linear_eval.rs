//! `selfie linear-eval`: a linear classifier on frozen features.

use selfie_eval::{FeatureKind, LinearEval, LinearReport, Origin, Result, Tuning};

use super::options::{Shared, flags};
use super::pools;
use super::{figures, result_file, settings};

/// Linear evaluation: logistic regression on the features of the frozen patch network
///
/// Features are standardised; the strength of the L2 regularisation is chosen on a tenth of the training images, then
/// the regression is trained to convergence on all of them and tested once.
#[derive(clap::Args)]
pub struct Options {
    /// Where the patch network comes from: a run, weights of torchvision or timm (safetensors or .pth), hf:OWNER/NAME, or
    /// scratch
    #[arg(long, value_name = "RUN|FILE|hf:NAME|scratch")]
    from: String,
    /// The run's checkpoint of that step [default: the latest]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Only these features: image (the whole image) or patches (mean over its patches) [default: both]
    #[arg(long, value_name = "FEATURES")]
    features: Option<String>,
    /// Training labels to use: a share of each class such as 5%, or a number such as 400/class [default: 100%]
    #[arg(long, value_name = "BUDGET")]
    labels: Option<String>,
    /// Settings where --from tells none: sample, quick, cifar10, imagenet32 or imagenet224
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

pub fn run(options: &Options) -> Result<()> {
    let shared = &options.shared;
    let screen = shared.screen();
    let kinds = match options.features.as_deref() {
        None => FeatureKind::ALL.to_vec(),
        Some(word) => vec![word.parse()?],
    };
    let origin = Origin::open(&options.from, options.checkpoint)?;
    let base = origin.base(options.preset.as_deref(), shared.config.is_some(), shared.names_data())?;
    let mut overrides = shared.overrides()?;
    overrides.extend(flags(&[("--labels", "finetune.labels", &options.labels)]));
    let config = base.with_overrides(shared.config.as_deref(), &overrides)?;
    pools::ensure(config.run.threads)?;
    result_file::check_free(shared.out.as_deref())?;
    let device = shared.device()?.select()?;
    let shown = settings::of(&config, &["data", "patch", "encoder"])?;
    let eval = LinearEval::prepare(config, &origin, &device)?;
    screen.note(format!("{shown}\ndevice     {}", selfie_train::describe_device(&device)))?;
    let bar = screen.bar(eval.data().train.len() + eval.data().test.len(), "images");
    let report = eval.run(&kinds, &Tuning::default(), &mut |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    screen.result(words(&report))?;
    if let Some(folder) = &shared.out {
        screen.result(format!("wrote      {}", result_file::write(folder, &report)?.display()))?;
        let labels = folder.join("labels.txt");
        eval.data().write_labels(&labels)?;
        screen.result(format!("           {}", labels.display()))?;
    }
    screen.json(&report)
}

fn words(report: &LinearReport) -> String {
    let LinearReport { protocol, from, train_images, labels, seed, .. } = report;
    let mut lines = vec![
        format!(
            "{protocol} after stage {}, from {}",
            report.stages,
            figures::origin(from, report.checkpoint.as_deref())
        ),
        format!("trained    {train_images} images ({labels} of the labels, seed {seed})"),
    ];
    for result in &report.results {
        let chosen = match result.holdout_accuracy {
            Some(accuracy) => {
                format!("chosen at accuracy {accuracy:.4} on {} held-out training images", result.holdout_images)
            }
            None => "not chosen: no class has an image to spare".to_owned(),
        };
        let end = if result.converged { "converged" } else { "NOT converged" };
        lines.push(format!(
            "features   {}, D = {}; l2 = {}, {chosen}; {end} after {} steps",
            result.features, result.dim, result.l2, result.iterations
        ));
        lines.push(figures::accuracy(&result.accuracy, report.split, &report.data, report.chance));
    }
    lines.join("\n")
}
