//! The model of the paper: patch network P, attention pooling A, and the loss, put together (arXiv 1906.02940, section 3).
//!
//! P sees every patch alone, masked or not, and embeds it as h. A reads the visible ones and gives u, and with it a query
//! v = u + position for each masked cell. The query must find its own patch among the masked ones of the same image.

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use selfie_attnpool::AttentionPool;
use selfie_encoder::{Reduction, Trunk};
use selfie_loss::InfoNce;
use selfie_patch::{Mask, PatchGrid, gather};

use crate::config::{Precision, RunConfig};
use crate::error::Result;

/// Training with its own randomness, or evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics in norms, dropout from this seed.
    Train {
        /// Seed of the dropout masks.
        dropout: u64,
        /// The number of the batch's first image: with the seed it decides the masks.
        first_image: u64,
    },
    /// Running statistics in norms, no dropout.
    Eval,
}

/// What is asked of a batch of images: which cells are hidden, and what the right patch hides among.
#[derive(Debug, Clone)]
pub struct Puzzle {
    /// The cells to predict and the cells to see.
    pub mask: Mask,
    /// The numbers of the images, for the choice of distractors where `loss.num_distractors` asks for a subset.
    pub images: Vec<u64>,
    /// The seed of that choice.
    pub seed: u64,
}

/// Everything that a forward pass makes.
#[derive(Debug, Clone)]
pub struct Output {
    /// Embeddings of all patches, the paper's h: (B, N, D).
    pub h: Tensor,
    /// The summary of the visible patches: (B, D).
    pub u: Tensor,
    /// The queries, the paper's v: (B, M, D).
    pub queries: Tensor,
    /// Queries against masked patches: (B, M, M).
    pub logits: Tensor,
    /// Mean cross-entropy: ().
    pub loss: Tensor,
    /// Share of queries that found their patch: (), without gradient.
    pub accuracy: Tensor,
    /// 1 where a query found its patch: (B, M) u8.
    pub correct: Tensor,
}

/// Patch network, pooling and loss.
pub struct SelfieModel {
    grid: PatchGrid,
    encoder: Trunk,
    attnpool: AttentionPool,
    loss: InfoNce,
}

impl SelfieModel {
    /// Builds the model; its variables are `encoder.…` and `attnpool.…` below `vb`.
    ///
    /// # Errors
    /// Where a section of the configuration cannot be, or the builder has no fitting variable.
    pub fn new(config: &RunConfig, vb: VarBuilder) -> Result<Self> {
        let grid = config.patch.grid()?;
        let bf16 = config.run.precision == Precision::Bf16;
        let encoder = Trunk::new(&config.encoder, vb.pp("encoder"))?;
        let encoder = if bf16 { encoder.with_bf16_products() } else { encoder };
        let cells = (grid.rows(), grid.cols());
        let attnpool = AttentionPool::new(&config.attnpool, encoder.embed_dim(), cells, vb.pp("attnpool"))?;
        let attnpool = if bf16 { attnpool.with_bf16_products() } else { attnpool };
        let loss = InfoNce::new(&config.loss, config.patch.num_targets)?;
        Ok(Self { grid, encoder, attnpool, loss })
    }

    /// The same model whose stem and first `stages` stages of the patch network are not trained.
    ///
    /// # Errors
    /// Where there are fewer stages.
    pub fn with_frozen_stages(self, stages: usize) -> Result<Self> {
        Ok(Self { encoder: self.encoder.with_frozen_stages(stages)?, ..self })
    }

    /// The same model with norms of the patch network over the batch that several processes share.
    #[must_use]
    pub fn with_shared_norms(self, reduction: Arc<dyn Reduction>) -> Self {
        Self { encoder: self.encoder.with_shared_norms(reduction), ..self }
    }

    /// Solves the puzzle of a batch.
    ///
    /// # Shapes
    /// `images` (B, C, H, W) -> [`Output`]
    ///
    /// # Errors
    /// Where images do not fit the grid, or the mask does not fit the images.
    pub fn forward(&self, images: &Tensor, puzzle: &Puzzle, mode: Mode) -> Result<Output> {
        self.solve(self.embed(images, mode)?, puzzle, mode)
    }

    /// Solves a puzzle of images whose patches are embedded already: several puzzles of the same images need that once.
    ///
    /// # Shapes
    /// `h` (B, N, D), of [`SelfieModel::embed`] -> [`Output`]
    ///
    /// # Errors
    /// Where the mask does not fit the embeddings.
    pub fn solve(&self, h: Tensor, puzzle: &Puzzle, mode: Mode) -> Result<Output> {
        let Puzzle { mask: Mask { targets, context }, images: numbers, seed } = puzzle;
        let visible = gather(&h, context)?; // (B, K, D)
        let hidden = gather(&h, targets)?; // (B, M, D)
        let pooled = self.attnpool.forward(&visible, context, targets, mode.pooling())?; // u (B, D), queries (B, M, D)
        let found = self.loss.forward(&pooled.queries, &hidden, numbers.iter().copied(), *seed)?;
        Ok(Output {
            h,
            u: pooled.u,
            queries: pooled.queries,
            logits: found.logits,
            loss: found.loss,
            accuracy: found.accuracy,
            correct: found.correct,
        })
    }

    /// The embedding of every patch, the paper's h.
    ///
    /// # Shapes
    /// `images` (B, C, H, W) -> (B, N, D)
    ///
    /// # Errors
    /// Where images do not fit the grid.
    pub fn embed(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let patches = self.patches(images)?; // (B N, C, P, P)
        let h = self.encoder.forward(&patches, mode.trunk())?; // (B N, D)
        let n = self.grid.num_patches();
        Ok(h.reshape((patches.dim(0)? / n, n, self.encoder.embed_dim()))?) // (B, N, D)
    }

    /// What the patch network sees of images.
    ///
    /// # Shapes
    /// `images` (B, C, H, W) -> (B N, C, P, P)
    ///
    /// # Errors
    /// Where images do not fit the grid.
    pub fn patches(&self, images: &Tensor) -> Result<Tensor> {
        let patches = self.grid.split(images)?; // (B, N, C, P, P)
        let (b, n, c, p, _) = patches.dims5()?;
        Ok(patches.reshape((b * n, c, p, p))?) // (B N, C, P, P)
    }

    /// The patch network.
    #[must_use]
    pub fn encoder(&self) -> &Trunk {
        &self.encoder
    }

    /// The attention pooling.
    #[must_use]
    pub fn attnpool(&self) -> &AttentionPool {
        &self.attnpool
    }

    /// The grid that images are cut into.
    #[must_use]
    pub fn grid(&self) -> &PatchGrid {
        &self.grid
    }

    /// The accuracy of guessing.
    #[must_use]
    pub fn chance(&self) -> f64 {
        self.loss.chance()
    }
}

impl Mode {
    /// As the patch network has it.
    pub(crate) fn trunk(self) -> selfie_encoder::Mode {
        match self {
            Self::Train { .. } => selfie_encoder::Mode::Train,
            Self::Eval => selfie_encoder::Mode::Eval,
        }
    }

    /// As the pooling has it.
    pub(crate) fn pooling(self) -> selfie_attnpool::Mode {
        match self {
            Self::Train { dropout, first_image } => selfie_attnpool::Mode::Train { seed: dropout, first_image },
            Self::Eval => selfie_attnpool::Mode::Eval,
        }
    }
}
