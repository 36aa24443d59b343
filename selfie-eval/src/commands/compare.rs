//! `selfie compare`: fine-tuning from scratch against fine-tuning from pretrained runs.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::HumanDuration;
use selfie_eval::{
    Budget, Cell, CellResult, CompareReport, Comparison, Error, LeftOut, Origin, Planned, Published, Result, Session,
    write_comparison,
};
use selfie_train::{RunDir, default_run_path, environment};

use super::options::{self, Lengths, Shared, flags};
use super::screen::Screen;
use super::{Interrupt, pools, settings};

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
    /// Settings where --from is a file that tells none: sample, quick, cifar10, imagenet32 or imagenet224
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
    let origins = options.from.iter().map(|from| Origin::open(from, None)).collect::<Result<Vec<_>>>()?;
    let config = resolve(options, &origins[0])?;
    pools::ensure(config.run.threads)?;
    let out = shared.out.clone().unwrap_or_else(|| default_run_path("compare", config.run.seed));
    if !out.join("cells").is_dir() {
        RunDir::check_free(&out)?;
    }
    let device = shared.device()?.select()?;
    let comparison = Comparison::prepare(config, origins, &options.fractions, options.seeds, &device)?;
    let environment = environment(&device, &options::command_line());
    screen.note(settings::of(comparison.config(), &["data", "patch", "encoder", "finetune"])?)?;
    screen.note(format!("device     {}", selfie_train::describe_device(&device)))?;

    let work = Work {
        comparison: &comparison,
        out: &out,
        screen,
        session: Session { stop: interrupt.flag(), quiet: shared.quiet, run_dir: None },
    };
    let (results, left_out) = interrupt.while_training(|| work.train(budget))?;
    let Some(report) = CompareReport::of(&comparison, &results, left_out, environment, paper)? else {
        let reason = "met a time that not one pair of cells fits into, expected more";
        return Err(Error::config("--budget", reason));
    };
    let files = write_comparison(&report, &out)?;
    let config = out.join("compare.toml");
    std::fs::write(&config, comparison.config().to_toml()?).map_err(Error::io(&config))?;
    screen.result(report.markdown())?;
    if let Some(paper) = &report.paper {
        screen.result(paper.markdown())?;
    }
    screen.result(format!("wrote      {}\n           {}", files.json.display(), files.page.display()))?;
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

type Results = Vec<(Cell, CellResult)>;

impl Work<'_> {
    /// Trains what is missing and fits into `budget`; returns what is there and what is not.
    fn train(&self, budget: Option<Budget>) -> Result<(Results, Vec<LeftOut>)> {
        let cells = self.comparison.cells();
        let mut results = Vec::new();
        let mut missing = Vec::new();
        for cell in cells {
            match self.comparison.kept(&cell, self.out)? {
                Some(kept) => results.push((cell, kept)),
                None => missing.push(cell),
            }
        }
        if !results.is_empty() {
            self.screen.note(format!("kept       {} cells of {}", results.len(), self.out.display()))?;
        }
        let Some(first) = missing.first() else { return Ok((results, Vec::new())) };
        let start = Instant::now();
        let estimate =
            self.comparison.estimate(first, PROBE_STEPS, &self.session).map_err(|error| self.stopped(error))?;
        let mut planned =
            self.plan(&missing, estimate, budget.map(|budget| budget.0.saturating_sub(start.elapsed())))?;
        let mut spent = Vec::new();
        let mut at = 0;
        while at < planned.fits.len() {
            let cell = planned.fits[at].clone();
            let count = planned.fits.len();
            self.screen.note(format!("cell {}/{count}  {}", at + 1, words(&cell)))?;
            let found = self.comparison.train(&cell, self.out, &self.session).map_err(|error| self.stopped(error))?;
            found.write(&cell, self.out)?;
            spent.push(found.seconds);
            let mean = spent.iter().sum::<f64>() / spent.len() as f64;
            let left = Duration::from_secs_f64(mean * (count - at - 1) as f64);
            self.screen.note(format!(
                "           top-1 {:.4} in {}; {} cells to go, ETA {}",
                found.report.accuracy.top1,
                HumanDuration(Duration::from_secs_f64(found.seconds)),
                count - at - 1,
                HumanDuration(left)
            ))?;
            results.push((cell, found));
            at += 1;
            // Cells that turn out to be slower than they looked are left out, a whole group at a time.
            let whole_group = planned.fits.get(at).is_none_or(|next| !same_group(next, &planned.fits[at - 1]));
            if let (Some(budget), true) = (budget, whole_group) {
                let again =
                    Planned::of(&planned.fits[at..], mean, budget.0.as_secs_f64() - start.elapsed().as_secs_f64());
                planned.fits.truncate(at);
                planned.fits.extend(again.fits);
                for cell in &again.left_out {
                    self.screen.note(format!("left out   {}: cells are slower than they looked", words(cell)))?;
                }
                planned.left_out.splice(..0, again.left_out);
            }
        }
        let order = self.comparison.cells();
        results.sort_by_key(|(cell, _)| order.iter().position(|other| other == cell));
        let left_out = planned.left_out.into_iter().map(|cell| LeftOut { cell, reason: "does not fit into --budget" });
        Ok((results, left_out.collect()))
    }

    /// Which cells fit, and that in words.
    fn plan(&self, missing: &[Cell], seconds: f64, budget: Option<Duration>) -> Result<Planned> {
        let planned = match budget {
            Some(budget) => Planned::of(missing, seconds, budget.as_secs_f64()),
            None => Planned { fits: missing.to_vec(), left_out: Vec::new() },
        };
        let all = Duration::from_secs_f64(seconds * planned.fits.len() as f64);
        self.screen.note(format!(
            "plan       {} cells of about {} each ({PROBE_STEPS} steps measured): about {} in all",
            planned.fits.len(),
            HumanDuration(Duration::from_secs_f64(seconds)),
            HumanDuration(all)
        ))?;
        for cell in &planned.left_out {
            self.screen.note(format!("left out   {}: does not fit into --budget", words(cell)))?;
        }
        Ok(planned)
    }

    /// What is kept is said where a training was stopped.
    fn stopped(&self, error: Error) -> Error {
        if error.exit_code() == 130 {
            super::screen::complain(format!(
                "cells that ended are kept in {}; the same command with --out goes on there",
                self.out.display()
            ));
        }
        error
    }
}

fn same_group(a: &Cell, b: &Cell) -> bool {
    (a.seed, &a.labels) == (b.seed, &b.labels)
}

fn words(cell: &Cell) -> String {
    format!("{} of the labels, seed {}, {}", cell.labels, cell.seed, cell.arm)
}
