//! Products of bf16 tensors on the instruction sets that multiply bf16.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "../kernels/tests/amx/mod.rs"]
mod amx;

use burn::tensor::{DType, Distribution, Tensor, Tolerance};
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::routes::{Route, count};
use burn_kiln_fusion::config::{IsaChoice, SimdConfig};
use burn_kiln_fusion::{Epilogue as LinearEpilogue, FusedOps, KernelConfig, TrainingOps, Weight};
use kiln_kernels::simd::{Tier, testing};
use std::sync::{Mutex, PoisonError};

/// The tiers that multiply bf16, those of a CPU without AMX by emulation.
fn tiers() -> Vec<Tier> {
    if Tier::Avx512Bf16.is_available() && !Tier::Amx.is_available() {
        amx::install();
        testing::assume_amx();
    }
    [Tier::Avx512Bf16, Tier::Amx].into_iter().filter(|tier| tier.is_available()).collect()
}

/// Counts are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// How often the kernels of `tier` ran.
fn runs(tier: Tier) -> u64 {
    count(if tier == Tier::Amx { Route::Bf16Tiles } else { Route::Bf16Dots })
}

/// What a user of tensors calls: `matmul`, and `linear` with a plain and a packed weight.
#[test]
fn products_of_bf16_tensors_reach_the_instructions() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    type B = Kiln<Flex>;
    let random = |shape: [usize; 2]| {
        Tensor::<B, 2>::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default()).cast(DType::BF16)
    };
    for tier in tiers() {
        let isa = if tier == Tier::Amx { IsaChoice::Amx } else { IsaChoice::Avx512Bf16 };
        let config = std::sync::Arc::new(KernelConfig {
            simd: SimdConfig { isa, ..SimdConfig::default() },
            ..KernelConfig::default()
        });
        for rows in [1, 20] {
            // One row with the panels of few rows is multiplied by `vdpbf16ps` on every tier: only the route says
            // where.
            let (x, w) = (random([rows, 48]), random([40, 48]));
            let want = x.clone().cast(DType::F32).matmul(w.clone().cast(DType::F32).transpose());
            let check = |what: &str, product: &dyn Fn() -> Tensor<B, 2>| {
                let before = runs(tier);
                let got = product();
                assert!(runs(tier) > before, "{what} of {rows} rows did not reach {tier}");
                let tolerance = Tolerance::rel_abs(1e-2, 2e-2);
                got.cast(DType::F32).into_data().assert_approx_eq::<f32>(&want.to_data(), tolerance);
            };
            check("matmul", &|| burn_kiln::scope(&config, || x.clone().matmul(w.clone().transpose())));
            for weight in [Weight::Plain(w.clone()), Weight::Plain(w.clone()).pack(&config)] {
                check("linear", &|| B::linear(x.clone(), &weight, LinearEpilogue::default(), &config));
            }
        }
    }
}

/// Training with f32 master weights: the products of a linear layer's forward and backward are rounded where
/// `simd.bf16_products` asks for it, and only there.
#[test]
fn products_of_f32_tensors_are_rounded_when_asked() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    type B = Kiln<Flex>;
    let random =
        |shape: [usize; 2]| Tensor::<B, 2>::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default());
    for tier in tiers() {
        let isa = if tier == Tier::Amx { IsaChoice::Amx } else { IsaChoice::Avx512Bf16 };
        let configs = [false, true].map(|bf16_products| KernelConfig {
            simd: SimdConfig { isa, bf16_products, ..SimdConfig::default() },
            ..KernelConfig::default()
        });
        let (x, grad) = (random([40, 96]), random([40, 64]));
        let weight = Weight::Plain(random([64, 96]));
        type Run<'a> = &'a dyn Fn(&KernelConfig) -> Tensor<B, 2>;
        let products: [(&str, Run<'_>); 3] = [
            ("forward", &|config| B::linear(x.clone(), &weight, LinearEpilogue::default(), config)),
            ("input gradient", &|config| B::linear_input_gradient(&weight, grad.clone(), None, config)),
            ("weight gradient", &|config| B::linear_weight_gradient(x.clone(), grad.clone(), None, config)),
        ];
        for (what, product) in products {
            let before = runs(tier);
            let exact = product(&configs[0]);
            assert_eq!(runs(tier), before, "{what} was rounded unasked on {tier}");
            let rounded = product(&configs[1]);
            assert!(runs(tier) > before, "{what} did not reach {tier}");
            let tolerance = Tolerance::rel_abs(2e-2, 5e-2);
            rounded.into_data().assert_approx_eq::<f32>(&exact.into_data(), tolerance);
        }
    }
}
