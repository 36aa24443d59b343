//! Learned positions of the grid's cells: one vector a cell, or the sum of a row's and a column's vector.
//!
//! The paper takes 16 vectors for its 4x4 grids and 7 + 7 for the 7x7 grid (arXiv 1906.02940, section 3.2).

use crate::{Positions, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// The learned vectors.
#[derive(Clone, Debug)]
pub(crate) enum PositionTable {
    /// `pos` (N, D).
    Full(Tensor),
    /// `row` (rows, D) and `col` (cols, D).
    RowColumn { row: Tensor, col: Tensor },
}

impl PositionTable {
    pub(crate) fn new(
        kind: Positions,
        normal: Init,
        (rows, cols): (usize, usize),
        embed_dim: usize,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let get = |n: usize, name| vb.get_with_hints((n, embed_dim), name, normal);
        Ok(match kind {
            Positions::Full => Self::Full(get(rows * cols, "pos")?),
            Positions::RowColumn => Self::RowColumn { row: get(rows, "row")?, col: get(cols, "col")? },
        })
    }

    /// The vector of every cell, row by row: (N, D).
    pub(crate) fn table(&self) -> Result<Tensor> {
        Ok(match self {
            Self::Full(pos) => pos.clone(),
            Self::RowColumn { row, col } => {
                let sum = row.unsqueeze(1)?.broadcast_add(&col.unsqueeze(0)?)?; // (rows, cols, D)
                sum.flatten_to(1)? // (N, D)
            }
        })
    }
}

/// The rows of `table` (N, D) that `index` (B, K) names: (B, K, D).
pub(crate) fn pick(table: &Tensor, index: &Tensor) -> Result<Tensor> {
    let (b, k) = index.dims2()?;
    let rows = table.index_select(&index.flatten_all()?, 0)?; // (B*K, D)
    Ok(rows.reshape((b, k, table.dim(1)?))?) // (B, K, D)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_cell_of_a_row_column_table_is_its_row_plus_its_column() {
        let row = Tensor::new(&[[10f32], [20.]], &Device::Cpu).unwrap();
        let col = Tensor::new(&[[1f32], [2.], [3.]], &Device::Cpu).unwrap();
        let table = PositionTable::RowColumn { row, col }.table().unwrap();
        assert_eq!(table.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [11., 12., 13., 21., 22., 23.]);
        let index = Tensor::new(&[[5u32, 0]], &Device::Cpu).unwrap();
        assert_eq!(pick(&table, &index).unwrap().to_vec3::<f32>().unwrap(), [[[23.], [11.]]]);
    }
}
