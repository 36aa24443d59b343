#![doc = include_str!("../README.md")]

mod checkpoint;
mod clock;
mod config;
mod data;
mod device;
mod ema;
mod environment;
mod error;
mod features;
mod files;
mod gradients;
mod heartbeat;
mod memory;
mod metrics;
mod model;
mod neighbours;
mod optim;
mod picture;
mod pretrain;
mod pretrained;
mod probe;
mod ranks;
mod run_dir;
mod schedule;
mod seed;
mod shortest;
mod store;
mod task;
mod tensorboard;
mod trainer;

pub use checkpoint::{Best, Checkpoint, Record, TrainingImages};
pub use config::{
    FinetuneConfig, Head, OnNonfinite, OptimConfig, OptimName, Override, Plan, Precision, RunConfig, RunSettings,
    ScheduleConfig, ScheduleName, recipe_changes,
};
pub use data::{
    Augment, BadImages, Batch, Colours, DataConfig, DataError, DataResult, Dataset, HubFile, HubUpload, Image8,
    LabelBudget, Loader, LoaderConfig, Normalise, OnBadImage, Recognized, RecognizedSplit, Split, SplitRole, Transform,
    channel_stats, channel_stats_of, escape_controls, escape_field, fetch_data, fetch_weights, label_subset,
    observe_recognized, visit_images,
};
pub use device::{DeviceChoice, describe_device};
pub use ema::Ema;
pub use environment::{Build, environment};
pub use error::{Error, Result};
pub use features::{FeatureRows, ImageFeatures};
pub use gradients::{Gradients, clip_factor};
pub use heartbeat::Heartbeat;
pub use memory::{MemoryEstimate, available_memory};
pub use metrics::{HeldOutMetrics, StepMetrics, feature_std, peak_rss_mb, read_metrics};
pub use model::{Mode, Output, Puzzle, SelfieModel};
pub use neighbours::{Neighbour, Neighbours};
pub use optim::Optimizer;
pub use picture::{Canvas, Riddle, draw_all, encode_jpeg, encode_png};
pub use pretrain::{PretrainOptions, PretrainReport, Pretraining, pretrain};
pub use pretrained::{FoundNetwork, Naming, Pretrained, Wanted, WhichWeights, load_run, normalise_of};
pub use probe::{EvalSet, Evaluation, KnnProbe, KnnResult, directions, evaluate};
pub use ranks::{Ranks, own_cores, started_as, started_together};
pub use run_dir::{Claim, Lengthened, RunDir, RunLock, check_length};
pub use schedule::{learning_rate, warmup_steps};
pub use seed::{Purpose, derive, stream};
pub use shortest::shorten_floats;
pub use store::{LoadReport, ModelCount, ParamStore, Parameter, Weights, checksum, write_tensors};
pub use task::{Classification, Classifier, MaskedPatches, PatchPool, Phase, Task, TaskOutput};
pub use trainer::{StopFlag, TrainReport, TrainState, Trainer, bar_style, words};
