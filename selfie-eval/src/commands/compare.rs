//! `selfie compare`: fine-tuning from scratch against fine-tuning from pretrained runs.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::HumanDuration;
use selfie_eval::{
    Budget, Cell, CellResult, CompareReport, Comparison, Error, LeftOut, Origin, Planned, Published, Result, Session,
    write_comparison,
};
use selfie_train::{Claim, RunDir, RunLock, environment};

use super::options::{self, Lengths, Shared, flags};
use super::screen::{Screen, complain};
use super::{Interrupt, pools, program, settings};

/// Steps that the time of a cell is estimated from.
const PROBE_STEPS: u64 = 5;

/// Does pretraining help? Fine-tune from scratch and from pretrained runs, on equal labels, seeds and steps
///
/// Prints mean ± deviation over the seeds on the whole test split, and the paired difference with its 95 % interval. Each
/// training is kept in --out as it ends: with the same --out it goes on where it stopped, and takes further seeds and shares.
#[derive(clap::Args)]
pub struct Options {
    /// A pretrained run or a weights file; repeatable. The first one's settings are those of every arm
    #[arg(long, value_name = "RUN|FILE", required = true)]
    from: Vec<String>,
    /// Prefix of the network in a weights file of another project that contains several
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Shares of the training labels, each compared
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_value = "5%,8%,20%,100%")]
    fractions: Vec<String>,
    /// Seeds of each cell, from run.seed on
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: usize,
    /// Choose the learning rate of each cell among finetune.tune_lrs on a tenth of its labelled images
    #[arg(long)]
    tune: bool,
    /// The most time to take, such as 2h or 1h30m; what does not fit is said and left out
    #[arg(long, value_name = "TIME")]
    budget: Option<String>,
    /// Print the paper's rows beside ours: cifar10, imagenet32 or imagenet224
    #[arg(long, value_name = "DATA")]
    paper: Option<String>,
    /// Settings where --from is a file that tells none: sample, quick, cifar10, cifar10-paper, imagenet32 or imagenet224
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    #[command(flatten)]
    lengths: Lengths,
    #[command(flatten)]
    shared: Shared,
}

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let shared = &options.shared;
    let screen = shared.screen();
    let budget = options.budget.as_deref().map(str::parse::<Budget>).transpose()?;
    let paper = options.paper.as_deref().map(str::parse::<Published>).transpose()?;
    let open = |from: &String| Origin::open(from, None, options.prefix.as_deref());
    let origins = options.from.iter().map(open).collect::<Result<Vec<_>>>()?;
    let config = resolve(options, &origins[0])?;
    pools::ensure(config.run.threads)?;
    let claim = if shared.out.is_none() { Some(Claim::of("compare", config.run.seed)?) } else { None };
    let claimed = || claim.as_ref().map(|claim| claim.path().to_path_buf());
    let out = shared.out.clone().or_else(claimed).unwrap_or_default();
    if !out.join("cells").is_dir() {
        RunDir::check_free(&out)?;
    }
    let device = shared.device()?.select()?;
    let comparison = Comparison::prepare(config, origins, &options.fractions, options.seeds, &device)?;
    let environment = environment(&device, &options::command_line(), &program::build());
    screen.note(settings::of(comparison.config(), &["data", "patch", "encoder", "finetune"])?)?;
    screen.note(format!("device     {}", selfie_train::describe_device(&device)))?;

    let _lock = RunLock::of(&out)?;
    let session = Session { stop: interrupt.flag(), quiet: shared.quiet, run_dir: None };
    let work = Work { comparison: &comparison, out: &out, screen, session };
    let (_, missing) = work.kept()?;
    let ended = interrupt.while_training(|| work.train(&missing, budget));
    // What was trained is told however it ended.
    let (results, missing) = work.kept()?;
    let reason = if ended.is_err() { "not trained yet" } else { "does not fit into --budget" };
    let left_out = missing.into_iter().map(|cell| LeftOut { cell, reason }).collect();
    let Some(report) = CompareReport::of(&comparison, &results, left_out, environment, paper)? else {
        ended?;
        let reason = "met a time that not one pair of cells fits into, expected more";
        return Err(Error::config("--budget", reason));
    };
    let files = write_comparison(&report, &out, &program::name())?;
    let config = out.join("compare.toml");
    std::fs::write(&config, comparison.config().to_toml()?).map_err(Error::io(&config))?;
    screen.result(report.markdown())?;
    if let Some(paper) = &report.paper {
        screen.result(paper.markdown())?;
    }
    screen.result(format!("wrote      {}\n           {}", files.json.display(), files.page.display()))?;
    if ended.is_err() {
        complain(format!("cells that ended are kept; the same command with --out {} goes on there", out.display()));
    }
    ended?;
    screen.json(&report)
}

/// The settings of the first run, with file and options over them.
fn resolve(options: &Options, first: &Origin) -> Result<selfie_train::RunConfig> {
    let shared = &options.shared;
    let base = first.base(options.preset.as_deref(), shared.config.is_some(), shared.names_data())?;
    let mut overrides = shared.overrides()?;
    let tune = options.tune.then(|| "true".to_owned());
    overrides.extend(flags(&[("--tune", "finetune.tune", &tune)]));
    overrides.extend(options.lengths.of_finetuning());
    Ok(base.with_overrides(shared.config.as_deref(), &overrides)?)
}

/// The cells on their way.
struct Work<'a> {
    comparison: &'a Comparison,
    out: &'a Path,
    screen: Screen,
    session: Session<'a>,
}

/// A cell and what it came to.
type Trained = (Cell, CellResult);

impl Work<'_> {
    /// The cells that were trained already, and those that were not.
    fn kept(&self) -> Result<(Vec<Trained>, Vec<Cell>)> {
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        for cell in self.comparison.cells() {
            match self.comparison.kept(&cell, self.out)? {
                Some(result) => kept.push((cell, result)),
                None => missing.push(cell),
            }
        }
        Ok((kept, missing))
    }

    /// Trains those of the `missing` cells that fit into `budget`, and keeps each as it ends.
    fn train(&self, missing: &[Cell], budget: Option<Budget>) -> Result<()> {
        let kept = self.comparison.cells().len() - missing.len();
        if kept > 0 {
            self.screen.note(format!("kept       {kept} cells of {}", self.out.display()))?;
        }
        let Some(first) = missing.first() else { return Ok(()) };
        let start = Instant::now();
        let left = || budget.map_or(f64::INFINITY, |budget| budget.0.as_secs_f64() - start.elapsed().as_secs_f64());
        let mut seconds = self.comparison.estimate(first, PROBE_STEPS, &self.session)?;
        let planned = self.plan(missing, seconds, left())?;
        let (mut done, mut spent) = (0, 0.0);
        for group in planned.fits.chunk_by(same_group) {
            // Cells that turn out to be slower than they looked are left out, a whole group at a time.
            if done > 0 && group.len() as f64 * seconds > left() {
                let late = planned.fits[done..].iter();
                return self.left_out(late, "cells are slower than they looked");
            }
            for cell in group {
                self.screen.note(format!("cell {}/{}  {}", done + 1, planned.fits.len(), words(cell)))?;
                let found = self.comparison.train(cell, self.out, &self.session)?;
                found.write(cell, self.out)?;
                (done, spent) = (done + 1, spent + found.seconds);
                seconds = spent / done as f64;
                let to_go = planned.fits.len() - done;
                self.screen.note(format!(
                    "           top-1 {:.4} in {}; {to_go} cells to go, ETA {}",
                    found.report.accuracy.top1,
                    time(found.seconds),
                    time(seconds * to_go as f64)
                ))?;
            }
        }
        Ok(())
    }

    /// Which of the `missing` cells fit into what is `left` of the time, and that in words.
    fn plan(&self, missing: &[Cell], seconds: f64, left: f64) -> Result<Planned> {
        let planned = Planned::of(missing, seconds, left);
        self.screen.note(format!(
            "plan       {} cells of about {} each ({PROBE_STEPS} steps measured): about {} in all",
            planned.fits.len(),
            time(seconds),
            time(seconds * planned.fits.len() as f64)
        ))?;
        self.left_out(planned.left_out.iter(), "does not fit into --budget")?;
        Ok(planned)
    }

    fn left_out<'a>(&self, cells: impl Iterator<Item = &'a Cell>, reason: &str) -> Result<()> {
        for cell in cells {
            self.screen.note(format!("left out   {}: {reason}", words(cell)))?;
        }
        Ok(())
    }
}

fn same_group(a: &Cell, b: &Cell) -> bool {
    (a.seed, &a.labels) == (b.seed, &b.labels)
}

fn words(cell: &Cell) -> String {
    format!("{} of the labels, seed {}, {}", cell.labels, cell.seed, cell.arm)
}

fn time(seconds: f64) -> HumanDuration {
    HumanDuration(Duration::from_secs_f64(seconds))
}
