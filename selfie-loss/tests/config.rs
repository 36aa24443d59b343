//! The configuration reads and writes as documented.

use selfie_loss::{Logits, LossConfig};

#[test]
fn a_configuration_survives_the_round_trip() {
    for (logits, name) in [(Logits::Plain, "plain"), (Logits::Scaled, "scaled"), (Logits::Cosine, "cosine")] {
        let config = LossConfig { logits, temperature: 0.07, num_distractors: 3 };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(text, format!("logits = \"{name}\"\ntemperature = 0.07\nnum_distractors = 3\n"));
        assert_eq!(toml::from_str::<LossConfig>(&text).unwrap(), config);
    }
}

#[test]
fn missing_keys_are_the_papers() {
    let config: LossConfig = toml::from_str("").unwrap();
    assert_eq!(config, LossConfig { logits: Logits::Plain, temperature: 0.1, num_distractors: 0 });
    config.validate().unwrap();
}

#[test]
fn unknown_keys_and_values_are_refused() {
    let error = toml::from_str::<LossConfig>("tau = 1.0").unwrap_err().to_string();
    assert!(error.contains("unknown field `tau`"), "{error}");
    let error = toml::from_str::<LossConfig>("logits = \"euclidean\"").unwrap_err().to_string();
    assert!(error.contains("expected one of `plain`, `scaled`, `cosine`"), "{error}");
}
