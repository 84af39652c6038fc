//! Packing: a block of a strided matrix becomes panels that the register tile reads from end to end.
//!
//! A and B are packed by one function. A panel holds `width` vectors side by side, `[depth][width]`: rows of A (`width
//! = mr`) or columns of B (`width = PANEL`), element `p` of each vector next to those of the others, as the tile
//! consumes them. Vectors beyond the matrix are 0, so that tiles at the edge are whole; what they compute for those is
//! not stored. Storage types become f32 here.
//!
//! Three ways through memory, by which stride is 1:
//!
//! ```text
//! across vectors (A transposed, B row-major)   copy `width` elements, step along the depth
//! along the depth (A row-major, B transposed)  load LANES of the depth of LANES vectors, transpose in registers
//! neither                                      element by element
//! ```
//!
//! A norm of the rows of A is applied on the second way, before the transpose (left.rs).

use crate::Storage;
use crate::gemm::left::{LeftOperand, RowScales};
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::registers::load_up_to;
use crate::simd::{Isa, Kernel, PANEL};

/// Vectors of a matrix that become panels: vector `i` is `i · lane_stride` from the start, and its element `p` another
/// `p · depth_stride`.
#[derive(Debug, Clone, Copy)]
struct Strip<S> {
    data: *const S,
    lane_stride: isize,
    depth_stride: isize,
    lanes: usize,
    depth: usize,
    scales: Option<RowScales>,
}

/// Floats that packing may write beyond the last panel: whole registers are stored, and the next store overwrites the
/// excess.
pub(in crate::gemm) const SLACK: usize = 16;

/// Packs the first `lanes` rows of `from`, to a depth of `depth` columns, into panels of `width` rows. (B is packed as
/// the rows of its transpose.) A function of its own, as tiles are: it is called once a block.
///
/// # Safety
/// `from` is readable for `lanes` x `depth`, and where it has scales its rows are contiguous f32 and measured; `out` is
/// writable for `ceil(lanes / width) · width · depth + SLACK` floats.
#[inline(always)]
pub(in crate::gemm) unsafe fn pack<I: Isa>(isa: I, from: LeftOperand, shape: [usize; 2], width: usize, out: *mut f32) {
    isa.run(Pack { from, shape, width, out });
}

/// The arguments of [`pack`].
#[derive(Debug, Clone, Copy)]
struct Pack {
    from: LeftOperand,
    shape: [usize; 2],
    width: usize,
    out: *mut f32,
}

impl Kernel for Pack {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { from: LeftOperand { matrix, scales }, shape: [lanes, depth], width, out } = self;
        let RawMatrix { data, row_stride, col_stride } = matrix;
        let (lane_stride, depth_stride) = (row_stride, col_stride);
        // Only two widths occur; as constants they unroll the loops over a panel.
        let width = if width == PANEL { PANEL } else { I::MR };
        // SAFETY: `from` is readable for `lanes` x `depth`, and where it has scales its rows are contiguous f32 and
        // measured (`# Safety` of `pack`, the only one to make a `Pack`).
        unsafe {
            match data {
                RawFloats::F32(data) => {
                    pack_as(isa, Strip { data, lane_stride, depth_stride, lanes, depth, scales }, width, out);
                }
                RawFloats::Bf16(data) => {
                    pack_as(isa, Strip { data, lane_stride, depth_stride, lanes, depth, scales }, width, out);
                }
                RawFloats::F16(data) => {
                    pack_as(isa, Strip { data, lane_stride, depth_stride, lanes, depth, scales }, width, out);
                }
            }
        }
    }
}

/// [`pack`] for one element type.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn pack_as<I: Isa, S: Storage>(isa: I, strip: Strip<S>, width: usize, out: *mut f32) {
    let mut lane = 0;
    while lane < strip.lanes {
        let panel = Strip {
            data: strip.data.wrapping_offset(lane as isize * strip.lane_stride),
            lanes: width.min(strip.lanes - lane),
            scales: strip.scales.map(|scales| scales.from(lane, 0)),
            ..strip
        };
        // SAFETY: by the `# Safety` clause of `pack`, panel `lane / width` begins `lane · depth` floats into `out`, and
        // it has `lanes` vectors.
        unsafe {
            let out = out.add(lane * strip.depth);
            if panel.scales.is_some() {
                transpose_panel::<I, S, true>(isa, panel, width, out);
            } else if strip.lane_stride == 1 {
                copy_panel(isa, panel, width, out);
            } else if strip.depth_stride == 1 && 2 * width > I::LANES {
                transpose_panel::<I, S, false>(isa, panel, width, out);
            } else {
                gather_panel(panel, width, out);
            }
        }
        lane += width;
    }
}

/// One panel of adjacent vectors.
///
/// # Safety
/// `panel` is readable; `out` is writable for `width · depth + SLACK` floats.
#[inline(always)]
unsafe fn copy_panel<I: Isa, S: Storage>(isa: I, panel: Strip<S>, width: usize, out: *mut f32) {
    for p in 0..panel.depth {
        let row = panel.data.wrapping_offset(p as isize * panel.depth_stride);
        let mut lane = 0;
        while lane < width {
            // SAFETY: `panel` is readable; `out` is writable for `width · depth + SLACK` floats (`# Safety` of
            // `copy_panel`); no more elements are loaded than there are vectors. The store ends within the slack.
            unsafe {
                let have = panel.lanes.saturating_sub(lane).min(I::LANES).min(width - lane);
                let v = if have == 0 { isa.splat(0.0) } else { load_up_to(isa, row.add(lane), have) };
                isa.store(out.add(p * width + lane), v);
            }
            lane += I::LANES;
        }
    }
}

/// One panel whose vectors are contiguous along the depth. With `SCALED` they are normalised.
///
/// # Safety
/// As for [`copy_panel`].
#[inline(always)]
unsafe fn transpose_panel<I: Isa, S: Storage, const SCALED: bool>(
    isa: I,
    panel: Strip<S>,
    width: usize,
    out: *mut f32,
) {
    let mut p = 0;
    while p < panel.depth {
        let have = I::LANES.min(panel.depth - p);
        let mut lane = 0;
        while lane < width {
            let mut square = [isa.splat(0.0); 16];
            for (i, row) in square.iter_mut().enumerate().take(I::LANES.min(width)) {
                if lane + i < panel.lanes {
                    let from = panel.data.wrapping_offset((lane + i) as isize * panel.lane_stride).wrapping_add(p);
                    // SAFETY: by the `# Safety` clause of `copy_panel`, `have` elements of an existing vector, measured
                    // if it has scales.
                    unsafe {
                        *row = load_up_to(isa, from, have);
                        if SCALED && let Some(scales) = panel.scales {
                            *row = scales.apply(isa, *row, (lane + i, p), have);
                        }
                    }
                }
            }
            isa.transpose(&mut square);
            // Ascending: what a store writes past its row is overwritten by the next one.
            for (t, &row) in square.iter().enumerate().take(have) {
                // SAFETY: `panel` is readable; `out` is writable for `width · depth + SLACK` floats (`# Safety` of
                // `copy_panel`); the last store ends within the slack.
                unsafe { isa.store(out.add((p + t) * width + lane), row) };
            }
            lane += I::LANES;
        }
        p += I::LANES;
    }
}

/// One panel with any strides.
///
/// # Safety
/// As for [`copy_panel`].
#[inline(always)]
unsafe fn gather_panel<S: Storage>(panel: Strip<S>, width: usize, out: *mut f32) {
    for p in 0..panel.depth {
        for lane in 0..width {
            let by = lane as isize * panel.lane_stride + p as isize * panel.depth_stride;
            // SAFETY: `panel` is readable; `out` is writable for `width · depth + SLACK` floats (`# Safety` of
            // `copy_panel`); only existing vectors are read.
            unsafe {
                let x = if lane < panel.lanes { panel.data.wrapping_offset(by).read().to_f32() } else { 0.0 };
                out.add(p * width + lane).write(x);
            }
        }
    }
}
