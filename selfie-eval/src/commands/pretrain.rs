//! `selfie pretrain`: pretraining on any images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selfie_eval::{Error, Result, weights_path};
use selfie_train::{
    Claim, Lengthened, LoadReport, Precision, PretrainOptions, PretrainReport, Pretraining, Ranks, RunConfig, RunDir,
    describe_device,
};

use super::options::{self, Lengths, Shared};
use super::screen::Screen;
use super::{Interrupt, advice, pools, program, report, settings, weights};

/// Names in a list of tensors.
const LISTED: usize = 4;

/// Pretrain on any images: the patch network learns to find masked patches
///
/// Settings come from a preset, then --config, then --set, then the short options. The run directory holds all of
/// them, the checkpoints and encoder.safetensors, the trained patch network.
#[derive(clap::Args)]
pub struct Options {
    /// Complete settings to start from: sample, quick, cifar10, cifar10-paper, imagenet32 or imagenet224 [default: cifar10]
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    preset: Option<String>,
    #[command(flatten)]
    lengths: Lengths,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    shared: Shared,
}

/// How a run begins.
#[derive(clap::Args)]
pub struct Start {
    /// Continue RUN (or the run in --out) exactly where it stopped, with its own settings
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Continue from the checkpoint of that step [default: the latest]
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub checkpoint: Option<u64>,
    /// Begin a new run with the weights of a run, a checkpoint, a file of torchvision or timm (safetensors or .pth),
    /// or hf:OWNER/NAME
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub init_from: Option<PathBuf>,
    /// Prefix of the network in the file of --init-from, if another project wrote it and it contains several
    #[arg(long, value_name = "PREFIX", requires = "init_from")]
    pub init_prefix: Option<String>,
    /// Processes that share each batch (MPI): cargo xtask builds for it and starts them with mpirun [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ranks: Option<u32>,
}

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let screen = options.shared.screen();
    let preset = options.preset.as_deref().unwrap_or("cifar10");
    let trained = train(preset, None, &options.lengths, &options.start, &options.shared, interrupt)?;
    let Some(trained) = trained else { return Ok(()) };
    outcome(&trained, &screen)?;
    report::at_the_end(&trained.run_dir, options.shared.device()?, &screen)?;
    next(&trained, &screen)?;
    screen.json(&trained)
}

/// Resolves the settings, shows them behind the remark, and trains. Of several ranks only the first has something to tell.
pub fn train(
    preset: &str,
    remark: Option<&str>,
    lengths: &Lengths,
    start: &Start,
    shared: &Shared,
    interrupt: &Interrupt,
) -> Result<Option<PretrainReport>> {
    let mut overrides = shared.overrides()?;
    overrides.extend(lengths.of_pretraining());
    let file = shared.config.as_deref();
    let resumed = options::resumed(start.resume.as_ref(), shared.out.as_ref())?;
    let config = match &resumed {
        Some((_, config)) => config.with_overrides(file, &overrides)?,
        None => RunConfig::resolve(preset, file, &overrides)?,
    };
    pools::ensure(config.run.threads)?;
    let ranks = join(start.ranks)?;
    let device = shared.device()?;
    let unnamed = resumed.is_none() && shared.out.is_none();
    let claim = if unnamed && ranks.is_root() { Some(Claim::of(preset, config.run.seed)?) } else { None };
    let (out, resume) = match (resumed, &shared.out) {
        (Some((run, _)), _) => (run.path().to_path_buf(), true),
        (None, Some(out)) => (out.clone(), false),
        (None, None) => (claim.as_ref().map(|claim| claim.path().to_path_buf()).unwrap_or_default(), false),
    };
    let options = PretrainOptions {
        out,
        resume,
        checkpoint: start.checkpoint,
        init_from: ranks.root_first(|| start.init_from.as_deref().map(init_path).transpose())?,
        init_prefix: start.init_prefix.clone(),
        device,
        quiet: shared.quiet,
        stop: interrupt.flag(),
        ranks: Arc::clone(&ranks),
        command: options::command_line(),
        build: program::build(),
    };
    let pretraining = Pretraining::prepare(config, &options)?;
    // Only now: a refused setting is one line, and `pools::ensure` may have begun this program again.
    if ranks.is_root() {
        if let Some(remark) = remark {
            shared.screen().note(remark)?;
        }
        introduce(&pretraining, &options, &shared.screen())?;
    }
    let trained = interrupt.while_training(|| pretraining.run());
    if matches!(trained, Ok(_) | Err(selfie_train::Error::Interrupted { .. })) {
        ranks.finish(); // all of them come here, after the same step
    }
    Ok(Some(trained?).filter(|_| ranks.is_root()))
}

/// The processes that were started with this one, which should be as many as were asked for.
fn join(asked: Option<u32>) -> Result<Arc<Ranks>> {
    let ranks = Ranks::join()?;
    match asked {
        Some(asked) if asked as usize != ranks.size() => {
            let reason = format!(
                "met {asked}, but {} were started: cargo xtask starts them, or mpirun -n {asked} selfie ...",
                ranks.size()
            );
            Err(Error::config("--ranks", reason))
        }
        _ => Ok(Arc::new(ranks)),
    }
}

/// The weights that `--init-from` names; those of the hub are brought here.
fn init_path(from: &Path) -> Result<PathBuf> {
    match from.to_str() {
        Some(name) if name.starts_with("hf:") => weights_path("--init-from", name, None),
        _ => Ok(from.to_path_buf()),
    }
}

/// What is going to be trained, on what, where.
fn introduce(pretraining: &Pretraining, options: &PretrainOptions, screen: &Screen) -> Result<()> {
    let sections = ["data", "patch", "encoder", "attnpool", "loss", "optim", "schedule", "run"];
    screen.note(settings::of(pretraining.config(), &sections)?)?;
    let device = describe_device(pretraining.device());
    screen.note(match options.ranks.size() {
        1 => format!("device     {device}"),
        ranks => format!("device     {device}, on each of {ranks} ranks"),
    })?;
    if pretraining.config().run.precision == Precision::Bf16 {
        let emulated = ", emulated on the CPU: factors rounded, products in f32; slower than f32";
        screen.note(format!("precision  bf16{}", if pretraining.device().is_cpu() { emulated } else { "" }))?;
    }
    let (train, held_out) = (pretraining.train_images(), pretraining.held_out_images());
    screen.note(format!("images     {train} to train on, {held_out} held out"))?;
    if let Some(change) = pretraining.lengthened() {
        let Lengthened { step, from, to, rate_before, rate_after } = change;
        screen.note(format!(
            "length     {to} steps instead of {from}: the learning rate goes from {rate_before:.3e} to {rate_after:.3e} at step {step}"
        ))?;
    }
    if let (Some(from), Some(loaded)) = (&options.init_from, pretraining.loaded()) {
        screen.note(loaded_from(from, loaded))?;
    }
    if let Some(found) = pretraining.found_network() {
        screen.note(weights::network(found))?;
    }
    screen.note(format!("model      {} values", pretraining.num_parameters()))?;
    screen.note(format!("run        {}", options.out.display()))
}

/// What became of the weights that it begins with: how many fit, and by name what is fresh, of another shape, or not used.
fn loaded_from(from: &Path, loaded: &LoadReport) -> String {
    let (taken, missing, unused) = (loaded.matched.len(), &loaded.missing, &loaded.unexpected);
    let mut lines = vec![format!("weights    {taken} tensors from {}", from.display())];
    let mut list = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
            let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
            lines.push(format!("           {} {what}: {shown}{more}", names.len()));
        }
    };
    list("missing there, fresh here", missing.clone());
    let reshaped =
        loaded.reshaped.iter().map(|(name, got, expected)| format!("{name} {got:?} instead of {expected:?}"));
    list("of another shape, fresh here", reshaped.collect());
    list("without use here", unused.clone());
    lines.join("\n")
}

/// What the run came to, by its own images.
pub fn outcome(report: &PretrainReport, screen: &Screen) -> Result<()> {
    let PretrainReport { steps, loss, accuracy, chance, images_per_second, seconds, .. } = report;
    screen.result(format!(
        "trained    {steps} steps in {seconds:.0} s at {images_per_second:.1} images/s; training loss {loss:.4}, \
         accuracy {accuracy:.4} (chance {chance:.4})"
    ))?;
    if let Some(share) = report.communication {
        let ranks = report.ranks;
        screen.result(format!(
            "ranks      {ranks}; communication took {:.1} % of the time, waiting included",
            100.0 * share
        ))?;
    }
    if let Some(found) = &report.held_out {
        screen.result(format!(
            "held out   accuracy {:.4} ± {:.4} on {} images kept away from training ({} masks each; chance {:.4})",
            found.accuracy, found.standard_error, found.images, found.passes, found.chance
        ))?;
    }
    let mut names = report.files.iter().map(|file| file.display().to_string());
    screen.result(format!("wrote      {}", names.next().unwrap_or_default()))?;
    names.try_for_each(|name| screen.result(format!("           {name}")))
}

/// Says what to do with the run.
pub fn next(report: &PretrainReport, screen: &Screen) -> Result<()> {
    let config = RunDir::open(&report.run_dir)?.config()?;
    screen.note(advice::after_pretraining(report, &config))
}
