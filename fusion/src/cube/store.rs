//! From the f32 that kernels compute in to the type that a buffer stores, rounded to nearest, ties to even.
//!
//! Kernels store through [`round_store`] or [`round_scalar`], never by a cast of their own, for the rounding of a cast
//! belongs to the route that a kernel takes to the device:
//!
//! - **bf16**: CUDA's conversion rounds to nearest even, that of a Vulkan driver may cut off the lower half (NVIDIA's
//!   was seen to, on an H100). So the f32 is rounded here, by integer arithmetic on its bits, to one whose lower half
//!   is zero. Such a number is a bf16 already: every conversion gives it back unchanged.
//! - **f16**: left to the conversion. CUDA's rounds to nearest even. CubeCL writes SPIR-V's `OpFConvert` without a
//!   rounding mode, which leaves the choice between both neighbours to the driver (Vulkan specification, appendix
//!   "Vulkan Environment for SPIR-V", section "Precision and Operation of SPIR-V Instructions"). The drivers seen so
//!   far, lavapipe and NVIDIA's, round to nearest; the tests compare every f16 with the conversion of the `half` crate,
//!   so a driver that cuts off fails them. To round here, with overflow and with subnormal f16s, whose last place is at
//!   no fixed bit of the f32, would be some 20 integer operations an element, for nothing on CUDA.
//! - **f32**: as it is, without an operation.

#![allow(missing_docs)] // `#[cube]` adds public items to each function, which have no documentation

use cubecl::{
    ir::{ElemType, FloatKind, StorageType},
    prelude::*,
};

/// `v` as `X` stores it; f32 is not touched.
#[cube]
pub fn round_store<X: Float, N: Size>(v: Vector<f32, N>) -> Vector<X, N> {
    let stored = storage_type_of::<X>().comptime();
    if comptime!(is_bf16(stored)) {
        Vector::<X, N>::cast_from(round_to_bf16::<N>(v))
    } else {
        Vector::<X, N>::cast_from(v)
    }
}

/// [`round_store`] of one number.
#[cube]
pub fn round_scalar<X: Float>(v: f32) -> X {
    let stored = storage_type_of::<X>().comptime();
    if comptime!(is_bf16(stored)) {
        let rounded = round_to_bf16::<Const<1>>(Vector::new(v));
        X::cast_from(rounded[0])
    } else {
        X::cast_from(v)
    }
}

fn is_bf16(stored: StorageType) -> bool {
    stored == StorageType::Scalar(ElemType::Float(FloatKind::BF16))
}

/// The bf16 that is nearest to each element, as f32: ties go to the even one, what lies half a step or more beyond the
/// largest one becomes infinite, subnormals are kept, NaN becomes a quiet NaN of the same sign. The lower 16 bits of
/// each are zero.
///
/// ```text
/// bits + 0x7FFF + (bit 16 of bits), the lower half cleared
/// ```
///
/// The sum carries into bit 16 where the lower half is above 0x8000, or is 0x8000 and bit 16 is odd; a carry out of the
/// mantissa is the next power of two, and out of the largest one infinity. All of it is of integers, which no device's
/// treatment of NaN or subnormals changes.
#[cube]
pub fn round_to_bf16<N: Size>(v: Vector<f32, N>) -> Vector<f32, N> {
    let upper_half = Vector::<u32, N>::new(0xFFFF_0000u32);
    let bits = Vector::<u32, N>::reinterpret(v);
    let odd = (bits >> Vector::new(16u32)) & Vector::new(1u32);
    let rounded = bits + (Vector::new(0x7FFFu32) + odd);
    // A NaN may have its payload in the lower half alone, and its sum may wrap: the quiet bit keeps it one.
    let quiet = bits | Vector::new(0x0040_0000u32);
    let magnitude = bits & Vector::new(0x7FFF_FFFFu32);
    let is_nan = magnitude.greater_than(Vector::new(0x7F80_0000u32));
    Vector::<f32, N>::reinterpret(select_many(is_nan, quiet, rounded) & upper_half)
}
