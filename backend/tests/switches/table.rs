//! Every switch of a configuration, and where it shows.

use crate::gauges::{Counter, other_plans, plans};
use crate::row::Seen::{After, Before, Elsewhere, Size};
use crate::row::{Row, Set};
use crate::workloads as work;
use burn_kiln::OptimizationConfig;
use burn_kiln::routes::Route;
use burn_kiln_fusion::config::IsaChoice;
use bytesize::ByteSize;
use kiln_kernels::Launch;
use kiln_kernels::gemm::Plan;
use kiln_kernels::probe::Probe;
use kiln_kernels::simd::Tier;

/// One thread: sizes do not depend on how parts are cut.
const ALONE: Set = |config| config.threads.max = Some(1);

/// Plans are measured, and kept in a folder of the test.
const TUNED: Set = |config| {
    config.planning.tune = true;
    config.planning.folder = Some(plans().into());
};

fn routes(routes: &[Route]) -> Vec<Counter> {
    routes.iter().copied().map(Counter::Route).collect()
}

/// All rows; a switch may have several.
pub fn rows() -> Vec<Row> {
    let mut rows = sections();
    rows.extend(sizes());
    rows.extend(fusion());
    rows.extend(planning());
    rows.extend(memory());
    rows.extend(cards());
    rows
}

fn sections() -> Vec<Row> {
    let tiling: Set = |config| config.tiling.enabled = false;
    let blocking: Set = |config| config.blocking.enabled = false;
    let simd: Set = |config| config.simd.enabled = false;
    let prefetch: Set = |config| config.prefetch.enabled = false;
    let mut rows = vec![
        Row::of("tiling.enabled", tiling, Before(work::matmul, routes(&[Route::Matmul]))),
        Row::of("tiling.enabled", tiling, Before(work::linear, routes(&[Route::Linear, Route::LinearPacked]))),
        Row::of("tiling.enabled", tiling, Before(work::attention, routes(&[Route::Attention]))),
        Row::of("tiling.enabled", tiling, Before(work::attention_backward, routes(&[Route::AttentionBackward]))),
        Row::of("tiling.enabled", tiling, Before(work::attention_rotary, routes(&[Route::AttentionRotary]))),
        Row::of("tiling.enabled", tiling, Before(work::norm_linears, routes(&[Route::NormLinears]))),
        Row::of("tiling.enabled", tiling, Before(work::mlp, routes(&[Route::GatedMlp]))),
        Row::of("tiling.enabled", tiling, Before(work::moe, routes(&[Route::Moe]))),
        Row::of("blocking.enabled", blocking, Before(work::norms, routes(&[Route::LayerNorm, Route::RmsNorm]))),
        Row::of("blocking.enabled", blocking, Before(work::add_norm, routes(&[Route::AddNorm]))),
        Row::of(
            "blocking.enabled",
            blocking,
            Before(work::norm_gradients, routes(&[Route::LayerNorm, Route::LayerNormBackward, Route::RmsNormBackward])),
        ),
        Row::of("blocking.enabled", blocking, Before(work::add_norm_gradients, routes(&[Route::AddNormBackward]))),
        Row::of("blocking.enabled", blocking, Before(work::softmax, routes(&[Route::Softmax]))),
        Row::of("blocking.enabled", blocking, Before(work::norm_linears, routes(&[Route::NormLinears]))),
        Row::of("blocking.enabled", blocking, Before(work::moe, routes(&[Route::Moe]))),
        Row::of("simd.enabled", simd, Before(work::elementwise, routes(&[Route::Unary, Route::Binary]))),
        Row::of("simd.enabled", simd, Before(work::silu_mul, routes(&[Route::Gated]))),
        Row::of("simd.enabled", simd, Before(work::heads, routes(&[Route::Rope]))),
        Row::of("simd.enabled", simd, Before(work::embedding, routes(&[Route::Embedding]))),
        Row::of("simd.enabled", simd, Before(work::rope_gradients, routes(&[Route::RopeBackward]))),
        Row::of("simd.enabled", simd, Before(work::head_gradients, routes(&[Route::RopeBackward]))),
        Row::of("simd.enabled", simd, Before(work::embedding_gradients, routes(&[Route::EmbeddingBackward]))),
        Row::of("simd.enabled", simd, Before(work::optimiser, routes(&[Route::AdamW, Route::SumOfSquares]))),
        Row::of("simd.enabled", simd, Before(work::attention_rotary, routes(&[Route::AttentionRotary]))),
        Row::of("simd.enabled", simd, Before(work::moe, routes(&[Route::Moe]))),
    ];
    rows.extend(backward());
    for run in [
        work::matmul,
        work::linear,
        work::decode_attention,
        work::streamed_norms,
        work::streamed_norm_gradients,
        work::head_gradients,
        work::streamed_softmax,
        work::streamed_activation,
    ] {
        let counted = || vec![Counter::Probe(Probe::Prefetch)];
        rows.push(Row::of("prefetch.enabled", prefetch, Before(run, counted())));
        rows.push(Row::of("prefetch.distance", |config| config.prefetch.distance = Some(0), Before(run, counted())));
    }
    rows.push(isa());
    rows.push(bf16_activations());
    rows.push(bf16_products());
    rows
}

/// What switches of whole sections do to backward passes.
fn backward() -> Vec<Row> {
    let tiling: Set = |config| config.tiling.enabled = false;
    let blocking: Set = |config| config.blocking.enabled = false;
    let simd: Set = |config| config.simd.enabled = false;
    let elementwise = [Route::ActivationGradient, Route::BiasGradient];
    vec![
        Row::of("tiling.enabled", tiling, Before(work::linear_backward, routes(&[Route::WeightGradient]))),
        Row::of("tiling.enabled", tiling, Before(work::head_loss, routes(&[Route::HeadLoss]))),
        Row::of("tiling.enabled", tiling, Before(work::moe_backward, routes(&[Route::MoeGradient]))),
        Row::of("blocking.enabled", blocking, Before(work::head_loss, routes(&[Route::HeadLoss]))),
        Row::of("blocking.enabled", blocking, Before(work::moe_backward, routes(&[Route::MoeGradient]))),
        Row::of("simd.enabled", simd, Before(work::mlp_plain_backward, routes(&elementwise))),
        Row::of("simd.enabled", simd, Before(work::mlp_gated_backward, routes(&[Route::GatedGradient]))),
        Row::of("simd.enabled", simd, Before(work::moe_backward, routes(&[Route::MoeGradient]))),
    ]
}

/// The instruction set that kernels entered.
fn isa() -> Row {
    let portable: Set = |config| config.simd.isa = IsaChoice::Portable;
    match Tier::best() {
        Tier::Portable => Row::of(
            "simd.isa",
            |config| config.simd.isa = IsaChoice::Avx2,
            Elsewhere {
                test: "backend/tests/switches/table.rs",
                reason: "this CPU has no instruction set but the portable one: what kernels are told is compared",
                derived: |config| format!("{:?}", config.kernels().simd.isa),
            },
        ),
        _ => Row::of("simd.isa", portable, Size(work::elementwise, Probe::Tier, 0..=0)),
    }
}

/// Products of rounded activations.
fn bf16_activations() -> Row {
    let turn: Set = |config| config.simd.bf16_activations = false;
    let seen = match Tier::best() {
        Tier::Avx512Bf16 | Tier::Amx => Before(work::bf16_weight, vec![Counter::Bf16]),
        _ => Elsewhere {
            test: "backend/tests/rotary.rs",
            reason: "this CPU has no instructions for bf16: the plan of products is compared",
            derived: |config| format!("{:?}", Plan::from(&config.kernels())),
        },
    };
    Row::of("simd.bf16_activations", turn, seen)
}

/// Products of f32 whose operands are both rounded.
fn bf16_products() -> Row {
    let turn: Set = |config| config.simd.bf16_products = true;
    let seen = match Tier::best() {
        Tier::Avx512Bf16 | Tier::Amx => After(work::linear_backward, vec![Counter::Bf16]),
        _ => Elsewhere {
            test: "backend/tests/bf16.rs",
            reason: "this CPU has no instructions for bf16: the plan of products is compared",
            derived: |config| format!("{:?}", Plan::from(&config.kernels())),
        },
    };
    Row::of("simd.bf16_products", turn, seen)
}

/// Sizes that divide those of the workload, so that blocks are even: the depth of 600 falls into ten blocks of 60.
fn sizes() -> Vec<Row> {
    let rows: Set = |config| config.blocking.rows = Some(2048);
    vec![
        Row::of("tiling.mc", |config| config.tiling.mc = Some(42), Size(work::linear, Probe::BlockRows, 42..=42))
            .within(ALONE),
        Row::of("tiling.kc", |config| config.tiling.kc = Some(64), Size(work::linear, Probe::BlockDepth, 60..=60))
            .within(ALONE),
        Row::of("tiling.nc", |config| config.tiling.nc = Some(64), Size(work::linear, Probe::BlockColumns, 64..=64))
            .within(ALONE),
        Row::of(
            "tiling.attention_q",
            |config| config.tiling.attention_q = Some(48),
            Size(work::attention, Probe::AttentionRows, 48..=48),
        )
        .within(ALONE),
        Row::of(
            "tiling.attention_k",
            |config| config.tiling.attention_k = Some(32),
            Size(work::attention, Probe::AttentionKeys, 32..=32),
        )
        .within(ALONE),
        Row::of(
            "tiling.attention_q",
            |config| config.tiling.attention_q = Some(48),
            Size(work::attention_backward, Probe::AttentionRows, 48..=48),
        )
        .within(ALONE),
        Row::of(
            "tiling.attention_k",
            |config| config.tiling.attention_k = Some(32),
            Size(work::attention_backward, Probe::AttentionKeys, 32..=32),
        )
        .within(ALONE),
        Row::of("blocking.rows", rows, Size(work::norms, Probe::Blocks, 1..=2048)),
        Row::of("blocking.rows", rows, Size(work::softmax, Probe::Blocks, 1..=2048)),
        Row::of("threads.max", ALONE, Before(work::shared_out, vec![Counter::Probe(Probe::Threads)])),
    ]
}

fn fusion() -> Vec<Row> {
    let attention: Set = |config| config.fusion.attention = false;
    let heads: Set = |config| config.fusion.qk_norm_rope = false;
    vec![
        // Bias and residual as ops of their own.
        Row::of(
            "fusion.linear_epilogue",
            |config| config.fusion.linear_epilogue = false,
            After(work::linear_with_epilogue, routes(&[Route::Binary])),
        ),
        Row::of("fusion.attention", attention, Before(work::attention, routes(&[Route::Attention]))),
        Row::of("fusion.attention", attention, Before(work::attention_backward, routes(&[Route::AttentionBackward]))),
        Row::of("fusion.attention", attention, Before(work::attention_rotary, routes(&[Route::AttentionRotary]))),
        // The sum over the rows as an op of its own: the activation's gradient gives it otherwise.
        Row::of(
            "fusion.linear_epilogue",
            |config| config.fusion.linear_epilogue = false,
            After(work::linear_backward, routes(&[Route::BiasGradient])),
        ),
        Row::of("fusion.mlp", |config| config.fusion.mlp = false, Before(work::mlp, routes(&[Route::GatedMlp]))),
        Row::of(
            "fusion.mlp",
            |config| config.fusion.mlp = false,
            Before(work::mlp_gated_backward, routes(&[Route::GatedGradient])),
        ),
        Row::of(
            "fusion.norm_linear",
            |config| config.fusion.norm_linear = false,
            Before(work::norm_linears, routes(&[Route::NormLinears])),
        ),
        Row::of(
            "fusion.add_norm",
            |config| config.fusion.add_norm = false,
            Before(work::add_norm, routes(&[Route::AddNorm])),
        ),
        Row::of(
            "fusion.add_norm",
            |config| config.fusion.add_norm = false,
            Before(work::add_norm_gradients, routes(&[Route::AddNormBackward])),
        ),
        // The norm's gradient, and the sum as an op of its own.
        Row::of(
            "fusion.add_norm",
            |config| config.fusion.add_norm = false,
            After(work::add_norm_gradients, routes(&[Route::RmsNormBackward, Route::Binary])),
        ),
        Row::of("fusion.qk_norm_rope", heads, After(work::head_gradients, routes(&[Route::RmsNormBackward]))),
        Row::of("fusion.qk_norm_rope", heads, Before(work::attention_rotary, routes(&[Route::AttentionRotary]))),
        // The norm of each head as an op of its own.
        Row::of("fusion.qk_norm_rope", heads, After(work::heads, routes(&[Route::RmsNorm]))),
        Row::of("fusion.moe", |config| config.fusion.moe = false, Before(work::moe, routes(&[Route::Moe]))),
        Row::of(
            "fusion.moe",
            |config| config.fusion.moe = false,
            Before(work::moe_backward, routes(&[Route::MoeGradient])),
        ),
    ]
}

fn planning() -> Vec<Row> {
    let deterministic: Set = |config| config.deterministic = true;
    vec![
        Row::of(
            "planning.enabled",
            |config| config.planning.enabled = false,
            Before(work::planned, vec![Counter::AnalyticPlans]),
        ),
        // Before the other rows that measure: the folder is empty.
        Row::of(
            "planning.folder",
            |config| config.planning.folder = Some(other_plans().into()),
            Before(work::planned, vec![Counter::PlanFile]),
        )
        .within(TUNED),
        Row::of(
            "planning.tune",
            |config| config.planning.tune = false,
            Before(work::planned, vec![Counter::MeasuredPlans]),
        )
        .within(TUNED),
        Row::of("deterministic", deterministic, Before(work::planned, vec![Counter::MeasuredPlans])).within(TUNED),
        Row::of("deterministic", deterministic, Before(work::split_keys, vec![Counter::Probe(Probe::KeySplits)])),
    ]
}

fn memory() -> Vec<Row> {
    let model = |reason| Elsewhere { test: "model/tests/switches.rs", reason, derived: |config| format!("{config:?}") };
    vec![
        Row::of("pool.enabled", |config| config.pool.enabled = false, Before(work::buffers, vec![Counter::PoolHits])),
        Row::of(
            "pool.cap",
            |config| config.pool.cap = Some(ByteSize::kib(64)),
            Before(work::buffers, vec![Counter::PoolHits]),
        ),
        Row::of("weights.pack", |config| config.weights.pack = false, model("it is a model that packs its weights")),
        Row::of(
            "streaming.memory_limit",
            |config| config.streaming.memory_limit = Some(ByteSize::gib(1)),
            model("it is a checkpoint that is streamed"),
        ),
        Row::of(
            "streaming.read_ahead",
            |config| config.streaming.read_ahead = false,
            model("it is a checkpoint that is streamed"),
        ),
        Row::of(
            "gpu.memory_limit",
            |config| config.gpu.memory_limit = Some(ByteSize::gib(1)),
            model("it is a checkpoint that is sent to a card"),
        ),
    ]
}

/// On a card: here only what kernels are told.
fn cards() -> Vec<Row> {
    let card = |test| Elsewhere {
        test,
        reason: "it takes a card: what its kernels are told is compared",
        derived: |config: &OptimizationConfig| {
            format!("{:?} {:?}", config.kernels().gpu, Launch::from(&config.kernels()))
        },
    };
    vec![
        Row::of("gpu.enabled", |config| config.gpu.enabled = false, card("backend/tests/wgpu.rs")),
        Row::of("gpu.tune", |config| config.gpu.tune = true, card("backend/tests/wgpu_tune.rs")),
    ]
}
