//! Trains the pooling for some seconds on photographs, then draws which patches its pool token looks at.
//!
//! `cargo run -p selfie-attnpool --example attention_picture -- [FOLDER] [PICTURE.png]`
//!
//! No network embeds the patches here: an embedding is the patch itself, shrunk to 4x4 pixels. The pooling must tell from the visible
//! patches which of the masked ones belongs where (Selfie's task, arXiv 1906.02940). The picture shows a photograph that it was not trained on:
//! what is visible, the attention of u0 in the last block (the more orange, the more; mean over the heads), and its six heads, the surest first.

use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::{D, DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap, loss::cross_entropy};
use image::imageops::FilterType;
use image::{Rgb, RgbImage};
use rand::rngs::StdRng;
use rand::seq::{SliceRandom, index};
use rand::{Rng, SeedableRng};
use selfie_attnpool::{AttentionPool, AttnPoolConfig, Mode, Pooled};

/// Side of a photograph, of a patch, and of a patch as the pooling gets it.
const SIDE: u32 = 224;
const PATCH: u32 = 32;
const SHRUNK: u32 = 4;
const GRID: usize = (SIDE / PATCH) as usize;
const EMBED_DIM: usize = (3 * SHRUNK * SHRUNK) as usize;
const TARGETS: usize = 12;
const STEPS: usize = 300;
const BATCH: usize = 16;
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../selfie-train/sample/train");

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| SAMPLE.to_owned());
    let picture = arguments.next().unwrap_or_else(|| "attention.png".to_owned());
    let rng = &mut StdRng::seed_from_u64(0);

    let mut photos = photographs(Path::new(&folder))?;
    photos.shuffle(rng);
    photos.truncate(97);
    let (shown, trained_on) =
        photos.split_first().filter(|(_, others)| !others.is_empty()).ok_or("expected photographs")?;
    let patches = trained_on.iter().map(|photo| embed(&read(photo)?)).collect::<Outcome<Vec<_>>>()?;
    println!("{} photographs from {folder}", patches.len());

    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let pool = AttentionPool::new(&AttnPoolConfig::imagenet224(), EMBED_DIM, (GRID, GRID), vb)?;
    let mut adam = AdamW::new(variables.all_vars(), ParamsAdamW { lr: 1e-3, ..Default::default() })?;
    let mut accuracies = Vec::new();
    for step in 1..=STEPS {
        let batch: Vec<_> = (0..BATCH).map(|_| patches[rng.random_range(0..patches.len())].clone()).collect();
        let puzzle = Puzzle::draw(&Tensor::stack(&batch, 0)?, rng)?;
        let pooled = pool.forward(
            &puzzle.context,
            &puzzle.visible,
            &puzzle.masked,
            Mode::Train { seed: step as u64, first_image: 0 },
        )?;
        let (loss, accuracy) = puzzle.judge(&pooled)?;
        adam.backward_step(&loss)?;
        accuracies.push(accuracy);
        if step % 100 == 0 {
            let recent = &accuracies[step - 100..];
            let (mean, chance) = (recent.iter().sum::<f32>() / 100., 1. / TARGETS as f32);
            println!("step {step}: loss {:.3}, accuracy {mean:.3} (chance {chance:.3})", loss.to_scalar::<f32>()?);
        }
    }

    let photo = read(shown)?;
    let puzzle = Puzzle::draw(&embed(&photo)?.unsqueeze(0)?, rng)?;
    let (_, attention) = pool.forward_with_attention(&puzzle.context, &puzzle.visible, &puzzle.masked, Mode::Eval)?;
    let heads = attention.get(0)?.to_vec2::<f32>()?; // (h, 1 + K), u0 itself first
    draw(&photo, &puzzle.visible.get(0)?.to_vec1()?, heads, &picture)
}

/// Some patches are visible; each masked one is to be found among the masked ones of its photograph.
struct Puzzle {
    context: Tensor, // (B, K, D)
    targets: Tensor, // (B, M, D)
    visible: Tensor, // (B, K)
    masked: Tensor,  // (B, M)
}

impl Puzzle {
    /// Masks some cells of each photograph of `patches` (B, N, D).
    fn draw(patches: &Tensor, rng: &mut StdRng) -> Outcome<Self> {
        let (mut context, mut targets, mut visible, mut masked) = (vec![], vec![], vec![], vec![]);
        for b in 0..patches.dim(0)? {
            let order = index::sample(rng, GRID * GRID, GRID * GRID).iter().map(|cell| cell as u32).collect();
            let order = Tensor::from_vec(order, GRID * GRID, &Device::Cpu)?;
            let (chosen, others) = (order.narrow(0, 0, TARGETS)?, order.narrow(0, TARGETS, GRID * GRID - TARGETS)?);
            targets.push(patches.get(b)?.index_select(&chosen, 0)?);
            context.push(patches.get(b)?.index_select(&others, 0)?);
            masked.push(chosen);
            visible.push(others);
        }
        let stack = |parts: &[Tensor]| Tensor::stack(parts, 0);
        Ok(Self {
            context: stack(&context)?,
            targets: stack(&targets)?,
            visible: stack(&visible)?,
            masked: stack(&masked)?,
        })
    }

    /// InfoNCE with logits divided by the square root of D, and the share of queries that find their patch.
    fn judge(&self, pooled: &Pooled) -> Outcome<(Tensor, f32)> {
        let logits = (pooled.queries.matmul(&self.targets.t()?)? / (EMBED_DIM as f64).sqrt())?; // (B, M, M)
        let rows = logits.flatten_to(1)?; // (B M, M)
        let answers = Tensor::arange(0, TARGETS as u32, &Device::Cpu)?.repeat(self.masked.dim(0)?)?; // (B M)
        let right = rows.detach().argmax(D::Minus1)?.eq(&answers)?.to_dtype(DType::F32)?.mean_all()?;
        Ok((cross_entropy(&rows, &answers)?, right.to_scalar()?))
    }
}

/// Every JPEG below `folder`, in the order of their names.
fn photographs(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(photographs(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "jpg") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The middle square of a photograph.
fn read(path: &Path) -> Outcome<RgbImage> {
    let photo = image::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(photo.resize_to_fill(SIDE, SIDE, FilterType::Triangle).into_rgb8())
}

/// Each patch as its pixels, shrunk, about -2 to 2: (N, D).
fn embed(photo: &RgbImage) -> Outcome<Tensor> {
    let side = GRID * SHRUNK as usize;
    let small = image::imageops::resize(photo, side as u32, side as u32, FilterType::Triangle);
    let pixels = Tensor::from_vec(small.into_raw(), (GRID, SHRUNK as usize, GRID, ()), &Device::Cpu)?; // (rows, P, columns, P C)
    let patches = pixels.permute((0, 2, 1, 3))?.reshape((GRID * GRID, EMBED_DIM))?; // (N, D)
    Ok((patches.to_dtype(DType::F32)? / 64.)?.affine(1., -2.)?)
}

/// Two rows of panels: the visible patches, the mean of the heads, and the six surest heads.
fn draw(photo: &RgbImage, visible: &[u32], mut heads: Vec<Vec<f32>>, path: &str) -> Outcome<()> {
    let mean: Vec<f32> = (0..=visible.len())
        .map(|token| heads.iter().map(|head| head[token]).sum::<f32>() / heads.len() as f32)
        .collect();
    println!(
        "u0 keeps {:.2} of its attention for itself; an even share would be {:.3}",
        mean[0],
        1. / mean.len() as f32
    );
    let surest = |head: &Vec<f32>| head[1..].iter().copied().fold(0., f32::max);
    heads.sort_by(|a, b| surest(b).total_cmp(&surest(a)));

    let gap = 8;
    let mut canvas = RgbImage::from_pixel(4 * SIDE + 3 * gap, 2 * SIDE + gap, Rgb([255; 3]));
    for (panel, weights) in (0..8).zip([None, Some(&mean)].into_iter().chain(heads.iter().map(Some))) {
        let (left, top) = (panel % 4 * (SIDE + gap), panel / 4 * (SIDE + gap));
        let most = weights.map_or(1., surest);
        for (x, y, pixel) in photo.enumerate_pixels() {
            let cell = y / PATCH * GRID as u32 + x / PATCH;
            let share =
                visible.iter().position(|&seen| seen == cell).map(|k| weights.map(|weights| weights[1 + k] / most));
            let shown = match share {
                None => Rgb([128; 3]),
                Some(None) => *pixel,
                Some(Some(share)) => tinted(pixel, share),
            };
            canvas.put_pixel(left + x, top + y, shown);
        }
    }
    canvas.save(path).map_err(|error| format!("{path}: {error}"))?;
    println!("wrote {path}");
    Ok(())
}

/// The pixel in grey, and orange by `share`.
fn tinted(pixel: &Rgb<u8>, share: f32) -> Rgb<u8> {
    let grey = pixel.0.iter().map(|&value| f32::from(value)).sum::<f32>() / 3.;
    Rgb([255., 140., 0.].map(|orange| (grey + 0.75 * share * (orange - grey)) as u8))
}
