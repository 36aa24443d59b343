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
//! open ── folder, list, cifar, imagenet32, parquet_shards, tar_shards, hub     a --data string to a source
//! source ── storage, recognized, shards, blocks, spans, names, label_words, splits, index_cache, npz   what sources are made of
//! dataset ── holdout, labels, visit    a numbered set and its parts
//! decode                       a file's bytes to pixels
//! image8 ── resize, colour     bytes to bytes
//! transform                    the random changes of training, the view of evaluation
//! normalise                    bytes to floats, mean and deviation
//! order, draw, bad_images ── loader    which image when, and the threads
//! ```

mod bad_images;
mod blocks;
mod cifar;
mod colour;
mod config;
mod dataset;
mod decode;
mod draw;
mod error;
mod escape;
mod folder;
mod holdout;
mod hub;
#[cfg(feature = "candle-datasets")]
mod idx;
mod image8;
mod imagenet32;
mod index_cache;
mod label_words;
mod labels;
mod list;
mod loader;
mod names;
mod normalise;
mod npz;
mod open;
mod order;
mod parquet_shards;
mod recognized;
mod resize;
mod shards;
mod source;
mod spans;
mod splits;
mod storage;
mod tar_shards;
#[cfg(test)]
mod tests;
mod transform;
mod visit;

pub use bad_images::{BadImages, OnBadImage};
pub use colour::Colours;
pub use config::{Augment, DataConfig};
pub use dataset::Dataset;
pub use error::{DataError, DataResult};
pub use escape::{escape_controls, escape_field};
pub use hub::{HubFile, HubUpload, fetch_weights};
pub use image8::Image8;
pub use labels::{LabelBudget, label_subset};
pub use loader::{Batch, Loader, LoaderConfig};
pub use normalise::{Normalise, channel_stats, channel_stats_of};
pub use open::fetch_data;
pub use recognized::{Recognized, RecognizedSplit, SplitRole, observe_recognized};
pub use source::Split;
pub use transform::Transform;
pub use visit::visit_images;
