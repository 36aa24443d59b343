//! Networks as lists of names and shapes.

use super::*;

/// Names and shapes of a network of one bottleneck a stage, behind `prefix`.
fn shapes(prefix: &str, config: &EncoderConfig) -> Shapes {
    let count = ModelCount::default();
    ResNet::new(config, 5, count.builder()).unwrap();
    count.shapes().into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
}

fn small(block: Block) -> EncoderConfig {
    EncoderConfig { width: 2, depths: vec![1, 1, 1, 1], block, ..EncoderConfig::imagenet224() }
}

fn refused(shapes: &Shapes, words: &str) {
    let reason = find(shapes, None).unwrap_err();
    assert!(reason.contains(words), "{reason}");
}

#[test]
fn a_whole_network_is_found_with_its_classifier_and_three_stages_as_settings() {
    for block in [Block::V1_5, Block::V2] {
        let config = small(block);
        let found = find(&shapes("a.b.", &config), None).unwrap();
        assert_eq!(found.config, EncoderConfig { depths: vec![1, 1, 1], ..config.clone() });
        let head = if block == Block::V2 { "head.fc.weight" } else { "fc.weight" };
        assert!(found.tensors.contains(&(head.to_owned(), format!("a.b.{head}"))));
        assert!(found.network.unused.is_empty());
    }
}

#[test]
fn a_head_that_is_not_a_classifier_is_not_used() {
    let mut shapes = shapes("", &small(Block::V1_5));
    shapes.insert("fc.weight".to_owned(), vec![5, 7]); // not the network's width
    let found = find(&shapes, None).unwrap();
    assert_eq!(found.network.unused, ["fc.bias", "fc.weight"]);
}

#[test]
fn other_networks_are_refused_with_the_tensor_that_shows_it() {
    let plain = shapes("m.", &small(Block::V1_5));
    let without = |part: &str| -> Shapes {
        plain.iter().filter(|(name, _)| !name.contains(part)).map(|(n, s)| (n.clone(), s.clone())).collect()
    };
    refused(&without("conv3"), "m.layer1.0.conv3.weight is missing: the blocks have two convolutions");
    refused(&without("running_mean"), "m.bn1.running_mean is missing");
    refused(&without("m.conv1"), "contains m.layer1.0.conv2.weight, but not m.conv1.weight");
    refused(&without("layer2.0.downsample"), "layer2.0.downsample.0.weight is missing");
    let with = |name: &str, shape: &[usize]| -> Shapes {
        plain.clone().into_iter().chain([(name.to_owned(), shape.to_vec())]).collect()
    };
    refused(&with("m.layer1.0.conv2.weight", &[4, 4, 3, 3]), "a wide or grouped ResNet");
    refused(&with("m.layer3.0.bn2.weight", &[9]), "m.layer3.0.bn2.weight has shape [9], expected [8]");
    refused(&with("m.layer5.0.conv1.weight", &[9]), "m.layer5.0.conv1.weight has no place");
    refused(&with("m.conv1.weight", &[2, 3, 5, 5]), "a kernel of 5");
    refused(&Shapes::from([("a.b".to_owned(), vec![3])]), "contains no ResNet");
}
