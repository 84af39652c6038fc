//! Rows of a table by id.

use super::Array;

/// Rows `ids` of `table` `[vocab, hidden]`, `[ids, hidden]`.
pub fn embed(table: &Array, ids: &[usize]) -> Array {
    let data = ids.iter().flat_map(|&id| table.row(id).iter().copied()).collect();
    Array::new(&[ids.len(), table.width()], data)
}
