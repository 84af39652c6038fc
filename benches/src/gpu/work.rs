//! Each operation once, for any backend on the card's tensors: Kiln and plain Burn run the same code.

use super::case::{Case, Op};
use crate::case::Shape;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData, TensorPrimitive, activation};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    AttentionInputs, AttentionOptions, Epilogue, FusedOps, GatedMlpWeights, HeadNorms, KernelConfig, LinearWeights,
    Norm, NormKind, QueryKey, Rotary, Weight,
};
use std::sync::Arc;

/// Added to the variance in every norm.
const EPSILON: f64 = 1e-6;

/// One call on the operands of a set.
pub type Work = Box<dyn FnMut(usize)>;

/// Sets of operands, each in the order of [`Case::operands`], flat.
pub type Sets<R> = Arc<Vec<Vec<CubeTensor<R>>>>;

/// A backend on the tensors of a CubeCL runtime.
pub trait OnCard<R: CubeRuntime>: FusedOps + Backend<FloatTensorPrimitive = CubeTensor<R>, Device = R::Device> {}

impl<R: CubeRuntime, B: FusedOps + Backend<FloatTensorPrimitive = CubeTensor<R>, Device = R::Device>> OnCard<R> for B {}

/// Operands of one case.
struct Operands<R: CubeRuntime> {
    sizes: Vec<Vec<usize>>,
    sets: Sets<R>,
}

impl<R: CubeRuntime> Operands<R> {
    /// Operand `i` of set `set`.
    fn get<B: OnCard<R>, const D: usize>(&self, set: usize, i: usize) -> Tensor<B, D> {
        let flat = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(self.sets[set][i].clone()));
        let sizes: [usize; D] = std::array::from_fn(|d| self.sizes[i][d]);
        flat.reshape(sizes)
    }

    /// What `make` makes of each set.
    fn map<T>(&self, make: impl Fn(usize) -> T) -> Vec<T> {
        (0..self.sets.len()).map(make).collect()
    }

    /// Operand `i` of every set, as a weight.
    fn weight<B: OnCard<R>>(&self, set: usize, i: usize) -> Weight<B> {
        Weight::Plain(self.get(set, i))
    }
}

/// `case` in the ops that a model calls.
pub fn prepare<R: CubeRuntime, B: OnCard<R>>(case: &Case, sets: &Sets<R>, config: &Arc<KernelConfig>) -> Work {
    let sizes = case.operands().into_iter().map(|(sizes, _)| sizes).collect();
    let (operands, config) = (Operands { sizes, sets: Arc::clone(sets) }, Arc::clone(config));
    match case.shape {
        Shape::Linear { m, n, .. } if case.op == Op::Embedding => prepare_embedding::<R, B>(&operands, [m, n], config),
        Shape::Linear { .. } | Shape::Square { .. } => prepare_product::<R, B>(case.op, &operands, config),
        Shape::Heads { .. } => prepare_heads::<R, B>(case.op, &operands, config),
        Shape::Rows { .. } => prepare_rows::<R, B>(case.op, &operands, config),
    }
}

fn prepare_embedding<R: CubeRuntime, B: OnCard<R>>(
    operands: &Operands<R>,
    [count, rows]: [usize; 2],
    config: Arc<KernelConfig>,
) -> Work {
    let tables = operands.map(|set| operands.weight::<B>(set, 0));
    // The ids that PyTorch's side looks up.
    let ids: Vec<i32> = (0..count).map(|i| ((i * 7919 + 13) % rows) as i32).collect();
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [1, count]), &tables[0].unpack().device());
    Box::new(move |i| drop(FusedOps::embedding(&tables[i], ids.clone(), &config)))
}

fn prepare_product<R: CubeRuntime, B: OnCard<R>>(op: Op, operands: &Operands<R>, config: Arc<KernelConfig>) -> Work {
    let x: Vec<Tensor<B, 2>> = operands.map(|set| operands.get(set, 0));
    match op {
        Op::MlpGated => {
            let weights = operands.map(|set| {
                let [gate, up, down] = [1, 2, 3].map(|i| operands.weight::<B>(set, i));
                GatedMlpWeights { gate, up, down }
            });
            Box::new(move |i| drop(FusedOps::mlp_gated(x[i].clone(), &weights[i], None, &config)))
        }
        Op::NormLinears => {
            let layers = operands.map(|set| {
                let gamma = operands.get::<B, 1>(set, 1);
                let norm = Norm { kind: NormKind::Rms, gamma, beta: None, epsilon: EPSILON };
                (norm, [2, 3, 4].map(|i| LinearWeights { weight: operands.weight::<B>(set, i), bias: None }))
            });
            Box::new(move |i| {
                let (norm, layers) = &layers[i];
                drop(FusedOps::norm_linears(x[i].clone(), norm, layers.clone(), &config));
            })
        }
        _ => {
            let weights = operands.map(|set| operands.weight::<B>(set, 1));
            Box::new(move |i| drop(FusedOps::linear(x[i].clone(), &weights[i], Epilogue::default(), &config)))
        }
    }
}

fn prepare_heads<R: CubeRuntime, B: OnCard<R>>(op: Op, operands: &Operands<R>, config: Arc<KernelConfig>) -> Work {
    if op == Op::QkNormRope {
        let heads = operands.map(|set| {
            let [q, k] = [0, 1].map(|i| operands.get::<B, 4>(set, i));
            let [q_gamma, k_gamma] = [2, 3].map(|i| operands.get::<B, 1>(set, i));
            let [cos, sin] = [4, 5].map(|i| operands.get::<B, 3>(set, i));
            let norms = HeadNorms { q_gamma, k_gamma, epsilon: EPSILON };
            (QueryKey { q, k }, norms, Rotary { cos, sin })
        });
        return Box::new(move |i| {
            let (heads, norms, rotary) = &heads[i];
            drop(B::qk_norm_rope(heads.clone(), norms.clone(), rotary, &config));
        });
    }
    let inputs = operands.map(|set| {
        let [q, k, v] = [0, 1, 2].map(|i| operands.get::<B, 4>(set, i));
        AttentionInputs::<B> { q, k, v }
    });
    let options = AttentionOptions { causal: op == Op::Attention, ..Default::default() };
    Box::new(move |i| drop(FusedOps::attention(inputs[i].clone(), &options, None, &config)))
}

fn prepare_rows<R: CubeRuntime, B: OnCard<R>>(op: Op, operands: &Operands<R>, config: Arc<KernelConfig>) -> Work {
    let x: Vec<Tensor<B, 2>> = operands.map(|set| operands.get(set, 0));
    let vectors = |at: usize| -> Vec<Tensor<B, 1>> { operands.map(|set| operands.get(set, at)) };
    match op {
        Op::AddNorm => {
            let (residual, gamma) = (operands.map(|set| operands.get::<B, 2>(set, 1)), vectors(2));
            Box::new(move |i| {
                let (x, residual, gamma) = (x[i].clone(), residual[i].clone(), gamma[i].clone());
                drop(FusedOps::add_norm(x, residual, gamma, EPSILON, &config));
            })
        }
        Op::RmsNorm => {
            let gamma = vectors(1);
            Box::new(move |i| drop(FusedOps::rms_norm(x[i].clone(), gamma[i].clone(), EPSILON, &config)))
        }
        Op::LayerNorm => {
            let (gamma, beta) = (vectors(1), vectors(2));
            Box::new(move |i| {
                let (gamma, beta) = (gamma[i].clone(), Some(beta[i].clone()));
                drop(FusedOps::layer_norm(x[i].clone(), gamma, beta, EPSILON, &config));
            })
        }
        Op::GeluTanh => Box::new(move |i| drop(FusedOps::gelu_tanh(x[i].clone(), &config))),
        Op::GeluErf => Box::new(move |i| drop(FusedOps::gelu_erf(x[i].clone(), &config))),
        Op::Silu => Box::new(move |i| drop(FusedOps::silu(x[i].clone(), &config))),
        _ => Box::new(move |i| drop(activation::softmax(x[i].clone(), 1))),
    }
}
