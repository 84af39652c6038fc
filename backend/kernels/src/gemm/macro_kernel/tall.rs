//! Which of the two register tiles of f32 is the faster one on this CPU.
//!
//! Both compute the same sums in the same order, so results don't depend on the choice. A tall tile (28 x 16, see
//! microkernel.rs) has 29 instructions for 28 multiply-adds, every one of which reads memory; the other one (14 x 32)
//! has 44, of which 16 read. Where a core loads two registers a cycle and starts six instructions the loads are the
//! limit, where a hyperthread leaves it three instructions these are. No list of CPUs knows all of that, so both are
//! timed once, on operands that L2 holds and L1 does not, as in a product.

use super::blocked::multiply_blocked;
use super::blocking::{Blocking, Tile};
use super::floats::FloatBlocks;
use super::packed_left::PackedLeft;
use super::part::ProductPart;
use super::store::Store;
use crate::gemm::epilogue::Epilogue;
use crate::gemm::left::LeftOperand;
use crate::gemm::matrix::{Matrix, OutMatrix};
use crate::gemm::raw::RawFloats;
use crate::gemm::region::Region;
use crate::gemm::right::RightOperand;
use crate::simd::{Isa, Kernel, PANEL, Tier};
use crate::{Floats, FloatsMut};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The depth that is timed: two panels of A and two of B are 120 KiB then, and one run takes 3 to 4 µs.
const DEPTH: usize = 512;

/// Runs of each tile, in turn; the fastest counts.
const RUNS: usize = 8;

/// A tall tile must take at most this part of the other's time.
const GAIN: f64 = 0.99;

/// Whether tall tiles multiply on `tier`: they exist there, and were measured to be faster.
fn is_faster(tier: Tier) -> bool {
    // There is one instruction set with tall tiles, so one answer.
    static FASTER: OnceLock<bool> = OnceLock::new();
    if let Ok(v) = std::env::var("KILN_TALL") { return tier.run(HasTall) && v == "1"; }
    tier.run(HasTall) && *FASTER.get_or_init(|| measure(tier))
}

/// Asks an instruction set whether it has tall tiles.
struct HasTall;

impl Kernel for HasTall {
    type Out = bool;

    #[inline(always)]
    fn call<I: Isa>(self, _isa: I) -> bool {
        I::TILE.is_tall()
    }
}

/// Times both tiles.
fn measure(tier: Tier) -> bool {
    let mr = Tile::of(tier).mr;
    let (rows, cols) = (2 * mr, 2 * PANEL);
    let (mut a, b, mut c) = (vec![0.5f32; rows * DEPTH], vec![0.5f32; cols * DEPTH], vec![0.0f32; rows * cols]);
    let (Ok(mut out), Ok(view)) = (
        OutMatrix::row_major(FloatsMut::F32(&mut c), rows, cols),
        Matrix::row_major(Floats::F32(&b), rows, DEPTH),
    ) else {
        return false;
    };
    let left = PackedLeft {
        data: a.as_mut_ptr(),
        first_row: 0,
        panels: 2,
        panel_rows: mr,
        kc: DEPTH,
        strides: [mr * DEPTH; 2],
    };
    let part = ProductPart {
        a: LeftOperand::plain(view.raw()),
        b: RightOperand::Panels(RawFloats::F32(b.as_ptr())),
        left: Some(left),
        depth: DEPTH,
        store: Store::new(&mut out, &Epilogue::default()),
        region: Region { row: 0, col: 0, rows, cols },
        columns: cols,
        blocking: Blocking { mc: rows, kc: DEPTH, nc: cols },
        prefetch: 0,
    };
    let mut best = [Duration::MAX; 2];
    for _ in 0..RUNS {
        for (tall, best) in [false, true].into_iter().zip(&mut best) {
            let began = Instant::now();
            // SAFETY: A is read from its panels, `rows` x `DEPTH`; B has `cols` columns in panels, and the output is
            // `rows` x `cols`.
            tier.run(unsafe { FloatProduct::with_tile(&part, tall) });
            *best = began.elapsed().min(*best);
        }
    }
    if std::env::var("KILN_TALL_PRINT").is_ok() { eprintln!("wide tall {best:?}"); }
    best[1].as_secs_f64() <= GAIN * best[0].as_secs_f64()
}

/// A part of a product in f32 arithmetic, in packed blocks.
pub(in crate::gemm) struct FloatProduct<'a> {
    part: &'a ProductPart,
    tall: bool,
}

impl<'a> FloatProduct<'a> {
    /// By the faster tile.
    ///
    /// # Safety
    /// `part` keeps the promise of a [`ProductPart`] for [`Variant::Blocked`](crate::gemm::Variant) on `tier`.
    pub(in crate::gemm) unsafe fn new(tier: Tier, part: &'a ProductPart) -> Self {
        // SAFETY: the `# Safety` clause of `new`.
        unsafe { Self::with_tile(part, is_faster(tier)) }
    }

    /// By the tall tile, where there is one, or by the other.
    ///
    /// # Safety
    /// As for [`FloatProduct::new`].
    unsafe fn with_tile(part: &'a ProductPart, tall: bool) -> Self {
        Self { part, tall }
    }
}

impl Kernel for FloatProduct<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let tall = self.tall && I::TILE.is_tall();
        // SAFETY: `part` is as `ProductPart` says (`# Safety` of `new`).
        unsafe { multiply_blocked(FloatBlocks { isa, tall }, self.part) }
    }
}
