//! Search for the network in a weights file of another project, by the names and shapes of its tensors.
//!
//! Training programs nest a state_dict (`state_dict`, `model`, `teacher`) and wrap the model (`module.`, `backbone.`,
//! `_orig_mod.`), each in its own way, so no list of prefixes would be complete. The prefix P of a network is instead any text
//! for which the file contains both the first convolution and a 3x3 convolution of the first stage behind P. A tensor inside
//! the stem or a stage that a ResNet of plain bottlenecks does not have is an error, because the network would compute
//! something else without it; other tensors are listed as unused.
//!
//! Layers without tensors leave no trace in a file: `resnetblur50` and `resnetaa50` of timm have the tensors of `resnet50`.

use std::collections::BTreeMap;
use std::fmt;

use selfie_encoder::{Block, EncoderConfig, ResNet, Trunk};
use serde::Serialize;

use super::geometry;
use crate::store::ModelCount;

/// Most names of a list in a message.
const LISTED: usize = 6;

/// Shapes of tensors by their names.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// How the tensors of a network are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// torchvision's and timm's `resnet50`: `conv1`, `layer1.0.conv1`, `fc`.
    Torchvision,
    /// `nn.Sequential(*resnet50().children())`: `0`, `4.0.conv1`, without a classifier.
    Sequential,
    /// timm's `resnetv2_50`: `stem.conv`, `stages.0.blocks.0.conv1`, `head.fc`.
    Timm,
}

/// A network in a weights file of another project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundNetwork {
    /// Text in front of every name of the network's tensors, with its final dot; empty if there is none.
    pub prefix: String,
    /// How the tensors are named behind the prefix.
    pub naming: Naming,
    /// Names of the tensors in the file that are not part of the network.
    pub unused: Vec<String>,
}

/// The network, its shape, and its tensors: the name that this project uses, and the name in the file.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) network: FoundNetwork,
    pub(super) config: EncoderConfig,
    pub(super) tensors: Vec<(String, String)>,
}

impl Naming {
    const ALL: [Self; 3] = [Self::Torchvision, Self::Sequential, Self::Timm];

    /// Returns the weights of the first convolution, and of the 3x3 convolution of the first bottleneck.
    fn landmarks(self) -> [&'static str; 2] {
        match self {
            Self::Torchvision => ["conv1.weight", "layer1.0.conv2.weight"],
            Self::Sequential => ["0.weight", "4.0.conv2.weight"],
            Self::Timm => ["stem.conv.weight", "stages.0.blocks.0.conv2.weight"],
        }
    }

    /// Returns the name that this project uses for `name`, which is given without the prefix.
    fn ours(self, name: &str) -> String {
        let children = ["conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4"];
        if self == Self::Sequential
            && let Some((child, rest)) = name.split_once('.')
            && let Some(module) = child.parse::<usize>().ok().and_then(|child| children.get(child))
            && !module.is_empty()
        {
            return format!("{module}.{rest}");
        }
        name.to_owned()
    }
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torchvision => "torchvision's names",
            Self::Sequential => "names of nn.Sequential",
            Self::Timm => "names of timm's resnetv2",
        })
    }
}

/// Finds the network among tensors; `prefix` chooses one of several, by its whole prefix or by the end of it
/// (`module.encoder_q` for `state_dict.module.encoder_q.`).
///
/// # Errors
/// Returns the reason in words if there is no network, there are several and none is chosen, or the network is not a ResNet of
/// plain bottlenecks.
pub(super) fn find(shapes: &Shapes, prefix: Option<&str>) -> Result<Found, String> {
    let candidates = candidates(shapes);
    match (chosen(&candidates, prefix).as_slice(), prefix) {
        ([(prefix, naming)], _) => identify(shapes, prefix, *naming),
        ([], _) if candidates.is_empty() => Err(nothing(shapes)),
        ([], prefix) => Err(format!("prefix: got {:?}, expected {}", prefix.unwrap_or_default(), one_of(&candidates))),
        (several, None) => {
            Err(format!("contains {} networks, expected a prefix that chooses: {}", several.len(), one_of(several)))
        }
        (several, Some(prefix)) => {
            Err(format!("prefix: got {prefix:?}, which fits {}, expected one of them", one_of(several)))
        }
    }
}

/// Returns the candidates that `prefix` fits: the one that it names completely, or all whose ends it names.
fn chosen(candidates: &[(String, Naming)], prefix: Option<&str>) -> Vec<(String, Naming)> {
    let Some(wanted) = prefix.map(|prefix| prefix.trim_end_matches('.')) else { return candidates.to_vec() };
    let fitting = |fits: &dyn Fn(&str) -> bool| -> Vec<_> {
        candidates.iter().filter(|(found, _)| fits(found.trim_end_matches('.'))).cloned().collect()
    };
    let whole = fitting(&|found| found == wanted);
    if whole.is_empty() { fitting(&|found| found.ends_with(&format!(".{wanted}"))) } else { whole }
}

/// Returns the prefix and the naming of every network, in the order of the prefixes.
fn candidates(shapes: &Shapes) -> Vec<(String, Naming)> {
    let mut candidates = Vec::new();
    for naming in Naming::ALL {
        let [stem, block] = naming.landmarks();
        let prefixes = shapes.keys().filter_map(|name| name.strip_suffix(stem));
        let is_network = |prefix: &&str| {
            (prefix.is_empty() || prefix.ends_with('.')) && shapes.contains_key(&format!("{prefix}{block}"))
        };
        candidates.extend(prefixes.filter(is_network).map(|prefix| (prefix.to_owned(), naming)));
    }
    candidates.sort_by(|a, b| a.0.cmp(&b.0));
    candidates
}

fn one_of(candidates: &[(String, Naming)]) -> String {
    let word = |(prefix, _): &(String, Naming)| if prefix.is_empty() { "\"\"".to_owned() } else { prefix.clone() };
    candidates.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Describes what a file without a network contains.
fn nothing(shapes: &Shapes) -> String {
    for naming in Naming::ALL {
        let [stem, block] = naming.landmarks();
        if let Some(prefix) = shapes.keys().find_map(|name| name.strip_suffix(block)) {
            return format!(
                "contains {prefix}{block}, but not {prefix}{stem}: expected a ResNet with one convolution as its stem, not \
                 a deep stem"
            );
        }
    }
    let described = |(name, shape): (&String, &Vec<usize>)| format!("{name} {shape:?}");
    let names: Vec<_> = shapes.iter().take(LISTED).map(described).collect();
    let more = if shapes.len() > LISTED { format!(" and {} more", shapes.len() - LISTED) } else { String::new() };
    format!(
        "contains no ResNet: expected conv1.weight and layer1.0.conv2.weight (torchvision, timm), or stem.conv.weight and \
         stages.0.blocks.0.conv2.weight (timm's resnetv2), behind one prefix; it has {}{more}",
        names.join(", ")
    )
}

/// Checks every tensor of the network behind `prefix`.
fn identify(shapes: &Shapes, prefix: &str, naming: Naming) -> Result<Found, String> {
    let mut names = BTreeMap::new(); // our name -> the name in the file
    for name in shapes.keys() {
        if let Some(rest) = name.strip_prefix(prefix) {
            names.insert(naming.ours(rest), name.clone());
        }
    }
    let dims = |name: &str| names.get(name).map(|name| shapes[name].as_slice());
    let config = geometry::of_shapes(dims).map_err(|(name, reason)| {
        format!("{} {reason}", names.get(&name).cloned().unwrap_or(format!("{prefix}{name}")))
    })?;
    let mut tensors = Vec::new();
    for (name, expected) in expected(&config, dims)? {
        let Some(theirs) = names.remove(&name) else {
            return Err(format!(
                "{prefix}{name} is missing, expected {expected:?}: not a ResNet of plain bottlenecks with batch norm"
            ));
        };
        if shapes[&theirs] != expected {
            return Err(format!("{theirs} has shape {:?}, expected {expected:?}", shapes[&theirs]));
        }
        tensors.push((name, theirs));
    }
    // PyTorch counts batches beside its running statistics; nothing here needs the count.
    names.retain(|name, _| !name.ends_with("num_batches_tracked"));
    if let Some((_, theirs)) = names.iter().find(|(name, _)| is_inside(name)) {
        return Err(format!(
            "{theirs} has no place in a ResNet of plain bottlenecks, expected resnet50 of torchvision or timm, or timm's \
             resnetv2_50, of any width and depth"
        ));
    }
    let is_used = |name: &String| name.strip_prefix(prefix).is_some_and(|rest| !names.contains_key(&naming.ours(rest)));
    let unused = shapes.keys().filter(|name| !is_used(name)).cloned().collect();
    let network = FoundNetwork { prefix: prefix.to_owned(), naming, unused };
    Ok(Found { network, config: three_stages(config), tensors })
}

/// Returns the names and shapes of the network's tensors, with its classifier if the file has one.
fn expected<'a>(
    config: &EncoderConfig,
    dims: impl Fn(&str) -> Option<&'a [usize]>,
) -> Result<Vec<(String, Vec<usize>)>, String> {
    let count = ModelCount::default();
    let classifier = if config.block == Block::V2 { "head.fc" } else { "fc" };
    let classes = match (dims(&format!("{classifier}.weight")), dims(&format!("{classifier}.bias"))) {
        (Some([classes, features, rest @ ..]), Some([bias]))
            if classes == bias
                && *features == config.embed_dim()
                && rest.len() == if config.block == Block::V2 { 2 } else { 0 } =>
        {
            Some(*classes)
        }
        _ => None,
    };
    let built = match classes {
        Some(classes) => ResNet::new(config, classes, count.builder()).map(drop),
        None => Trunk::new(config, count.builder()).map(drop),
    };
    built.map_err(|error| error.to_string())?;
    Ok(count.shapes())
}

/// Returns whether a tensor of this name would change what the stem or a stage computes.
fn is_inside(name: &str) -> bool {
    let module = name.split('.').next().unwrap_or_default();
    let stage = module.strip_prefix("layer").is_some_and(|digits| digits.parse::<usize>().is_ok());
    stage || ["conv1", "bn1", "stem", "stages", "norm"].contains(&module)
}

/// Returns the settings of the patch network: the fourth stage is no part of them.
pub(super) fn three_stages(mut config: EncoderConfig) -> EncoderConfig {
    config.depths.truncate(geometry::PATCH_STAGES);
    config
}

#[cfg(test)]
#[path = "network/tests.rs"]
mod tests;
