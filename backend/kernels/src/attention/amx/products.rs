//! The two products, and the weights between them.

use super::keys::KeyTile;
use super::weights::{PAIRS, V, Weights};
use super::{ROWS, STEP, STRIDE, TILE};
use crate::simd::{Avx512Bf16, Bf16Kernel, Isa, Tiles};

/// Scores of 32 keys by a panel, while weights of the 32 before them are computed: `PER` pairs of keys after each
/// product, 0 for none.
pub(super) struct Scores<'a, const PER: usize> {
    tiles: &'a Tiles,
    keys: KeyTile,
    /// The panel's queries and their steps.
    queries: *const f32,
    steps: usize,
    to: *mut f32,
    before: Option<WeightTile>,
}

/// Weights of 32 keys by a panel, of scores that are readable at `from`, to pairs that are writable at `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightTile {
    pub(super) weights: Weights,
    pub(super) from: *const f32,
    pub(super) to: *mut f32,
}

impl<'a, const PER: usize> Scores<'a, PER> {
    /// # Safety
    /// Until it has run: 32 `keys` of `steps` steps and the panel's `queries` are readable, `to` is writable for a tile
    /// of scores; `before` is as [`WeightTile`] asks, and there where `PER` > 0.
    #[inline(always)]
    pub(super) unsafe fn new(
        tiles: &'a Tiles,
        keys: KeyTile,
        (queries, steps): (*const f32, usize),
        to: *mut f32,
        before: Option<WeightTile>,
    ) -> Self {
        Self { tiles, keys, queries, steps, to, before }
    }
}

impl<const PER: usize> Bf16Kernel for Scores<'_, PER> {
    /// Sums of the weights.
    type Out = [V; 2];

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) -> [V; 2] {
        let Self { tiles, keys: KeyTile { data, stride, step, half }, queries, steps, to, before } = self;
        let zero = isa.base().splat(0.0);
        let nothing = Weights { factor: zero, minus_shift: [zero; 2], sums: [zero; 2] };
        let nothing = WeightTile { weights: nothing, from: core::ptr::null(), to: core::ptr::null_mut() };
        // Without one `PER` is 0.
        let (mut before, mut pair) = (before.unwrap_or(nothing), 0);
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        // SAFETY: by the `# Safety` clause of `Scores::new`.
        unsafe {
            for s in 0..steps {
                let (k, q) = (data.add(s * step), queries.add(s * STEP / 2 * ROWS).cast::<u8>());
                tiles.load::<6>(q, STRIDE);
                tiles.load_streamed::<4>(k, stride);
                tiles.dot::<0, 4, 6>();
                before.advance(isa, &mut pair, PER);
                tiles.load::<7>(q.add(64), STRIDE);
                tiles.dot::<1, 4, 7>();
                before.advance(isa, &mut pair, PER);
                tiles.load_streamed::<5>(k.add(half), stride);
                tiles.dot::<2, 5, 6>();
                before.advance(isa, &mut pair, PER);
                tiles.dot::<3, 5, 7>();
                before.advance(isa, &mut pair, PER);
            }
            if PER > 0 {
                before.advance(isa, &mut pair, PAIRS);
            }
            store_four(tiles, to);
        }
        before.weights.sums
    }
}

impl WeightTile {
    /// Up to `pairs` more of the weights, from `pair` on.
    ///
    /// # Safety
    /// Scores and weights are as [`WeightTile`] asks, for `pairs` > 0.
    #[inline(always)]
    unsafe fn advance(&mut self, isa: Avx512Bf16, pair: &mut usize, pairs: usize) {
        for _ in 0..pairs {
            if *pair < PAIRS {
                // SAFETY: a pair of the tile (`# Safety` of `WeightTile::advance`).
                unsafe { self.weights.pair(isa, self.from, self.to, *pair) };
                *pair += 1;
            }
        }
    }
}

impl Bf16Kernel for WeightTile {
    /// Sums of the weights.
    type Out = [V; 2];

    #[inline(always)]
    fn call(mut self, isa: Avx512Bf16) -> [V; 2] {
        for pair in 0..PAIRS {
            // SAFETY: whoever made it promises a tile of scores and one of weights.
            unsafe { self.weights.pair(isa, self.from, self.to, pair) };
        }
        self.weights.sums
    }
}

/// `Oᵀ += Vᵀ·Pᵀ` of a panel.
pub(super) struct Sums<'a> {
    pub(super) tiles: &'a Tiles,
    /// Tiles of V of the first 32 keys and 16 columns, and floats from 16 columns to the next.
    pub(super) values: *const f32,
    pub(super) columns_stride: usize,
    pub(super) weights: *const f32,
    /// Steps of 32 keys.
    pub(super) steps: usize,
    pub(super) out: *mut f32,
    /// Tiles of 16 columns.
    pub(super) columns: usize,
    /// Whether there were no sums before.
    pub(super) fresh: bool,
}

impl Bf16Kernel for Sums<'_> {
    type Out = ();

    #[inline(always)]
    fn call(self, _isa: Avx512Bf16) {
        let Self { tiles, values, columns_stride, weights, steps, out, columns, fresh } = self;
        for column in (0..columns).step_by(2) {
            let out = out.wrapping_add(column * 16 * ROWS);
            let (v, both) = (values.wrapping_add(column * columns_stride), column + 1 < columns);
            let beside = v.wrapping_add(if both { columns_stride } else { 0 });
            // SAFETY: whoever made it promises its operands; a second tile of columns is only touched where it exists.
            unsafe {
                if fresh {
                    tiles.zero::<0>();
                    tiles.zero::<1>();
                    tiles.zero::<2>();
                    tiles.zero::<3>();
                } else {
                    tiles.load::<0>(out.cast(), STRIDE);
                    tiles.load::<1>(out.add(16).cast(), STRIDE);
                    if both {
                        tiles.load::<2>(out.add(2 * TILE).cast(), STRIDE);
                        tiles.load::<3>(out.add(2 * TILE + 16).cast(), STRIDE);
                    }
                }
                for s in 0..steps {
                    let p = weights.add(s * PAIRS * ROWS);
                    tiles.load::<6>(p.cast(), STRIDE);
                    tiles.load_streamed::<4>(v.add(s * TILE).cast(), 64);
                    tiles.dot::<0, 4, 6>();
                    tiles.load::<7>(p.add(16).cast(), STRIDE);
                    tiles.dot::<1, 4, 7>();
                    if both {
                        tiles.load_streamed::<5>(beside.add(s * TILE).cast(), 64);
                        tiles.dot::<2, 5, 6>();
                        tiles.dot::<3, 5, 7>();
                    }
                }
                if both {
                    store_four(tiles, out);
                } else {
                    tiles.store::<0>(out.cast(), STRIDE);
                    tiles.store::<1>(out.add(16).cast(), STRIDE);
                }
            }
        }
    }
}

/// Stores the accumulators as `[32][32]` floats.
///
/// # Safety
/// `to` is writable for them.
#[inline(always)]
unsafe fn store_four(tiles: &Tiles, to: *mut f32) {
    // SAFETY: the `# Safety` clause of `store_four`.
    unsafe {
        tiles.store::<0>(to.cast(), STRIDE);
        tiles.store::<1>(to.add(16).cast(), STRIDE);
        tiles.store::<2>(to.add(2 * TILE).cast(), STRIDE);
        tiles.store::<3>(to.add(2 * TILE + 16).cast(), STRIDE);
    }
}
