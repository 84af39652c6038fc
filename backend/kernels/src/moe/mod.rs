//! A mixture of gated MLPs (Shazeer et al. 2017, "Outrageously large neural networks"; the experts as in Shazeer 2020).
//!
//! ```text
//! slots = (token, rank) of each chosen expert, grouped by expert                  routing.rs
//! in parallel: experts and parts of their columns                                 parts.rs
//!     H[slots of e][part] = silu(X[slots of e] · gate_e[.., part]) ⊙ (X[slots of e] · up_e[.., part])
//! in parallel: experts and parts of their columns
//!     Y[slots of e][part] = H[slots of e] · down_e[.., part]
//! out[token] = Σ over ranks, in their order: weight[slot] · Y[slot]               combine.rs
//! ```
//!
//! - The experts' matrices, `[k, n]` row-major in any float type, are read in their own layout, each column once: few
//!   slots stream them row by row, more slots pack blocks of them (the two algorithms of [`super::gemm`] for such
//!   operands).
//! - Sums do not depend on how columns are divided, so results do not depend on the number of threads.
//! - Buffers between the phases come from the pool. X is read in place for an expert with one slot, and else copied
//!   to where Y will be: rows of an expert are contiguous.

mod backward;
mod combine;
mod parts;
mod routing;

pub use backward::{ExpertGradients, MoeGradients, moe_backward};

use super::elementwise::silu_mul_in_place;
use super::gemm::{Epilogue, GEMV_ROWS, Matrix, OutMatrix, Plan, Variant};
use super::rows::Target;
use super::{Floats, FloatsMut, gemm};
use crate::memory::PooledBytes;
use combine::combine;
use parts::{Item, Parts};
use routing::{Group, Routing};

/// The matrices of all experts.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    /// `[experts, hidden, 2 · intermediate]`: gate in the first half of the last dimension, up in the second.
    pub gate_up: Floats<'a>,
    /// `[experts, intermediate, hidden]`.
    pub down: Floats<'a>,
    /// Number of experts.
    pub count: usize,
    /// Length of a token's row.
    pub hidden: usize,
    /// Length of a hidden row.
    pub intermediate: usize,
}

/// Which experts a token goes to.
#[derive(Debug, Clone, Copy)]
pub struct Gates<'a> {
    /// Of each token and expert, `[tokens, experts]`. The largest are chosen, of equal ones the first.
    pub probabilities: &'a [f32],
    /// Experts of a token, at least 1.
    pub top_k: usize,
    /// Whether the chosen probabilities are divided by their sum.
    pub normalize: bool,
}

/// `out[t] = Σ p_e · down_e(silu(gate_e(x[t])) ⊙ up_e(x[t]))` over the chosen experts of each token; `x` and `out`
/// `[tokens, hidden]`.
///
/// `6 · tokens · top_k · hidden · intermediate` FLOP. Arithmetic is f32.
///
/// # Panics
/// If lengths do not fit, or there are fewer experts than a token goes to.
pub fn moe(plan: &Plan, x: &[f32], gates: Gates<'_>, experts: &Experts<'_>, out: &mut [f32]) {
    let Experts { count, hidden, intermediate, .. } = *experts;
    let tokens = x.len().checked_div(hidden).unwrap_or(0);
    assert_eq!([x.len(), out.len()], [tokens * hidden; 2], "elements of tokens of {hidden}");
    assert_eq!(gates.probabilities.len(), tokens * count, "a probability a token and expert");
    assert_eq!(experts.gate_up.len(), 2 * count * hidden * intermediate, "elements of gate and up");
    assert_eq!(experts.down.len(), count * hidden * intermediate, "elements of down");
    assert!((1..=count).contains(&gates.top_k), "a token cannot go to {} of {count} experts", gates.top_k);
    if tokens == 0 {
        return;
    }
    let routing = Routing::choose(gates, count);
    let slots = tokens * gates.top_k;
    let mut hidden_rows = PooledBytes::take(slots * intermediate * size_of::<f32>());
    let mut rows = PooledBytes::take(slots * hidden * size_of::<f32>());
    let mixture = Mixture {
        plan,
        x,
        experts,
        routing: &routing,
        middle: Target::new(bytemuck::cast_slice_mut(hidden_rows.as_mut_slice())),
        rows: Target::new(bytemuck::cast_slice_mut(rows.as_mut_slice())),
    };
    mixture.gather();
    mixture.for_items([hidden, intermediate], 2, |item, group| mixture.widen(item, group));
    mixture.for_items([intermediate, hidden], 1, |item, group| mixture.narrow(item, group));
    combine(plan.launch, bytemuck::cast_slice(rows.as_slice()), &routing, gates.top_k, out);
}

/// A checked mixture and the memory between its phases.
struct Mixture<'a> {
    plan: &'a Plan,
    x: &'a [f32],
    experts: &'a Experts<'a>,
    routing: &'a Routing,
    /// `[slots, intermediate]`, grouped by expert.
    middle: Target<f32>,
    /// `[slots, hidden]`, grouped by expert: X, then Y.
    rows: Target<f32>,
}

/// Bytes of rows that a thread copies at the least.
const BYTES_PER_COPY: usize = 1 << 18;

impl Mixture<'_> {
    /// Copies the rows of experts with several slots to beside each other.
    fn gather(&self) {
        let (routing, hidden) = (self.routing, self.experts.hidden);
        let launch = self.plan.launch.limit(routing.slots.len() * hidden * size_of::<f32>() / BYTES_PER_COPY);
        launch.split(routing.groups.len(), 1, |groups| {
            for group in routing.groups[groups].iter().filter(|group| group.slots.len() > 1) {
                for place in group.slots.clone() {
                    let row = self.token(place);
                    let to = self.rows.part(&(place * hidden..(place + 1) * hidden));
                    // SAFETY: the part was checked to hold a row, and no other thread has this group.
                    unsafe { core::ptr::copy_nonoverlapping(row.as_ptr(), to, hidden) };
                }
            }
        });
    }

    /// The token's row of the slot at `place`.
    fn token(&self, place: usize) -> &[f32] {
        let hidden = self.experts.hidden;
        let token = self.routing.slots[place] / self.routing.top_k;
        &self.x[token * hidden..(token + 1) * hidden]
    }

    /// Runs `work` for parts of about equal work of all products `[slots of an expert, k] · [k, n]`, `products` of them
    /// at a time.
    fn for_items(&self, [k, n]: [usize; 2], products: usize, work: impl Fn(&Item, &Group) + Sync) {
        let parts = Parts::divide(self.plan.launch, &self.routing.groups, [k * products, n]);
        parts.run(|item| work(item, &self.routing.groups[item.group]));
    }

    /// Products of one thread, by an algorithm that depends on the number of slots alone.
    fn plan_for(&self, slots: usize) -> Plan {
        let variant = if slots <= GEMV_ROWS { Variant::Axpy } else { Variant::Blocked };
        Plan { launch: self.plan.launch.limit(1), variant: Some(variant), ..*self.plan }
    }

    /// `H[slots][cols]`.
    fn widen(&self, item: &Item, group: &Group) {
        let Experts { gate_up, hidden, intermediate, .. } = *self.experts;
        let (slots, cols) = (group.slots.len(), item.cols.len());
        let x = match slots {
            1 => self.token(group.slots.start),
            _ => read(self.rows, group.slots.start * hidden, slots * hidden),
        };
        let mut tiles = PooledBytes::take(2 * slots * cols * size_of::<f32>());
        let (gate, up) = bytemuck::cast_slice_mut(tiles.as_mut_slice()).split_at_mut(slots * cols);
        let first = group.expert * hidden * 2 * intermediate + item.cols.start;
        let b = View { data: gate_up, width: 2 * intermediate, shape: [hidden, cols] };
        self.multiply(x, b.at(first), gate);
        self.multiply(x, b.at(first + intermediate), up);
        silu_mul_in_place(self.plan.launch.limit(1), FloatsMut::F32(gate), Floats::F32(up));
        self.scatter(gate, GroupedRows { to: self.middle, width: intermediate }, item, group);
    }

    /// `Y[slots][cols]`.
    fn narrow(&self, item: &Item, group: &Group) {
        let Experts { down, hidden, intermediate, .. } = *self.experts;
        let (slots, cols) = (group.slots.len(), item.cols.len());
        let x = read(self.middle, group.slots.start * intermediate, slots * intermediate);
        let mut tile = PooledBytes::take(slots * cols * size_of::<f32>());
        let tile: &mut [f32] = bytemuck::cast_slice_mut(tile.as_mut_slice());
        let b = View { data: down, width: hidden, shape: [intermediate, cols] };
        self.multiply(x, b.at(group.expert * intermediate * hidden + item.cols.start), tile);
        self.scatter(tile, GroupedRows { to: self.rows, width: hidden }, item, group);
    }

    /// `out = x · b`.
    fn multiply(&self, x: &[f32], b: Matrix<'_>, out: &mut [f32]) {
        let (k, n) = (b.rows(), b.cols());
        let slots = out.len() / n;
        let operands = Matrix::row_major(Floats::F32(x), slots, k).and_then(|a| {
            let mut out = OutMatrix::row_major(FloatsMut::F32(out), slots, n)?;
            gemm::gemm(&self.plan_for(slots), &a, &b, &mut out, &Epilogue::default())
        });
        operands.expect("rows and experts were checked");
    }

    /// Copies a tile of `cols` to the rows of its group.
    fn scatter(&self, tile: &[f32], to: GroupedRows, item: &Item, group: &Group) {
        let GroupedRows { to, width } = to;
        let cols = item.cols.len();
        for (row, place) in tile.chunks_exact(cols).zip(group.slots.clone()) {
            let start = place * width + item.cols.start;
            let to = to.part(&(start..start + cols));
            // SAFETY: the part was checked to hold the columns, and no other thread has these columns of this group.
            unsafe { core::ptr::copy_nonoverlapping(row.as_ptr(), to, cols) };
        }
    }
}

/// Rows `[slots, width]`, grouped by expert.
#[derive(Clone, Copy)]
struct GroupedRows {
    to: Target<f32>,
    width: usize,
}

/// Part of a stack of matrices whose rows are `width` apart.
#[derive(Clone, Copy)]
struct View<'a> {
    data: Floats<'a>,
    width: usize,
    shape: [usize; 2],
}

impl<'a> View<'a> {
    /// The matrix whose first element is `first`.
    fn at(self, first: usize) -> Matrix<'a> {
        Matrix::new(self.data, first, self.shape, [self.width as isize, 1]).expect("the experts were checked")
    }
}

/// `len` floats that an earlier phase wrote.
fn read<'a>(from: Target<f32>, start: usize, len: usize) -> &'a [f32] {
    let part = from.part(&(start..start + len));
    // SAFETY: the part was checked; no thread writes what this phase reads, and the memory outlives the phases.
    unsafe { core::slice::from_raw_parts(part, len) }
}
