//! The model card: what the weights are, what they were trained on and how, what came out, and how they are loaded.
//!
//! Every figure is one that the run itself measured, with its split, its images and what guessing would score; where a
//! run tells none, the card says so.

use std::path::Path;

use serde_json::Value;

use super::{ExportFormat, Exported};
use crate::runs::RunSummary;

/// What a card is made of.
pub(crate) struct Card<'a> {
    /// `OWNER/NAME`.
    pub(crate) repository: &'a str,
    /// What `--from` named.
    pub(crate) from: &'a str,
    /// The licence of the weights, as the hub calls it.
    pub(crate) license: Option<&'a str>,
    /// What was written.
    pub(crate) exported: &'a Exported,
}

/// What is done to an image, in words.
fn preprocessing(said: &Value) -> String {
    let view = &said["preprocessing"];
    match (view["resize"].as_u64(), view["center_crop"].as_u64()) {
        (Some(resize), Some(crop)) => format!(
            "short side to {resize} (bilinear, antialiased), center {crop} x {crop}; an image of {crop} x {crop} as it is"
        ),
        _ => "unknown".to_owned(),
    }
}

impl Card<'_> {
    /// The page, in Markdown with the hub's front matter.
    pub(crate) fn text(&self) -> String {
        let sections = [
            self.front(),
            self.what(),
            format!("## Data and protocol\n\n{}", self.protocol()),
            format!("## Figures\n\n{}", self.figures()),
            format!("## Use\n\n```python\n{}\n```", self.exported.snippet),
            format!("## Licence\n\n{}", self.licence()),
        ];
        sections.join("\n\n") + "\n"
    }

    fn said(&self) -> &Value {
        &self.exported.metadata
    }

    fn front(&self) -> String {
        let task = if self.exported.complete { "image-classification" } else { "image-feature-extraction" };
        let library = if self.exported.format == ExportFormat::Timm { "timm" } else { "pytorch" };
        let license = self.license.unwrap_or("other");
        format!(
            "---\nlicense: {license}\nlibrary_name: {library}\npipeline_tag: {task}\n\
             tags:\n- selfie\n- self-supervised\n- resnet\n---"
        )
    }

    fn what(&self) -> String {
        let said = self.said();
        let text = |key: &str| said[key].as_str().unwrap_or("unknown").to_owned();
        let what = match (self.exported.complete, said["num_classes"].as_u64()) {
            (true, Some(classes)) => format!("A ResNet with a classifier of {classes} classes, fine-tuned"),
            _ => "Stages of a ResNet, an image encoder without a classifier, pretrained".to_owned(),
        };
        let mut lines = vec![
            format!("# {}", self.repository.rsplit('/').next().unwrap_or_default()),
            String::new(),
            format!(
                "{what} by [Selfie](https://arxiv.org/abs/1906.02940): self-supervised pretraining by masked patches."
            ),
            String::new(),
            "| | |".to_owned(),
            "|---|---|".to_owned(),
            format!("| blocks | {} |", text("block")),
            format!("| stem | {} |", text("stem")),
            format!("| width, depths | {}, {} |", said["width"], said["depths"]),
            format!("| input | {} |", said["input_size"]),
            format!("| preprocessing | {} |", preprocessing(said)),
            format!("| mean, standard deviation | {}, {} |", said["data"]["mean"], said["data"]["std"]),
            format!(
                "| names of the tensors | {} |",
                if text("block") == "v2" { "timm's resnetv2" } else { "torchvision's" }
            ),
            format!("| step, weights | {}, {} |", said["step"], text("weights")),
            format!("| run, commit | {}, {} |", text("run"), text("git_commit")),
        ];
        if let Some(classes) = said["classes"].as_array() {
            let names: Vec<_> = classes.iter().filter_map(Value::as_str).collect();
            lines.push(format!("| classes | {} |", names.join(", ")));
        }
        lines.join("\n")
    }

    fn protocol(&self) -> String {
        let Ok(summary) = RunSummary::read(Path::new(self.from)) else {
            return "The weights came from a file, which does not tell how they were trained.".to_owned();
        };
        let data = self.said()["data"]["source"].as_str().unwrap_or("unknown").to_owned();
        let settings = "every setting stands in `config.toml` of this repository";
        match (summary.kind, self.result()) {
            ("finetune", Some(result)) => format!(
                "{} on `{data}`: {} training images ({} of the labels), {} steps of {} images, seed {}, started from {}; \
                 {settings}.",
                result["protocol"].as_str().unwrap_or("fine-tuning"),
                result["train_images"],
                result["labels"].as_str().unwrap_or("all"),
                result["steps"],
                result["batch_size"],
                result["seed"],
                result["from"]
            ),
            ("finetune", None) => {
                format!("Fine-tuning on `{data}`, {} of {} steps; {settings}.", summary.step, summary.steps)
            }
            _ => format!(
                "Pretraining on `{data}` without labels, {} of {} steps: masked patches of an image are found among the \
                 masked patches of the same image; {settings}.",
                summary.step, summary.steps
            ),
        }
    }

    fn figures(&self) -> String {
        let number = |value: &Value| value.as_f64().map_or_else(|| "unknown".to_owned(), |value| format!("{value:.4}"));
        if let Some(result) = self.result() {
            return format!(
                "Top-1 accuracy {} ± {} (standard error) on the {} split of `{}`, {} images; guessing scores {}.",
                number(&result["top1"]),
                number(&result["standard_error"]),
                result["split"].as_str().unwrap_or("test"),
                result["data"].as_str().unwrap_or("unknown"),
                result["images"],
                number(&result["chance"])
            );
        }
        let summary = RunSummary::read(Path::new(self.from)).ok();
        match summary.as_ref().map(|run| (run.held_out_accuracy, run.chance)) {
            Some((Some(accuracy), Some(chance))) => format!(
                "Accuracy of the pretext task {accuracy:.4} on images kept away from training; guessing scores {chance:.4}. \
                 How good the features are for another task, the run does not tell."
            ),
            _ => "The run tells none.".to_owned(),
        }
    }

    fn licence(&self) -> String {
        let weights = match self.license {
            Some(license) => format!("The weights: {license}, as stated by whoever uploaded them."),
            None => "The weights: not stated by whoever uploaded them.".to_owned(),
        };
        format!(
            "{weights} The images that they were trained on have terms of their own. The code is MIT or Apache-2.0."
        )
    }

    /// What a fine-tuning wrote of itself.
    fn result(&self) -> Option<Value> {
        let text = std::fs::read_to_string(Path::new(self.from).join("result.json")).ok()?;
        serde_json::from_str(&text).ok()
    }
}
