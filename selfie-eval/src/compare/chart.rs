//! Accuracy over the shares of labels, a point with an error bar for each arm: as SVG and as pixels.

use std::fmt::Write;

use selfie_train::{Canvas, Image8};

use super::CompareReport;
use crate::error::Result;
use crate::report::chart::{Scale, short};
use crate::report::raster::{self, Align};
use crate::report::svg::escape;

/// Size and margins of a drawing: room for the labels at the left, right, top and bottom.
#[derive(Clone, Copy)]
struct Size {
    width: f64,
    height: f64,
    margin: [f64; 4],
}

/// A picture of its own, with heading and legend.
const WHOLE: Size = Size { width: 960.0, height: 540.0, margin: [96.0, 36.0, 64.0, 64.0] };
/// On the page, which has heading and legend as text.
const BROAD: Size = Size { width: 960.0, height: 460.0, margin: [96.0, 36.0, 24.0, 64.0] };
/// The same on a narrow screen, where letters must not shrink with the width.
const NARROW: Size = Size { width: 520.0, height: 460.0, margin: [84.0, 12.0, 24.0, 64.0] };
/// Distance between the points of two arms at one share, at most.
const APART: f64 = 34.0;
const STYLE: &str = "text{font:20px system-ui,sans-serif;fill:#22262e}.soft{fill:#606670}.grid{stroke:#e0e2e6}\
                     @media(prefers-color-scheme:dark){text{fill:#e8e6e1}.soft{fill:#a2a8b3}.grid{stroke:#31353d}}";

/// A point, its error bar, and which arm it is of.
struct Mark {
    x: f64,
    y: f64,
    bar: Option<(f64, f64)>,
    arm: usize,
}

/// What is drawn, in pixels.
struct Layout {
    marks: Vec<Mark>,
    ticks: Vec<(f64, String)>,
    labels: Vec<(f64, String)>,
    arms: Vec<String>,
}

impl Layout {
    fn of(report: &CompareReport, size: Size) -> Self {
        let Size { width, height, margin: [left, right, top, bottom] } = size;
        let spreads = || report.fractions.iter().flat_map(|f| &f.arms).map(|arm| arm.spread);
        let low = spreads().map(|s| s.mean - s.sd.unwrap_or(0.0)).fold(f64::INFINITY, f64::min);
        let high = spreads().map(|s| s.mean + s.sd.unwrap_or(0.0)).fold(f64::NEG_INFINITY, f64::max);
        let scale = Scale::nice(100.0 * low, 100.0 * high, 5);
        let y = |share: f64| height - bottom - scale.place(100.0 * share) * (height - top - bottom);
        let step = (width - left - right) / report.fractions.len().max(1) as f64;
        let arms: Vec<_> = report.arms.iter().map(|arm| arm.arm.clone()).collect();
        let apart = APART.min(0.8 * step / arms.len().max(1) as f64);
        let (mut marks, mut labels) = (Vec::new(), Vec::new());
        for (at, fraction) in report.fractions.iter().enumerate() {
            let middle = left + (at as f64 + 0.5) * step;
            labels.push((middle, fraction.labels.clone()));
            for (number, arm) in arms.iter().enumerate() {
                let Some(found) = fraction.arm(arm) else { continue };
                let x = middle + (number as f64 - (arms.len() as f64 - 1.0) / 2.0) * apart;
                let mean = found.spread.mean;
                let bar = found.spread.sd.map(|sd| (y(mean - sd), y(mean + sd)));
                marks.push(Mark { x, y: y(mean), bar, arm: number });
            }
        }
        let tick = |&tick: &f64| (y(tick / 100.0), format!("{} %", short(tick)));
        Self { marks, ticks: scale.ticks.iter().map(tick).collect(), labels, arms }
    }
}

const TITLE: &str = "Top-1 by labels: mean and deviation over the seeds";

/// Returns a picture of its own, in light or dark.
pub(super) fn svg(report: &CompareReport) -> String {
    let layout = Layout::of(report, WHOLE);
    let Size { width, margin: [left, right, ..], .. } = WHOLE;
    let mut heading = format!("<text x=\"{left}\" y=\"34\">{TITLE}</text>");
    for (at, name) in layout.arms.iter().enumerate() {
        let (x, y, name, colour) = (width - right, 28 + 26 * at, escape(name), css(at));
        // Writing to a string does not fail.
        let _ = write!(
            heading,
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"end\">{name} <tspan fill=\"{colour}\">●</tspan></text>"
        );
    }
    drawing(&layout, WHOLE, "", &heading)
}

/// Returns the figure of the page: the drawing for broad and for narrow screens, heading and legend as text.
pub(super) fn figure(report: &CompareReport) -> String {
    let drawings =
        [("broad", BROAD), ("narrow", NARROW)].map(|(class, size)| drawing(&Layout::of(report, size), size, class, ""));
    let legend = report.arms.iter().enumerate().map(|(at, arm)| {
        format!("<span><b style=\"color:{}\" aria-hidden=\"true\">●</b> {}</span>", css(at), escape(&arm.arm))
    });
    format!(
        "<figure class=\"chart\"><figcaption>{TITLE}</figcaption>\n{}<p class=\"legend\">{}</p></figure>\n",
        drawings.concat(),
        legend.collect::<String>()
    )
}

fn drawing(layout: &Layout, size: Size, class: &str, heading: &str) -> String {
    let Size { width, height, margin: [left, right, _, bottom] } = size;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{TITLE}; the table has the numbers\"><style>{STYLE}</style>{heading}"
    );
    // Writing to a string does not fail.
    for (y, text) in &layout.ticks {
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{left} {y:.1}H{:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            width - right,
            left - 12.0,
            y + 7.0
        );
    }
    for (x, text) in &layout.labels {
        let y = height - bottom + 30.0;
        let _ = write!(
            out,
            "<text class=\"soft\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
            escape(text)
        );
    }
    for Mark { x, y, bar, arm } in &layout.marks {
        let colour = css(*arm);
        if let Some((from, to)) = bar {
            let _ = write!(
                out,
                "<path stroke=\"{colour}\" stroke-width=\"3\" d=\"M{x:.1} {from:.1}V{to:.1}M{:.1} {from:.1}h16M{:.1} {to:.1}h16\"/>",
                x - 8.0,
                x - 8.0
            );
        }
        let _ = write!(out, "<circle fill=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"/>");
    }
    out + "</svg>\n"
}

/// The colour of an arm.
fn colour(arm: usize) -> [u8; 3] {
    raster::LINES[arm % raster::LINES.len()]
}

fn css(arm: usize) -> String {
    let [red, green, blue] = colour(arm);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The same in pixels, on white.
pub(super) fn pixels(report: &CompareReport) -> Result<Image8> {
    let layout = Layout::of(report, WHOLE);
    let Size { width, height, margin: [left, right, _, bottom] } = WHOLE;
    let mut canvas = Canvas::blank(width as usize, height as usize);
    raster::text(&mut canvas, TITLE, left as usize, 18, raster::INK, Align::Left);
    let at = |x: f64, y: f64| (x as f32, y as f32);
    for (y, text) in &layout.ticks {
        canvas.stroke(at(left, *y), at(width - right, *y), 0.6, raster::GRID);
        raster::text(
            &mut canvas,
            text,
            left as usize - 12,
            (*y as usize).saturating_sub(10),
            raster::SOFT,
            Align::Right,
        );
    }
    for (x, text) in &layout.labels {
        raster::text(&mut canvas, text, *x as usize, (height - bottom) as usize + 14, raster::SOFT, Align::Centre);
    }
    for Mark { x, y, bar, arm } in &layout.marks {
        let colour = colour(*arm);
        if let Some((from, to)) = bar {
            canvas.stroke(at(*x, *from), at(*x, *to), 1.5, colour);
            canvas.stroke(at(x - 8.0, *from), at(x + 8.0, *from), 1.5, colour);
            canvas.stroke(at(x - 8.0, *to), at(x + 8.0, *to), 1.5, colour);
        }
        canvas.stroke(at(*x, *y), at(*x, *y), 7.0, colour);
    }
    for (number, name) in layout.arms.iter().enumerate() {
        let colour = colour(number);
        raster::text(&mut canvas, name, (width - right) as usize, 12 + 26 * number, colour, Align::Right);
    }
    Ok(canvas.finish().map_err(selfie_train::Error::from)?)
}
