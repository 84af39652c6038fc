//! Which algorithm a product runs.

use crate::config::KernelConfig;
use crate::gemm::macro_kernel::blocking::Blocking;
use crate::gemm::matrix::Matrix;
use crate::simd::{PANEL, Tier};
use crate::{ElementType, Launch};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The algorithms of a product `[m, k] · [k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Few rows against B whose columns are contiguous (a weight `[n, k]`): dot products (gemv/dots.rs).
    Dot,
    /// Few rows against B whose rows are contiguous: B is streamed row by row into the output (gemv/axpy.rs).
    Axpy,
    /// Packing would not pay: the register tile reads a strided A, and B too if its rows are contiguous f32.
    Unpacked,
    /// Packed blocks.
    Blocked,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dot => "dot products",
            Self::Axpy => "rows of B",
            Self::Unpacked => "tiles of strided operands",
            Self::Blocked => "packed blocks",
        })
    }
}

/// How a product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Instruction set and threads.
    pub launch: Launch,
    /// Block sizes of [`Variant::Blocked`].
    pub blocking: Blocking,
    /// How far ahead of its use a line of B is prefetched in a product of few rows, bytes. Register tiles prefetch the
    /// columns after theirs, and the output before they store, at distances that follow from the blocks. 0 leaves all
    /// of it to the hardware.
    pub prefetch: usize,
    /// Whether an f32 A may be rounded to bf16 against a bf16 B, where the tier multiplies bf16: twice the rate and
    /// more, for a relative error of up to 2⁻⁸ an element. It is, but for few rows ([`Plan::rounds`]).
    pub bf16_activations: bool,
    /// The algorithm; `None` chooses one by shape. One that does not apply to the operands is replaced by a choice.
    pub variant: Option<Variant>,
}

impl From<Launch> for Plan {
    /// Block sizes for this machine, the algorithm by shape; nothing is rounded.
    fn from(launch: Launch) -> Self {
        let blocking = Blocking::detect(launch);
        Self { launch, blocking, prefetch: PREFETCH_BYTES, bf16_activations: false, variant: None }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Launch::default().into()
    }
}

impl From<&KernelConfig> for Plan {
    /// What a configuration sets, the rest for this machine.
    fn from(config: &KernelConfig) -> Self {
        let plan = Self::from(Launch::from(config));
        let prefetch = if config.prefetch.enabled { config.prefetch.distance.unwrap_or(PREFETCH_BYTES) } else { 0 };
        let (blocking, bf16_activations) = (plan.blocking.with(&config.tiling), config.simd.bf16_activations);
        Self { blocking, prefetch, bf16_activations, ..plan }
    }
}

/// Bytes ahead at which a packed weight that comes from memory streams at the speed of plain reading, whatever the rows
/// of A (1 to 8 rows, f32 and bf16; without, 4 rows run at 65 % of it and 8 rows at half, as the hardware looks no
/// further than the next page).
pub const PREFETCH_BYTES: usize = 8192;

/// Up to this many rows of A, B is read once and not packed: packing writes and reads B once more, which that many rows
/// of arithmetic do not pay for. (At 16 rows of a 2048 x 2048 weight that is in the L3 cache: 116 against 87 GFLOP/s on
/// AVX-512 and 68 against 58 on AVX2; packed, 130 against 82 and 80 against 66.)
pub const GEMV_ROWS: usize = 16;

/// Rows and columns, and depth, up to which both operands are in the L1 or L2 cache and packing takes a good part of
/// the time of multiplying. (Without packing against with it, one thread: AVX2 24³ 1.5, 48³ 1.25, 96³ 1.1, 64 x 64 x
/// 256 1.15, 128³ 1.07; AVX-512 32³ 1.2 to 1.5, 48³ 0.9 to 1.06, 64³ 1.0, 80³ 0.9.)
fn unpacked_sizes(tier: Tier) -> [usize; 2] {
    match tier {
        Tier::Portable => [64, 64],
        Tier::Avx2 => [128, 256],
        _ => [32, 32],
    }
}

/// Up to this many columns of B, an element of A is used too seldom to be packed: two register tiles of AVX2, one of
/// AVX-512. (1000 x 30 x 500: 1.3 to 1.4 of the speed with packing on both.)
const UNPACKED_COLS: usize = 32;

/// The depth up to which those columns of B stay in the L2 cache beside A.
const UNPACKED_DEPTH: usize = 704;

/// What the algorithm of a product is chosen by: sizes, types and layout of its operands, without their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductOperands {
    /// Rows of A, columns of B, depth.
    pub shape: [usize; 3],
    /// Element type of A.
    pub a: ElementType,
    /// Element type of B.
    pub b: ElementType,
    /// Row and column strides of B; `None` where it is in packed panels.
    pub b_strides: Option<[isize; 2]>,
}

impl ProductOperands {
    /// Of two matrices.
    pub fn of(a: &Matrix<'_>, b: &Matrix<'_>) -> Self {
        let shape = [a.rows(), b.cols(), a.cols()];
        Self { shape, a: a.data().dtype(), b: b.data().dtype(), b_strides: Some(b.strides()) }
    }
}

impl Variant {
    /// Whether this algorithm can multiply these operands. Panels are those of dot products or of packed blocks.
    pub fn applies(self, operands: &ProductOperands) -> bool {
        let few = operands.shape[0] <= GEMV_ROWS;
        match (self, operands.b_strides) {
            (Self::Dot, strides) => few && strides.is_none_or(|[row, _]| row == 1),
            (Self::Axpy, strides) => few && strides.is_some_and(|[_, col]| col == 1),
            (Self::Unpacked, strides) => operands.a == ElementType::F32 && strides.is_some(),
            (Self::Blocked, _) => true,
        }
    }

    /// The algorithm by shape and strides, on `tier`.
    pub fn choose(tier: Tier, operands: &ProductOperands) -> Self {
        let [m, n, k] = operands.shape;
        let in_place = operands.b == ElementType::F32 && operands.b_strides.is_some_and(|[_, col]| col == 1);
        let [most, deepest] = unpacked_sizes(tier);
        let small = m <= most && n <= most && k <= deepest;
        let narrow = n <= UNPACKED_COLS && k <= UNPACKED_DEPTH;
        let by_preference = [
            // Less than a tile is left to the algorithms for few rows.
            (Self::Unpacked, m >= 4 && n >= PANEL && small && in_place),
            (Self::Dot, true),
            (Self::Axpy, true),
            (Self::Unpacked, narrow || (small && in_place)),
        ];
        by_preference
            .into_iter()
            .find(|&(variant, wanted)| wanted && variant.applies(operands))
            .map_or(Self::Blocked, |(variant, _)| variant)
    }
}

impl Plan {
    /// The algorithm that runs these operands.
    pub fn choose_variant(&self, operands: &ProductOperands) -> Variant {
        match (self.variant, operands.b_strides) {
            (Some(variant), Some(_)) if variant.applies(operands) => variant,
            (Some(Variant::Blocked), None) => Variant::Blocked,
            _ => Variant::choose(self.launch.tier, operands),
        }
    }

    /// Whether `[m, n]` of two views is computed as its transpose, if its elements lie beside each other and nothing
    /// happens before their store.
    pub fn turns(&self, [m, n]: [usize; 2]) -> bool {
        n == 1 && m > 1 && self.variant.is_none()
    }

    /// Threads that share a product of `[m, n, k]`.
    pub fn choose_threads(&self, shape: [usize; 3]) -> usize {
        choose_threads(self.launch.threads, weigh(shape))
    }
}

/// Multiply-adds that a product of `[m, n, k]` takes as long as: reading B takes as long as multiplying it by several
/// rows.
pub(in crate::gemm) fn weigh([m, n, k]: [usize; 3]) -> usize {
    m.max(8).saturating_mul(n).saturating_mul(k.max(1))
}

/// Multiply-adds below which a second thread is not woken: about 20 µs of one AVX2 core, several times what a wake-up
/// takes.
const WORK_PER_THREAD: usize = 1 << 20;

/// Multiply-adds of a part that is worth its own turn where there are more parts than threads (so that a thread that is
/// held up does less): about 1 ms of one AVX2 core.
const WORK_PER_PART: usize = 32 << 20;

/// How many threads share `work` multiply-adds, at most `threads`.
pub(crate) fn choose_threads(threads: usize, work: usize) -> usize {
    (work / WORK_PER_THREAD).clamp(1, threads.max(1))
}

/// Rows and columns of the smallest part that is worth a turn: a block of A comes from L3 for each part, and the first
/// columns of B wait for it. (512 x 2048 x 2048 and x 6144 on two threads, against parts of 256 columns: parts of 1024
/// are 1.02 to 1.05 times as fast, f32 and bf16, AVX2 and AVX-512; 512 columns 1.00 to 1.03; from 768 columns on, or
/// with 2048 rows, there is no difference.)
const PART_SHAPE: [usize; 2] = [512, 1024];

/// The same where rows are few and memory is what the threads wait for: 1 to 2 MB of B, some 50 µs.
const WORK_PER_GEMV_PART: usize = 4 << 20;

/// The work of a product, or of a batch, which is cut into parts.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct PartedWork {
    /// Threads that share it.
    pub(in crate::gemm) threads: usize,
    /// Multiply-adds.
    pub(in crate::gemm) work: usize,
    /// Rows and columns of each output.
    pub(in crate::gemm) shape: [usize; 2],
    /// Outputs.
    pub(in crate::gemm) outputs: usize,
    /// Whether the algorithm is one of few rows.
    pub(in crate::gemm) gemv: bool,
}

/// How many parts work is cut into: the same number for each thread, or the last turn leaves threads waiting (three
/// parts for two threads take a third longer).
pub(in crate::gemm) fn choose_parts(work: PartedWork) -> usize {
    let PartedWork { threads, work, shape, outputs, gemv } = work;
    if threads <= 1 {
        return 1;
    }
    let (parts, turns) = if gemv {
        (work / WORK_PER_GEMV_PART, 8)
    } else {
        let [down, across] = [0, 1].map(|side| (shape[side] / PART_SHAPE[side]).max(1));
        ((work / WORK_PER_PART).min(down.saturating_mul(across).saturating_mul(outputs)), 4)
    };
    parts.clamp(threads, turns * threads).next_multiple_of(threads)
}
