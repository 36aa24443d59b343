//! The paper's own results, to print beside ours: Table 1 of arXiv 1906.02940, test accuracy in per cent, mean and
//! deviation of five runs of the full-size network, supervised against pretrained by Selfie.

use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};

/// Labels, supervised mean and deviation, Selfie's mean and deviation.
type Row = (&'static str, f64, f64, f64, f64);

#[rustfmt::skip] // a row a line, as in the paper
const TABLES: [(&str, [Row; 4]); 3] = [
    ("cifar10", [
        ("5%", 75.9, 0.7, 75.9, 0.4), ("8%", 79.3, 1.0, 80.3, 0.3),
        ("20%", 88.3, 0.3, 89.1, 0.5), ("100%", 95.5, 0.2, 95.7, 0.1),
    ]),
    ("imagenet32", [
        ("5%", 13.1, 0.8, 18.3, 0.1), ("10%", 25.9, 0.5, 30.2, 0.5),
        ("20%", 32.7, 0.4, 33.5, 0.2), ("100%", 55.7, 0.6, 56.4, 0.6),
    ]),
    ("imagenet224", [
        ("5%", 35.6, 0.7, 46.7, 0.4), ("10%", 59.6, 0.2, 61.9, 0.2),
        ("20%", 65.7, 0.2, 67.1, 0.2), ("100%", 76.9, 0.2, 77.0, 0.1),
    ]),
];

/// The paper's rows of one data set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// `cifar10`, `imagenet32` or `imagenet224`.
    pub data: &'static str,
    /// Labels, supervised mean ± deviation, Selfie mean ± deviation, in per cent.
    pub rows: [Row; 4],
}

impl FromStr for Published {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = TABLES.into_iter().find(|(data, _)| *data == name);
        found.map(|(data, rows)| Self { data, rows }).ok_or_else(|| {
            Error::config("--paper", format!("met `{name}`, expected cifar10, imagenet32 or imagenet224"))
        })
    }
}

impl Published {
    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "Published, not ours: {} in arXiv 1906.02940, full-size network, 5 runs\n\n\
             | labels | supervised | Selfie |\n|---|---|---|\n",
            self.data
        );
        for (labels, scratch, scratch_sd, selfie, selfie_sd) in self.rows {
            out += &format!("| {labels} | {scratch:.1} ± {scratch_sd:.1} | {selfie:.1} ± {selfie_sd:.1} |\n");
        }
        out
    }
}
