//! `Kiln<B>`: Burn's `Backend` over the backend that it decorates.
//!
//! Every method of Burn's op traits is in exactly one of three lists:
//!
//! - **override**: written out in this folder, because Kiln has a kernel for it;
//! - **forward**: named in a `forward!` block, goes to `B` as it is;
//! - **inherit**: in [`INHERITED`], left at the trait's default so that it composes on Kiln's own kernels.
//!
//! `tests/drift.rs` reads the pinned `burn-backend` and fails when a method is in none or in two.
//!
//! File names mirror Burn's op traits.

mod activation;
mod backend;
mod bool_tensor;
mod float_tensor;
mod forward;
mod int_tensor;
mod module;
mod qtensor;
mod transaction;

pub use backend::Kiln;

/// Methods that keep the default of Burn's trait, with the reason.
pub const INHERITED: &[(&str, &str)] = &[
    ("softmin", "negates and calls softmax, which has a kernel"),
    ("linear_x_backward", "a matrix product, which has a kernel; B would use its own"),
    ("linear_weight_backward", "a matrix product, which has a kernel; B would use its own"),
    ("linear_bias_backward", "a sum that belongs with the two others"),
];
