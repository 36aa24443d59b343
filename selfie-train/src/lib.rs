#![doc = include_str!("../README.md")]

mod checkpoint;
mod clock;
mod config;
mod data;
mod device;
mod environment;
mod error;
mod files;
mod gradients;
mod metrics;
mod model;
mod optim;
mod pretrain;
mod pretrained;
mod probe;
mod run_dir;
mod schedule;
mod seed;
mod store;
mod task;
mod trainer;

pub use checkpoint::{Best, Checkpoint, Record};
pub use config::{
    FinetuneConfig, OptimConfig, OptimName, Override, Plan, RunConfig, RunSettings, ScheduleConfig, ScheduleName,
    recipe_changes,
};
pub use data::{
    Augment, Batch, Colours, DataConfig, DataError, DataResult, Dataset, Image8, LabelBudget, Loader, LoaderConfig,
    Normalise, Split, Transform, channel_stats, label_subset,
};
pub use device::{DeviceChoice, describe_device};
pub use environment::environment;
pub use error::{Error, Result};
pub use gradients::{Gradients, clip_factor};
pub use metrics::{HeldOutMetrics, StepMetrics, peak_rss_mb, read_metrics};
pub use model::{Mode, Output, Puzzle, SelfieModel};
pub use optim::Optimizer;
pub use pretrain::{PretrainOptions, PretrainReport, Pretraining, default_run_path, pretrain};
pub use pretrained::{Pretrained, load_run, normalise_of};
pub use probe::{EvalSet, Evaluation, evaluate};
pub use run_dir::RunDir;
pub use schedule::{learning_rate, warmup_steps};
pub use seed::{Purpose, derive, stream};
pub use store::{LoadReport, ParamStore, Parameter, Weights, write_tensors};
pub use task::{Classification, MaskedPatches, Phase, Task, TaskOutput};
pub use trainer::{StopFlag, TrainReport, TrainState, Trainer};
