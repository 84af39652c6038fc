//! Products with weights in every layout.

use crate::{B, alone, for_configs, random, runs};
use burn::tensor::DType;
use burn_kiln::routes::Route;
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, Weight};
use kiln_kernels::gemm::Variant;
use kiln_kernels::probe::{self, Probe};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A weight `[n, k]` in panels, in rows, and in columns, as a tensor that was transposed has them; f32 and bf16.
fn layouts([n, k]: [usize; 2]) -> Vec<(&'static str, Weight<B>)> {
    let config = KernelConfig::default();
    let rows = |dtype| Weight::Plain(random([n, k]).cast(dtype));
    vec![
        ("packed", rows(DType::F32).pack(&config)),
        ("packed bf16", rows(DType::BF16).pack(&config)),
        ("rows", rows(DType::F32)),
        ("rows of bf16", rows(DType::BF16)),
        ("columns", Weight::Plain(random([k, n]).transpose())),
        ("columns of bf16", Weight::Plain(random([k, n]).cast(DType::BF16).transpose())),
    ]
}

/// The algorithm that ran last, by its name in the text.
fn last_algorithm() -> &'static str {
    let all = [Variant::Dot, Variant::Axpy, Variant::Unpacked, Variant::Blocked];
    match all.into_iter().find(|&variant| variant as u64 == probe::last(Probe::Algorithm)) {
        Some(Variant::Dot) => "dot products",
        Some(Variant::Axpy) => "rows of b",
        Some(Variant::Unpacked) => "tiles of strided operands",
        Some(Variant::Blocked) => "blocks ",
        None => "no algorithm",
    }
}

#[test]
fn products_are_told() {
    let _turn = alone();
    let seen = Mutex::new(BTreeSet::new());
    for_configs(|name, config| {
        for [n, k] in [[1, 40], [20, 64], [48, 300], [128, 128], [300, 900]] {
            for (layout, weight) in layouts([n, k]) {
                for rows in [1, 3, 4, 16, 17, 64, 200] {
                    let told = B::explain_linear(&weight, rows, config);
                    let parts = probe::count(Probe::Threads);
                    let ran = runs(Route::Linear, || {
                        drop(<B as FusedOps>::linear(random([rows, k]), &weight, Epilogue::default(), config));
                    });
                    let case = format!("{name}, [{rows}, {k}] · [{k}, {n}], {layout}: {told:?}");
                    assert_eq!(told.is_some(), ran > 0, "{case}");
                    let Some(told) = told else { continue };
                    assert!(told.contains(last_algorithm()), "{case}, not {}", last_algorithm());
                    assert!(!told.ends_with(" 1 thread") || probe::count(Probe::Threads) == parts, "{case}");
                    seen.lock().expect("nobody panicked").insert(last_algorithm());
                }
            }
        }
    });
    assert_eq!(seen.into_inner().expect("nobody panicked").len(), 4, "every algorithm ran");
}
