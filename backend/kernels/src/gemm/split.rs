//! How many threads and parts a product is worth.

use serde::{Deserialize, Serialize};

/// How a product is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Split {
    /// Threads that share it.
    pub threads: usize,
    /// Parts that they take as they come free; about as many, as each holds whole register tiles, and fewer where parts
    /// pack their columns of B.
    pub parts: usize,
}

/// Multiply-adds below which a second thread is not woken: about 20 µs of one AVX2 core, several times what a wake-up
/// takes.
const WORK_PER_THREAD: usize = 1 << 20;

/// Multiply-adds of a part that is worth scheduling where there are more parts than threads: about 0.1 ms of one AVX2
/// core. A thread takes several of them at once but for the last ones, so this is what one thread waits for another.
const WORK_PER_PART: usize = 4 << 20;

/// Parts for each thread at most: one is less than a hundredth of the product.
const PARTS_PER_THREAD: usize = 128;

/// Multiply-adds of a part that packs its columns of B, and the most for each thread.
const WORK_PER_PACKING_PART: usize = 32 << 20;
const PACKING_PARTS_PER_THREAD: usize = 4;

/// Rows and columns of the smallest part that packs its columns of B: a block of A comes from L3 for each part, and the
/// first columns of B wait for it. (512 x 2048 x 2048 and x 6144 on two threads, against parts of 256 columns: parts of
/// 1024 are 1.02 to 1.05 times as fast, f32 and bf16, AVX2 and AVX-512; 512 columns 1.00 to 1.03; from 768 columns on,
/// or with 2048 rows, there is no difference.)
const PACKING_PART: [usize; 2] = [512, 1024];

/// The same where rows are few and memory is what the threads wait for: 1 to 2 MB of B, some 50 µs.
const WORK_PER_GEMV_PART: usize = 4 << 20;

/// The work of a product, or of a batch, which is divided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Multiply-adds of an AVX2 core in the time that the work takes one thread.
    pub(crate) multiply_adds: usize,
    /// Whether the algorithm is one of few rows.
    pub(crate) gemv: bool,
}

/// Rows of A that take as long to multiply as reading B.
const ROWS_OF_A_READ: usize = 8;

impl Work {
    /// Of products `[m, k] · [k, n]`, `outputs` of them, by their multiply-adds alone.
    pub(crate) fn of([m, n, k]: [usize; 3], outputs: usize, gemv: bool) -> Self {
        let multiply_adds = m.max(ROWS_OF_A_READ).saturating_mul(n).saturating_mul(k.max(1)).saturating_mul(outputs);
        Self { multiply_adds, gemv }
    }
}

impl Split {
    /// The same with at most `threads` threads.
    #[must_use]
    pub fn limit(self, threads: usize) -> Self {
        Self { threads: self.threads.min(threads.max(1)), ..self }
    }

    /// The division of `work` among at most `threads` threads. As many parts for each thread, or the last round leaves
    /// threads waiting (three parts for two threads take a third longer).
    pub(crate) fn of(work: Work, threads: usize) -> Self {
        let Work { multiply_adds, gemv } = work;
        let threads = (multiply_adds / WORK_PER_THREAD).clamp(1, threads.max(1));
        if threads == 1 {
            return Self { threads, parts: 1 };
        }
        let (parts, each) = if gemv {
            (multiply_adds / WORK_PER_GEMV_PART, 8)
        } else {
            (multiply_adds / WORK_PER_PART, PARTS_PER_THREAD)
        };
        Self { threads, parts: parts.clamp(threads, each * threads).next_multiple_of(threads) }
    }

    /// The same where parts of `outputs` outputs of `shape` pack their columns of B.
    #[must_use]
    pub(crate) fn of_packing_parts(self, shape: [usize; 2], outputs: usize) -> Self {
        let Self { threads, parts } = self;
        let [down, across] = [0, 1].map(|side| (shape[side] / PACKING_PART[side]).max(1));
        let parts =
            (parts / (WORK_PER_PACKING_PART / WORK_PER_PART)).min(down.saturating_mul(across).saturating_mul(outputs));
        let parts = parts.clamp(threads, PACKING_PARTS_PER_THREAD * threads).next_multiple_of(threads);
        Self { threads, parts }
    }
}
