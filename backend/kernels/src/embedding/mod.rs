//! Rows of a table by id: the embedding of tokens.
//!
//! ```text
//! out[i] = table[ids[i]]        table [rows, hidden], out [ids, hidden] in f32
//! ```

mod backward;

pub use backward::{Before, NamedRows, RowGrads, add_rows};

use crate::gemm::PackedMatrix;
use crate::rows::{Source, Target, by_dtype, load, share, store};
use crate::simd::{Isa, Kernel, PANEL};
use crate::{Floats, Launch, Storage};

/// What rows are read from.
#[derive(Debug, Clone, Copy)]
pub enum EmbeddingTable<'a> {
    /// Row-major `[rows, hidden]`.
    Plain {
        /// All elements.
        data: Floats<'a>,
        /// Elements of a row.
        hidden: usize,
    },
    /// A packed weight `[n, k]`, as a language model's head that is tied to its embedding: `n` rows of `k` elements.
    Packed(&'a PackedMatrix),
}

/// Why no row was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("id {id} of an embedding with {rows} rows")]
pub struct UnknownId {
    /// The first id out of range.
    pub id: usize,
    /// Rows of the table.
    pub rows: usize,
}

impl EmbeddingTable<'_> {
    /// Elements of a row.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Plain { hidden, .. } => *hidden,
            Self::Packed(matrix) => matrix.k(),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Plain { data, hidden } => data.len().checked_div(*hidden).unwrap_or(0),
            Self::Packed(matrix) => matrix.n(),
        }
    }
}

/// `out[i] = table[ids[i]]`, widened to f32 exactly. Ids are checked before anything is written.
///
/// A row of a packed table is one lane of a panel, a cache line for every element or two: such rows are worth a thread
/// sooner.
///
/// # Errors
/// [`UnknownId`] for an id that the table has no row for.
///
/// # Panics
/// If `out` is not `[ids, hidden]`.
pub fn embedding(launch: Launch, table: EmbeddingTable<'_>, ids: &[usize], out: &mut [f32]) -> Result<(), UnknownId> {
    let (rows, hidden) = (table.rows(), table.hidden());
    assert_eq!(ids.len() * hidden, out.len(), "elements of {} rows of {hidden}", ids.len());
    if let Some(&id) = ids.iter().find(|&&id| id >= rows) {
        return Err(UnknownId { id, rows });
    }
    let bytes = 2 * size_of_val(out);
    match table {
        EmbeddingTable::Plain { data, .. } => by_dtype!((data: Floats) => {
            let (table, out) = (Source::new(data), Target::new(out));
            share(launch, bytes).split(ids.len(), 1, |part| {
                let out = out.part(&(part.start * hidden..part.end * hidden));
                launch.tier.run(GatherRows { table, ids: &ids[part], out, hidden });
            });
        }),
        EmbeddingTable::Packed(matrix) => {
            let out = Target::new(out);
            share(launch, PANEL * bytes).split(ids.len(), 1, |part| {
                for at in part {
                    let out = out.part(&(at * hidden..(at + 1) * hidden));
                    // SAFETY: `part` checked that the row is within the slice, and no other thread has this id's row.
                    let row = unsafe { core::slice::from_raw_parts_mut(out, hidden) };
                    matrix.row(ids[at], row).expect("ids and elements of a row were checked");
                }
            });
        }
    }
    Ok(())
}

/// Rows of one thread.
struct GatherRows<'a, S> {
    table: Source<S>,
    ids: &'a [usize],
    out: *mut f32,
    hidden: usize,
}

impl<S: Storage> Kernel for GatherRows<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { table, ids, out, hidden } = self;
        for (i, &id) in ids.iter().enumerate() {
            let row = table.part(&(id * hidden..(id + 1) * hidden));
            for at in (0..hidden).step_by(I::LANES) {
                let n = I::LANES.min(hidden - at);
                // SAFETY: `part` checked the row, `embedding` that `out` holds a row an id; at + n ≤ hidden.
                unsafe { store(isa, out.add(i * hidden + at), load(isa, row.add(at), n), n) };
            }
        }
    }
}
