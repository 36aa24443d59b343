//! The attention-pooling network (the paper's A): a learned pool token attends to the visible patches; one vector comes out.
//!
//! arXiv 1906.02940, section 3.2: u = A(u0, context patches), and the query for masked cell i is v = u + position(i).
//! The paper does not say whether the context patches get positions too; by default they do, and a switch takes them away.

use crate::block::Block;
use crate::dropout::Mode;
use crate::ops::Path;
use crate::positions::{PositionTable, pick};
use crate::{AttnPoolConfig, Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};

/// Most cells of a grid: attention between more tokens fits into no memory.
const MAX_CELLS: usize = 1 << 16;

/// What the pooling returns.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// The summary of the visible patches, the paper's u: (B, D).
    pub u: Tensor,
    /// A query for every masked cell, the paper's v = u + position: (B, M, D).
    pub queries: Tensor,
}

/// Transformer attention pooling with a learned pool token.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use selfie_attnpool::{AttentionPool, AttnPoolConfig, Mode};
///
/// let vars = VarMap::new();
/// let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
/// let pool = AttentionPool::new(&AttnPoolConfig::cifar10(), 16, (2, 2), vb)?;
/// let context = Tensor::ones((1, 3, 16), DType::F32, &Device::Cpu)?; // (B, K, D)
/// let context_index = Tensor::new(&[[0u32, 1, 3]], &Device::Cpu)?; // (B, K)
/// let target_index = Tensor::new(&[[2u32]], &Device::Cpu)?; // (B, M)
/// let pooled = pool.forward(&context, &context_index, &target_index, Mode::Eval)?;
/// assert_eq!((pooled.u.dims(), pooled.queries.dims()), (&[1, 16][..], &[1, 1, 16][..]));
/// # Ok::<(), selfie_attnpool::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AttentionPool {
    embed_dim: usize,
    cells: usize,
    context_positions: bool,
    u0: Tensor, // (1, 1, D)
    positions: PositionTable,
    blocks: Vec<Block>,
    last: Block,
    bf16: bool,
}

impl AttentionPool {
    /// Builds the network for embeddings of width D on a grid of (rows, cols) cells.
    ///
    /// Variables are `u0` (1, 1, D), `pos` (N, D) or `row` (rows, D) and `col` (cols, D), and for each block
    /// `layers.{i}.` with the names of PyTorch's `TransformerEncoderLayer`.
    ///
    /// # Errors
    /// [`Error::Config`] where the configuration does not fit the width or the grid is empty; [`Error::Candle`] where the
    /// builder lacks a variable or has it in another shape.
    pub fn new(config: &AttnPoolConfig, embed_dim: usize, grid: (usize, usize), vb: VarBuilder) -> Result<Self> {
        config.validate(embed_dim)?;
        let (rows, cols) = grid;
        let cells = rows.checked_mul(cols).filter(|cells| (1..=MAX_CELLS).contains(cells));
        let Some(cells) = cells else {
            let reason = format!("the grid has {rows} rows and {cols} columns, expected 1 to {MAX_CELLS} cells");
            return Err(Error::Config { field: "positions", reason });
        };
        let normal = Init::Randn { mean: 0.0, stdev: config.init_deviation };
        let u0 = vb.get_with_hints((1, 1, embed_dim), "u0", normal)?;
        let positions = PositionTable::new(config.positions, normal, grid, embed_dim, &vb)?;
        let block = |layer: usize| Block::new(config, embed_dim, layer, &vb.pp("layers").pp(layer));
        let blocks = (0..config.depth - 1).map(block).collect::<Result<_>>()?;
        let last = block(config.depth - 1)?;
        let context_positions = config.context_positions;
        Ok(Self { embed_dim, cells, context_positions, u0, positions, blocks, last, bf16: false })
    }

    /// The same network with its products in bf16: factors rounded, everything between them in f32, parameters and norms too.
    /// On the CPU they are emulated, which is slower than f32.
    pub fn with_bf16_products(self) -> Self {
        Self { bf16: true, ..self }
    }

    /// The embedding width D.
    pub fn embed_dim(&self) -> usize {
        self.embed_dim
    }

    /// The position vector of every cell, row by row: (N, D).
    pub fn positions(&self) -> Result<Tensor> {
        self.positions.table()
    }

    /// Summarises the visible patches and asks for the masked ones.
    ///
    /// # Shapes
    /// `context` (B, K, D) embeddings of the visible patches, `context_index` (B, K) and `target_index` (B, M) their cells
    /// and the masked cells, u32 in 0..N -> u (B, D), queries (B, M, D). B, K, M >= 1; the order within K does not matter.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`] or [`Error::Index`] with the argument that does not fit; the values of an index are looked
    /// at on the CPU only.
    pub fn forward(
        &self,
        context: &Tensor,
        context_index: &Tensor,
        target_index: &Tensor,
        mode: Mode,
    ) -> Result<Pooled> {
        let path = Path::of(context, self.bf16);
        let (pooled, _) = self.run(context, context_index, target_index, mode, path)?;
        Ok(pooled)
    }

    /// [`forward`](Self::forward), and how much u0 attends to each token in the last block: (B, h, 1 + K), itself first.
    ///
    /// The weights are those of the softmax, before dropout, and stand outside the graph.
    pub fn forward_with_attention(
        &self,
        context: &Tensor,
        context_index: &Tensor,
        target_index: &Tensor,
        mode: Mode,
    ) -> Result<(Pooled, Tensor)> {
        let path = Path::of(context, self.bf16);
        let (pooled, tokens) = self.run(context, context_index, target_index, mode, path)?;
        Ok((pooled, self.last.attention_of_first(&tokens)?))
    }

    /// What the pooling returns, and the tokens before the last block (B, 1 + K, D).
    fn run(
        &self,
        context: &Tensor,
        context_index: &Tensor,
        target_index: &Tensor,
        mode: Mode,
        path: Path,
    ) -> Result<(Pooled, Tensor)> {
        let (b, k) = self.check(context, context_index, target_index)?;
        let positions = self.positions.table()?; // (N, D)
        let context = match self.context_positions {
            true => (context + pick(&positions, context_index)?)?,
            false => context.clone(),
        };
        let u0 = self.u0.broadcast_as((b, 1, self.embed_dim))?;
        let mut tokens = Tensor::cat(&[&u0, &context], 1)?; // (B, 1+K, D)
        for block in &self.blocks {
            tokens = block.forward(&tokens, 1 + k, mode, path)?; // (B, 1+K, D)
        }
        let u = self.last.forward(&tokens, 1, mode, path)?; // (B, 1, D)
        let queries = u.broadcast_add(&pick(&positions, target_index)?)?; // (B, M, D)
        let pooled = Pooled { u: u.squeeze(1)?, queries }; // u (B, D)
        Ok((pooled, tokens))
    }

    /// Whether the arguments fit each other and this network; returns (B, K).
    fn check(&self, context: &Tensor, context_index: &Tensor, target_index: &Tensor) -> Result<(usize, usize)> {
        let (d, got) = (self.embed_dim, context.dims().to_vec());
        let (b, k) = match got[..] {
            [b, k, width] if b > 0 && k > 0 && width == d => (b, k),
            _ => {
                let expected = format!("(B, K, D = {d}), none of them 0");
                return Err(Error::Shape { what: "context", expected, got });
            }
        };
        if context.dtype() != self.u0.dtype() {
            return Err(Error::DType { what: "context", expected: self.u0.dtype(), got: context.dtype() });
        }
        self.check_index("context_index", context_index, b, Some(k))?;
        self.check_index("target_index", target_index, b, None)?;
        Ok((b, k))
    }

    fn check_index(&self, what: &'static str, index: &Tensor, b: usize, count: Option<usize>) -> Result<()> {
        let got = index.dims().to_vec();
        let fits = matches!(got[..], [rows, n] if rows == b && n > 0 && count.is_none_or(|count| n == count));
        if !fits {
            let count = count.map_or("M >= 1".to_string(), |k| format!("K = {k}"));
            return Err(Error::Shape { what, expected: format!("(B = {b}, {count})"), got });
        }
        if index.dtype() != DType::U32 {
            return Err(Error::DType { what, expected: DType::U32, got: index.dtype() });
        }
        if !index.device().is_cpu() {
            return Ok(()); // reading it would wait for everything that a GPU has still to do
        }
        let cells = self.cells;
        match index.flatten_all()?.to_vec1::<u32>()?.into_iter().find(|&i| i as usize >= cells) {
            Some(index) => Err(Error::Index { what, index, cells }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
