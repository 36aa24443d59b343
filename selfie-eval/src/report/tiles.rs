//! The figures that matter, at the top of the page: each with its uncertainty or with what to compare it with.

use std::fmt::Write;

use super::chart::short;
use super::tested::Tested;
use crate::runs::RunSummary;

/// Returns a tile for each figure that the run has.
pub fn of(summary: &RunSummary, tested: Option<&Tested>) -> String {
    let chance = summary.chance.map_or_else(String::new, |chance| format!("chance {}", share(chance)));
    let held_out = beside(summary.held_out_standard_error, summary.held_out_images, summary.chance);
    let tiles = [
        ("Accuracy, test split", tested.map(|found| share(found.accuracy)), tested.map(Tested::beside)),
        ("Accuracy, held-out images", summary.held_out_accuracy.map(share), Some(held_out)),
        ("Accuracy, training", summary.accuracy.map(share), Some(format!("last steps; {chance}"))),
        ("Loss, training", summary.loss.map(|loss| format!("{loss:.3}")), Some("last steps".to_owned())),
        ("Speed", summary.images_per_second.map(short), Some("images per second".to_owned())),
    ];
    let mut out = "<ul class=\"tiles\">".to_owned();
    for (name, value, beside) in tiles {
        if let Some(value) = value {
            let beside = beside.unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(out, "<li><span>{name}</span><strong>{value}</strong><span>{beside}</span></li>");
        }
    }
    out + "</ul>\n"
}

/// Returns a share as per cent.
pub fn share(value: f64) -> String {
    format!("{:.1}\u{a0}%", 100.0 * value)
}

/// Returns what stands below an accuracy: its standard error, its images, and the chance level, as far as they are known.
pub fn beside(standard_error: Option<f64>, images: Option<u64>, chance: Option<f64>) -> String {
    let error = standard_error.map(|error| format!("± {}", share(error)));
    let images = images.map(|images| format!("{images} images"));
    let measured = [error, images].into_iter().flatten().collect::<Vec<_>>().join(" on ");
    let chance = chance.map(|chance| format!("chance {}", share(chance)));
    [Some(measured).filter(|text| !text.is_empty()), chance].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_stands_with_its_standard_error_its_images_and_chance() {
        assert_eq!(beside(Some(0.012), Some(48), Some(0.25)), "± 1.2\u{a0}% on 48 images; chance 25.0\u{a0}%");
        assert_eq!(beside(None, None, Some(0.25)), "chance 25.0\u{a0}%");
        assert_eq!(beside(None, None, None), "");
    }
}
