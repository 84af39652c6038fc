//! Each operation once, for any backend whose tensors are Flex's: Kiln and plain Flex run the same code.

use super::Work;
use crate::case::{Case, Op, Shape};
use crate::operands::Operands;
use burn::tensor::backend::{Backend, BackendTypes};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, TensorPrimitive, activation};
use burn_flex::FlexTensor;
use burn_kiln::engine::SiluMulOperands;
use burn_kiln_fusion::{AttentionInputs, AttentionOptions, FusedOps, KernelConfig, Rotary};
use std::hint::black_box;
use std::sync::Arc;

/// Added to the variance in every norm.
const EPSILON: f64 = 1e-6;

/// A backend on Flex's tensors.
pub trait OnFlex: FusedOps + BackendTypes<FloatTensorPrimitive = FlexTensor> {
    /// Whether keys of fewer heads than queries are taken as they are.
    const GROUPED: bool;
    /// `silu(gate) ⊙ up`.
    fn silu_mul(gate: Tensor<Self, 2>, up: Tensor<Self, 2>, config: &KernelConfig) -> Tensor<Self, 2>;
}

impl OnFlex for burn_flex::Flex {
    // Its own attention wants a key head for each query head.
    const GROUPED: bool = false;

    fn silu_mul(gate: Tensor<Self, 2>, up: Tensor<Self, 2>, _config: &KernelConfig) -> Tensor<Self, 2> {
        activation::silu(gate) * up
    }
}

impl OnFlex for burn_kiln::Kiln<burn_flex::Flex> {
    const GROUPED: bool = true;

    /// The kernel that a gated MLP reaches.
    fn silu_mul(gate: Tensor<Self, 2>, up: Tensor<Self, 2>, config: &KernelConfig) -> Tensor<Self, 2> {
        let operands = SiluMulOperands { gate: gate.into_primitive().tensor(), up: up.into_primitive().tensor() };
        let product = <burn_flex::Flex as burn_kiln::Engine>::try_silu_mul(operands, config);
        Tensor::from_primitive(TensorPrimitive::Float(product.expect("contiguous operands of one shape")))
    }
}

/// The tensor of a backend on the same memory.
pub(super) fn lift<B: OnFlex, const D: usize>(tensor: &FlexTensor) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor.clone()))
}

/// The `i`-th operand of every set.
pub(super) fn lift_all<B: OnFlex, const D: usize>(operands: &Operands, i: usize) -> Vec<Tensor<B, D>> {
    operands.sets.iter().map(|set| lift(&set[i])).collect()
}

/// `case` in plain Burn ops and in the fused ops that stand for several.
pub(super) fn prepare<B: OnFlex + Backend>(case: &Case, operands: &Operands, config: &Arc<KernelConfig>) -> Work {
    let config = Arc::clone(config);
    match (case.op, case.shape) {
        (_, Shape::Linear { .. } | Shape::Square { .. }) => prepare_product::<B>(case, operands),
        (Op::Rope, _) => {
            let x = lift_all::<B, 4>(operands, 0);
            let rotary = Rotary { cos: lift::<B, 3>(&operands.sets[0][1]), sin: lift::<B, 3>(&operands.sets[0][2]) };
            Box::new(move |i| drop(black_box(FusedOps::rope(x[i].clone(), &rotary, &config))))
        }
        (_, Shape::Heads { heads, kv_heads, .. }) => prepare_attention::<B>(case, operands, heads / kv_heads, config),
        (op, Shape::Rows { .. }) => prepare_rows::<B>(op, operands, config),
    }
}

fn prepare_product<B: OnFlex>(case: &Case, operands: &Operands) -> Work {
    let (x, w) = (lift::<B, 2>(&operands.sets[0][0]), lift_all::<B, 2>(operands, 1));
    match case.shape {
        Shape::Square { .. } => Box::new(move |i| drop(black_box(x.clone().matmul(w[i].clone())))),
        _ => Box::new(move |i| drop(black_box(x.clone().matmul(w[i].clone().transpose())))),
    }
}

fn prepare_attention<B: OnFlex>(case: &Case, operands: &Operands, group: usize, config: Arc<KernelConfig>) -> Work {
    let q = lift::<B, 4>(&operands.sets[0][0]);
    let (k, v) = (lift_all::<B, 4>(operands, 1), lift_all::<B, 4>(operands, 2));
    let causal = case.is_causal();
    if B::GROUPED {
        let options = AttentionOptions::<B> { causal, ..Default::default() };
        return Box::new(move |i| {
            let inputs = AttentionInputs { q: q.clone(), k: k[i].clone(), v: v[i].clone() };
            drop(black_box(<B as FusedOps>::attention(inputs, &options, None, &config)));
        });
    }
    // Keys are repeated before the clock runs.
    let repeat = |x: Vec<Tensor<B, 4>>| -> Vec<Tensor<B, 4>> {
        if group == 1 { x } else { x.into_iter().map(|x| repeat_heads(x, group)).collect() }
    };
    let (k, v) = (repeat(k), repeat(v));
    let options = AttentionModuleOptions { is_causal: causal, ..Default::default() };
    Box::new(move |i| {
        drop(black_box(attention(q.clone(), k[i].clone(), v[i].clone(), None, None, options)));
    })
}

/// Each head `group` times in a row.
fn repeat_heads<B: Backend>(x: Tensor<B, 4>, group: usize) -> Tensor<B, 4> {
    let [batch, heads, length, dim] = x.dims();
    x.reshape([batch, heads, 1, length, dim]).repeat_dim(2, group).reshape([batch, heads * group, length, dim])
}

fn prepare_rows<B: OnFlex>(op: Op, operands: &Operands, config: Arc<KernelConfig>) -> Work {
    let x = lift_all::<B, 2>(operands, 0);
    let second = || lift_all::<B, 2>(operands, 1);
    let vector = |i: usize| lift::<B, 1>(&operands.sets[0][i]);
    match op {
        Op::Softmax => Box::new(move |i| drop(black_box(activation::softmax(x[i].clone(), 1)))),
        Op::LayerNorm => {
            let (gamma, beta) = (vector(1), vector(2));
            Box::new(move |i| {
                let (gamma, beta) = (gamma.clone(), Some(beta.clone()));
                drop(black_box(FusedOps::layer_norm(x[i].clone(), gamma, beta, EPSILON, &config)));
            })
        }
        Op::RmsNorm => {
            let gamma = vector(1);
            Box::new(move |i| drop(black_box(FusedOps::rms_norm(x[i].clone(), gamma.clone(), EPSILON, &config))))
        }
        Op::AddNorm => {
            let (residual, gamma) = (second(), vector(2));
            Box::new(move |i| {
                drop(black_box(FusedOps::add_norm(x[i].clone(), residual[i].clone(), gamma.clone(), EPSILON, &config)));
            })
        }
        Op::Gelu => Box::new(move |i| drop(black_box(activation::gelu(x[i].clone())))),
        // The ops that models call: one kernel of Kiln's, Burn's composition on Flex.
        Op::GeluTanh => Box::new(move |i| drop(black_box(FusedOps::gelu_tanh(x[i].clone(), &config)))),
        Op::Silu => Box::new(move |i| drop(black_box(FusedOps::silu(x[i].clone(), &config)))),
        Op::SiluMul => {
            let up = second();
            Box::new(move |i| drop(black_box(B::silu_mul(x[i].clone(), up[i].clone(), &config))))
        }
        Op::Exp => Box::new(move |i| drop(black_box(x[i].clone().exp()))),
        Op::Add => {
            let y = second();
            Box::new(move |i| drop(black_box(x[i].clone() + y[i].clone())))
        }
        _ => {
            let y = second();
            Box::new(move |i| drop(black_box(x[i].clone() * y[i].clone())))
        }
    }
}
