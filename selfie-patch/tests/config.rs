//! The configuration reads and writes as documented.

use selfie_patch::{MaskScope, PatchConfig};

#[test]
fn a_configuration_survives_the_round_trip() {
    let config = PatchConfig { mask: MaskScope::PerBatch, ..PatchConfig::imagenet224() };
    let text = toml::to_string(&config).unwrap();
    assert_eq!(text, "image_size = 224\npatch_size = 32\nnum_targets = 12\nmask = \"per-batch\"\n");
    assert_eq!(toml::from_str::<PatchConfig>(&text).unwrap(), config);
}

#[test]
fn missing_keys_are_those_of_cifar10() {
    let config: PatchConfig = toml::from_str("num_targets = 3").unwrap();
    assert_eq!(config, PatchConfig { num_targets: 3, ..PatchConfig::cifar10() });
}

#[test]
fn unknown_keys_and_values_are_refused() {
    let error = toml::from_str::<PatchConfig>("patchsize = 8").unwrap_err().to_string();
    assert!(error.contains("unknown field `patchsize`"), "{error}");
    let error = toml::from_str::<PatchConfig>("mask = \"per-epoch\"").unwrap_err().to_string();
    assert!(error.contains("expected `per-image` or `per-batch`"), "{error}");
}
