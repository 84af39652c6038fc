//! Small products: the register tile over strided operands, without packing.

use super::microkernel::{PrefetchHint, TileLeft, TileProduct, TileRight, unpacked_rows};
use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::packing::{SLACK, pack};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::region::{Region, TilePlace};
use crate::impossible::impossible;
use crate::scratch::Scratch;
use crate::simd::{Isa, PANEL};

/// The register tile over a strided A. B is packed only in columns that do not fill a tile, or where it is not
/// contiguous f32 along its rows.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; its A is f32 (`Variant::applies`), and `b` is its B.
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply_unpacked<I: Isa>(isa: I, part: &ProductPart, b: RawMatrix) {
    let Region { row, col, rows, cols } = part.region;
    let nr = I::PANELS * PANEL;
    let whole = matches!(b.data, RawFloats::F32(_)) && b.col_stride == 1;
    // Half a tile is a register.
    let fills = |columns: usize| whole && (columns == nr || columns == I::LANES);
    let buffer_len = if cols.is_multiple_of(nr) && whole || fills(cols % nr) { 0 } else { nr * part.depth + SLACK };
    let mut scratch = (buffer_len > 0).then(|| Scratch::take(buffer_len));
    let prefetch = part.prefetch_distance() > 0;
    for jr in (0..cols).step_by(nr) {
        let columns = nr.min(cols - jr);
        let from = b.from(0, col + jr);
        let (data, depth_stride, next) = match (&mut scratch, from.data) {
            (None, RawFloats::F32(data)) => (data, b.row_stride, I::LANES),
            (Some(_), RawFloats::F32(data)) if fills(columns) => (data, b.row_stride, I::LANES),
            (Some(scratch), _) => {
                let data = scratch.as_mut_ptr();
                // SAFETY: the buffer has `nr` x `depth` floats and slack; B as the `# Safety` clause of
                // `multiply_unpacked` says.
                unsafe {
                    pack(isa, LeftOperand::plain(from.transposed()), [columns, part.depth], PANEL, data);
                }
                (data.cast_const(), PANEL as isize, if I::LANES == PANEL { PANEL * part.depth } else { I::LANES })
            }
            (None, _) => impossible("a right operand of 16 bits without a buffer"),
        };
        let right = TileRight { data: [data, data.wrapping_add(next)], depth_stride };
        let mut ir = 0;
        while ir < rows {
            let tall = unpacked_rows::<I>(rows - ir);
            let RawMatrix { data, row_stride, col_stride } = part.a.matrix.from(row + ir, 0);
            let RawFloats::F32(data) = data else { impossible("a left operand of 16 bits that is not packed") };
            let left = TileLeft { data, row_stride, depth_stride: col_stride };
            let region = Region { row: row + ir, col: col + jr, rows: tall, cols: columns };
            let place = TilePlace::whole(region);
            // SAFETY: `part` is as `ProductPart` says; its A is f32 (`Variant::applies`), and `b` is its B (`# Safety`
            // of `multiply_unpacked`); B is readable for `nr` columns, packed where it has fewer.
            let tile = unsafe { TileProduct::<f32, false>::new(left, right, part.depth, place, &part.store) };
            isa.run(tile.prefetching(prefetch, PrefetchHint::none(right.data[0].cast())));
            ir += tall;
        }
    }
}
