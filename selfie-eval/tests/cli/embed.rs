//! `selfie embed`: what the files hold, and that an interrupted call ends in the same bytes. What Python reads of them
//! is in `take_home.rs`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::bad_input::refuses;
use crate::place::{Place, TINY, json};

fn pretrained() -> Place {
    let place = Place::new();
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    place
}

/// The rows of an `.npy` file of f32, (n, D).
fn npy(path: &Path) -> (usize, usize, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && (10 + header) % 64 == 0);
    let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
    let shape = text.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let (n, d) = shape.split_once(", ").unwrap();
    let values = bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (n.parse().unwrap(), d.parse().unwrap(), values)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn features_names_and_labels_stand_in_the_order_of_the_files() {
    let place = pretrained();
    let found = json(&place, "embed --from run --split test --out f.safetensors");
    assert_eq!((&found["images"], &found["left_out"], &found["stages"]), (&48.into(), &0.into(), &3.into()));
    let tensors = candle_core::safetensors::load(place.path("f.safetensors"), &Device::Cpu).unwrap();
    assert_eq!((tensors["image"].dims(), tensors["patches"].dims()), ([48, 128].as_slice(), [48, 128].as_slice()));
    assert_eq!(tensors["labels"].to_vec1::<i64>().unwrap()[47], 11);
    assert_eq!(tensors["splits"].to_vec1::<u8>().unwrap(), [1; 48]);
    let names = String::from_utf8(tensors["names"].to_vec1::<u8>().unwrap()).unwrap();
    let names: Vec<_> = names.split_terminator('\0').collect();
    assert!(names.len() == 48 && names.is_sorted() && names[0].ends_with(".jpg"), "{names:?}");

    json(&place, "embed --from run --split test --features patches --out f.npy");
    let (n, d, rows) = npy(&place.path("f.npy"));
    assert_eq!((n, d, rows), (48, 128, values(&tensors["patches"])));
    let table = std::fs::read_to_string(place.path("f.tsv")).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!((lines.len(), lines[0]), (49, "name\tsplit\tlabel\tclass"));
    assert_eq!(lines[48], format!("{}\ttest\t11\tsunflower", names[47]));

    json(&place, "embed --from run --out f.parquet");
    let parquet = std::fs::read(place.path("f.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    assert!(!place.names().iter().any(|name| name.contains(".part") || name.contains(".tmp")), "{:?}", place.names());
}

#[test]
fn the_features_are_those_of_linear_evaluation_whatever_the_batch() {
    let place = pretrained();
    let embed = |rest: &str| {
        json(&place, &format!("embed --from run --split train --features image {rest}"));
    };
    embed("--out a.npy --batch-size 7");
    embed("--out b.npy --batch-size 64 --set data.workers=3");
    let ((n, d, a), (.., b)) = (npy(&place.path("a.npy")), npy(&place.path("b.npy")));
    let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(n == 192 && d == 128 && far < 1e-5, "{n} rows, {far}");
    let spread = a.iter().fold(f32::MIN, |most, v| most.max(*v)) - a.iter().fold(f32::MAX, |least, v| least.min(*v));
    assert!(spread > 0.1, "{spread}");
}

#[test]
fn an_unlabelled_folder_with_a_broken_file_leaves_it_out_and_says_so() {
    let place = pretrained();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../selfie-train/sample/val/ibis");
    let mut files: Vec<_> = std::fs::read_dir(sample).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (i, file) in files.iter().take(3).enumerate() {
        place.write(&format!("flat/{i}.jpg"), &std::fs::read(file).unwrap());
    }
    place.write("flat/1b.jpg", b"no image");
    let bad = "--set data.max_bad_images=0.5";
    let call = place.call(&format!("embed --from run --data flat {bad} --batch-size 2 --features image --out f.npy"));
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    assert!(call.stdout.contains("left out   1 image") && call.stdout.contains("1b.jpg"), "{}", call.stdout);
    assert_eq!(npy(&place.path("f.npy")).0, 3);
    let table = std::fs::read_to_string(place.path("f.tsv")).unwrap();
    assert!(table.lines().nth(3).is_some_and(|line| line == "2.jpg\ttrain\t\t"), "{table}");
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let place = pretrained();
    let embed = |rest: &str| format!("embed --from run {rest}");
    refuses(&place, &embed(""), 2, &["--out", "missing"]);
    refuses(&place, &embed("--out f.csv"), 2, &["f.csv", ".parquet"]);
    refuses(&place, &embed("--out f.npy"), 2, &["--features", "one array"]);
    refuses(&place, &embed("--out f.parquet --split val"), 2, &["`val`", "train, test or all"]);
    refuses(&place, &embed("--out f.parquet --data nowhere"), 2, &["nowhere"]);
    place.write("f.safetensors", b"mine");
    refuses(&place, &embed("--out f.safetensors"), 2, &["f.safetensors", "already"]);
}

/// Starts the embedding, sends it `signal` once rows are safe, and waits for its end.
fn stopped(place: &Place, arguments: &str, signal: &str, after: u64) -> std::process::Output {
    let child = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let rows = || {
        let text = std::fs::read_to_string(place.path("f.parquet.part/state.json")).unwrap_or_default();
        serde_json::from_str::<Value>(&text).ok().and_then(|state| state["rows"].as_u64()).unwrap_or(0)
    };
    while rows() <= after {
        assert!(begun.elapsed() < Duration::from_secs(120), "no rows");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

#[test]
fn an_interrupted_embedding_goes_on_to_the_same_bytes() {
    let place = pretrained();
    // Rows are made safe once a second; slow enough to be met twice before the end: large images, few at once, one thread.
    let settings = "--from run --features image --set patch.image_size=240 --set patch.patch_size=60 --batch-size 3 \
                    --threads 1 --quiet";
    place.run(&format!("embed {settings} --out straight.parquet"));
    let embed = format!("embed {settings} --out f.parquet");
    let output = stopped(&place, &embed, "-INT", 0);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(130) && words.contains("the same command goes on"), "{words}");
    let state = std::fs::read(place.path("f.parquet.part/state.json")).unwrap();
    let rows = serde_json::from_slice::<Value>(&state).unwrap()["rows"].as_u64().unwrap();
    let output = stopped(&place, &embed, "-KILL", rows);
    assert_eq!(output.status.code(), None);
    refuses(&place, &format!("{embed} --split test"), 2, &["f.parquet.part", "something else"]);
    let text = place.run(&format!("{embed} --json"));
    assert!(serde_json::from_str::<Value>(&text).unwrap()["resumed_at"].as_u64() > Some(rows), "{text}");
    let read = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(read("f.parquet") == read("straight.parquet"), "the files differ");
}
