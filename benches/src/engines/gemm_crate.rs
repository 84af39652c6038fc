//! Products by the `gemm` crate, called as Flex calls it: on the operands where they lie, into a new output.

use super::Work;
use crate::case::{Case, Dtype, Shape};
use crate::measure::Failure;
use crate::operands::Operands;
use gemm::Parallelism;
use std::hint::black_box;

pub(super) fn prepare(case: &Case, operands: &Operands) -> Result<Work, Failure> {
    if case.dtype == Dtype::Bf16 {
        return Err(Failure::Unsupported("the crate has no bf16".into()));
    }
    // Strides of B `[k, n]`: columns, rows.
    let (m, n, k, b_strides) = match case.shape {
        Shape::Linear { m, n, k } => (m, n, k, (k as isize, 1)),
        Shape::Square { n } => (n, n, n, (1, n as isize)),
        _ => return Err(Failure::Unsupported("no product".into())),
    };
    let threads = rayon::current_num_threads();
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    let sets = operands.sets.clone();
    Ok(Box::new(move |i| {
        let (a, b) = (sets[i][0].storage::<f32>(), sets[i][1].storage::<f32>());
        let mut out = Vec::<f32>::with_capacity(m * n);
        // SAFETY: A is `[m, k]` and B has n·k elements under the strides; `gemm` writes all m·n elements of the output
        // before it reads any (`read_dst` is false), and those are what `set_len` then claims.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                1,
                k as isize,
                b.as_ptr(),
                b_strides.0,
                b_strides.1,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
            out.set_len(m * n);
        }
        black_box(&out);
    }))
}
