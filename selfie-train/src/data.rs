//! Images, from a `--data` string to batches on the device.
//!
//! A [`Dataset`] numbers and names the images of one split and loads them as [`Image8`]; a [`Transform`] makes them squares; a
//! [`Loader`] hands out normalised [`Batch`]es, prepared ahead by its own threads. [`label_subset`] and
//! [`Dataset::split_holdout`] choose parts.
//!
//! Everything random is a function of (seed, purpose, epoch, image): the number of threads and a restart change nothing. The
//! paper gives neither the order nor the augmentation of its images; the choices here are torchvision's, with reflected
//! instead of black borders.
//!
//! ```text
//! source ── folder, cifar      where images come from, behind one trait
//! dataset ── holdout, labels   a numbered set and its parts
//! decode                       a file's bytes to pixels
//! image8 ── resize, colour     bytes to bytes
//! transform                    the random changes of training, the view of evaluation
//! normalise                    bytes to floats, mean and deviation
//! order, draw ── loader        which image when, and the threads
//! ```

mod cifar;
mod colour;
mod config;
mod dataset;
mod decode;
mod draw;
mod error;
mod folder;
mod holdout;
mod image8;
mod labels;
mod loader;
mod normalise;
mod order;
mod resize;
mod source;
#[cfg(test)]
mod tests;
mod transform;

pub use colour::Colours;
pub use config::{Augment, DataConfig};
pub use dataset::Dataset;
pub use error::{DataError, DataResult};
pub use image8::Image8;
pub use labels::{LabelBudget, label_subset};
pub use loader::{Batch, Loader, LoaderConfig};
pub use normalise::{Normalise, channel_stats};
pub use source::Split;
pub use transform::Transform;
