//! Candle's traps: parts that compile, run, and train wrongly or differently each time; and its device features.

use super::Finding;
use super::source::{Source, has_word, item_length};

/// Names of `candle_nn` that are not used here, and what is.
const CANDLE_NN: &[(&str, &str)] = &[
    ("LayerNorm", "it stops gradients without a word, use the layer norm with a backward of our own"),
    ("layer_norm", "it stops gradients without a word, use the layer norm with a backward of our own"),
    ("layer_norm_no_bias", "it stops gradients without a word, use the layer norm with a backward of our own"),
    ("VarMap", "its order changes per run and it mixes statistics with weights, use the ParamStore"),
    ("Dropout", "it draws from a global generator, use the seeded dropout"),
    ("SGD", "it has no momentum and cannot be saved, use the optimisers of selfie-train"),
    ("AdamW", "its state cannot be saved, use the optimisers of selfie-train"),
];

/// Words that are a trap wherever they come from.
const WORDS: &[(&str, &str)] = &[
    ("softmax_last_dim", "it stops gradients without a word, use candle_nn::ops::softmax"),
    ("ops::layer_norm", "it stops gradients without a word, use the layer norm with a backward of our own"),
    ("Tensor::rand", "it draws from a global generator, draw from a seeded ChaCha8Rng"),
    ("Tensor::randn", "it draws from a global generator, draw from a seeded ChaCha8Rng"),
    (".rand_like(", "it draws from a global generator, draw from a seeded ChaCha8Rng"),
    (".randn_like(", "it draws from a global generator, draw from a seeded ChaCha8Rng"),
    (".gelu()", "it is the tanh form, use gelu_erf"),
    (".unfold(", "its gradient is wrong without a word, reshape and permute"),
    ("cuda_is_available", "it answers for the build and not for the machine, try to open the device"),
];

/// No trap in the sources; tests may use candle's own as a reference.
pub fn no_traps(source: &Source) -> Vec<Finding> {
    if !source.is_in_src() {
        return Vec::new();
    }
    let is_test: Vec<bool> = source.lines().map(|line| line.test).collect();
    let mut hits = Vec::new();
    for line in source.lines() {
        let words = WORDS.iter().filter(|(word, _)| has_word(line.code, word));
        hits.extend(words.map(|(word, advice)| (line.number, *word, *advice)));
    }
    for (number, code) in candle_nn_paths(source.code()) {
        let names = CANDLE_NN.iter().filter(|(name, _)| has_word(code, name));
        hits.extend(names.map(|(name, advice)| (number, *name, *advice)));
    }
    let hits = hits.into_iter().filter(|(number, ..)| !is_test[number - 1]);
    hits.filter_map(|(number, word, advice)| source.finding(number, format!("{word}, {advice}"))).collect()
}

/// The pieces of lines that name something of `candle_nn`, with their line numbers: `candle_nn::a::B`, and all lines
/// of `candle_nn::{...}`.
fn candle_nn_paths(code: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    for (at, _) in code.match_indices("candle_nn::") {
        let rest = &code[at..];
        let path = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        let length = if rest[path..].starts_with('{') { item_length(rest) } else { path };
        let first = code[..at].matches('\n').count() + 1;
        pieces.extend(rest[..length].lines().enumerate().map(|(i, line)| (first + i, line)));
    }
    pieces
}

/// What differs between devices is decided in one file of the workspace.
pub fn one_file_knows_the_device_features(sources: &[Source]) -> Vec<Finding> {
    let mut places: Vec<(&Source, usize)> = Vec::new();
    for source in sources {
        let knows = source.lines().find(|line| {
            let names_it = line.text.contains("\"cuda\"") || line.text.contains("\"metal\"");
            names_it && has_word(line.code, "feature = \"\"")
        });
        places.extend(knows.map(|line| (source, line.number)));
    }
    let Some((home, _)) = places.first() else {
        return Vec::new();
    };
    let what = format!("a second file with cfg(feature) of a device, move it to {}", home.path);
    places[1..].iter().filter_map(|(source, line)| source.finding(*line, what.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        no_traps(&Source::new("a/src/b.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn traps_are_found_in_paths_and_in_groups() {
        assert_eq!(lines("let m = candle_nn::VarMap::new();"), [1]);
        assert_eq!(lines("use candle_nn::{\n  ops,\n  Dropout,\n};\nx"), [3]);
        assert_eq!(lines("let p = candle_nn::ops::softmax_last_dim(&x)?;"), [1]);
        assert_eq!(lines("let x = Tensor::randn(0., 1., 3, &d)?;"), [1]);
    }

    #[test]
    fn own_parts_of_the_same_name_and_tests_are_free() {
        assert!(lines("struct LayerNorm;\nfn layer_norm() {}\nuse candle_nn::VarBuilder;").is_empty());
        assert!(lines("// Tensor::rand is a trap\nlet init = Init::Randn { mean, stdev };").is_empty());
        assert!(lines("#[cfg(test)]\nmod tests { use candle_nn::LayerNorm; }").is_empty());
    }

    #[test]
    fn a_second_file_with_a_device_feature_is_found() {
        let source = |path, text| Source::new(path, text);
        let first = source("a/src/device.rs", "#[cfg(feature = \"cuda\")]\n#[cfg(feature = \"metal\")]");
        let other = source("a/src/loop.rs", "\nif cfg!(feature = \"cuda\") {}");
        let words = source("a/src/words.rs", "let x = r#\"cfg(feature = \"cuda\")\"#; // cfg(feature = \"cuda\")");
        assert_eq!(one_file_knows_the_device_features(&[first, words]), []);
        let first = source("a/src/device.rs", "#[cfg(feature = \"cuda\")]");
        let findings = one_file_knows_the_device_features(&[first, other]);
        assert_eq!((findings.len(), findings[0].line), (1, 2));
    }
}
