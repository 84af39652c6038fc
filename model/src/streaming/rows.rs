//! Rows of a token embedding that is not in memory.

use super::table::Table;
use super::weights::{PATIENCE, StreamedWeights};
use crate::Result;
use crate::checkpoint::StoredBytes;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_kiln_fusion::{FusedOps, KernelConfig, Weight};
use kiln_kernels::memory::PooledBytes;

/// Rows as they lie in the file, in the memory of results.
struct Rows(PooledBytes);

impl AsRef<[u8]> for Rows {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl StreamedWeights {
    /// The embeddings of token ids, read from the file: `None` where the table is in memory.
    ///
    /// # Shapes
    /// Output `[1, length, hidden]`.
    ///
    /// # Panics
    /// For an id that has no embedding.
    pub(crate) fn embed<B: FusedOps>(
        &self,
        ids: &[u32],
        device: &B::Device,
        config: &KernelConfig,
    ) -> Result<Option<Tensor<B, 3>>> {
        let Some(table) = &self.table else { return Ok(None) };
        let at_a_time = (self.rows / self.row_cost.max(1)).max(1) as usize;
        let mut pieces = Vec::with_capacity(ids.len().div_ceil(at_a_time));
        for ids in ids.chunks(at_a_time) {
            let _held = self.ledger.hold_within(ids.len() * self.row_cost as usize, PATIENCE)?;
            let ranges: Vec<_> = ids
                .iter()
                .map(|&id| {
                    let id = id as usize;
                    assert!(id < table.rows, "token {id} has no embedding: there are {}", table.rows);
                    table.range_of(&(id..id + 1))
                })
                .collect();
            let mut rows = PooledBytes::take(ids.len() * table.row_bytes());
            match &self.streamer {
                Some(_) => self.files.gather(table.file, &ranges, rows.as_mut_slice(), table.name)?,
                None => self.copy_rows(table, ids, rows.as_mut_slice())?,
            }
            let bytes = bytes::Bytes::from_owner(Rows(rows));
            let data = table.data(&self.checkpoint, bytes, |row| ids[row] as usize, self.dtype)?;
            let dtype = data.dtype;
            let rows = Tensor::from_data(data, (device, dtype));
            pieces.push(<B as FusedOps>::embedding(&Weight::Plain(rows), count(ids.len(), device), config));
        }
        Ok(match pieces.len() {
            1 => pieces.pop(),
            _ => Some(Tensor::cat(pieces, 1)),
        })
    }
}

impl StreamedWeights {
    /// Copies rows of the mapped `table`.
    fn copy_rows(&self, table: &Table, ids: &[u32], rows: &mut [u8]) -> Result<()> {
        let mapped = self.checkpoint.stored(table.name)?;
        let len = table.row_bytes();
        for (row, &id) in rows.chunks_exact_mut(len.max(1)).zip(ids) {
            row.copy_from_slice(&mapped[id as usize * len..][..len]);
        }
        Ok(())
    }
}

/// The ids `0..len`, `[1, len]`.
fn count<B: Backend>(len: usize, device: &B::Device) -> Tensor<B, 2, Int> {
    Tensor::from_data(TensorData::new((0..len as i64).collect(), [1, len]), device)
}
