//! Matrices of the vocabulary: the token embedding and the head.

use super::part::{Part, PartKind};
use crate::checkpoint::{Checkpoint, Scales};
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use burn_kiln_fusion::DeviceLayout;
use kiln_kernels::prefetch::{Piece, Unit};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a piece of the head are a multiple of this, where there is more than one piece: of the columns that kernels
/// compute at a time.
const HEAD_ROWS: usize = 64;

/// A matrix `[rows, hidden]` of the vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) hidden: usize,
    pub(crate) file: usize,
    pub(crate) range: Range<u64>,
    /// Bytes of a converted row, 0 where rows are used as they lie.
    converted: usize,
    /// Of an FP8 table, for its rows.
    scales: Option<Arc<Scales>>,
    /// The same where they are stored, for the whole table.
    stored_scales: Option<Piece>,
    /// How it lies on a card, where that one's memory is shared out.
    layout: Option<DeviceLayout>,
}

impl Table {
    /// The table `name`, the token embedding or the head.
    pub(crate) fn find(
        checkpoint: &Checkpoint,
        name: &'static str,
        dtype: Option<DType>,
        layout: Option<DeviceLayout>,
    ) -> Result<Self> {
        let &[rows, hidden] = checkpoint.shape(name)? else {
            unreachable!("the shape was compared with the configuration's")
        };
        let (file, range) = checkpoint.location(name)?;
        let converted = checkpoint.converted_len(name, dtype)? / rows.max(1);
        let scales = checkpoint.scales_of(name)?.map(Arc::new);
        let stored_scales = checkpoint.scale_name(name).filter(|_| scales.is_some()).map(|name| {
            let (file, range) = checkpoint.location(&name)?;
            Ok::<_, Error>(Piece { name, file, range })
        });
        let stored_scales = stored_scales.transpose()?;
        Ok(Self { name, rows, hidden, file, range, converted, scales, stored_scales, layout })
    }

    /// Bytes of the scales of an FP8 table, which are kept in memory.
    pub(crate) fn scale_bytes(&self) -> usize {
        self.scales.as_ref().map_or(0, |scales| scales.bytes())
    }

    /// The rows `row_of(0)`, `row_of(1)` and so on, whose bytes in the file are `source`, as `dtype` (`None`: as
    /// stored, FP8 as bf16).
    pub(crate) fn data(
        &self,
        checkpoint: &Checkpoint,
        source: bytes::Bytes,
        row_of: impl Fn(usize) -> usize + Sync,
        dtype: Option<DType>,
    ) -> Result<TensorData> {
        match &self.scales {
            Some(scales) => checkpoint.fp8_rows_data(self.name, &source, (scales, &row_of), dtype),
            None => {
                let rows = source.len().checked_div(self.row_bytes()).unwrap_or(0);
                checkpoint.rows_data(self.name, source, &[rows, self.hidden], dtype)
            }
        }
    }

    /// Bytes of a row in the file.
    pub(crate) fn row_bytes(&self) -> usize {
        ((self.range.end - self.range.start) as usize).checked_div(self.rows).unwrap_or(0)
    }

    /// Bytes of host memory that a row takes, stored and converted.
    pub(crate) fn row_cost(&self) -> u64 {
        (self.row_bytes() + self.converted) as u64
    }

    /// Bytes of its rows on a card; empty where the host's memory is shared out.
    fn card_bytes(&self, rows: usize) -> Vec<u64> {
        let row = if self.converted == 0 { self.row_bytes() } else { self.converted };
        let element = row.checked_div(self.hidden).unwrap_or(0);
        self.layout.iter().map(|layout| layout.tensor_bytes(&[rows, self.hidden], element)).collect()
    }

    /// Bytes of a row in the memory that is shared out.
    pub(crate) fn shared_row_cost(&self) -> u64 {
        self.card_bytes(1).first().map_or(self.row_cost(), |&bytes| bytes)
    }

    /// Bytes of rows `rows` in the file.
    pub(crate) fn range_of(&self, rows: &Range<usize>) -> Range<u64> {
        let at = |row: usize| self.range.start + (row * self.row_bytes()) as u64;
        at(rows.start)..at(rows.end)
    }

    /// Its rows `rows` as a part.
    pub(crate) fn part(&self, rows: Range<usize>) -> Part {
        let piece = Piece { name: self.name.to_owned(), file: self.file, range: self.range_of(&rows) };
        // A table that is pinned is loaded like any weight, with its scales.
        let scales = self.stored_scales.iter().filter(|_| rows.len() == self.rows).cloned();
        let pieces = [piece].into_iter().chain(scales).collect();
        let unit = Unit::new(format!("rows {} to {} of {}", rows.start, rows.end, self.name), pieces);
        let converted = self.converted * rows.len();
        let (kind, card) = (PartKind::Head(rows.start, rows.end), self.card_bytes(rows.len()));
        Part { kind, unit: Arc::new(unit), converted, card, as_it_lies: converted == 0 }
    }

    /// All of it in pieces of at most `bytes`, or of a few rows.
    pub(crate) fn pieces(&self, bytes: u64) -> Vec<Part> {
        let whole = self.part(0..self.rows);
        if whole.buffer() <= bytes {
            return vec![whole];
        }
        let row = match self.layout {
            None => self.row_bytes() as u64,
            Some(_) => whole.buffer().div_ceil(self.rows as u64),
        };
        let rows = ((bytes / row.max(1)) as usize / HEAD_ROWS * HEAD_ROWS).max(HEAD_ROWS);
        (0..self.rows).step_by(rows).map(|start| self.part(start..(start + rows).min(self.rows))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::HEAD;

    #[test]
    fn a_large_head_is_cut() {
        let table = Table {
            name: HEAD,
            rows: 1000,
            hidden: 32,
            file: 0,
            range: 40..64_040,
            converted: 0,
            scales: None,
            stored_scales: None,
            layout: None,
        };
        let rows = |bytes| table.pieces(bytes).into_iter().map(|part| part.kind).collect::<Vec<_>>();
        assert_eq!(rows(1 << 20), [PartKind::Head(0, 1000)]);
        // 30000 / 64 bytes = 468 rows.
        assert_eq!(rows(30_000), [PartKind::Head(0, 448), PartKind::Head(448, 896), PartKind::Head(896, 1000)]);
        assert_eq!(rows(1).len(), 16);
        assert_eq!(table.range_of(&(448..896)), 40 + 448 * 64..40 + 896 * 64);
    }
}
