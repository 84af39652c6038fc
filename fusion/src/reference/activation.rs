//! Element-wise activations.

use super::Array;
use crate::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `activation(x)`; the formulas are at [`Activation`].
pub fn activate(activation: Activation, x: &Array) -> Array {
    x.map(|x| match activation {
        Activation::GeluTanh => x / 2.0 * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
        // erfc keeps the digits of the left tail, where 1 + erf would cancel.
        Activation::GeluErf => x / 2.0 * libm::erfc(-x * FRAC_1_SQRT_2),
        Activation::Silu => x / (1.0 + (-x).exp()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the same formulas in CPython's `math`.
    #[test]
    fn activations_have_their_published_values() {
        let x = Array::new(&[3], vec![-1.0, 0.5, 2.0]);
        let cases = [
            (Activation::GeluErf, [-0.15865525393145707, 0.34573123063700656, 1.9544997361036416]),
            (Activation::GeluTanh, [-0.15880800939172324, 0.34571400982514394, 1.954597694087775]),
            (Activation::Silu, [-0.2689414213699951, 0.3112296656009273, 1.7615941559557646]),
        ];
        for (activation, expected) in cases {
            for (value, expected) in activate(activation, &x).data.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-14, "{activation:?}: {value} is not {expected}");
            }
        }
    }
}
