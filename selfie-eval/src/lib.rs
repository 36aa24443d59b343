#![doc = include_str!("../README.md")]

mod accuracy;
mod bench;
mod cholesky;
mod compare;
mod embed;
mod error;
mod export;
mod features;
mod files;
mod finetune;
mod frozen;
mod holdout;
mod inspect;
mod knn_eval;
mod labelled;
mod lbfgs;
mod linear_eval;
mod logistic;
mod masked_eval;
mod origin;
mod plan;
mod report;
mod runs;
mod standardise;
mod stream;
mod transfer;

pub use accuracy::{Accuracy, Answer, ClassAccuracy};
pub use bench::{
    BenchTask, CONTESTS, Contest, KernelReport, LoaderBench, LoaderReport, Peers, Standing, StepBench, StepReport,
    kernels,
};
pub use compare::{
    Arm, ArmSummary, Budget, Cell, CellResult, CompareFiles, CompareReport, Comparison, Difference, FractionSummary,
    LeftOut, Planned, Published, Spread, paired, write_comparison,
};
pub use embed::{Embed, EmbedFormat, EmbedReport, EmbedSplit};
pub use error::{Error, Result};
pub use export::{Export, ExportFormat, Exported, HubTarget, Uploaded};
pub use features::{FeatureKind, Features, View, extract};
pub use files::write_json;
pub use finetune::{Finetune, FinetuneReport, Session, Trial};
pub use frozen::{BothSplits, Frozen, FrozenContext};
pub use inspect::{BadImage, Labels, Sizes, Stats, Verified, split_name, stats, verify};
pub use knn_eval::{KnnReport, KnnResult};
pub use labelled::Labelled;
pub use lbfgs::{Minimum, minimise};
pub use linear_eval::{LinearReport, LinearResult, Tuning};
pub use logistic::{Logistic, LogisticConfig};
pub use masked_eval::{EvalSplit, MaskedEval, MaskedReport};
pub use origin::{Origin, weights_path};
pub use plan::{Bandwidth, Figure, Images, JobCosts, JobPlan, ModelSize, Speed};
pub use report::{ReportFiles, quoted, write_report};
pub use runs::{RunState, RunSummary};
pub use standardise::Standardiser;
pub use transfer::{Transfer, held_trunk, load_trunk};
