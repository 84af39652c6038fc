//! How ops would run, by the functions that their hooks ask: nothing is run.

use super::attention::splits_keys;
use super::moe::MoeSizes;
use super::panels::{CpuEngine, right, sizes};
use super::{attention, attention_rotary, elementwise, embedding, grouped, linear, moe, norm, rope, softmax};
use crate::engine::{EngineWeight, UnaryOp};
use crate::fused_group::FusedGroup;
use crate::op_shape::{AttentionShape, OpShape};
use burn_kiln_fusion::{KernelConfig, NormKind};
use burn_std::DType;
use kiln_kernels::attention::{AttentionSizes, Schedule, Tiles};
use kiln_kernels::gemm::Plan;
use kiln_kernels::planning::{Layout, ProductShape, explain_plan};
use kiln_kernels::{ElementType, Launch};

/// What is told of an op that has no kernel here.
const DECORATED: &str = "the decorated backend's";

/// The kernel of `op`, its algorithm and sizes; or that it is the decorated backend's, or falls into other ops.
pub(super) fn explain<B: CpuEngine>(op: &OpShape<EngineWeight<B>>, config: &KernelConfig) -> String {
    match op {
        &OpShape::Norm { kind, d, residual, .. } => explain_norm(kind, d, residual, config),
        OpShape::NormLinears { rows, weights } => explain_norm_linears(*rows, weights, config),
        OpShape::Heads(shape) => explain_heads(shape, config),
        OpShape::Attention(shape) => explain_attention(shape, config),
        OpShape::GatedMlp { rows, gate, up, down, add_norm } => {
            let mlp = explain_gated([gate, up, down], *rows, config);
            let kind = NormKind::Rms;
            match add_norm {
                // No kernel of the CPU does all of it at once.
                true => format!("{}; then {mlp}", explain_norm(kind, sizes(gate)[1], true, config)),
                false => mlp,
            }
        }
        &OpShape::Moe { tokens, hidden, intermediate, experts, top_k } => {
            let sizes = MoeSizes { tokens, hidden, intermediate, experts, top_k };
            row_wise(moe::takes(sizes, config), "router's softmax, experts and their sum as one op", config)
        }
        &OpShape::Softmax { d, .. } => row_wise(softmax::takes(d, config), "blocked softmax", config),
        &OpShape::Activation(elements) => {
            let pays = elementwise::pays_len(elements);
            row_wise(elementwise::takes_unary(UnaryOp::Silu, pays, config), "one pass", config)
        }
        OpShape::Embedding { table, .. } => {
            row_wise(embedding::find_table::<B>(table, config).is_some(), "rows to f32 in one pass", config)
        }
    }
}

/// `kernel` on the tier and threads of `config`, where the hook `takes` the op.
fn row_wise(takes: bool, kernel: &str, config: &KernelConfig) -> String {
    if !takes {
        return DECORATED.into();
    }
    let Launch { tier, threads, .. } = Launch::from(config);
    format!("{kernel}, {tier}, at most {threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn explain_norm(kind: NormKind, d: usize, residual: bool, config: &KernelConfig) -> String {
    let name = match kind {
        NormKind::Rms => "blocked rms norm",
        NormKind::Layer => "blocked layer norm",
    };
    let takes = norm::takes(d, config);
    match residual {
        false => row_wise(takes, name, config),
        true => row_wise(takes, &format!("residual and {name} in one pass"), config),
    }
}

fn explain_norm_linears<B: CpuEngine>(rows: usize, weights: &[EngineWeight<B>], config: &KernelConfig) -> String {
    let Some(first) = weights.first() else { return "nothing".into() };
    let k = sizes(first)[1];
    let Some(plan) = grouped::choose_norm_linears::<B>([rows, k], weights.iter(), config) else {
        let products = weights.iter().map(|weight| explain_linear(weight, rows, config));
        return format!("op by op: norm: {}; {}", explain_norm(NormKind::Rms, k, false, config), join(products));
    };
    let layers = weights.iter().filter_map(|weight| {
        let shape = ProductShape::of_rows([rows, k], ElementType::F32, [(right(weight)?, sizes(weight)[0])]);
        Some(explain_plan(&plan, shape).to_string())
    });
    format!("one op, {}", join(layers))
}

/// The texts that differ, each once.
fn join(texts: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = texts.collect();
    all.dedup();
    all.join("; ")
}

fn explain_linear<B: CpuEngine>(weight: &EngineWeight<B>, rows: usize, config: &KernelConfig) -> String {
    linear::explain(weight, rows, config).unwrap_or_else(|| DECORATED.into())
}

/// What decides of how an attention runs.
fn find_sizes(shape: &AttentionShape) -> AttentionSizes {
    let &AttentionShape { queries, keys, heads, kv_heads, head_dim, .. } = shape;
    AttentionSizes { batch: 1, heads, kv_heads, queries, keys, d: head_dim, dv: head_dim, bf16: false }
}

/// Tiles of attention from projections, where it is one op.
fn choose_rotary(sizes: AttentionSizes, config: &KernelConfig) -> Option<Tiles> {
    let fuses = FusedGroup::AttentionRotary.is_on(&config.fusion);
    fuses.then(|| attention_rotary::choose_tiles(sizes, config)).flatten()
}

fn explain_heads(shape: &AttentionShape, config: &KernelConfig) -> String {
    let sizes = find_sizes(shape);
    match choose_rotary(sizes, config) {
        Some(_) => "part of the attention's op".into(),
        None => row_wise(rope::takes(sizes.d, config), "norm and rotation in one pass, then the append", config),
    }
}

fn explain_attention(shape: &AttentionShape, config: &KernelConfig) -> String {
    let mut sizes = find_sizes(shape);
    let (tiles, what) = match choose_rotary(sizes, config) {
        Some(tiles) => {
            // Queries are rounded to meet keys of bf16.
            sizes.bf16 = shape.cache == DType::BF16 && config.simd.bf16_activations;
            (Some(tiles), "head norms, rotation and tiled attention as one op")
        }
        None => (attention::choose_tiles(sizes, config), "tiled attention"),
    };
    let Some(tiles) = tiles else { return DECORATED.into() };
    let launch = Launch::from(config);
    format!("{what}, {}, {}", launch.tier, Schedule::choose(launch, sizes, tiles, splits_keys(config)))
}

fn explain_gated<B: CpuEngine>(weights: [&EngineWeight<B>; 3], rows: usize, config: &KernelConfig) -> String {
    let chosen: Option<([Plan; 2], _)> = grouped::choose_gated::<B>(weights, rows, config);
    let Some(([plan, down_plan], [gate, _, down])) = chosen else {
        let [gate, up, down] = weights.map(|weight| explain_linear(weight, rows, config));
        return format!("op by op: gate: {gate}; up: {up}; down: {down}");
    };
    let shape = |n, k, b: ElementType| ProductShape {
        m: rows,
        n,
        k,
        a: if down_plan.rounds(rows, down) { ElementType::Bf16 } else { ElementType::F32 },
        b,
        layout: Layout::Packed,
    };
    let gated =
        explain_plan(&plan, ProductShape { a: ElementType::F32, ..shape(2 * gate.n(), gate.k(), gate.dtype()) });
    let down = explain_plan(&down_plan, shape(down.n(), down.k(), down.dtype()));
    format!("one op, gate, up and SiLU: {gated}; down: {down}")
}
