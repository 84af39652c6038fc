//! What happens between the last multiplication and the store.

use crate::Activation;
use cubecl::prelude::*;

/// `activation(value)` in f32.
///
/// GELU is written with the logistic function, `x/2 · (1 + tanh u) = x / (1 + e^(-2u))`: no difference of near-equal numbers for
/// negative `x`. `erf` is CUDA's own there (2 ulp), elsewhere CubeCL's polynomial (absolute error 1.5e-7).
#[cube]
#[allow(unstable_name_collisions)] // CubeCL's own `erf`: the standard library's would not compile for a device
pub(super) fn activate(value: f32, #[comptime] activation: Option<Activation>) -> f32 {
    if comptime!(activation == Some(Activation::Silu)) {
        value / (1.0f32 + f32::exp(-value))
    } else if comptime!(activation == Some(Activation::GeluTanh)) {
        // 2·√(2/π) = 1.595769
        let doubled = 1.595_769_f32 * (value + 0.044_715f32 * value * value * value);
        value / (1.0f32 + f32::exp(-doubled))
    } else if comptime!(activation == Some(Activation::GeluErf)) {
        0.5f32 * value * (1.0f32 + f32::erf(value * 0.707_106_77f32))
    } else {
        value
    }
}

/// `silu(gate) · up`.
#[cube]
pub(super) fn gate(gate: f32, up: f32) -> f32 {
    gate / (1.0f32 + f32::exp(-gate)) * up
}

/// `values[i]` in f32, 0 without values.
#[cube]
pub(super) fn read_optional<T: Float>(values: &ComptimeOption<Array<T>>, i: usize) -> f32 {
    #[comptime]
    match values {
        ComptimeOption::Some(values) => f32::cast_from(values[i]),
        ComptimeOption::None => 0.0f32,
    }
}
