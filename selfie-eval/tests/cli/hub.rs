//! `export --to hf:` and `--from hf:` against a server on this machine that answers as the hub does; what it cannot show
//! stands in `selfie-train/src/data/hub/upload.rs`.

use crate::place::{Call, Place, TINY};

#[allow(dead_code, reason = "the tests of selfie-train use all of it")]
#[path = "../../../selfie-train/src/data/hub/tests/server.rs"]
mod server;

use server::Server;

fn online(place: &Place, server: &Server, token: bool, arguments: &str) -> Call {
    let mut command = place.command(arguments);
    command.env("HF_ENDPOINT", server.endpoint()).env("HF_HOME", place.path("hub"));
    for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    if token {
        command.env("HF_TOKEN", "secret");
    }
    command.output().unwrap().into()
}

#[test]
fn a_model_goes_to_the_hub_with_its_card_and_comes_back() {
    let place = Place::new();
    let server = Server::start(&[]);
    let tiny = "--preset quick --set encoder.width=8 --set encoder.depths=[1,1,1] --steps 1 --batch-size 4";
    place.run(&format!("finetune --from scratch {tiny} --out tuned --quiet"));
    let call = online(&place, &server, true, "export --from tuned --to hf:me/backbone --license cc-by-4.0");
    assert_eq!(call.status, Some(0), "{}", call.stderr);
    let page = format!("{}/me/backbone", server.endpoint());
    assert!(call.stdout.contains(&page) && call.stdout.contains("hf_hub_download(\"me/backbone\""), "{}", call.stdout);

    let file = |name: &str| String::from_utf8(server.file(name).unwrap_or_else(|| panic!("no {name}"))).unwrap();
    let card = file("README.md");
    let result: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("tuned/result.json")).unwrap()).unwrap();
    let top1 = format!("Top-1 accuracy {:.4}", result["top1"].as_f64().unwrap());
    let of_run =
        ["license: cc-by-4.0", "# backbone", "`sample`", "seed 0", &top1, "0.0833", "sunflower", "config.toml"];
    let of_network = ["from model import load", "[3,32,32]", "v1.5", "MIT or Apache-2.0"];
    for words in of_run.into_iter().chain(of_network) {
        assert!(card.contains(words), "no '{words}' in {card}");
    }
    assert!(file("config.json").contains("\"width\": 8") && file("config.toml").contains("[finetune]"));
    assert!(file("model.py").contains("width=8"));

    let from = |from: &str| {
        let call = online(
            &place,
            &server,
            true,
            &format!("linear-eval --from {from} --features image --quiet --json --data sample"),
        );
        assert_eq!(call.status, Some(0), "{}", call.stderr);
        serde_json::from_str::<serde_json::Value>(&call.stdout).unwrap()["results"].clone()
    };
    assert_eq!(from("hf:me/backbone"), from("tuned"));
    let call = online(
        &place,
        &server,
        true,
        "pretrain --init-from hf:me/backbone --preset quick --set encoder.width=8 \
        --set encoder.depths=[1,1,1] --steps 1 --batch-size 4 --out next",
    );
    assert!(call.status == Some(0) && call.stdout.contains("tensors from"), "{}", call.stderr);
}

#[test]
fn without_a_token_nothing_is_done() {
    let place = Place::new();
    let server = Server::start(&[]);
    place.run(&format!("pretrain {TINY} --steps 1 --out run --quiet"));
    for (arguments, words) in [
        ("export --from run --to hf:me/backbone", "HF_TOKEN"),
        ("export --from nowhere --to hf:me/backbone", "HF_TOKEN"), // before any work
        ("export --from run --to me/backbone", "expected hf:OWNER/NAME"),
        ("export --from run --to hf:backbone", "expected hf:OWNER/NAME"),
        ("finetune --from hf:backbone", "expected hf:OWNER/NAME"),
    ] {
        let call = online(&place, &server, false, arguments);
        assert_eq!((call.status, call.stderr.lines().count()), (Some(2), 1), "{arguments}: {}", call.stderr);
        assert!(call.stderr.contains(words), "{arguments}: {}", call.stderr);
    }
    assert!(server.log().is_empty());
}

#[test]
fn a_repository_without_weights_is_told() {
    let place = Place::new();
    let server = Server::start(&[("notes.txt", b"nothing".to_vec())]);
    let call = online(&place, &server, false, "finetune --from hf:me/empty --data sample");
    assert_eq!(call.status, Some(1), "{}", call.stderr);
    assert!(
        call.stderr.contains("hf:me/empty") && call.stderr.contains("no safetensors or .pth file"),
        "{}",
        call.stderr
    );
}

#[test]
fn no_log_shows_the_token() {
    let place = Place::new();
    let server = Server::start(&[("model.safetensors", vec![1, 2, 3])]);
    let mut command = place.command("embed --from hf:me/backbone --data sample --out features.safetensors");
    command.env("HF_ENDPOINT", server.endpoint()).env("HF_HOME", place.path("hub")).env_remove("HF_HUB_CACHE");
    command.env_remove("HF_HUB_OFFLINE").env("HF_TOKEN", "hf_0123456789").env("RUST_LOG", "trace");
    let call: Call = command.output().unwrap().into();
    assert_ne!(call.status, Some(0)); // three bytes are no weights
    assert!(server.log().iter().any(|request| request.authorization.contains("hf_0123456789")), "{}", call.stderr);
    assert!(!call.stderr.contains("hf_0123456789") && !call.stdout.contains("hf_0123456789"), "{}", call.stderr);
}
