//! A curve over the steps of a run: its scales, ticks and thinning, before it is drawn as SVG or as pixels.

/// Points that a curve keeps, at most: more would not be seen, and would make the page heavy.
const MOST_POINTS: usize = 360;

/// How a line looks, beside its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// The main curve.
    Solid,
    /// A second one, with a dot at each point.
    Dotted,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: &'static str,
    pub stroke: Stroke,
    /// Step and value, in the order of the steps.
    pub points: Vec<(f64, f64)>,
}

/// One chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The name of its PNG file.
    pub file: &'static str,
    pub title: &'static str,
    pub series: Vec<Series>,
    /// A level to compare with, and its name.
    pub reference: Option<(&'static str, f64)>,
    /// Whether values are shares, to be shown as per cent.
    pub share: bool,
    /// Whether the axis begins at zero.
    pub from_zero: bool,
}

/// Where values lie on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
}

impl Series {
    /// A line through `points`, thinned to means over equal numbers of neighbours; what is not finite is left out.
    pub fn new(name: &'static str, stroke: Stroke, points: impl Iterator<Item = (f64, f64)>) -> Self {
        let all: Vec<_> = points.filter(|(step, value)| step.is_finite() && value.is_finite()).collect();
        let together = all.len().div_ceil(MOST_POINTS).max(1);
        let mean = |part: &[(f64, f64)]| {
            let n = part.len() as f64;
            (part[part.len() - 1].0, part.iter().map(|(_, value)| value / n).sum())
        };
        Self { name, stroke, points: all.chunks(together).map(mean).collect() }
    }

    /// The value at the end.
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }
}

impl Chart {
    /// The axis of the steps.
    pub fn steps(&self) -> Scale {
        let last = self.points().map(|(step, _)| step).fold(0.0, f64::max);
        let mut scale = Scale::nice(0.0, last.max(1.0), 4);
        scale.high = last.max(1.0); // no empty strip at the right
        scale.ticks.retain(|&tick| tick <= scale.high);
        scale
    }

    /// The axis of the values.
    pub fn values(&self) -> Scale {
        let values = || self.points().map(|(_, value)| value).chain(self.reference.map(|(_, level)| level));
        let low = if self.from_zero { 0.0 } else { values().fold(f64::INFINITY, f64::min) };
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        Scale::nice(low, high, 4)
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.points().next().is_none()
    }

    /// A value as an axis or a label says it.
    pub fn number(&self, value: f64) -> String {
        if self.share { format!("{} %", short(100.0 * value)) } else { short(value) }
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|series| series.points.iter().copied())
    }
}

impl Scale {
    /// From at most `low` to at least `high`, with about `count` ticks at 1, 2 or 5 times a power of ten.
    pub fn nice(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let span = if high > low { high - low } else { low.abs().max(1e-9) };
        let raw = span / count.max(1) as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let (first, last) = ((low / step).floor(), (high / step).ceil().max((low / step).floor() + 1.0));
        let ticks = (0..=(last - first) as usize).map(|at| (first + at as f64) * step).collect();
        Self { low: first * step, high: last * step, ticks }
    }

    /// Where `value` lies, from 0 (low) to 1 (high).
    pub fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// Three digits: "0.0832", "1.24", "950", "12k", "1.2M", "3e-5".
pub fn short(value: f64) -> String {
    let size = value.abs();
    let trimmed = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match size {
        0.0 => "0".to_owned(),
        _ if size < 1e-3 => {
            let text = format!("{value:.1e}");
            text.replace(".0e", "e")
        }
        _ if size < 1.0 => {
            let digits = (2.0 - size.log10().floor()) as usize;
            trimmed(format!("{value:.digits$}"))
        }
        _ if size < 10.0 => trimmed(format!("{value:.2}")),
        _ if size < 100.0 => trimmed(format!("{value:.1}")),
        _ if size < 1e4 => format!("{value:.0}"),
        _ if size < 1e6 => format!("{}k", trimmed(format!("{:.1}", value / 1e3))),
        _ => format!("{}M", trimmed(format!("{:.2}", value / 1e6))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let scale = Scale::nice(0.083, 0.31, 4);
        assert_eq!((scale.low, scale.ticks.len()), (0.0, 5));
        assert!((scale.high - 0.4).abs() < 1e-12, "{scale:?}");
        assert_eq!(Scale::nice(0.0, 10_000.0, 4).ticks, [0.0, 5000.0, 10_000.0]);
        let flat = Scale::nice(5.0, 5.0, 4);
        assert!(flat.low <= 5.0 && flat.high > 5.0);
    }

    #[test]
    fn numbers_have_three_digits() {
        let said = [0.0, 3e-5, 0.083_333, 1.236, 45.0, 950.0, 12_000.0, 1_234_567.0].map(short);
        assert_eq!(said, ["0", "3e-5", "0.0833", "1.24", "45", "950", "12k", "1.23M"]);
    }

    #[test]
    fn long_curves_are_thinned_to_means_and_gaps_left_out() {
        let noise = (0..10_000).map(|step| (f64::from(step), if step % 2 == 0 { 0.0 } else { 2.0 }));
        let thin = Series::new("x", Stroke::Solid, noise.chain([(10_001.0, f64::NAN)]));
        assert!(thin.points.len() <= MOST_POINTS && thin.last().is_some());
        assert!(thin.points.iter().all(|(_, value)| (value - 1.0).abs() < 0.1));
    }
}
