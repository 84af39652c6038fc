//! The ops of a model around its products, by the sizes of its configuration.

use crate::Qwen3Vl;
use crate::text::{DecoderLayer, Mlp};
use burn::tensor::DType;
use burn_kiln::{AttentionShape, OpShape};
use burn_kiln::{Engine, Kiln};
use burn_kiln_fusion::{KernelConfig, NormKind, Weight};

/// An op that a backend can say something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedOp {
    /// What it is.
    pub name: String,
    /// Rows of its input (tokens, or patches of a picture), and how it runs.
    pub plans: Vec<(usize, String)>,
}

/// Keys that a step of decoding is explained for.
const DECODED_KEYS: [usize; 3] = [128, 2048, 16_384];

/// An op under its name, with weights that are shared.
type Op<B> = (String, OpShape<Weight<Kiln<B>>>);

/// The ops of `model` that the backend has kernels of its own for, for inputs of so many `rows`.
pub(super) fn explain_ops<B: Engine>(model: &Qwen3Vl<Kiln<B>>, rows: &[usize]) -> Vec<ExplainedOp> {
    let (device, config) = (model.device(), model.kernel_config());
    let mut found: Vec<ExplainedOp> = Vec::new();
    for &count in rows {
        for (name, op) in list_ops(model, count) {
            let Some(plan) = explain_op::<B>(&op, &device, config) else { continue };
            match found.iter_mut().find(|op| op.name == name) {
                Some(op) => op.plans.push((count, plan)),
                None => found.push(ExplainedOp { name, plans: vec![(count, plan)] }),
            }
        }
    }
    found
}

fn explain_op<B: Engine>(op: &OpShape<Weight<Kiln<B>>>, device: &B::Device, config: &KernelConfig) -> Option<String> {
    Kiln::<B>::explain_op(&op.map_weights(|weight| weight), device, config)
}

/// In the order of their use.
fn list_ops<B: Engine>(model: &Qwen3Vl<Kiln<B>>, rows: usize) -> Vec<Op<B>> {
    let (text, vision) = (&model.config().text, &model.config().vision);
    let d = vision.hidden_size;
    let norm = |kind, d, residual| OpShape::Norm { kind, rows, d, residual };
    let patches = AttentionShape {
        queries: rows,
        keys: rows,
        heads: vision.num_heads,
        kv_heads: vision.num_heads,
        head_dim: vision.head_dim(),
        cache: DType::F32,
        causal: false,
    };
    let mut ops = Vec::new();
    if rows > 1 {
        ops.push(("vision: layer norm".to_owned(), norm(NormKind::Layer, d, false)));
        ops.push(("vision: attention".to_owned(), OpShape::Attention(patches)));
        let elements = rows * vision.intermediate_size;
        ops.push(("vision: activation, where it is not a product's".to_owned(), OpShape::Activation(elements)));
    }
    // The table of a model that streams its weights may have no rows here.
    if model.stream().is_none() {
        let table = model.language_model.embed_tokens.weight();
        ops.push(("embedding".to_owned(), OpShape::Embedding { ids: rows, table }));
    }
    if let Some(layer) = model.language_model.layers.first() {
        ops.extend(list_layer_ops(model, layer, rows));
    }
    ops.push(("last norm".to_owned(), norm(NormKind::Rms, text.hidden_size, false)));
    ops.push(("softmax of logits".to_owned(), OpShape::Softmax { rows, d: text.vocab_size }));
    ops
}

/// Those of a decoder layer.
fn list_layer_ops<B: Engine>(model: &Qwen3Vl<Kiln<B>>, layer: &DecoderLayer<Kiln<B>>, rows: usize) -> Vec<Op<B>> {
    let text = &model.config().text;
    let attention = |keys| AttentionShape {
        queries: rows,
        keys,
        heads: text.num_attention_heads,
        kv_heads: text.num_key_value_heads,
        head_dim: text.head_dim,
        cache: model.cache_dtype(),
        causal: true,
    };
    let projections = [&layer.self_attn.q_proj, &layer.self_attn.k_proj, &layer.self_attn.v_proj];
    let weights = projections.map(|projection| projection.weight()).to_vec();
    let mut ops = vec![
        ("norm, queries, keys and values".to_owned(), OpShape::NormLinears { rows, weights }),
        ("head norms, rotation, cache append".to_owned(), OpShape::Heads(attention(rows))),
    ];
    if rows == 1 {
        let keys = DECODED_KEYS.into_iter().filter(|&keys| keys <= text.context_length());
        ops.extend(keys.map(|keys| (format!("attention over {keys} keys"), OpShape::Attention(attention(keys)))));
    } else {
        ops.push(("attention".to_owned(), OpShape::Attention(attention(rows))));
    }
    let add_norm = OpShape::Norm { kind: NormKind::Rms, rows, d: text.hidden_size, residual: true };
    ops.push(("residual and norm, where they are not the MLP's".to_owned(), add_norm));
    let mlps = || model.language_model.layers.iter().map(|layer| &layer.mlp);
    if let Some(mlp) = mlps().find_map(|mlp| if let Mlp::Dense(mlp) = mlp { Some(mlp) } else { None }) {
        let [gate, up, down] = [&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj].map(|layer| layer.weight());
        ops.push(("gated MLP".to_owned(), OpShape::GatedMlp { rows, gate, up, down, add_norm: true }));
    }
    if let Some(moe) = text.moe.as_ref().filter(|_| mlps().any(|mlp| matches!(mlp, Mlp::Sparse(_)))) {
        let mixture = OpShape::Moe {
            tokens: rows,
            hidden: text.hidden_size,
            intermediate: moe.moe_intermediate_size,
            experts: moe.num_experts,
            top_k: moe.num_experts_per_tok,
        };
        ops.push(("mixture of experts".to_owned(), mixture));
    }
    ops
}
