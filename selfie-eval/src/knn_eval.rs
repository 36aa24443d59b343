//! kNN evaluation: the class that the nearest training images vote for, on frozen features; nothing is trained or chosen.
//!
//! Cosine, votes weighted by exp(cosine / 0.07), as in Wu et al. (arXiv 1805.01978); see [`Neighbours`].

use selfie_train::Neighbours;
use serde::Serialize;

use crate::accuracy::{Accuracy, Answer};
use crate::error::{Error, Result};
use crate::features::FeatureKind;
use crate::frozen::{BothSplits, Frozen, FrozenContext};

/// What was done, in the words that stand beside every figure of it.
const PROTOCOL: &str =
    "kNN evaluation: k nearest training images by cosine, votes weighted by exp(cosine / 0.07), on frozen features";

/// The result of a kNN evaluation, one entry a kind of features and a k.
#[derive(Debug, Clone, Serialize)]
pub struct KnnReport {
    /// What was done.
    pub protocol: &'static str,
    /// What the figures depend on.
    #[serde(flatten)]
    pub context: FrozenContext,
    /// The figures.
    pub results: Vec<KnnResult>,
}

/// What one kind of features and one k came to.
#[derive(Debug, Clone, Serialize)]
pub struct KnnResult {
    /// Which features.
    pub features: FeatureKind,
    /// How many, D.
    pub dim: usize,
    /// Neighbours that voted.
    pub k: usize,
    /// Accuracy on the test split.
    #[serde(flatten)]
    pub accuracy: Accuracy,
}

impl KnnReport {
    /// Extracts the features of both splits of `frozen` and asks for the `ks` nearest (none: 20 and 200, or all that can be
    /// read if there are fewer), each kind of features and each k; `progress` is told the number of images extracted.
    ///
    /// # Errors
    /// Returns [`Error::Config`] if a k is 0 or larger than the number of training images, or an error if no image can be read.
    pub fn of(
        frozen: &Frozen,
        kinds: &[FeatureKind],
        ks: Option<&[usize]>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let images = frozen.data().train.len();
        if let Some(k) = ks.into_iter().flatten().find(|&&k| k == 0 || k > images) {
            let reason = format!("met {k}, expected 1 to {images}, the labelled training images");
            return Err(Error::config("--k", reason));
        }
        let features = frozen.features(kinds, progress)?;
        let mut results = Vec::new();
        for both in &features {
            results.extend(ask(both, frozen.data().classes(), ks)?);
        }
        Ok(Self { protocol: PROTOCOL, context: frozen.context(&features), results })
    }
}

fn ask(both: &BothSplits, classes: &[String], ks: Option<&[usize]>) -> Result<Vec<KnnResult>> {
    let BothSplits { train, test } = both;
    // Images that cannot be read leave fewer neighbors.
    let mut ks: Vec<_> = ks.unwrap_or(&[20, 200]).iter().map(|&k| k.min(train.rows.len())).collect();
    ks.dedup();
    let bank = Neighbours::of(&train.rows)?;
    let nearest = bank.nearest(test.rows.values(), ks.iter().copied().max().unwrap_or(0))?;
    let most = ks.iter().copied().max().unwrap_or(0);
    if let Some(at) = nearest.iter().position(|near| near.len() < most) {
        let (expected, got) = (
            format!("{most} neighbours of finite features"),
            format!("{} of {}", nearest[at].len(), test.rows.name(at)),
        );
        return Err(Error::Shape { what: "nearest training images", expected, got });
    }
    let result = |&k: &usize| {
        let predicted: Vec<_> = nearest.iter().map(|near| bank.vote(&near[..k])).collect();
        let accuracy = Accuracy::new(&Answer::of(&test.rows, &predicted)?, classes)?;
        Ok(KnnResult { features: train.kind, dim: train.rows.values().dims2()?.1, k, accuracy })
    };
    ks.iter().map(result).collect()
}
