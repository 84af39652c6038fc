//! Matrix products of two tensors.

use super::linear;
use super::panels::CpuEngine;
use super::storage::{CpuBackend, OwnedFloats, View};
use crate::engine::MatmulOperands;
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::gemm::{Batch, Epilogue, Matrix, Offsets, OutMatrix, Plan, gemm, gemm_batched};
use kiln_kernels::planning::{ProductShape, plan_product};

/// `lhs · rhs` over the last two dimensions, the others broadcast; f32, bf16 or f16, both the same. Operands are read
/// strided: transposed and sliced ones are not copied.
pub(super) fn matmul<B: CpuEngine>(operands: &MatmulOperands<B>, config: &KernelConfig) -> Option<FloatTensor<B>> {
    if !linear::takes(config) {
        return None;
    }
    run(operands, config).inspect(|_| note(Route::Matmul))
}

fn run<B: CpuEngine>(MatmulOperands { lhs, rhs }: &MatmulOperands<B>, config: &KernelConfig) -> Option<FloatTensor<B>> {
    let (a, b) = (B::view(lhs)?, B::view(rhs)?);
    let (rank, dtype) = (a.shape.len(), a.dtype());
    if rank < 2 || b.shape.len() != rank || b.dtype() != dtype || a.shape[rank - 1] != b.shape[rank - 2] {
        return None;
    }
    let (m, k, n) = (a.shape[rank - 2], a.shape[rank - 1], b.shape[rank - 1]);
    let mut shape = broadcast(&a.shape[..rank - 2], &b.shape[..rank - 2])?;
    let batches: usize = shape.iter().product();
    let matrix = |view: &View<'_>, rows, cols| {
        let strides = [view.strides[rank - 2] as isize, view.strides[rank - 1] as isize];
        move |data| Matrix::new(data, 0, [rows, cols], strides).ok()
    };

    let len = batches.checked_mul(m)?.checked_mul(n)?;
    if k == 0 {
        // A sum of nothing.
        return finish::<B>(OwnedFloats::zeros(dtype, len), &mut shape, m, n);
    }
    let mut out = B::allocate(dtype, len)?;
    let epilogue = Epilogue::default();
    let one_rhs = b.shape[..rank - 2].iter().all(|&size| size == 1);
    match a.as_rows().filter(|_| one_rhs && batches > 0) {
        // One matrix on the right: the products are one, of all rows.
        Some(rows) => {
            let strides = [rows.row_stride as isize, rows.stride as isize];
            let a = Matrix::new(a.data, a.offset, [rows.rows, k], strides).ok()?;
            let strides = [b.strides[rank - 2] as isize, b.strides[rank - 1] as isize];
            let b = Matrix::new(b.data, b.offset, [k, n], strides).ok()?;
            let mut c = OutMatrix::row_major(out.as_floats_mut(), rows.rows, n).ok()?;
            gemm(&plan_product(ProductShape::of(&a, &b), config), &a, &b, &mut c, &epilogue).ok()?;
        }
        None if batches > 0 && m * n > 0 => {
            let starts = (batch_offsets(&a, &shape), batch_offsets(&b, &shape));
            let offsets: Vec<Offsets> = (starts.0.into_iter().zip(starts.1).enumerate())
                .map(|(i, (a, b))| Offsets { a, b, out: i * m * n })
                .collect();
            let batch = Batch { a: matrix(&a, m, k)(a.data)?, b: matrix(&b, k, n)(b.data)?, offsets: &offsets };
            let mut c = OutMatrix::new(out.as_floats_mut(), 0, [m, n], n).ok()?;
            gemm_batched(&Plan::from(config), &batch, &mut c, &epilogue).ok()?;
        }
        None => {}
    }
    finish::<B>(out, &mut shape, m, n)
}

fn finish<B: CpuBackend>(out: OwnedFloats, shape: &mut Vec<usize>, m: usize, n: usize) -> Option<FloatTensor<B>> {
    shape.extend([m, n]);
    B::from_floats(out, Shape::from(core::mem::take(shape)))
}

/// The common shape of two lists of batch sizes, of which one may be 1 where the other is not.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| match (a, b) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}

/// Where each matrix of a view begins, in the order of the broadcast batch `shape`.
fn batch_offsets(view: &View<'_>, shape: &[usize]) -> Vec<usize> {
    let steps: Vec<usize> =
        shape.iter().enumerate().map(|(i, _)| if view.shape[i] == 1 { 0 } else { view.strides[i] }).collect();
    let mut offsets = vec![view.offset];
    for (&size, step) in shape.iter().zip(steps) {
        offsets = offsets.iter().flat_map(|&start| (0..size).map(move |i| start + i * step)).collect();
    }
    offsets
}
