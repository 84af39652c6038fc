//! Operands that do not fit: where `B` panics, so does `Kiln<B>`, with kernels on.

use crate::attention::Attention;
use crate::check::{Op, Setting, check};
use crate::elementwise::Arithmetic;
use crate::matmul::{Linear, Matmul};
use crate::operand::Operand;
use crate::rows::{LayerNorm, Normalise, Over};
use burn_backend::DType;
use burn_flex::Flex;
use burn_kiln::Engine;
use burn_ndarray::NdArray;

fn both<B: Engine>(op: &impl Op, operands: &[Operand]) {
    check::<B>(op, operands, &Setting { config: Default::default(), holds: false });
}

fn on_all(op: impl Op, shapes: &[&[usize]]) {
    let operands: Vec<Operand> = shapes.iter().map(|shape| Operand::plain(shape, 5)).collect();
    both::<Flex>(&op, &operands);
    both::<NdArray>(&op, &operands);
}

/// The operand at `odd` in another element type than f32.
fn with_type(op: &impl Op, shapes: &[&[usize]], odd: usize) {
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        let mut operands: Vec<Operand> = shapes.iter().map(|shape| Operand::plain(shape, 5)).collect();
        operands[odd].dtype = dtype;
        both::<Flex>(op, &operands);
        if dtype == DType::F64 {
            both::<NdArray>(op, &operands);
        }
    }
}

#[test]
fn arithmetic() {
    for op in [Arithmetic::Add, Arithmetic::Div] {
        on_all(op, &[&[2, 3], &[2, 4]]);
        on_all(op, &[&[3, 2], &[2, 2]]);
        on_all(op, &[&[2, 6], &[2, 3]]);
        on_all(op, &[&[4, 1, 3], &[2, 5, 3]]);
        on_all(op, &[&[0, 3], &[2, 3]]);
        for odd in 0..2 {
            with_type(&op, &[&[2, 3], &[2, 3]], odd);
            with_type(&op, &[&[2, 3], &[1, 3]], odd);
        }
    }
}

#[test]
fn products() {
    on_all(Matmul, &[&[2, 3], &[4, 2]]);
    // Not batches of 2 against 3: Flex reads past the end of the shorter one and returns what it finds.
    on_all(Matmul, &[&[2, 2, 3], &[2, 4, 2]]);
    on_all(Linear, &[&[5, 3], &[4, 2]]);
    on_all(Linear, &[&[2, 5, 3], &[3, 2], &[3]]);
    on_all(Linear, &[&[2, 5, 3], &[3, 2], &[1]]);
    for odd in 0..2 {
        with_type(&Matmul, &[&[2, 3], &[3, 4]], odd);
        with_type(&Matmul, &[&[2, 2, 3], &[2, 3, 4]], odd);
    }
    for odd in 0..3 {
        with_type(&Linear, &[&[5, 3], &[3, 4], &[4]], odd);
    }
}

#[test]
fn rows() {
    let norm = LayerNorm { epsilon: 1e-5 };
    on_all(norm, &[&[4, 6], &[5]]);
    on_all(norm, &[&[4, 6], &[6], &[7]]);
    for odd in 0..3 {
        with_type(&norm, &[&[4, 6], &[6], &[6]], odd);
    }
    on_all(Over(Normalise::Softmax, 2), &[&[4, 6]]);
    on_all(Over(Normalise::LogSoftmax, 3), &[&[4, 6]]);
}

#[test]
fn attention() {
    let plain = Attention { has_mask: false, has_bias: false, options: Default::default() };
    let (mask, bias) = (Attention { has_mask: true, ..plain.clone() }, Attention { has_bias: true, ..plain.clone() });
    let q: &[usize] = &[2, 4, 5, 8];
    on_all(plain.clone(), &[q, &[2, 4, 6, 8], &[2, 4, 6, 3]]);
    // Grouped heads, other batches, widths and lengths.
    on_all(plain.clone(), &[q, &[2, 2, 6, 8], &[2, 2, 6, 8]]);
    on_all(plain.clone(), &[q, &[2, 1, 6, 8], &[2, 1, 6, 8]]);
    on_all(plain.clone(), &[q, &[1, 4, 6, 8], &[1, 4, 6, 8]]);
    on_all(plain.clone(), &[q, &[2, 4, 6, 7], &[2, 4, 6, 8]]);
    on_all(plain.clone(), &[q, &[2, 4, 6, 8], &[2, 4, 5, 8]]);
    on_all(mask, &[q, &[2, 4, 6, 8], &[2, 4, 6, 8], &[2, 4, 6, 5]]);
    on_all(bias.clone(), &[q, &[2, 4, 6, 8], &[2, 4, 6, 8], &[2, 3, 5, 6]]);
    for odd in 0..3 {
        with_type(&plain, &[q, &[2, 4, 6, 8], &[2, 4, 6, 8]], odd);
    }
    with_type(&bias, &[q, &[2, 4, 6, 8], &[2, 4, 6, 8], &[1, 1, 5, 6]], 3);
    let mut capped = plain.clone();
    capped.options.softcap = Some(0.0);
    on_all(capped, &[q, &[2, 4, 6, 8], &[2, 4, 6, 8]]);
}
