//! What a user can do next: commands that work for the data and weights at hand.

use std::path::Path;

use selfie_eval::quoted;
use selfie_train::{PretrainReport, RunConfig};

use super::program;

/// More passes than this over few labeled images change nothing any more.
const EPOCHS: usize = 100;

/// Returns the commands that make sense after a pretraining: evaluations if the data has labels and a test split, else those that
/// need none.
pub fn after_pretraining(report: &PretrainReport, config: &RunConfig) -> String {
    let (name, run) = (program::name(), report.run_dir.display());
    if report.classes < 2 || !report.has_test_split {
        let data = quoted(&config.data.source);
        return lines(&[
            format!("{name} embed --from {run} --data {data} --out features.parquet"),
            format!("{name} export --from {run} --out backbone.safetensors"),
        ]);
    }
    let steps =
        finetune_steps(config, report.labeled_images).map_or_else(String::new, |steps| format!(" --steps {steps}"));
    lines(&[format!("{name} finetune --from {run}{steps}"), format!("{name} linear-eval --from {run}")])
}

/// Returns the commands that make sense after an import; the data is not known yet.
pub fn after_import(file: &Path) -> String {
    let (name, file) = (program::name(), file.display());
    lines(&[
        format!("{name} embed --from {file} --data DIR --out features.parquet"),
        format!("{name} linear-eval --from {file} --data DIR    (labeled images with a test split)"),
    ])
}

/// Steps to advise if those of the settings, made for a larger data set, would take more than [`EPOCHS`] epochs.
fn finetune_steps(config: &RunConfig, labeled: usize) -> Option<u64> {
    let batch = config.finetune.batch_size.max(1);
    let enough = (EPOCHS * labeled).div_ceil(batch).max(1) as u64;
    (config.finetune.steps > enough).then_some(enough)
}

fn lines(commands: &[String]) -> String {
    format!("next       {}", commands.join("\n           "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_images_are_not_sent_into_steps_for_a_million() {
        let config = RunConfig::preset("imagenet224").unwrap(); // 60,000 steps of 256
        assert_eq!(finetune_steps(&config, 245), Some(96));
        assert_eq!(finetune_steps(&config, 1_281_167), None);
    }
}
