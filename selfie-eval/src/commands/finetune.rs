//! `selfie finetune`: a full ResNet on labels, from a pretrained patch network or from scratch.

use std::path::PathBuf;

use candle_core::Device;
use selfie_eval::{Error, Finetune, FinetuneReport, Origin, Result, Session, Transfer};
use selfie_train::{Claim, Head, RunConfig, RunDir, describe_device, environment};

use super::options::{self, Lengths, Shared, flags};
use super::screen::{Screen, complain};
use super::{Interrupt, figures, result_file, settings};
use super::{pools, program, weights};

/// Fine-tune a full ResNet: the patch network becomes its first three stages, all layers are trained on whole images
///
/// A run's own settings (its data too) are the base; its finetune section and the options here change them. The end
/// is the accuracy of the last weights on the whole test split.
#[derive(clap::Args)]
pub struct Options {
    /// Where the patch network comes from: a run, weights of torchvision or timm (safetensors or .pth), hf:OWNER/NAME, or
    /// scratch
    #[arg(
        long,
        value_name = "RUN|FILE|hf:NAME|scratch",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    from: Option<String>,
    /// The checkpoint of that step, of the run in --from or --resume [default: the latest]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Training labels to use: a share of each class such as 5%, or a number such as 400/class [default: 100%]
    #[arg(long, value_name = "BUDGET")]
    labels: Option<String>,
    /// Choose the learning rate among finetune.tune_lrs on a tenth of the labelled images, then train on all of them
    #[arg(long, conflicts_with = "resume")]
    tune: bool,
    /// What stands behind the first three stages: resnet (stage 4), attnpool (the run's attention pooling over the
    /// patches) or attnpool-fresh [default: that of the settings, resnet]
    #[arg(long, value_name = "HEAD", conflicts_with = "resume")]
    head: Option<String>,
    /// Do not train the stem and the first N stages [default: that of the settings, 0]
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    freeze_stages: Option<String>,
    /// Start stage 4 from random values even if the weights contain one (finetune.fresh_stage4)
    #[arg(long, conflicts_with = "resume")]
    fresh_stage4: bool,
    /// Prefix of the network in a weights file of another project that contains several
    #[arg(long, value_name = "PREFIX", conflicts_with = "resume")]
    prefix: Option<String>,
    /// Settings where --from tells none: sample, quick, cifar10, cifar10-paper, imagenet32 or imagenet224
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    preset: Option<String>,
    /// Continue the fine-tuning in RUN (or in --out) exactly where it stopped, with its own settings
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    resume: Option<Option<PathBuf>>,
    #[command(flatten)]
    lengths: Lengths,
    #[command(flatten)]
    shared: Shared,
}

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let shared = &options.shared;
    let screen = shared.screen();
    let resumed = options::resumed(options.resume.as_ref(), shared.out.as_ref())?;
    let (mut origin, config) = resolve(options, resumed.as_ref())?;
    pools::ensure(config.run.threads)?;
    let claim = match (&resumed, &shared.out) {
        (None, None) => Some(Claim::of("finetune", config.run.seed)?),
        _ => None,
    };
    let out = match (&resumed, &shared.out, &claim) {
        (Some((run, _)), ..) => run.path().to_path_buf(),
        (None, Some(out), _) => out.clone(),
        (None, None, claim) => claim.as_ref().map(|claim| claim.path().to_path_buf()).unwrap_or_default(),
    };
    if resumed.is_none() {
        RunDir::check_free(&out)?;
    }
    let device = shared.device()?.select()?;
    // A run that was stopped while its rate was chosen has no weights of its own yet.
    let begun = resumed.as_ref().filter(|(run, _)| run.latest_checkpoint().is_ok());
    if let (Some((run, _)), None) = (&resumed, begun) {
        if let Some(step) = options.checkpoint {
            run.read_checkpoint(Some(step))?; // which tells that there is none
        }
        origin = origin.reopened()?;
    }
    let mut finetune = Finetune::prepare(config, &origin, &device)?;
    if let Some((run, _)) = begun {
        finetune.restore(run, options.checkpoint)?;
    }
    introduce(&finetune, &origin, &device, &screen)?;

    let run_dir = match &resumed {
        Some((run, _)) => run.clone(),
        None => {
            let environment = origin.noted_in(environment(&device, &options::command_line(), &program::build()));
            RunDir::create(&out, finetune.config(), &environment)?
        }
    };
    let session = Session { run_dir: Some(&run_dir), quiet: shared.quiet, stop: interrupt.flag() };
    let file = out.join("tuning.json");
    if begun.is_some() {
        finetune.recall_trials(&file);
    }
    let trained = interrupt.while_training(|| {
        if finetune.config().finetune.tune && begun.is_none() {
            let count = finetune.config().finetune.tune_lrs.len();
            screen.note(format!("choosing   the rate, of {count}, on a tenth of the labelled images"))?;
            finetune
                .tune(Some(&file), &session, &mut |trial| {
                    // A line on the way; what cannot be said stops nothing.
                    let _ = screen
                        .note(format!("rate       {}: {:.4} of {} images", trial.lr, trial.accuracy, trial.images));
                })
                .inspect_err(|error| {
                    if error.exit_code() == 130 {
                        complain(format!("trials that ended are kept; --resume {} goes on", out.display()));
                    }
                })?;
            run_dir.write_config(finetune.config())?;
        }
        finetune.train(&session)
    })?;
    let found = screen.busy("testing on the test split", || finetune.test())?;
    let report = finetune.report(&trained, found, Some(out.clone()));
    let weights = finetune.write_weights(&out)?;
    let result = result_file::write(&out, &report)?;
    screen.result(words(&report))?;
    screen.result(format!("wrote      {}\n           {}", weights.display(), result.display()))?;
    super::report::at_the_end(&out, shared.device()?, &screen)?;
    screen.json(&report)
}

/// The origin, and the settings: its own or those of a preset, with file and options over them.
fn resolve(options: &Options, resumed: Option<&(RunDir, RunConfig)>) -> Result<(Origin, RunConfig)> {
    let shared = &options.shared;
    let (origin, base) = match resumed {
        Some((run, config)) => (Origin::of_run(run)?, config.clone()),
        None => {
            let from = options
                .from
                .as_deref()
                .ok_or_else(|| Error::config("--from", "missing, expected a run, a weights file or scratch"))?;
            let origin = Origin::open(from, options.checkpoint, options.prefix.as_deref())?;
            let base = origin.base(options.preset.as_deref(), shared.config.is_some(), shared.names_data())?;
            (origin, base)
        }
    };
    let mut overrides = shared.overrides()?;
    let is_set = |flag: bool| flag.then(|| "true".to_owned());
    let (tune, fresh) = (is_set(options.tune), is_set(options.fresh_stage4));
    overrides.extend(flags(&[
        ("--labels", "finetune.labels", &options.labels),
        ("--tune", "finetune.tune", &tune),
        ("--head", "finetune.head", &options.head),
        ("--freeze-stages", "finetune.freeze_stages", &options.freeze_stages),
        ("--fresh-stage4", "finetune.fresh_stage4", &fresh),
    ]));
    overrides.extend(options.lengths.of_finetuning());
    let config = base.with_overrides(shared.config.as_deref(), &overrides)?;
    Ok((origin, config))
}

/// What is going to be trained, on what, from what.
fn introduce(finetune: &Finetune, origin: &Origin, device: &Device, screen: &Screen) -> Result<()> {
    screen.note(settings::of(finetune.config(), &["data", "patch", "encoder", "finetune"])?)?;
    let (data, transfer) = (finetune.data(), finetune.transfer());
    screen.note(format!("device     {}", describe_device(device)))?;
    screen.note(format!(
        "images     {} to train on ({} of the labels), {} to test, {} classes",
        data.train.len(),
        data.budget,
        data.test.len(),
        data.classes().len()
    ))?;
    let (taken, fresh) = (transfer.taken.len(), transfer.fresh.len());
    match origin.weights() {
        Some(weights) => {
            screen.note(format!("weights    {taken} tensors from {}, {fresh} fresh", weights.file.display()))?;
            if finetune.config().finetune.head == Head::Resnet {
                screen.note(format!("           {}", stage4(transfer, finetune.config())))?;
            }
        }
        None => screen.note(format!("weights    from {}", origin.given()))?,
    }
    weights::describe(origin, finetune.config(), finetune.measured(), screen)?;
    screen.note(format!("model      {} values", finetune.num_parameters()))
}

/// Where stage 4 comes from.
fn stage4(transfer: &Transfer, config: &RunConfig) -> &'static str {
    match (transfer.has_stage4(), config.finetune.fresh_stage4) {
        (true, _) => "stage 4 is kept (--fresh-stage4 starts it from random values)",
        (false, true) => "stage 4 starts from random values (--fresh-stage4)",
        (false, false) => "stage 4 starts from random values: the weights have none",
    }
}

fn words(report: &FinetuneReport) -> String {
    let FinetuneReport { protocol, from, train_images, labels, steps, batch_size, seed, lr, .. } = report;
    let origin = figures::origin(from, report.checkpoint.as_deref());
    format!(
        "{protocol}, from {origin}\n\
         trained    {train_images} images ({labels} of the labels), {steps} steps of {batch_size}, rate {lr}, \
         seed {seed}; {:.1} images/s\n{}",
        report.images_per_second,
        figures::accuracy(&report.accuracy, &report.split, &report.data, report.chance)
    )
}
