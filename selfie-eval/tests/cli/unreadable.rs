//! Images that cannot be read: no command fails for them, and no image gets another's label, picture or neighbor.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use candle_core::Device;
use rand::seq::index;
use selfie_eval::{Embed, EmbedFormat, EmbedSplit, Error, FeatureKind, Origin, write_report};
use selfie_train::{
    Dataset, DeviceChoice, Image8, PretrainOptions, Purpose, RunConfig, RunDir, Split, StopFlag, encode_png, pretrain,
    read_metrics, stream,
};
use serde_json::Value;

use crate::place::{Place, json};

/// A network of width 2 on images of 16 pixels.
const SMALL: &str = "--preset quick --set encoder.width=2 --set encoder.depths=[1,1,1] --set patch.image_size=16 \
                     --set patch.patch_size=4 --set run.log_every=1";

/// A picture of `side` pixels whose brightness tells its class, with a shade of its own.
fn png(side: usize, class: usize, classes: usize, number: usize) -> Vec<u8> {
    let base = 255 * class / classes;
    let pixel = |at: usize| (base + (at * (number + 3) + number * 29) % (200 / classes)) as u8;
    encode_png(&Image8::new(side, side, (0..side * side * 3).map(pixel).collect()).unwrap()).unwrap()
}

/// The settings of a run of a few milliseconds: a network of width 2, a look at held-out images at the end.
fn tiny(source: &Path) -> RunConfig {
    let mut config = RunConfig::preset("quick").unwrap();
    config.data.source = source.display().to_string();
    (config.data.holdout, config.data.workers) = (0.2, 1);
    (config.patch.image_size, config.patch.patch_size) = (16, 4);
    (config.encoder.width, config.encoder.depths, config.attnpool.depth) = (2, vec![1, 1, 1], 1);
    (config.run.steps, config.run.batch_size) = (1, 8);
    (config.run.eval_masks, config.run.knn_images, config.run.log_every) = (1, 16, 1);
    config
}

fn options(out: &Path) -> PretrainOptions {
    PretrainOptions { out: out.to_path_buf(), device: DeviceChoice::Cpu, quiet: true, ..PretrainOptions::default() }
}

/// Sixty images in a list whose labels alternate, so that a shift by one makes every label wrong.
fn alternating(place: &Place) -> Vec<(String, Vec<u8>)> {
    let name = |number: usize| format!("images/{number:03}.png");
    let images: Vec<_> = (0..60).map(|number| (name(number), png(8, number % 2, 2, number))).collect();
    images.iter().for_each(|(name, bytes)| place.write(name, bytes));
    let lines = (0..60).map(|number| format!("{}\t{}\n", name(number), ["dark", "bright"][number % 2]));
    place.write("list.txt", lines.collect::<String>().as_bytes());
    images
}

#[test]
fn a_hundred_sets_of_unreadable_images_end_no_run_and_shift_no_label() {
    each_set((0..100).map(|round| (round, round % 20 == 0)));
}

#[test]
#[ignore = "a minute: all of the reports, where the test above writes five"]
fn a_hundred_sets_of_unreadable_images_show_right_neighbors_in_each_report() {
    each_set((0..100).map(|round| (round, true)));
}

/// Pretrains with set after set of unreadable images, with a probe and a picture, and writes the report if that is asked for.
fn each_set(rounds: impl Iterator<Item = (u64, bool)>) {
    let place = Place::new();
    let images = alternating(&place);
    for (round, with_report) in rounds {
        // Up to 5 %, each broken in another way.
        let rng = &mut stream(round, Purpose::ImageOrder, 0, 0);
        let bad = index::sample(rng, images.len(), 1 + round as usize % 3).into_vec();
        for (&at, how) in bad.iter().zip([round, round + 1, round + 2]) {
            let (name, bytes) = &images[at];
            place.write(name, [b"".as_slice(), b"no image", &bytes[..bytes.len() / 2]][how as usize % 3]);
        }
        let out = place.path("run");
        pretrain(tiny(&place.path("list.txt")), &options(&out)).unwrap_or_else(|error| panic!("{bad:?}: {error}"));
        let run = RunDir::open(&out).unwrap();
        let lines = read_metrics(&run.metrics_path()).unwrap();
        let probe: Vec<_> = lines.iter().filter_map(|line| line["knn_probe_accuracy"].as_f64()).collect();
        assert_eq!(probe, [1.0], "{bad:?}");
        if with_report {
            check_report(&run);
        }
        std::fs::remove_dir_all(&out).unwrap();
        bad.iter().for_each(|&at| place.write(&images[at].0, &images[at].1));
    }
}

fn check_report(run: &RunDir) {
    let report = write_report(run, &Device::Cpu, "selfie").unwrap();
    assert_eq!(report.left_out, None);
    let page = std::fs::read_to_string(report.page).unwrap();
    let count = |mark: &str| page.matches(mark).count();
    assert_eq!(
        (count("class=\"same\""), count("class=\"other\"")),
        (25, 0),
        "neighbors of the same and of another class"
    );
}

#[test]
fn an_evaluation_that_fails_is_a_warning_and_the_run_is_saved() {
    let place = Place::new();
    let images = alternating(&place);
    let list = place.path("list.txt");
    let held_out = Dataset::open(list.to_str().unwrap(), Split::Train).unwrap().split_holdout(0.2).unwrap().1;
    for i in 0..held_out.len() {
        place.write(&held_out.name(i), b"no image");
    }
    let set = "--preset quick --set encoder.width=2 --set encoder.depths=[1,1,1] --set data.holdout=0.2";
    let call = place.call(&format!(
        "pretrain {set} --data list.txt --steps 3 --batch-size 8 --set run.eval_every=2 --set data.max_bad_images=0.5 --out run"
    ));
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    let warnings = call.stderr.matches("the evaluation of held-out images failed").count();
    assert!(warnings == 2 && call.stderr.contains(&format!("none of {} images", held_out.len())), "{}", call.stderr);
    assert!(place.path("run/checkpoints/step-00000003.safetensors").is_file());
    images.iter().for_each(|(name, bytes)| place.write(name, bytes));
    place.run("pretrain --resume run --quiet"); // has its evaluation now
    let lines = read_metrics(&place.path("run/metrics.jsonl")).unwrap();
    let evaluated = lines.iter().filter(|line| line["held_out_accuracy"].is_number());
    assert_eq!(evaluated.map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [3]);
}

/// 300 images to train on, of which a fifth is held out, and 100 to test on, in four classes; the names of 4 % of them, spread over
/// all three.
fn four_hundred(place: &Place) -> Vec<String> {
    for (split, count) in [("train", 300), ("test", 100)] {
        for number in 0..count {
            let class = number % 4;
            let name = format!("images/{split}/{}/{number:03}.png", ["a", "b", "c", "d"][class]);
            place.write(&name, &png(16, class, 4, number));
        }
    }
    let folder = place.path("images");
    let open = |split| Dataset::open(folder.to_str().unwrap(), split).unwrap();
    let (train, held_out) = open(Split::Train).split_holdout(0.2).unwrap();
    let of = |images: &Dataset, count: usize| {
        (0..count)
            .map(|i| format!("images/{}", images.name((2 * i + 1) * images.len() / (2 * count))))
            .collect::<Vec<_>>()
    };
    [of(&train, 9), of(&held_out, 3), of(&open(Split::Test), 4)].concat()
}

/// Whether two results have the same figures, floats up to the rounding of sums in another order, times aside.
fn same(at: &str, a: &Value, b: &Value) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{at}");
            let timed = ["seconds", "images_per_second", "data_wait", "peak_rss_mb", "env"];
            a.iter().filter(|(key, _)| !timed.contains(&key.as_str())).for_each(|(key, a)| same(key, a, &b[key]));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter().zip(b).for_each(|(a, b)| same(at, a, b));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{at}: {a} and {b}");
        }
        (a, b) => assert_eq!(a, b, "{at}"),
    }
}

#[test]
fn every_command_takes_unreadable_images_and_prints_the_figures_of_the_others() {
    // The same data three times: files cut short, files that are empty, and no such files.
    let [cut, empty, gone] = [(); 3].map(|()| Place::new());
    for (place, how) in [(&cut, 0), (&empty, 1), (&gone, 2)] {
        for name in four_hundred(place) {
            let whole = std::fs::read(place.path(&name)).unwrap();
            match how {
                0 => place.write(&name, &whole[..whole.len() / 2]),
                1 => place.write(&name, b""),
                _ => std::fs::remove_file(place.path(&name)).unwrap(),
            }
        }
    }
    let verified = json(&cut, "data verify --data images");
    let bad = |at: usize| verified["splits"][at]["bad"].as_array().unwrap().len();
    assert_eq!((bad(0), bad(1)), (12, 4));

    // Training draws others in their place, whatever is wrong with them: the same bytes.
    let train = "--data images --batch-size 16 --steps 3 --set data.holdout=0.2";
    let tuned = "--from run --data images --batch-size 16 --steps 2";
    for place in [&cut, &empty] {
        place.run(&format!("pretrain {SMALL} {train} --set run.eval_every=2 --out run --quiet"));
    }
    let read = |place: &Place, name: &str| std::fs::read(place.path(name)).unwrap();
    let checkpoint = "run/checkpoints/step-00000003.safetensors";
    assert!(read(&cut, checkpoint) == read(&empty, checkpoint), "the checkpoints differ");
    let finetuned = [&cut, &empty].map(|place| json(place, &format!("finetune {tuned} --out tuned")));
    assert_eq!(finetuned[0]["images"], 96);
    same("finetune", &finetuned[0], &finetuned[1]);
    let compare = format!("compare {tuned} --fractions 50% --seeds 1 --out versus");
    let compared = [&cut, &empty].map(|place| json(place, &compare));
    same("compare", &compared[0]["fractions"], &compared[1]["fractions"]);

    // An evaluation of the others is an evaluation of the data without the files.
    copy(&cut.path("run"), &gone.path("run"));
    for command in [
        "knn-eval --from run --data images",
        "linear-eval --from run --data images --features image",
        "masked-eval --from run --split test --masks 2",
        "masked-eval --from run --split heldout --masks 2",
    ] {
        let [with, without] = [&cut, &gone].map(|place| json(place, command));
        same(command, &with, &without);
    }
    for place in [&cut, &gone] {
        place.run("embed --from run --data images --features image --out f.npy --quiet");
    }
    assert_eq!(read(&cut, "f.tsv"), read(&gone, "f.tsv"));
    let rows =
        String::from_utf8(read(&cut, "f.tsv")).unwrap().lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(rows.len(), 384);
    let report = cut.run("report run --json");
    assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["left_out"], Value::Null, "{report}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn k_is_at_most_the_number_of_images_that_can_be_read() {
    let place = Place::new();
    for (split, count) in [("train", 18), ("test", 6)] {
        for number in 0..count {
            let name = format!("images/{split}/{}/{number:02}.png", ["a", "b"][number % 2]);
            place.write(&name, &png(16, number % 2, 2, number));
        }
    }
    place.write("images/train/a/04.png", b"no image");
    let knn = |k: &str| {
        let found = json(&place, &format!("knn-eval --from scratch {SMALL} --data images --features image {k}"));
        let results = found["results"].as_array().unwrap();
        (found["train_images"].clone(), results.iter().map(|result| result["k"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(knn(""), (17.into(), vec![17.into()]));
    assert_eq!(knn("--k 3,18"), (17.into(), vec![3.into(), 17.into()]));
}

#[test]
fn an_embedding_that_is_stopped_after_each_batch_ends_in_the_same_bytes() {
    let place = Place::new();
    // Unreadable at both ends of a batch of eight, and a whole batch; the last image too.
    let bad: BTreeSet<_> = [0, 7, 9, 15].into_iter().chain(24..32).chain([39, 62]).collect();
    for number in 0..63 {
        let image = if bad.contains(&number) { b"no image".to_vec() } else { png(8, number % 2, 2, number) };
        place.write(&format!("images/{number:03}.png"), &image);
    }
    let mut config = tiny(&place.path("images"));
    config.data.max_bad_images = 0.5;
    let embed = || {
        let kinds = [FeatureKind::Image];
        Embed::prepare(config.clone(), &Origin::scratch(), &kinds, EmbedSplit::All, &Device::Cpu).unwrap()
    };
    let straight = embed().run(&place.path("a.npy"), EmbedFormat::Npy, &StopFlag::default(), &mut |_| ()).unwrap();
    assert_eq!((straight.images, straight.left_out), (63 - bad.len(), bad.len()));
    let mut stops = Vec::new();
    loop {
        let stop = StopFlag::default();
        let mut asked = 0;
        let mut after_one = |_| {
            asked += 1;
            stop.store(asked > 1, Ordering::SeqCst); // the first call tells where it goes on
        };
        match embed().run(&place.path("b.npy"), EmbedFormat::Npy, &stop, &mut after_one) {
            Err(Error::Stopped { done, .. }) => stops.push(done),
            ended => break drop(ended.unwrap()),
        }
    }
    assert_eq!(stops, [8, 16, 24, 40, 48, 56, 63]);
    for (a, b) in [("a.npy", "b.npy"), ("a.tsv", "b.tsv")] {
        assert_eq!(std::fs::read(place.path(a)).unwrap(), std::fs::read(place.path(b)).unwrap());
    }
}
