//! Linear layers.

use super::{Array, activate};
use crate::Activation;

/// `x·Wᵀ`: `x` `[.., in]`, `weight` `[out, in]`, result `[.., out]`.
pub fn multiply_transposed(x: &Array, weight: &Array) -> Array {
    let outputs = weight.rows();
    let mut shape = x.shape.clone();
    if let Some(width) = shape.last_mut() {
        *width = outputs;
    }
    let mut y = Array::zeros(&shape);
    for row in 0..x.rows() {
        for output in 0..outputs {
            let products = x.row(row).iter().zip(weight.row(output)).map(|(a, b)| a * b);
            y.row_mut(row)[output] = products.sum();
        }
    }
    y
}

/// `activation(x·Wᵀ + bias) + residual`.
pub fn apply_linear(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    activation: Option<Activation>,
    residual: Option<&Array>,
) -> Array {
    let mut y = multiply_transposed(x, weight);
    if let Some(bias) = bias {
        for row in 0..y.rows() {
            y.row_mut(row).iter_mut().zip(&bias.data).for_each(|(y, b)| *y += b);
        }
    }
    if let Some(activation) = activation {
        y = activate(activation, &y);
    }
    match residual {
        Some(residual) => y.zip(residual, |y, r| y + r),
        None => y,
    }
}
