//! Gradients by central differences.

use super::Array;

/// Step of the difference. Its error is about `step² · f'''/6` and that of rounding `2⁻⁵³ · |f| / step`: both near
/// 1e-10 for values and derivatives around 1, five digits below what f32 resolves.
const STEP: f64 = 1e-5;

/// `∂f/∂x` of a scalar function, `(f(x + h·e) - f(x - h·e)) / 2h` for each element.
pub fn differentiate(x: &Array, f: impl Fn(&Array) -> f64) -> Array {
    let mut moved = x.clone();
    let mut gradient = Array::zeros(&x.shape);
    for index in 0..x.data.len() {
        moved.data[index] = x.data[index] + STEP;
        let above = f(&moved);
        moved.data[index] = x.data[index] - STEP;
        let below = f(&moved);
        moved.data[index] = x.data[index];
        gradient.data[index] = (above - below) / (2.0 * STEP);
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_a_cubic_is_its_derivative() {
        let x = Array::new(&[3], vec![-1.5, 0.0, 2.0]);
        let gradient = differentiate(&x, |x| x.data.iter().map(|x| x * x * x).sum());
        for (x, gradient) in x.data.iter().zip(&gradient.data) {
            assert!((gradient - 3.0 * x * x).abs() < 1e-8);
        }
    }
}
