//! Groups of ops, and ops of rows.

use crate::{B, alone, explain, for_configs, ones, random, runs};
use burn::tensor::{DType, Int, Tensor, activation};
use burn_kiln::OpShape;
use burn_kiln::routes::Route;
use burn_kiln_fusion::{
    FusedOps, GatedMlpWeights, KernelConfig, LinearWeights, MoeOptions, MoeWeights, Norm, NormKind, Weight,
};
use std::sync::Arc;

fn weights(shape: [usize; 2]) -> [Weight<B>; 4] {
    let config = KernelConfig::default();
    let plain = || Weight::Plain(random(shape));
    let bf16 = || Weight::Plain(random(shape).cast(DType::BF16));
    [plain(), bf16(), plain().pack(&config), bf16().pack(&config)]
}

#[test]
fn gated_mlps_are_told() {
    let _turn = alone();
    let mlps = weights([80, 32]).into_iter().zip(weights([80, 32])).zip(weights([32, 80]));
    let mlps: Vec<_> = mlps.map(|((gate, up), down)| GatedMlpWeights { gate, up, down }).collect();
    for_configs(|name, config| {
        for (i, mlp) in mlps.iter().enumerate() {
            for rows in [1, 4, 5, 16, 17, 100] {
                let GatedMlpWeights { gate, up, down } = mlp;
                let told = explain(&OpShape::GatedMlp { rows, gate, up, down, add_norm: false }, config);
                let ran = runs(Route::GatedMlp, || drop(B::mlp_gated(random([1, rows, 32]), mlp, None, config)));
                assert_eq!(told.starts_with("one op"), ran > 0, "{name}, weights {i}, {rows} rows: {told}");
            }
        }
    });
}

#[test]
fn norms_with_linear_layers_are_told() {
    let _turn = alone();
    let all = weights([48, 32]);
    for_configs(|name, config| {
        for (i, weight) in all.iter().enumerate() {
            for rows in [1, 20] {
                let told = explain(&OpShape::NormLinears { rows, weights: vec![weight, weight] }, config);
                let norm = Norm { kind: NormKind::Rms, gamma: ones(32), beta: None, epsilon: 1e-6 };
                let layers = [0, 1].map(|_| LinearWeights { weight: weight.clone(), bias: None });
                let ran =
                    runs(Route::NormLinears, || drop(B::norm_linears(random([1, rows, 32]), &norm, layers, config)));
                assert_eq!(told.starts_with("one op"), ran > 0, "{name}, weight {i}, {rows} rows: {told}");
            }
        }
    });
}

#[test]
fn mixtures_of_experts_are_told() {
    let _turn = alone();
    for_configs(|name, config| {
        for (tokens, experts, top_k) in [(1, 4, 2), (6, 4, 1), (40, 8, 8), (0, 4, 2)] {
            let (hidden, intermediate) = (32, 48);
            let told = explain(&OpShape::Moe { tokens, hidden, intermediate, experts, top_k }, config);
            let weights = MoeWeights {
                router: Weight::Plain(random([experts, hidden])),
                gate_up: random([experts, hidden, 2 * intermediate]),
                down: random([experts, intermediate, hidden]),
            };
            let options = MoeOptions { top_k, norm_topk_prob: true };
            let ran = runs(Route::Moe, || drop(B::moe(random([tokens, hidden]), &weights, options, config)));
            assert_eq!(told.contains("as one op"), ran > 0, "{name}, {tokens} of {experts} by {top_k}: {told}");
        }
    });
}

#[test]
fn ops_of_rows_are_told() {
    let _turn = alone();
    for_configs(|name, config| {
        let scope = Arc::new(config.clone());
        let check = |op: OpShape<&Weight<B>>, kernel: &str, route: Route, work: &dyn Fn()| {
            let told = explain(&op, config);
            let ran = runs(route, || burn_kiln::scope(&scope, work));
            assert_eq!(told.contains(kernel), ran > 0, "{name}, {op:?}: {told}");
        };
        for (rows, d) in [(1, 64), (7, 300)] {
            let norm = |kind, residual| OpShape::Norm { kind, rows, d, residual };
            let x = || random([rows, d]);
            check(norm(NormKind::Rms, false), "blocked rms norm", Route::RmsNorm, &|| {
                drop(B::rms_norm(x(), ones(d), 1e-6, config));
            });
            check(norm(NormKind::Layer, false), "blocked layer norm", Route::LayerNorm, &|| {
                drop(<B as FusedOps>::layer_norm(x(), ones(d), None, 1e-6, config));
            });
            check(norm(NormKind::Rms, true), "in one pass", Route::AddNorm, &|| {
                drop(B::add_norm(x(), x(), ones(d), 1e-6, config));
            });
            check(OpShape::Softmax { rows, d }, "blocked softmax", Route::Softmax, &|| {
                drop(activation::softmax(x(), 1));
            });
            check(OpShape::Activation(rows * d), "one pass", Route::Unary, &|| drop(B::silu(x(), config)));
            let table = Weight::Plain(random([8, d]));
            let ids = || Tensor::<B, 2, Int>::from_data([[1, 3]], &Default::default());
            check(OpShape::Embedding { ids: 2, table: &table }, "one pass", Route::Embedding, &|| {
                drop(B::embedding(&table, ids(), config));
            });
        }
    });
}
