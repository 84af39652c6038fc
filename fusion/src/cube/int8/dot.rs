//! The product of four bytes with four others.

use cubecl::prelude::*;

/// `sum + Σ a_i · b_i` over the four signed bytes of each word. NVRTC knows this form as `dp4a`: bytes by shifts of
/// signed words, products added one by one.
#[cube]
pub(super) fn dot_four(a: i32, b: i32, sum: i32) -> i32 {
    let mut total = sum;
    #[unroll]
    for i in 0..4u32 {
        // Up to the sign, then down: an arithmetic shift brings the sign along.
        let up = comptime!((24 - 8 * i) as i32);
        total += ((a << up) >> 24i32) * ((b << up) >> 24i32);
    }
    total
}

/// A number between -127 and 127 as byte `i` of a word whose other bytes are zeros.
#[cube]
pub(super) fn place_byte(value: i32, #[comptime] i: u32) -> i32 {
    (value & 255i32) << comptime!(8 * i as i32)
}
