//! Remarks on pretrained weights: which network of a file is used, and where mean and standard deviation come from.

use selfie_eval::{Origin, Result};
use selfie_train::{FoundNetwork, RunConfig};

use super::screen::Screen;

/// Most unused tensors that are named.
const LISTED: usize = 4;

/// Prints the place of the network in a file of another project, and why mean and standard deviation are what they are, unless
/// the run, the file or the settings give them. `config` contains them in any case; `measured` states whether they were measured on its images.
pub fn describe(origin: &Origin, config: &RunConfig, measured: bool, screen: &Screen) -> Result<()> {
    if let Some(found) = origin.weights().and_then(|weights| weights.found.as_ref()) {
        screen.note(network(found))?;
    }
    match reason(origin, config, measured) {
        Some(reason) => {
            let (mean, std) = (&config.data.mean, &config.data.std);
            screen.note(format!("normalize  mean {mean:?}, standard deviation {std:?}: {reason}"))
        }
        None => Ok(()),
    }
}

/// Returns why mean and standard deviation are not those of a run, of the file, or of the settings.
fn reason(origin: &Origin, config: &RunConfig, measured: bool) -> Option<String> {
    let used = (config.data.mean.clone(), config.data.std.clone());
    match origin.weights() {
        Some(weights) if weights.normalise.as_ref() == Some(&used) => weights.assumed.map(str::to_owned),
        Some(_) if measured => {
            Some(format!("measured on the images of {}, because the weights record none", config.data.source))
        }
        None if measured => Some(format!("measured on the images of {}", config.data.source)),
        _ => None,
    }
}

/// Returns the lines that describe which tensors of a file are the network.
pub fn network(found: &FoundNetwork) -> String {
    let place = if found.prefix.is_empty() { "without a prefix".to_owned() } else { format!("below {}", found.prefix) };
    let mut text = format!("network    {} {place}", found.naming);
    if !found.unused.is_empty() {
        let shown = found.unused.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match found.unused.len() {
            count if count > LISTED => format!(" and {} more", count - LISTED),
            _ => String::new(),
        };
        let tensors = if found.unused.len() == 1 { "tensor" } else { "tensors" };
        text += &format!("\n           {} {tensors} not used: {shown}{more}", found.unused.len());
    }
    text
}
