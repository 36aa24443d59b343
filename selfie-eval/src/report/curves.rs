//! The curves of a run, from its lines of metrics.

use serde_json::Value;

use super::chart::{Chart, Series, Stroke};

/// Loss, accuracy, rate, speed, gradient norm and spread of the features; those that the run has.
pub fn charts(lines: &[Value]) -> Vec<Chart> {
    let of =
        |key: &'static str| lines.iter().filter_map(move |line| Some((line["step"].as_f64()?, line[key].as_f64()?)));
    let line = |name, key| Series::new(name, Stroke::Solid, of(key));
    let dots = |name, key| Series::new(name, Stroke::Dotted, of(key));
    let chance = lines.iter().find_map(|line| line["chance"].as_f64());
    let plain =
        |file, title, series, from_zero| Chart { file, title, series, reference: None, share: false, from_zero };
    let all = [
        Chart {
            reference: chance.map(|chance| ("guessing", -chance.ln())),
            ..plain("loss", "Loss", vec![line("training", "loss"), dots("held out", "held_out_loss")], false)
        },
        Chart {
            reference: chance.map(|chance| ("chance", chance)),
            share: true,
            ..plain(
                "accuracy",
                "Accuracy",
                vec![line("training", "accuracy"), dots("held out", "held_out_accuracy")],
                true,
            )
        },
        plain("learning-rate", "Learning rate", vec![line("rate", "lr")], true),
        plain("speed", "Images per second", vec![line("speed", "images_per_second")], true),
        plain("gradient-norm", "Gradient norm", vec![line("norm", "grad_norm")], true),
        Chart {
            reference: Some(("evenly spread; 0 is collapsed", 1.0)),
            ..plain("feature-spread", "Spread of the features", vec![line("deviation", "feature_std")], true)
        },
        Chart {
            reference: lines.iter().find_map(|line| line["knn_probe_chance"].as_f64()).map(|chance| ("chance", chance)),
            share: true,
            ..plain(
                "knn-probe",
                "kNN probe: a quick look, no result",
                vec![dots("accuracy", "knn_probe_accuracy")],
                true,
            )
        },
    ];
    let drawn = |mut chart: Chart| {
        chart.series.retain(|series| !series.points.is_empty());
        (!chart.is_empty()).then_some(chart)
    };
    all.into_iter().filter_map(drawn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_those_that_the_metrics_have() {
        let lines = [
            serde_json::json!({ "step": 1, "loss": 1.4, "accuracy": 0.2, "chance": 0.25, "lr": 0.1 }),
            serde_json::json!({ "step": 1, "held_out_loss": 1.3, "held_out_accuracy": 0.3, "chance": 0.25 }),
            serde_json::json!({ "step": 2, "loss": null, "accuracy": 0.4, "chance": 0.25, "lr": 0.1 }),
        ];
        let charts = charts(&lines);
        assert_eq!(charts.iter().map(|chart| chart.file).collect::<Vec<_>>(), ["loss", "accuracy", "learning-rate"]);
        assert_eq!(charts[1].series[0].points, [(1.0, 0.2), (2.0, 0.4)]);
        assert_eq!((charts[0].series[0].points.len(), charts[0].series[1].points.len()), (1, 1));
        assert_eq!(charts[1].reference, Some(("chance", 0.25)));
    }
}
