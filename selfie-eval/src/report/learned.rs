//! What a pretraining run learned, shown: the masked patches that it finds, how that came over its checkpoints, and which images lie
//! near each other in its feature space.

use candle_core::{Device, Tensor};
use selfie_train::{
    Canvas, Dataset, EvalSet, Image8, ImageFeatures, MaskedPatches, MemoryEstimate, ParamStore, Riddle, RunConfig,
    RunDir, SelfieModel, Split, Task, Transform, directions, load_run, normalise_of, stream,
};

use crate::error::Result;

/// Images whose riddles are shown.
const RIDDLES: usize = 6;
/// Images and checkpoints in the history, at most.
const HISTORY_IMAGES: usize = 3;
const HISTORY_STEPS: usize = 6;
/// Images whose neighbours are shown, and how many.
const ASKED: usize = 5;
const NEIGHBOURS: usize = 5;
/// Images that neighbours are looked for among: by what an image costs, so that a report takes seconds.
const BANK: (usize, usize) = (96, 480);
const BANK_BYTES: f64 = 2.4e9;
/// Side of a neighbour's picture.
const THUMB: usize = 112;

/// Everything that is shown.
pub struct Learned {
    /// Where the images are from, in words.
    pub images: String,
    /// By the last checkpoint.
    pub riddles: Vec<Riddle>,
    /// Steps and the riddles of the first images then, oldest first; step 0 is before any training.
    pub history: Vec<(u64, Vec<Riddle>)>,
    /// Each image with those nearest to it.
    pub neighbours: Vec<(Seen, Vec<Seen>)>,
}

/// An image among neighbours.
pub struct Seen {
    pub picture: Image8,
    /// The name of its class, where there are labels; else its own.
    pub label: String,
    /// Whether the label is a class.
    pub is_class: bool,
    /// Whether it has the class of the image that it is a neighbour of; none without labels.
    pub same: Option<bool>,
    /// How near it is; 1 for the image itself.
    pub cosine: f32,
}

impl Learned {
    /// Asks the run's checkpoints about images that it did not train on. Images that cannot be read are replaced by others. If
    /// the history or the neighbors fail, they are left empty, with a warning.
    ///
    /// # Errors
    /// Returns an error if the data or the last checkpoint cannot be opened, or no image can be read.
    pub fn of(run: &RunDir, device: &Device) -> Result<Self> {
        let (config, store, task) = load_run(run, None, device)?;
        let bad = config.data.bad_images();
        let open = |split| {
            let images = config.data.open(split)?.with_bad_images(&bad);
            Ok::<_, crate::Error>(images.with_channels(config.encoder.in_channels))
        };
        let train = open(Split::Train)?;
        let (asked, images) = match train.has_test_split() {
            true => (open(Split::Test)?, "the test split"),
            false => (train.split_holdout(config.data.holdout)?.1, "the images held out from training"),
        };
        let train = train.split_holdout(config.data.holdout)?.0;
        let (asked, images) = if asked.is_empty() { (train.clone(), "the training images") } else { (asked, images) };
        let set = |images: Dataset| -> Result<EvalSet> {
            Ok(EvalSet {
                images,
                normalise: normalise_of(&config)?,
                image_size: config.patch.image_size,
                batch_size: 16,
                workers: config.data.workers,
                passes: 1,
                seed: config.run.seed,
            })
        };
        let asked = set(asked)?;
        let riddles = Riddle::of_set(&task, &asked.pictured(RIDDLES)?, device)?;
        let history = asked.pictured(HISTORY_IMAGES).map_err(crate::Error::from);
        let history = history.and_then(|set| history_of(run, &config, &set, device));
        let bank = (BANK_BYTES / MemoryEstimate::of(&config, store.num_parameters()).per_image) as usize;
        let bank = set(train)?.thinned(bank.clamp(BANK.0, BANK.1))?;
        Ok(Self {
            images: format!("{images} of {}", config.data.source),
            riddles,
            history: or_warn("the pictures of earlier steps", history),
            neighbours: or_warn("the neighbors", neighbours(&task, &asked, &bank, device)),
        })
    }
}

/// What was found, or nothing and a warning that names the part.
fn or_warn<T>(part: &str, found: Result<Vec<T>>) -> Vec<T> {
    found.unwrap_or_else(|error| {
        tracing::warn!("{part} are left out of the report: {error}");
        Vec::new()
    })
}

/// The riddles of `set` by the run's checkpoints, and before training where that is known.
fn history_of(run: &RunDir, config: &RunConfig, set: &EvalSet, device: &Device) -> Result<Vec<(u64, Vec<Riddle>)>> {
    let steps: Vec<u64> = run.checkpoints()?.into_iter().map(|(step, _)| step).collect();
    let mut history = Vec::new();
    if steps.first().is_some_and(|&first| first > 0) && !began_with_weights(run) {
        let store = ParamStore::new(config.run.seed, device);
        let task = MaskedPatches::new(SelfieModel::new(config, store.builder())?, config)?;
        history.push((0, Riddle::of_set(&task, set, device)?));
    }
    for step in spread(&steps, HISTORY_STEPS - history.len()) {
        let (_, _, task) = load_run(run, Some(step), device)?;
        history.push((step, Riddle::of_set(&task, set, device)?));
    }
    Ok(history)
}

/// Whether the run began with weights from elsewhere, as its command line in `env.json` tells.
fn began_with_weights(run: &RunDir) -> bool {
    let text = std::fs::read_to_string(run.path().join("env.json")).unwrap_or_default();
    text.contains("--init-from")
}

/// At most `count` of `all`, evenly spaced, with the first and the last.
fn spread(all: &[u64], count: usize) -> Vec<u64> {
    if all.len() <= count {
        return all.to_vec();
    }
    let last = all.len() - 1;
    (0..count).map(|at| all[at * last / (count - 1).max(1)]).collect()
}

/// The nearest images of `bank` to each of some of `asked`: by the cosine of features from which the bank's mean is taken away, since what all
/// images share says nothing of any.
fn neighbours(task: &impl Task, asked: &EvalSet, bank: &EvalSet, device: &Device) -> Result<Vec<(Seen, Vec<Seen>)>> {
    let size = asked.image_size.min(THUMB);
    let (bank, asked) = (directions(task, bank, device)?, directions(task, &asked.pictured(ASKED)?, device)?);
    let (Some(bank), Some(asked)) = (bank, asked) else {
        return Ok(Vec::new());
    };
    let mean = bank.values().mean_keepdim(0)?; // (1, D)
    let (of_bank, of_asked) = (centred(bank.values(), &mean)?, centred(asked.values(), &mean)?);
    let cosines = of_asked.matmul(&of_bank.t()?)?.to_vec2::<f32>()?; // (asked, bank)
    let mut found = Vec::with_capacity(cosines.len());
    for (row, cosines) in cosines.iter().enumerate() {
        let mut order: Vec<usize> = (0..cosines.len()).collect();
        order.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]).then(a.cmp(&b)));
        let class = asked.label(row);
        let near = order.iter().take(NEIGHBOURS).map(|&near| {
            let same = class.and_then(|class| Some(class == bank.label(near)?));
            see(&bank, near, size, same, cosines[near])
        });
        found.push((see(&asked, row, size, None, 1.0)?, near.collect::<Result<_>>()?));
    }
    Ok(found)
}

/// Unit-length rows of `features` - `mean`: (n, D).
fn centred(features: &Tensor, mean: &Tensor) -> candle_core::Result<Tensor> {
    let centred = features.broadcast_sub(mean)?;
    let length = (centred.sqr()?.sum_keepdim(1)?.sqrt()? + 1e-12)?; // (n, 1)
    centred.broadcast_div(&length)
}

/// The image of a row, `side` pixels wide and high.
fn see(rows: &ImageFeatures, row: usize, side: usize, same: Option<bool>, cosine: f32) -> Result<Seen> {
    let (images, index) = (rows.images(), rows.index(row));
    // The view of evaluation draws nothing.
    let picture =
        Transform::eval(side).apply(&images.load(index)?, &mut stream(0, selfie_train::Purpose::Augmentation, 0, 0))?;
    let class = rows.label(row).and_then(|class| images.classes().get(class as usize).cloned());
    let is_class = class.is_some();
    let label = class.unwrap_or_else(|| rows.name(row));
    let picture = Canvas::enlarged(&picture, 1).finish().map_err(selfie_train::Error::from)?;
    Ok(Seen { picture, label, is_class, same, cosine })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_history_keeps_its_first_and_last_step() {
        assert_eq!(spread(&[1, 2, 3], 5), [1, 2, 3]);
        let all: Vec<u64> = (1..=20).collect();
        let kept = spread(&all, 5);
        assert_eq!((kept.len(), kept[0], kept[4]), (5, 1, 20));
    }

    #[test]
    fn neighbours_are_compared_without_what_all_share() {
        let features = Tensor::new(&[[10f32, 1.0], [10.0, -1.0]], &Device::Cpu).unwrap();
        let mean = features.mean_keepdim(0).unwrap();
        let rows = centred(&features, &mean).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows, [[0.0, 1.0], [0.0, -1.0]]);
    }
}
