//! How the kernels would run, without running them.

use super::{
    CubeEngine,
    attention::describe_rules,
    find_rows,
    tune::{find_attention, find_product},
};
use crate::{
    engine::{EngineWeight, Primitives},
    op_shape::{AttentionShape, OpShape},
};
use burn_backend::{DType, TensorMetadata};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    AttentionOptions, KernelConfig,
    cube::{
        Angles, AttentionInputs, AttentionOutputs, CubeError, HeadInputs, NormInputs, Placement, Strategy, activation,
        embedding, explain_attention, explain_heads, explain_norm,
        product::{self, Call, Layer, RowNorm, gemv::MAX_ROWS_TOGETHER},
        softmax,
    },
};
use burn_std::Shape;
use core::fmt::Display;

/// The blueprint of each launch of `op`, or why there is none.
pub(super) fn explain<R: CubeRuntime, B: CubeEngine<R>>(
    op: &OpShape<EngineWeight<B>>,
    device: &R::Device,
    config: &KernelConfig,
) -> String {
    let off = match op {
        OpShape::Norm { .. } | OpShape::Softmax { .. } => (!config.blocking.enabled).then_some("blocking"),
        OpShape::Heads(_) | OpShape::Activation(_) | OpShape::Embedding { .. } => {
            (!config.simd.enabled).then_some("simd")
        }
        OpShape::Attention(_) | OpShape::NormLinears { .. } | OpShape::GatedMlp { .. } | OpShape::Moe { .. } => {
            (!config.tiling.enabled).then_some("tiling")
        }
    };
    let off = if config.gpu.enabled { off } else { Some("gpu") };
    if let Some(section) = off {
        return format!("the decorated backend's ops: {section}.enabled is off");
    }
    let stand_ins = StandIns::<R> { device, config };
    stand_ins.explain::<B>(op).unwrap_or_else(|reason| format!("unavailable: {reason}"))
}

/// Makes tensors of which only shape, dtype and device are looked at: a few bytes, whatever their shape.
struct StandIns<'a, R: CubeRuntime> {
    device: &'a R::Device,
    config: &'a KernelConfig,
}

impl<R: CubeRuntime> StandIns<'_, R> {
    fn make(&self, dims: &[usize], dtype: DType) -> CubeTensor<R> {
        let client = R::client(self.device);
        let handle = client.empty(size_of::<[f32; 4]>());
        CubeTensor::new_contiguous(client, self.device.clone(), Shape::from(dims.to_vec()), handle, dtype)
    }

    fn explain<B: CubeEngine<R>>(&self, op: &OpShape<EngineWeight<B>>) -> Result<String, CubeError> {
        let f32s = |dims: &[usize]| self.make(dims, DType::F32);
        match op {
            &OpShape::Norm { kind, rows, d, residual } => {
                let (x, gamma) = (f32s(&[rows, d]), f32s(&[d]));
                let residual = residual.then_some(&x);
                let inputs = NormInputs { kind, x: &x, residual, gamma: &gamma, beta: None, epsilon: 0.0 };
                explain_norm(&inputs, Strategy::Auto).map(show)
            }
            &OpShape::Softmax { rows, d } => softmax::explain(&f32s(&[rows, d]), Strategy::Auto).map(show),
            &OpShape::Activation(elements) => activation::explain(&f32s(&[elements])).map(show),
            OpShape::Embedding { ids, table } => {
                embedding::explain(find_rows(table), &self.make(&[*ids], DType::I32)).map(show)
            }
            OpShape::Moe { .. } => Ok("op by op: experts have no kernel of their own here".into()),
            OpShape::Heads(shape) => self.explain_heads(shape),
            OpShape::Attention(shape) => self.explain_attention::<B>(shape),
            OpShape::NormLinears { rows, weights } => {
                let Some(first) = weights.first().map(find_rows) else { return Ok("nothing".into()) };
                let k = find_depth(first);
                let (x, gamma) = (f32s(&[*rows, k]), f32s(&[k]));
                let call = Call {
                    norm: Some(RowNorm { gamma: &gamma, epsilon: 0.0 }),
                    layers: weights.iter().map(|weight| Layer { weight: find_rows(weight), bias: None }).collect(),
                    ..Call::new(&x, first)
                };
                self.explain_product(call)
            }
            OpShape::GatedMlp { rows, gate, up, down, add_norm } => {
                let [gate, up, down] = [gate, up, down].map(find_rows);
                self.explain_mlp(*rows, [gate, up, down], *add_norm)
            }
        }
    }

    fn explain_product(&self, call: Call<'_, R>) -> Result<String, CubeError> {
        product::explain(&Call { strategy: find_product(&call, self.config), ..call }).map(show)
    }

    fn explain_mlp(
        &self,
        rows: usize,
        [gate, up, down]: [&CubeTensor<R>; 3],
        add_norm: bool,
    ) -> Result<String, CubeError> {
        let (k, hidden) = (find_depth(gate), find_depth(down));
        let (x, gamma) = (self.make(&[rows, k], DType::F32), self.make(&[k], DType::F32));
        let middle = self.make(&[rows, hidden], DType::F32);
        let down = self.explain_product(Call { residual: Some(&x), ..Call::new(&middle, down) })?;
        let first = Call { up: Some(up), ..Call::new(&x, gate) };
        if !add_norm {
            return Ok(format!("gate and up: {}; down: {down}", self.explain_product(first)?));
        }
        if rows <= MAX_ROWS_TOGETHER {
            let norm = Some(RowNorm { gamma: &gamma, epsilon: 0.0 });
            let first = self.explain_product(Call { addend: Some(&x), norm, ..first })?;
            return Ok(format!("residual, norm, gate and up: {first}; down: {down}"));
        }
        let kind = burn_kiln_fusion::NormKind::Rms;
        let inputs = NormInputs { kind, x: &x, residual: Some(&x), gamma: &gamma, beta: None, epsilon: 0.0 };
        let norm = explain_norm(&inputs, Strategy::Auto)?;
        Ok(format!("residual and norm: {norm}; gate and up: {}; down: {down}", self.explain_product(first)?))
    }

    fn explain_heads(&self, shape: &AttentionShape) -> Result<String, CubeError> {
        let &AttentionShape { queries, keys, heads, kv_heads, head_dim: d, cache, .. } = shape;
        let f32s = |dims: &[usize]| self.make(dims, DType::F32);
        let (q, k, gamma, angles) =
            (f32s(&[1, heads, queries, d]), f32s(&[1, kv_heads, queries, d]), f32s(&[d]), f32s(&[1, queries, d / 2]));
        let to = self.make(&[1, kv_heads, keys, d], cache);
        let placements = [
            Placement { x: &q, gamma: Some(&gamma), to: &q },
            Placement { x: &k, gamma: Some(&gamma), to: &to },
            Placement { x: &k, gamma: None, to: &to },
        ];
        let inputs = HeadInputs {
            placements: &placements,
            angles: Angles { cos: &angles, sin: &angles },
            epsilon: 0.0,
            positions: 0..queries,
            start: keys.saturating_sub(queries),
        };
        explain_heads(&inputs, Strategy::Auto).map(show)
    }

    fn explain_attention<B: CubeEngine<R>>(&self, shape: &AttentionShape) -> Result<String, CubeError> {
        let &AttentionShape { queries, keys, heads, kv_heads, head_dim: d, cache, causal } = shape;
        let q = self.make(&[1, heads, queries, d], DType::F32);
        let k = self.make(&[1, kv_heads, keys, d], cache);
        let options = AttentionOptions::<Primitives<B>> { causal, ..Default::default() };
        let inputs = AttentionInputs { q: &q, k: &k, v: &k, mask: None, bias: None };
        let outputs = AttentionOutputs { out: &q, start: 0, lse: None };
        let rules = describe_rules(&options, d, None);
        let strategy = find_attention(&inputs, &rules, &outputs, self.config);
        explain_attention(&inputs, &rules, &outputs, strategy).map(show)
    }
}

fn show(blueprint: impl Display) -> String {
    blueprint.to_string()
}

/// Inputs of a weight `[out, in]`; 0 for what is none, which the kernels then refuse.
fn find_depth<R: CubeRuntime>(weight: &CubeTensor<R>) -> usize {
    weight.shape().to_vec().get(1).copied().unwrap_or(0)
}
