//! Norms over the last dimension.

use super::Array;

/// `x / √(mean(x²) + epsilon) · gamma`.
pub fn normalize_rms(x: &Array, gamma: &Array, epsilon: f64) -> Array {
    let width = x.width() as f64;
    let mut y = x.clone();
    for row in 0..x.rows() {
        let mean_square = x.row(row).iter().map(|x| x * x).sum::<f64>() / width;
        let deviation = (mean_square + epsilon).sqrt();
        y.row_mut(row).iter_mut().zip(&gamma.data).for_each(|(y, g)| *y = *y / deviation * g);
    }
    y
}

/// `(x - mean(x)) / √(var(x) + epsilon) · gamma + beta`, with the biased variance.
pub fn normalize_layer(x: &Array, gamma: &Array, beta: Option<&Array>, epsilon: f64) -> Array {
    let width = x.width() as f64;
    let mut y = x.clone();
    for row in 0..x.rows() {
        let mean = x.row(row).iter().sum::<f64>() / width;
        let variance = x.row(row).iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width;
        let deviation = (variance + epsilon).sqrt();
        for (index, y) in y.row_mut(row).iter_mut().enumerate() {
            let shift = beta.map_or(0.0, |beta| beta.data[index]);
            *y = (*y - mean) / deviation * gamma.data[index] + shift;
        }
    }
    y
}
