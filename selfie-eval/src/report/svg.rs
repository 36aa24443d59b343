//! A chart as SVG inside the page: crisp at any size, in the page's colours, light or dark.

use std::fmt::Write;

use super::chart::{Chart, Stroke};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 230.0;
/// Room for the labels: left, right, top, bottom.
const MARGIN: [f64; 4] = [52.0, 16.0, 12.0, 38.0];

/// `text` where HTML would read it as more than text.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The chart as a figure with its legend.
pub fn figure(chart: &Chart) -> String {
    let mut out = String::new();
    let (steps, values) = (chart.steps(), chart.values());
    let [left, right, top, bottom] = MARGIN;
    let x = |step: f64| left + steps.place(step) * (WIDTH - left - right);
    let y = |value: f64| HEIGHT - bottom - values.place(value) * (HEIGHT - top - bottom);
    let label = summary(chart);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<figure class=\"chart\"><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(chart.title),
        escape(&label)
    );
    for &tick in &values.ticks {
        let (at, text) = (y(tick), escape(&chart.number(tick)));
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{left} {at:.1}H{:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            WIDTH - right,
            left - 6.0,
            at + 4.5
        );
    }
    for &tick in &steps.ticks {
        let (at, text) = (x(tick), super::chart::short(tick));
        let _ = write!(
            out,
            "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            HEIGHT - bottom + 17.0
        );
    }
    let _ = write!(
        out,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">steps</text>",
        WIDTH - right,
        HEIGHT - 4.0
    );
    if let Some((name, level)) = chart.reference {
        let at = y(level);
        let _ = write!(
            out,
            "<path class=\"reference\" d=\"M{left} {at:.1}H{:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - right,
            left + 4.0,
            at - 4.0,
            escape(name)
        );
    }
    for (number, series) in chart.series.iter().enumerate() {
        let mut path = String::new();
        for (at, &(step, value)) in series.points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, x(step), y(value));
        }
        let _ = write!(out, "<path class=\"line s{number}\" d=\"{path}\"/>");
        if series.stroke == Stroke::Dotted && series.points.len() <= 60 {
            for &(step, value) in &series.points {
                let _ = write!(
                    out,
                    "<circle class=\"dot s{number}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    x(step),
                    y(value)
                );
            }
        }
    }
    out.push_str("</svg>\n<p class=\"legend\">");
    for (number, series) in chart.series.iter().enumerate() {
        let value = series.last().map(|value| chart.number(value)).unwrap_or_default();
        let mark = if series.stroke == Stroke::Dotted { "●" } else { "━" };
        let _ = write!(
            out,
            "<span><b class=\"key s{number}\" aria-hidden=\"true\">{mark}</b> {} <strong>{value}</strong></span>",
            escape(series.name)
        );
    }
    out.push_str("</p></figure>\n");
    out
}

/// What the chart shows, for whoever does not see it.
fn summary(chart: &Chart) -> String {
    let ends = chart.series.iter().filter_map(|series| {
        let (first, last) = (series.points.first()?.1, series.last()?);
        Some(format!("{} from {} to {}", series.name, chart.number(first), chart.number(last)))
    });
    format!("{}: {}", chart.title, ends.collect::<Vec<_>>().join("; "))
}
