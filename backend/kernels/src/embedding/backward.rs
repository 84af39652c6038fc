//! The gradient of an embedding: rows added up by id.
//!
//! ```text
//! table[ids[i]] += grad[i]        in the order of i
//! ```
//! Threads share the columns, so each row is one thread's piece by piece: a sum does not depend on their number, ids
//! that come often keep nobody waiting, and rows that nobody names are never touched. A row of a table of zeros is
//! written where it is named first, not read: memory that was never written costs its first page fault alone.

use super::UnknownId;
use crate::rows::{GRAIN, Source, Target, by_dtype, load, share, store};
use crate::simd::{Isa, Kernel};
use crate::{Floats, Launch, Storage};

/// Gradients of embedded rows, `[ids, hidden]`.
#[derive(Debug, Clone, Copy)]
pub struct RowGrads<'a> {
    /// The row of the table that each is of.
    pub ids: &'a [usize],
    /// All elements.
    pub data: Floats<'a>,
    /// Elements of a row.
    pub hidden: usize,
}

/// What is in a table before rows are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Zeros, which need not be read.
    Zeros,
    /// Rows that are added to.
    Rows,
}

/// Adds each row of `grads` to the row of `table`, `[rows, hidden]`, that its id names. Ids are checked before anything
/// is written.
///
/// # Errors
/// [`UnknownId`] for an id that the table has no row for.
///
/// # Panics
/// If the gradients are not `[ids, hidden]`, or the table is no whole number of rows.
pub fn add_rows(launch: Launch, grads: RowGrads<'_>, table: &mut [f32], before: Before) -> Result<(), UnknownId> {
    let RowGrads { ids, data, hidden } = grads;
    let rows = table.len().checked_div(hidden).unwrap_or(0);
    assert_eq!(rows * hidden, table.len(), "whole rows of {hidden}");
    assert_eq!(ids.len() * hidden, data.len(), "elements of {} rows of {hidden}", ids.len());
    if hidden == 0 {
        return Ok(());
    }
    if let Some(&id) = ids.iter().find(|&&id| id >= rows) {
        return Err(UnknownId { id, rows });
    }
    let first = match before {
        Before::Zeros => find_first(ids, rows),
        Before::Rows => vec![false; ids.len()],
    };
    by_dtype!((data: Floats) => scatter(launch, ids, &first, Source::new(data), Target::new(table), hidden));
    Ok(())
}

/// Whether each id is named for the first time.
fn find_first(ids: &[usize], rows: usize) -> Vec<bool> {
    let mut seen = vec![0u64; rows.div_ceil(64)];
    let mut see = |&id: &usize| {
        let (word, bit) = (&mut seen[id / 64], 1 << (id % 64));
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    };
    ids.iter().map(&mut see).collect()
}

/// Rows by id, each id once: a gradient of a table without the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRows {
    /// In rising order.
    ids: Vec<usize>,
    /// For each row that was given: the place of its id.
    places: Vec<usize>,
}

impl NamedRows {
    /// The rows that `ids` name.
    pub fn new(ids: &[usize]) -> Self {
        let mut named = ids.to_vec();
        named.sort_unstable();
        named.dedup();
        let place = |id: &usize| named.partition_point(|named| named < id);
        Self { places: ids.iter().map(place).collect(), ids: named }
    }

    /// Ids in rising order.
    pub fn ids(&self) -> &[usize] {
        &self.ids
    }

    /// The rows of `data`, `[ids given, hidden]`, added up by id: `out` is `[ids, hidden]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn sum(&self, launch: Launch, data: Floats<'_>, hidden: usize, out: &mut [f32]) {
        assert_eq!(self.ids.len() * hidden, out.len(), "elements of {} rows of {hidden}", self.ids.len());
        let grads = RowGrads { ids: &self.places, data, hidden };
        add_rows(launch, grads, out, Before::Zeros).expect("places are of rows that there are");
    }
}

/// `table[ids[i]] += data[i]`, or `=` where `first[i]`.
fn scatter<S: Storage>(
    launch: Launch,
    ids: &[usize],
    first: &[bool],
    data: Source<S>,
    table: Target<f32>,
    hidden: usize,
) {
    share(launch, (size_of::<S>() + 2 * size_of::<f32>()) * data.len()).split(hidden, GRAIN, |own| {
        launch.tier.run(AddRows { ids, first, data, table, hidden, begin: own.start, width: own.len() });
    });
}

/// Columns of one thread.
struct AddRows<'a, S> {
    ids: &'a [usize],
    first: &'a [bool],
    data: Source<S>,
    table: Target<f32>,
    hidden: usize,
    begin: usize,
    width: usize,
}

impl<S: Storage> Kernel for AddRows<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { ids, first, data, table, hidden, begin, width } = self;
        for (i, (&id, &first)) in ids.iter().zip(first).enumerate() {
            let (from, to) = (i * hidden + begin, id * hidden + begin);
            let (from, to) = (data.part(&(from..from + width)), table.part(&(to..to + width)));
            for at in (0..width).step_by(I::LANES) {
                let n = I::LANES.min(width - at);
                // SAFETY: both parts were checked to hold `width` elements, and no other thread has these columns;
                // at + n ≤ width.
                unsafe {
                    let added = load(isa, from.add(at), n);
                    let sum = if first { added } else { isa.add(load(isa, to.add(at), n), added) };
                    store(isa, to.add(at), sum, n);
                }
            }
        }
    }
}
