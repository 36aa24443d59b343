//! What `linear-eval` and `knn-eval` have in common: options, preparation, and what is kept.

use selfie_eval::{FeatureKind, Frozen, Origin, Result};
use serde::Serialize;

use super::options::{Shared, flags};
use super::{pools, result_file, settings};

/// Options of an evaluation of frozen features.
#[derive(clap::Args)]
pub struct Asked {
    /// Where the network comes from: a run (of fine-tuning: all four stages), weights of torchvision or timm (safetensors
    /// or .pth), hf:OWNER/NAME, or scratch
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
    pub shared: Shared,
}

impl Asked {
    /// Both kinds of features, or the one that was named.
    pub fn kinds(&self) -> Result<Vec<FeatureKind>> {
        self.features.as_deref().map_or(Ok(FeatureKind::ALL.to_vec()), |word| Ok(vec![word.parse()?]))
    }

    /// Checks everything, loads the network, says what is going to be done.
    pub fn prepare(&self) -> Result<Frozen> {
        let shared = &self.shared;
        self.kinds()?;
        let origin = Origin::open(&self.from, self.checkpoint)?;
        let base = origin.base(self.preset.as_deref(), shared.config.is_some(), shared.names_data())?;
        let mut overrides = shared.overrides()?;
        overrides.extend(flags(&[("--labels", "finetune.labels", &self.labels)]));
        let config = base.with_overrides(shared.config.as_deref(), &overrides)?;
        pools::ensure(config.run.threads)?;
        result_file::check_free(shared.out.as_deref())?;
        let device = shared.device()?.select()?;
        let shown = settings::of(&config, &["data", "patch", "encoder"])?;
        let frozen = Frozen::prepare(config, &origin, &device)?;
        shared.screen().note(format!("{shown}\ndevice     {}", selfie_train::describe_device(&device)))?;
        Ok(frozen)
    }

    /// Writes the report and the labels that were used into `--out`, where it is given.
    pub fn keep(&self, frozen: &Frozen, report: &impl Serialize) -> Result<()> {
        let Some(folder) = &self.shared.out else { return Ok(()) };
        let screen = self.shared.screen();
        screen.result(format!("wrote      {}", result_file::write(folder, report)?.display()))?;
        let labels = folder.join("labels.txt");
        frozen.data().write_labels(&labels)?;
        screen.result(format!("           {}", labels.display()))
    }
}
