//! Norms for the cache simulator: by their definition, pass by pass, and by our kernels.
//!
//! Two problems of about 8 MB, which the last-level cache of 6 MB does not hold:
//! - a *matrix* whose rows fit the first-level cache: the definition goes over the whole matrix for the means, again
//!   for the variances (layer norm alone) and again for the results, as a composition of tensor operations does; our
//!   kernels finish a row before the next one;
//! - one *row*: each pass of the definition begins where the caches no longer have it; our kernels measure it in one
//!   pass, and write it in blocks of columns from its end, which the caches still have. With the whole row as one block
//!   they find nothing there.

use super::CACHES;
use kiln_kernels::norm::{LayerNorm, NormRows, Normed, RmsNorm, layer_norm, rms_norm};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch};

/// `[rows, d]` of the matrix.
pub(super) const MATRIX: [usize; 2] = [2000, 1000];
/// `[rows, d]` of the row.
pub(super) const ROW: [usize; 2] = [1, 2_000_000];

const EPSILON: f64 = 1e-6;

/// Operands `[rows, d]`, `[d]` and `[d]`, and room for the result.
pub(super) struct NormOperands {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    out: Vec<f32>,
    d: usize,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    /// With mean, gamma and beta.
    Layer,
    /// With gamma.
    Rms,
}

impl NormOperands {
    /// Numbers without a pattern.
    pub(super) fn new([rows, d]: [usize; 2]) -> Self {
        let draw = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let floats = |len: usize| (0..len).map(draw).collect();
        Self { x: floats(rows * d), gamma: floats(d), beta: floats(d), out: vec![0.0; rows * d], d }
    }

    /// The definition, each sum a pass over all rows.
    pub(super) fn run_naive(&mut self, norm: Norm) -> &[f32] {
        let Self { x, gamma, beta, out, d } = self;
        let (d, n) = (*d, *d as f32);
        let rows = || x.chunks_exact(d);
        let means: Vec<f32> = match norm {
            Norm::Layer => rows().map(|row| row.iter().sum::<f32>() / n).collect(),
            Norm::Rms => vec![0.0; x.len() / d],
        };
        let squares = |(row, mean): (&[f32], &f32)| row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>();
        let variances: Vec<f32> = rows().zip(&means).map(squares).map(|sum| sum / n).collect();
        for (r, (row, to)) in rows().zip(out.chunks_exact_mut(d)).enumerate() {
            let rstd = 1.0 / (variances[r] + EPSILON as f32).sqrt();
            for i in 0..d {
                to[i] = (row[i] - means[r]) * rstd * gamma[i] + if norm == Norm::Layer { beta[i] } else { 0.0 };
            }
        }
        out
    }

    /// Our kernel on AVX2 and one thread; blocks of the simulated first level, or of `block` bytes.
    pub(super) fn run_kernel(&mut self, norm: Norm, block: Option<usize>) -> &[f32] {
        let block = block.unwrap_or(Launch::block_of(CACHES));
        let launch = Launch { block, ..Launch::single(Tier::Avx2.min(Tier::best())) };
        let (gamma, beta) = (Floats::F32(&self.gamma), Some(Floats::F32(&self.beta)));
        let x = NormRows::contiguous(Floats::F32(&self.x), self.d);
        let out = FloatsMut::F32(&mut self.out);
        match norm {
            Norm::Layer => layer_norm(launch, LayerNorm { gamma, beta, epsilon: EPSILON }, x, out),
            Norm::Rms => rms_norm(launch, RmsNorm { gamma, epsilon: EPSILON }, x, Normed::only(out)),
        }
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is compared computes the same.
    #[test]
    fn the_kernels_agree_with_the_definition() {
        for shape in [[3, 1000], [1, 20_000]] {
            for norm in [Norm::Layer, Norm::Rms] {
                let mut operands = NormOperands::new(shape);
                let want = operands.run_naive(norm).to_vec();
                for block in [None, Some(usize::MAX)] {
                    let got = operands.run_kernel(norm, block);
                    assert!(want.iter().zip(got).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + a.abs())), "{norm:?}");
                }
            }
        }
    }
}
