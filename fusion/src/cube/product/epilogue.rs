//! What happens between the last multiplication and the store.

use crate::{Activation, cube::activation::apply_activation};
use cubecl::prelude::*;

/// `activation(value)` in f32.
#[cube]
pub(super) fn activate(value: f32, #[comptime] activation: Option<Activation>) -> f32 {
    match activation {
        Some(activation) => {
            let activated = apply_activation::<Const<1>>(Vector::new(value), activation);
            activated[0]
        }
        None => value,
    }
}

/// `silu(gate) · up`.
#[cube]
pub(super) fn gate(gate: f32, up: f32) -> f32 {
    let activated = apply_activation::<Const<1>>(Vector::new(gate), Activation::Silu);
    activated[0] * up
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
