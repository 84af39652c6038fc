//! Operands: random numbers as tensors of Flex, in as many sets as keep them out of every cache.

use crate::case::{Case, Dtype, Op, Shape};
use burn::tensor::{Bytes, DType};
use burn_flex::{FlexTensor, Layout};
use burn_kiln::memory::TensorMemory;
use half::bf16;
use kiln_kernels::Caches;
use kiln_kernels::memory::PooledBytes;
use rayon::prelude::*;
use std::sync::Arc;

/// Bytes that the sets of a case out of cache add up to at least. The largest caches of servers are some hundred MiB:
/// 480 of a Granite Rapids, more than twice of which this is, so that a set has left it when its turn comes again.
pub const COLD_BYTES: usize = (1 << 30) + (1 << 26);

/// Sets of operands. Calls take one after the other.
#[derive(Debug, Clone)]
pub struct Operands {
    /// What each set has; in the order of [`shapes`].
    pub sets: Arc<Vec<Vec<FlexTensor>>>,
}

/// Sizes of the operands of a case, each with whether it rotates and whether it is f32 whatever the case's dtype.
///
/// - products: `x` `[m, k]`, the weight `[n, k]` (squares: `[k, n]`);
/// - attention: `q`, `k`, `v`; rotary embedding: `x`, cosines and sines `[1, length, dim / 2]`;
/// - rows: `x`, a second tensor like it where the operation takes two, `gamma` and `beta` `[d]` where it is a norm.
pub fn shapes(case: &Case) -> Vec<OperandShape> {
    let rotating = |sizes: &[usize]| OperandShape { sizes: sizes.into(), rotates: true, f32: false };
    let fixed = |sizes: &[usize]| OperandShape { sizes: sizes.into(), rotates: false, f32: false };
    match case.shape {
        Shape::Linear { m, n, k } => vec![fixed(&[m, k]), rotating(&[n, k])],
        Shape::Square { n } => vec![fixed(&[n, n]), rotating(&[n, n])],
        Shape::Heads { heads, queries, dim, .. } if case.op == Op::Rope => {
            let angles = || OperandShape { f32: true, ..fixed(&[1, queries, dim / 2]) };
            vec![rotating(&[1, heads, queries, dim]), angles(), angles()]
        }
        Shape::Heads { heads, kv_heads, queries, keys, dim } => {
            let cache = || rotating(&[1, kv_heads, keys, dim]);
            vec![fixed(&[1, heads, queries, dim]), cache(), cache()]
        }
        Shape::Rows { rows, d } => {
            let x = || rotating(&[rows, d]);
            match case.op {
                Op::Add | Op::Mul | Op::SiluMul => vec![x(), x()],
                Op::AddNorm => vec![x(), x(), fixed(&[d])],
                Op::LayerNorm => vec![x(), fixed(&[d]), fixed(&[d])],
                Op::RmsNorm => vec![x(), fixed(&[d])],
                _ => vec![x()],
            }
        }
    }
}

/// One operand of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperandShape {
    /// Its sizes.
    pub sizes: Vec<usize>,
    /// Whether each set has its own.
    pub rotates: bool,
    /// Whether it is f32 in a bf16 case too.
    pub f32: bool,
}

impl OperandShape {
    /// Elements.
    pub fn len(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of what rotates in one set.
fn count_rotating(case: &Case) -> usize {
    shapes(case).iter().filter(|shape| shape.rotates).map(|s| s.len() * case.dtype.size()).sum()
}

/// Sets that a case needs: 1 in cache, else as many as fill [`COLD_BYTES`], or twice the last cache where that is more.
pub fn count_sets(case: &Case) -> usize {
    if !case.cold { 1 } else { COLD_BYTES.max(2 * Caches::detect().l3).div_ceil(count_rotating(case)) }
}

/// Bytes that the sets of a case out of cache add up to; `None` in cache.
pub fn count_rotated(case: &Case) -> Option<usize> {
    case.cold.then(|| count_sets(case) * count_rotating(case))
}

impl Operands {
    /// Random operands of `case`, uniform in -1 to 1, the same for the same case.
    pub fn random(case: &Case) -> Self {
        let shapes = shapes(case);
        // In a model activations and caches lie in the buffers of the pool, on huge pages; weights come from a file.
        let pooled = case.cold && !matches!(case.shape, Shape::Linear { .. } | Shape::Square { .. });
        let first: Vec<FlexTensor> = (shapes.iter().enumerate())
            .map(|(i, shape)| random_tensor(&shape.sizes, if shape.f32 { Dtype::F32 } else { case.dtype }, i as u64))
            .collect();
        let copies = (1..count_sets(case)).into_par_iter().map(|_| {
            let copy = |(tensor, shape): (&FlexTensor, &OperandShape)| match shape.rotates {
                true => copy_tensor(tensor, pooled),
                false => tensor.clone(),
            };
            first.iter().zip(&shapes).map(copy).collect()
        });
        let copies: Vec<_> = copies.collect();
        Self { sets: Arc::new([first].into_iter().chain(copies).collect()) }
    }
}

/// A number between -1 and 1 from a counter (the finalizer of SplitMix64; Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
fn hash(counter: u64) -> f32 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
}

fn random_tensor(sizes: &[usize], dtype: Dtype, seed: u64) -> FlexTensor {
    let number = |i: usize| hash((seed << 40) + i as u64 + 1);
    let len = sizes.iter().product::<usize>();
    let (bytes, dtype) = match dtype {
        Dtype::F32 => {
            let x: Vec<f32> = (0..len).into_par_iter().map(number).collect();
            (Bytes::from_elems(x), DType::F32)
        }
        Dtype::Bf16 => {
            let x: Vec<bf16> = (0..len).into_par_iter().map(|i| bf16::from_f32(number(i))).collect();
            (Bytes::from_elems(x), DType::BF16)
        }
    };
    FlexTensor::new(bytes, Layout::contiguous(sizes.to_vec().into()), dtype)
}

/// The same numbers in memory of its own, from Kiln's pool or from the allocator.
fn copy_tensor(tensor: &FlexTensor, pooled: bool) -> FlexTensor {
    let bytes = match (tensor.dtype(), pooled) {
        (DType::BF16, false) => Bytes::from_elems(tensor.storage::<bf16>().to_vec()),
        (DType::BF16, true) => copy_to_pool(tensor.storage::<bf16>(), |x| x.to_ne_bytes()),
        (_, false) => Bytes::from_elems(tensor.storage::<f32>().to_vec()),
        (_, true) => copy_to_pool(tensor.storage::<f32>(), |x| x.to_ne_bytes()),
    };
    FlexTensor::new(bytes, tensor.layout().clone(), tensor.dtype())
}

fn copy_to_pool<T: Copy, const N: usize>(numbers: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Bytes {
    let mut bytes = PooledBytes::take(size_of_val(numbers));
    for (to, &number) in bytes.as_mut_slice().chunks_exact_mut(N).zip(numbers) {
        to.copy_from_slice(&to_bytes(number));
    }
    bytes.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_fill_more_than_a_gigabyte() {
        let shape = Shape::Linear { m: 1, n: 2048, k: 2048 };
        let case = Case { op: Op::Gemv, shape, dtype: Dtype::Bf16, cold: true };
        let bytes = count_sets(&case) * 2048 * 2048 * 2;
        let least = COLD_BYTES.max(2 * Caches::detect().l3);
        assert!((least..least + (8 << 20)).contains(&bytes), "{bytes}");
        assert_eq!(count_rotated(&case), Some(bytes));
        assert_eq!(count_sets(&Case { cold: false, ..case }), 1);
    }

    #[test]
    fn copies_are_equal() {
        for dtype in Dtype::ALL {
            let tensor = random_tensor(&[3, 5], dtype, 1);
            for pooled in [false, true] {
                let copy = copy_tensor(&tensor, pooled);
                match dtype {
                    Dtype::F32 => assert_eq!(copy.storage::<f32>(), tensor.storage::<f32>()),
                    Dtype::Bf16 => assert_eq!(copy.storage::<bf16>(), tensor.storage::<bf16>()),
                }
            }
        }
    }

    #[test]
    fn numbers_are_spread() {
        let tensor = random_tensor(&[100, 100], Dtype::F32, 3);
        let x = tensor.storage::<f32>();
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        let square = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
        assert!(mean.abs() < 0.03 && (square - 1.0 / 3.0).abs() < 0.02, "{mean} {square}");
        assert!(x.iter().all(|x| (-1.0..1.0).contains(x)));
    }
}
