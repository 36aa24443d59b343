//! Features of photographs' halves, and a table that says which of them are alike: does a left half find its right half?
//!
//! `cargo run -p selfie-encoder --example similar_photographs -- [WEIGHTS.safetensors] [PHOTO...]`
//!
//! WEIGHTS is any file with torchvision's names: `encoder.safetensors` of a pretraining run, or a ResNet-50. Without it the
//! weights are random: even such a network tells colours and textures apart; the numbers then differ from run to run.

use std::collections::HashMap;
use std::error::Error;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use image::imageops::FilterType;
use selfie_encoder::{EncoderConfig, Mode, Stem, Trunk};

const SIDE: usize = 224;
/// ImageNet's mean and deviation, of red, green and blue.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Where no photograph is named: two of each of three things, from the folder of the sources.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../selfie-train/sample/val/");
const PHOTOS: [&str; 6] = [
    "chandelier/image_0005.jpg",
    "chandelier/image_0061.jpg",
    "grand_piano/image_0001.jpg",
    "grand_piano/image_0010.jpg",
    "sunflower/image_0013.jpg",
    "sunflower/image_0023.jpg",
];

fn main() -> Result<(), Box<dyn Error>> {
    let (weights, mut photos): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.ends_with(".safetensors"));
    if photos.is_empty() {
        photos = PHOTOS.map(|photo| format!("{SAMPLE}{photo}")).to_vec();
    }
    let (trunk, mode) = match weights.first() {
        Some(file) => (trunk_of(file)?, Mode::Eval),
        None => {
            let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
            // Nothing has measured running statistics yet, so the photographs are normalised by their own.
            (Trunk::new(&EncoderConfig::imagenet224(), vb)?, Mode::Train)
        }
    };
    let (config, weights) = (trunk.config(), weights.first().map_or("random", String::as_str));
    println!("{weights} weights, width {}, blocks {:?}, D = {}", config.width, config.depths, trunk.embed_dim());

    let images = photos.iter().map(|photo| read(photo)).collect::<Result<Vec<_>, _>>()?;
    let images = Tensor::stack(&images, 0)?; // (B, C, H, W)
    let halves = Tensor::cat(&[images.narrow(3, 0, SIDE / 2)?, images.narrow(3, SIDE / 2, SIDE / 2)?], 0)?; // (2B, C, H, W/2)
    let features = trunk.forward(&halves, mode)?.detach(); // (2B, D)

    // The cosine of what sets each half apart from the mean of all: with the mean left in, all are alike.
    let apart = features.broadcast_sub(&features.mean_keepdim(0)?)?; // (2B, D)
    let unit = apart.broadcast_div(&apart.sqr()?.sum_keepdim(1)?.sqrt()?)?; // (2B, D)
    let (left, right) = (unit.narrow(0, 0, photos.len())?, unit.narrow(0, photos.len(), photos.len())?); // (B, D)
    let cosines = left.matmul(&right.t()?)?.to_vec2::<f32>()?; // (B, B)

    let mut found = 0;
    for (i, (photo, row)) in photos.iter().zip(&cosines).enumerate() {
        let cells: String = row.iter().map(|cosine| format!("{cosine:7.2}")).collect();
        println!("{:2} {:28}{cells}", i + 1, photo.strip_prefix(SAMPLE).unwrap_or(photo));
        found += usize::from(row.iter().all(|&cosine| cosine <= row[i]));
    }
    println!("{found} of {} left halves (rows) are most like their own right half (columns)", photos.len());
    Ok(())
}

/// The first three stages of the network in `file`, whose shape is read off its tensors.
fn trunk_of(file: &str) -> Result<Trunk, Box<dyn Error>> {
    let tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(file, &Device::Cpu).map_err(|error| format!("{file}: {error}"))?;
    let stem = tensors.get("conv1.weight");
    let stem = stem.ok_or_else(|| format!("{file}: no conv1.weight, expected torchvision's names"))?;
    let (width, in_channels, kernel, _) = stem.dims4()?;
    let has = |stage: usize, block: usize| tensors.contains_key(&format!("layer{stage}.{block}.conv1.weight"));
    let blocks = |stage: usize| (0..).take_while(|&block| has(stage, block)).count();
    let config = EncoderConfig {
        width,
        in_channels,
        depths: vec![blocks(1), blocks(2), blocks(3)],
        stem: if kernel == 7 { Stem::ImageNet } else { Stem::Small },
        ..EncoderConfig::imagenet224()
    };
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    Ok(Trunk::new(&config, vb).map_err(|error| format!("{file}: {error}"))?)
}

/// The photograph's middle square as (3, SIDE, SIDE), with mean 0 and deviation 1.
fn read(path: &str) -> Result<Tensor, Box<dyn Error>> {
    let photo = image::open(path).map_err(|error| format!("{path}: {error}"))?;
    let photo = photo.resize_to_fill(SIDE as u32, SIDE as u32, FilterType::Triangle).into_rgb8();
    let pixels = Tensor::from_vec(photo.into_raw(), (SIDE, SIDE, 3), &Device::Cpu)?; // (H, W, C)
    let pixels = (pixels.to_dtype(DType::F32)? / 255.0)?;
    let pixels = pixels.broadcast_sub(&Tensor::new(&MEAN, &Device::Cpu)?)?;
    let pixels = pixels.broadcast_div(&Tensor::new(&STD, &Device::Cpu)?)?;
    Ok(pixels.permute((2, 0, 1))?.contiguous()?) // (C, H, W)
}
