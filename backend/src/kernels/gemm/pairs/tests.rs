//! The block product against sums in f64.

use super::{BlockProduct, HalfMatrix, PairIsa};
use crate::simd::Tier;
use half::bf16;

/// Numbers in -1 .. 1 that a seed fixes.
fn numbers(seed: u32, len: usize) -> Vec<bf16> {
    let mix =
        |i: usize| (i as u32).wrapping_add(seed).wrapping_mul(2654435761).rotate_left(13).wrapping_mul(2246822519);
    (0..len).map(|i| bf16::from_f32(mix(i) as f32 / 2f32.powi(31) - 1.0)).collect()
}

/// Multiplies `[m, k]` by `[k, n]`, B given as rows or as columns, twice where `add`.
fn check(isa: PairIsa, [m, n, k]: [usize; 3], b_transposed: bool, add: bool) {
    let (a, b) = (numbers(1, m * k), numbers(2, k * n));
    let left = HalfMatrix { data: a.as_ptr(), row_stride: k as isize, col_stride: 1 };
    let (row_stride, col_stride) = if b_transposed { (1, k as isize) } else { (n as isize, 1) };
    let right = HalfMatrix { data: b.as_ptr(), row_stride, col_stride };
    let mut packed = (vec![f32::NAN; isa.left_len(m, k)], vec![f32::NAN; isa.right_len(n, k)]);
    let stride = n + 3;
    let mut c = vec![7.0f32; m * stride];
    // SAFETY: the buffers are as long as was asked for, and C has `m` rows of at least `n`.
    unsafe {
        isa.pack_left(left, [m, k], packed.0.as_mut_ptr());
        isa.pack_right(right, [k, n], packed.1.as_mut_ptr());
        let product = BlockProduct {
            a: packed.0.as_ptr(),
            b: packed.1.as_ptr(),
            shape: [m, n, k],
            c: c.as_mut_ptr(),
            c_stride: stride,
            add,
        };
        isa.multiply(&product);
    }
    for (at, &got) in c.iter().enumerate() {
        let (i, j) = (at / stride, at % stride);
        if j >= n {
            assert_eq!(got, 7.0, "beside the output");
            continue;
        }
        let b = |p: usize| f64::from(b[(p as isize * row_stride + j as isize * col_stride) as usize]);
        let terms = (0..k).map(|p| f64::from(a[i * k + p]) * b(p));
        let start = if add { 7.0 } else { 0.0 };
        let (want, size) = terms.fold((start, start), |(sum, size), x| (sum + x, size + x.abs()));
        let off = (f64::from(got) - want).abs();
        assert!(off <= size * (k + 4) as f64 * 2f64.powi(-24), "({i}, {j}) of {m} x {n} x {k}: {got} for {want}");
    }
}

#[test]
fn blocks_of_any_size() {
    let Some(isa) = PairIsa::of(Tier::Avx512Bf16) else { return };
    for m in [0, 1, 4, 5, 13, 14, 15, 29, 33] {
        for n in [0, 1, 15, 16, 17, 31, 33, 48, 65] {
            for k in [0, 1, 2, 31, 32, 33, 64, 95] {
                for (b_transposed, add) in [(false, false), (true, true)] {
                    check(isa, [m, n, k], b_transposed, add);
                }
            }
        }
    }
}

#[test]
fn tiers_without_pairs_have_no_block_product() {
    for tier in [Tier::Portable, Tier::Avx2, Tier::Avx512] {
        assert!(PairIsa::of(tier).is_none());
    }
}
