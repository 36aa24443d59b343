//! Presets, the order of overrides, and what wrong settings are told.
#![allow(clippy::unwrap_used)]

use selfie_train::{Error, OptimName, Override, RunConfig};

fn resolve(assignments: &[&str]) -> Result<RunConfig, Error> {
    let overrides: Vec<_> = assignments.iter().map(|text| Override::set(text)).collect::<Result<_, _>>()?;
    RunConfig::resolve("cifar10", None, &overrides)
}

fn refused(assignment: &str) -> String {
    let error = resolve(&[assignment]).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn every_preset_is_valid_complete_and_round_trips() {
    for name in RunConfig::preset_names() {
        let config = RunConfig::preset(name).unwrap();
        config.validate().unwrap();
        let text = config.to_toml().unwrap();
        assert_eq!(RunConfig::from_toml(&text, name).unwrap(), config, "{name}");
        // Complete: the preset itself says as many keys as the resolved configuration has.
        let keys = |text: &str| {
            text.parse::<toml::Table>()
                .unwrap()
                .values()
                .map(|section| section.as_table().unwrap().len())
                .sum::<usize>()
        };
        assert_eq!(keys(RunConfig::preset_text(name).unwrap()), keys(&text), "{name}");
    }
}

#[test]
fn presets_open_with_paper_hours_figures_and_command() {
    for name in RunConfig::preset_names() {
        let text = RunConfig::preset_text(name).unwrap();
        let opening: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        for word in ["1906.02940", "Hours", "Figures", "cargo xtask"] {
            assert!(opening.contains(word), "{name} does not say {word}");
        }
    }
}

#[test]
fn presets_have_the_paper_s_geometry() {
    let [cifar, faster, imagenet] =
        ["cifar10-paper", "cifar10", "imagenet224"].map(|name| RunConfig::preset(name).unwrap());
    assert_eq!(
        (&cifar.patch, &cifar.encoder, &cifar.attnpool),
        (&Default::default(), &Default::default(), &Default::default())
    );
    // The preset that learns faster has the same network; only its first values differ.
    assert_eq!(faster.patch, cifar.patch);
    assert_eq!(faster.encoder, selfie_encoder::EncoderConfig { zero_init_last: true, ..cifar.encoder });
    assert_eq!(faster.attnpool, selfie_attnpool::AttnPoolConfig { init_deviation: 0.5, ..cifar.attnpool });
    assert_eq!(imagenet.patch, selfie_patch::PatchConfig::imagenet224());
    assert_eq!(imagenet.encoder, selfie_encoder::EncoderConfig::imagenet224());
    assert_eq!(imagenet.attnpool, selfie_attnpool::AttnPoolConfig::imagenet224());
    assert_eq!((cifar.run.steps, cifar.run.batch_size, imagenet.run.batch_size), (120_000, 512, 1024));
}

#[test]
fn a_file_lies_over_the_preset_and_options_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, "[run]\nsteps = 7\nseed = 5\n[optim]\nlr = 1\n").unwrap();
    let overrides = [Override::set("run.seed = 6").unwrap(), Override::flag("--batch-size", "run.batch_size", 64)];
    let config = RunConfig::resolve("cifar10", Some(&file), &overrides).unwrap();
    assert_eq!((config.run.steps, config.run.seed, config.run.batch_size, config.optim.lr), (7, 6, 64, 1.0));
}

#[test]
fn set_takes_each_type_without_quotes() {
    let given = [
        "optim.name=adamw",
        "optim.lr=1e-3",
        "encoder.depths=[1, 1]",
        "optim.nesterov=false",
        "finetune.labels=5",
        "data.source=cifar10:/x",
    ];
    let config = resolve(&given).unwrap();
    assert_eq!((config.optim.name, config.optim.lr, config.optim.nesterov), (OptimName::AdamW, 1e-3, false));
    assert_eq!(
        (config.encoder.depths, config.finetune.labels, config.data.source),
        (vec![1, 1], "5".into(), "cifar10:/x".into())
    );
}

#[test]
fn another_optimizer_needs_its_own_learning_rate() {
    // The preset is made for SGD.
    assert_eq!(
        refused("optim.name=adamw"),
        "optim.lr: not given, expected a learning rate for adamw: 0.6 was chosen for sgd"
    );
    assert!(refused("optim.name=adam").contains("learning rate for adam:"));
    assert!(resolve(&["optim.name=sgd"]).is_ok());
    let quick = |set: &[&str]| {
        let set: Vec<_> = set.iter().map(|set| Override::set(set).unwrap()).collect();
        RunConfig::resolve("quick", None, &set).map(|config| config.optim.name)
    };
    assert!(quick(&["optim.name=sgd"]).is_err());
    assert_eq!(quick(&["optim.name=sgd", "optim.lr=0.1"]).unwrap(), OptimName::Sgd);
    assert_eq!(quick(&["optim.name=adam"]).unwrap(), OptimName::Adam); // the scale of AdamW
}

#[test]
fn an_unknown_key_names_the_nearest() {
    for (typed, meant) in [
        ("run.step=3", "run.steps"),
        ("steps=3", "run.steps"),
        ("optim.weight_decy=1", "optim.weight_decay"),
        ("optimizer.lr=1", "optim.lr"),
        ("encoder.witdh=3", "encoder.width"),
        ("attnpool.heads=3", "attnpool.num_heads"),
        ("data.holdot=3", "data.holdout"),
    ] {
        let message = refused(typed);
        assert!(
            message.contains("(--set): unknown key") && message.ends_with(&format!("nearest is {meant}")),
            "{message}"
        );
    }
}

#[test]
fn a_wrong_type_says_what_was_met_and_expected() {
    assert_eq!(refused("run.steps=many"), "run.steps (--set): met `many`, expected a whole number");
    assert_eq!(refused("run.steps=1.5"), "run.steps (--set): met `1.5`, expected a whole number");
    assert_eq!(refused("run.steps=-3"), "run.steps (--set): met -3, expected a whole number, 0 or more");
    assert_eq!(refused("optim.lr=fast"), "optim.lr (--set): met `fast`, expected a number");
    assert_eq!(refused("optim.nesterov=1"), "optim.nesterov (--set): met `1`, expected true or false");
    assert_eq!(refused("encoder.depths=3"), "encoder.depths (--set): met `3`, expected a list such as [3, 4, 6]");
    let message = refused("optim.name=lamb");
    assert!(
        message.starts_with("optim.name (--set): met `lamb`, unknown variant") && message.contains("adamw"),
        "{message}"
    );
    assert_eq!(refused("lr"), "--set: met `lr`, expected section.key=value");
}

#[test]
fn impossible_values_are_refused_with_their_field() {
    for (assignment, field) in [
        ("run.steps=0", "run.steps"),
        ("patch.patch_size=7", "patch."),
        ("patch.num_targets=16", "patch.num_targets"),
        ("encoder.width=0", "encoder.width"),
        ("encoder.in_channels=0", "encoder.in_channels"),
        ("attnpool.num_heads=7", "attnpool.num_heads"),
        ("attnpool.dropout=1.0", "attnpool.dropout"),
        ("loss.num_distractors=4", "loss.num_distractors"),
        ("optim.lr=0", "optim.lr"),
        ("schedule.warmup_steps=1000000", "schedule.warmup_steps"),
        ("data.workers=0", "data.workers"),
        ("finetune.batch_size=0", "finetune.batch_size"),
    ] {
        let message = refused(assignment);
        assert!(message.starts_with(field), "{assignment}: {message}");
    }
}

#[test]
fn a_file_is_named_with_the_key_or_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        RunConfig::resolve("cifar10", Some(&file), &[]).unwrap_err().to_string()
    };
    let key = refused("[run]\nstep = 7\n");
    assert!(key.starts_with("run.step (") && key.contains("my.toml") && key.contains("run.steps"), "{key}");
    let line = refused("[run]\nsteps = \n");
    assert!(line.contains("my.toml, line 2") && !line.contains('\n'), "{line}");
    let missing = RunConfig::resolve("cifar10", Some(&folder.path().join("no.toml")), &[]).unwrap_err();
    assert!(missing.is_config() && missing.to_string().contains("no.toml"), "{missing}");
}

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    let message = RunConfig::preset("cifar100").unwrap_err().to_string();
    assert_eq!(
        message,
        "--preset: met `cifar100`, expected one of sample, quick, cifar10, cifar10-paper, imagenet32, imagenet224"
    );
}

#[test]
fn a_file_from_when_augmentation_of_finetuning_was_a_switch_means_the_same() {
    let read = |text: &str| RunConfig::from_toml(text, "old").unwrap().finetune.augment.name();
    assert_eq!(read("[data]\naugment = \"flip\"\n[finetune]\naugment = true\n"), "flip");
    assert_eq!(read("[data]\naugment = \"flip\"\n[finetune]\naugment = false\n"), "none");

    // Laid over a preset as --config lays it, a file that is silent about pretraining's view means the preset's.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.toml");
    std::fs::write(&file, "[finetune]\naugment = true\n").unwrap();
    let over = |preset| RunConfig::resolve(preset, Some(&file), &[]).unwrap().finetune.augment.name();
    assert_eq!((over("cifar10"), over("cifar10-paper")), ("flip", "padded-crop"));
    let typed = RunConfig::resolve("cifar10", None, &[Override::set("finetune.augment=true").unwrap()]);
    assert!(typed.unwrap_err().to_string().contains("finetune.augment"));
}
