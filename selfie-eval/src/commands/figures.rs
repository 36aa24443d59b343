//! Figures in words: each with its split, its images and what guessing would score.

use selfie_eval::{Accuracy, ClassAccuracy, FrozenContext, MaskedReport};

/// Classes that are listed; of more, the best and the worst.
const MOST_CLASSES: usize = 40;

/// What `--from` named, and the file that the weights are in.
pub fn origin(from: &str, checkpoint: Option<&str>) -> String {
    match checkpoint {
        Some(file) if file != from => format!("{from} ({file})"),
        _ => from.to_owned(),
    }
}

/// What an evaluation of frozen features did, of which network, with which labels.
pub fn frozen(protocol: &str, context: &FrozenContext) -> Vec<String> {
    let FrozenContext { from, checkpoint, train_images, labels, seed, stages, .. } = context;
    vec![
        protocol.to_owned(),
        format!("network    {stages} stages, from {}", origin(from, checkpoint.as_deref())),
        format!("labels     {train_images} images ({labels} of the labels, seed {seed})"),
    ]
}

/// "top-1 0.2833 ± 0.0582 on the test split of sample (17 of 60 images; chance 0.0833)", then class by class.
pub fn accuracy(found: &Accuracy, split: &str, data: &str, chance: f64) -> String {
    let Accuracy { top1, standard_error, images, correct, per_class } = found;
    let mut lines = vec![format!(
        "top-1      {top1:.4} ± {standard_error:.4} on the {split} split of {data} ({correct} of {images} images; \
         chance {chance:.4})"
    )];
    lines.extend(classes(per_class));
    lines.join("\n")
}

fn classes(all: &[ClassAccuracy]) -> Vec<String> {
    if all.len() <= MOST_CLASSES {
        return all.iter().map(line).collect();
    }
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by(|a, b| b.top1.total_cmp(&a.top1));
    let (best, rest) = sorted.split_at(MOST_CLASSES / 2);
    let worst = &rest[rest.len() - MOST_CLASSES / 2..];
    let between = format!("           ... {} classes between (--json tells all)", all.len() - MOST_CLASSES);
    let best = best.iter().map(|class| line(class));
    best.chain([between]).chain(worst.iter().map(|class| line(class))).collect()
}

fn line(class: &ClassAccuracy) -> String {
    let ClassAccuracy { class, top1, images, correct } = class;
    format!("           {top1:.3}  {class} ({correct} of {images})")
}

/// "accuracy 0.1736 ± 0.0093 (95 % interval 0.1554 to 0.1918) on the test split of sample (60 images, 8 masks each, seed 0; chance 0.0833)", and
/// whether that is above chance.
pub fn masked(report: &MaskedReport) -> String {
    let found = &report.found;
    let (accuracy, error, chance) = (found.accuracy, found.standard_error, found.chance);
    let (split, data) = (report.split, &report.data);
    let (low, high) = report.interval;
    let figure = format!(
        "accuracy   {accuracy:.4} ± {error:.4} (95 % interval {low:.4} to {high:.4}) on the {split} split of {data} ({} images, {} masks each, seed \
         {}; chance {chance:.4})",
        found.images, found.passes, report.seed
    );
    let judgement = match report.standard_errors_above_chance {
        None => "a single image, or a single mask for all images, has no standard error".to_owned(),
        Some(above) if report.above_chance => format!("above chance by {above:.1} standard errors"),
        Some(above) => format!("not above chance by three standard errors ({above:.1})"),
    };
    format!("{figure}\n           {judgement}")
}
