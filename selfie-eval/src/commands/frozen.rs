//! What commands on frozen features have in common: which network, which of its features, and how an evaluation runs.

use selfie_eval::{FeatureKind, Frozen, Origin, Result};
use selfie_train::{Override, RunConfig};
use serde::Serialize;

use super::options::{Shared, flags};
use super::{pools, result_file, settings, weights};

/// A frozen network and its features.
#[derive(clap::Args)]
pub struct Network {
    /// Where the network comes from: a run (of fine-tuning: all four stages), weights of torchvision or timm (safetensors
    /// or .pth), hf:OWNER/NAME, or scratch
    #[arg(long, value_name = "RUN|FILE|hf:NAME|scratch")]
    from: String,
    /// The run's checkpoint of that step [default: the latest]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Prefix of the network in a weights file of another project that contains several
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only these features: image (the whole image) or patches (mean over its patches) [default: both]
    #[arg(long, value_name = "FEATURES")]
    features: Option<String>,
    /// Settings where --from tells none: sample, quick, cifar10, cifar10-paper, imagenet32 or imagenet224
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

impl Network {
    /// Both kinds of features, or the one that was named.
    pub fn kinds(&self) -> Result<Vec<FeatureKind>> {
        self.features.as_deref().map_or(Ok(FeatureKind::ALL.to_vec()), |word| Ok(vec![word.parse()?]))
    }

    /// The origin, and its settings with file, options and `more` over them.
    pub fn resolve(&self, shared: &Shared, more: Vec<Override>) -> Result<(Origin, RunConfig)> {
        let origin = Origin::open(&self.from, self.checkpoint, self.prefix.as_deref())?;
        let base = origin.base(self.preset.as_deref(), shared.config.is_some(), shared.names_data())?;
        let mut overrides = shared.overrides()?;
        overrides.extend(more);
        let config = base.with_overrides(shared.config.as_deref(), &overrides)?;
        Ok((origin, config))
    }
}

/// Options of an evaluation of frozen features.
#[derive(clap::Args)]
pub struct Evaluation {
    #[command(flatten)]
    network: Network,
    /// Training labels to use: a share of each class such as 5%, or a number such as 400/class [default: 100%]
    #[arg(long, value_name = "BUDGET")]
    labels: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

impl Evaluation {
    /// Checks everything, says what is going to be done, evaluates, says what `words` makes of it, and keeps it and the
    /// labels that were used in `--out`, where that is given.
    pub fn run<R: Serialize>(
        &self,
        evaluate: impl FnOnce(&Frozen, &[FeatureKind], &mut dyn FnMut(usize)) -> Result<R>,
        words: impl FnOnce(&R) -> String,
    ) -> Result<()> {
        let shared = &self.shared;
        let (screen, kinds) = (shared.screen(), self.network.kinds()?);
        let (origin, config) = self.network.resolve(shared, flags(&[("--labels", "finetune.labels", &self.labels)]))?;
        pools::ensure(config.run.threads)?;
        result_file::check_free(shared.out.as_deref())?;
        let device = shared.device()?.select()?;
        let shown = settings::of(&config, &["data", "patch", "encoder"])?;
        let frozen = Frozen::prepare(config, &origin, &device)?;
        screen.note(format!("{shown}\ndevice     {}", selfie_train::describe_device(&device)))?;
        weights::describe(&origin, frozen.config(), frozen.measured(), &screen)?;

        let progress = screen.progress(frozen.data().train.len() + frozen.data().test.len(), "images");
        let report = evaluate(&frozen, &kinds, &mut |done| progress.set(done))?;
        progress.finish();
        screen.result(words(&report))?;
        if let Some(folder) = &shared.out {
            screen.result(format!("wrote      {}", result_file::write(folder, &report)?.display()))?;
            let labels = folder.join("labels.txt");
            frozen.data().write_labels(&labels)?;
            screen.result(format!("           {}", labels.display()))?;
        }
        screen.json(&report)
    }
}
