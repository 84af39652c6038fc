//! Few rows of A as the kernels that stream B want them.

use crate::Storage;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::registers::{load_up_to, store_up_to};
use crate::scratch::{Scratch, round_to_line};
use crate::simd::{Isa, Kernel};

/// Bytes of a cache line.
pub(in crate::gemm) const LINE_BYTES: usize = 64;

/// The rows of A that a kernel multiplies: contiguous f32, `stride` floats apart.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RowPointers {
    pub(in crate::gemm) data: *const f32,
    pub(in crate::gemm) stride: isize,
}

impl RowPointers {
    /// The same from element `p` of the rows on.
    #[inline(always)]
    pub(in crate::gemm) fn at(self, p: usize) -> Self {
        Self { data: self.data.wrapping_add(p), ..self }
    }
}

/// Rows of sums, `stride` floats apart.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct SumPointers {
    pub(in crate::gemm) data: *mut f32,
    pub(in crate::gemm) stride: usize,
}

impl SumPointers {
    /// The same from column `j` on.
    #[inline(always)]
    pub(in crate::gemm) fn at(self, j: usize) -> Self {
        Self { data: self.data.wrapping_add(j), ..self }
    }
}

/// Rows of A as contiguous f32.
#[derive(Debug)]
pub(in crate::gemm) struct LeftRows {
    pub(in crate::gemm) data: *const f32,
    pub(in crate::gemm) stride: isize,
    _copy: Option<Scratch>,
}

impl LeftRows {
    /// The rows from row `i` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(&self, i: usize) -> RowPointers {
        RowPointers { data: self.data.wrapping_offset(i as isize * self.stride), stride: self.stride }
    }

    /// The first `rows` rows of `a`, copied unless they are contiguous f32 already and do not collide in the L1 cache.
    ///
    /// # Safety
    /// `a` is readable for `rows` x `depth`.
    #[inline(always)]
    pub(in crate::gemm) unsafe fn contiguous<I: Isa>(isa: I, a: RawMatrix, rows: usize, depth: usize) -> Self {
        // Rows a multiple of a page apart fall into the same few lines of the L1 cache.
        let collide = rows > 1 && a.row_stride % (4096 / size_of::<f32>() as isize) == 0;
        if let (RawFloats::F32(data), 1, false) = (a.data, a.col_stride, collide) {
            return Self { data, stride: a.row_stride, _copy: None };
        }
        let stride = round_to_line(depth) + LINE_BYTES / size_of::<f32>();
        let mut copy = Scratch::take(rows * stride);
        let out = copy.as_mut_ptr();
        isa.run(CopyRows { a, shape: [rows, depth], out, stride });
        Self { data: out, stride: stride as isize, _copy: Some(copy) }
    }
}

/// Copies rows to contiguous f32. Only [`LeftRows::contiguous`] makes one, by its promise.
#[derive(Debug, Clone, Copy)]
struct CopyRows {
    a: RawMatrix,
    shape: [usize; 2],
    out: *mut f32,
    stride: usize,
}

impl Kernel for CopyRows {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { a: RawMatrix { data, row_stride, col_stride }, shape, out, stride } = self;
        let out = (out, stride);
        // SAFETY: `a` is readable for `rows` x `depth` (`# Safety` of `LeftRows::contiguous`); the buffer has `rows` x
        // `stride` floats.
        unsafe {
            match data {
                RawFloats::F32(data) => copy_rows(isa, (data, row_stride, col_stride), shape, out),
                RawFloats::Bf16(data) => copy_rows(isa, (data, row_stride, col_stride), shape, out),
                RawFloats::F16(data) => copy_rows(isa, (data, row_stride, col_stride), shape, out),
            }
        }
    }
}

/// Copies `rows` x `depth` strided elements to contiguous f32.
///
/// # Safety
/// `data` with its strides is readable for them and `out` writable, rows `stride` floats apart.
#[inline(always)]
unsafe fn copy_rows<I: Isa, S: Storage>(
    isa: I,
    (data, row_stride, col_stride): (*const S, isize, isize),
    [rows, depth]: [usize; 2],
    (out, stride): (*mut f32, usize),
) {
    for i in 0..rows {
        let row = data.wrapping_offset(i as isize * row_stride);
        let mut p = 0;
        while p < depth {
            // SAFETY: the `# Safety` clause of `copy_rows`; no more than the rest of the row is touched.
            unsafe {
                if col_stride == 1 {
                    let n = I::LANES.min(depth - p);
                    store_up_to(isa, out.add(i * stride + p), load_up_to(isa, row.add(p), n), n);
                    p += n;
                } else {
                    out.add(i * stride + p).write(row.offset(p as isize * col_stride).read().to_f32());
                    p += 1;
                }
            }
        }
    }
}
