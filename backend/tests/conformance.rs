//! The fused ops of `Kiln<B>`, their gradients and their nodes on the tape against the `f64` reference: with the
//! default configuration, with everything off, with one switch of fusion off, and on every instruction set of this CPU.

use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::KernelConfig;
use burn_kiln_fusion::config::{FusionConfig, IsaChoice, SimdConfig, ThreadsConfig};
use burn_kiln_fusion::conformance::{self, Suite, Tolerance, check_all, embedding, norm, optim, rope};
use burn_ndarray::NdArray;
use kiln_kernels::simd::Tier;

/// One test an op, for one suite.
macro_rules! check_ops {
    ($suite:expr) => {
        check_ops!($suite; linear norm activation mlp moe rope embedding attention attention_rotary cache loss optim);
    };
    ($suite:expr; $($op:ident)*) => {
        $(
            #[test]
            fn $op() {
                burn_kiln_fusion::conformance::$op::check(&$suite);
            }
        )*
    };
}

mod flex {
    use super::*;
    check_ops!(suite(KernelConfig::default()));
}

mod ndarray {
    use super::*;
    // No half precision: NdArray has none.
    check_ops!(Suite::<Kiln<NdArray>>::new(Default::default()));
}

/// Flex with half weights; where the kernels may round activations, products with bf16 weights have the tolerance of
/// that.
fn suite(config: KernelConfig) -> Suite<Kiln<Flex>> {
    let bf16_tolerance = if config.simd.bf16_activations { Tolerance::BF16 } else { Tolerance::F32 };
    Suite { config, bf16_tolerance, ..Suite::new(Default::default()).with_half_weights() }
}

/// The outputs alone, with half weights, and the gradients of the ops whose backward passes have kernels here.
fn check_outputs(config: KernelConfig) {
    check_all(&Suite { gradients: false, ..suite(config.clone()) });
    check_all(&Suite { config: config.clone(), gradients: false, ..Suite::<Kiln<NdArray>>::new(Default::default()) });
    let suite = suite(config);
    conformance::linear::check(&suite);
    conformance::activation::check(&suite);
    conformance::mlp::check(&suite);
    conformance::moe::check(&suite);
    conformance::loss::check(&suite);
}

/// The gradients that have kernels of their own, and the optimiser.
fn check_gradients(config: KernelConfig) {
    let suite = suite(config);
    norm::check(&suite);
    rope::check(&suite);
    embedding::check(&suite);
    optim::check(&suite);
}

fn check_tier(tier: Tier, isa: IsaChoice) {
    if !tier.is_available() {
        return;
    }
    check_gradients(KernelConfig { simd: SimdConfig { isa, ..SimdConfig::default() }, ..KernelConfig::default() });
    for bf16_activations in [false, true] {
        let simd = SimdConfig { isa, bf16_activations, ..SimdConfig::default() };
        check_outputs(KernelConfig { simd, ..KernelConfig::default() });
    }
}

#[test]
fn portable() {
    check_tier(Tier::Portable, IsaChoice::Portable);
}

#[test]
fn avx2() {
    check_tier(Tier::Avx2, IsaChoice::Avx2);
}

#[test]
fn avx512() {
    check_tier(Tier::Avx512, IsaChoice::Avx512);
}

#[test]
fn avx512_bf16() {
    check_tier(Tier::Avx512Bf16, IsaChoice::Avx512Bf16);
}

#[test]
fn amx() {
    check_tier(Tier::Amx, IsaChoice::Amx);
}

#[test]
fn everything_off() {
    check_all(&Suite { config: KernelConfig::none(), ..Suite::<Kiln<Flex>>::new(Default::default()) });
    check_outputs(KernelConfig::none());
}

#[test]
fn one_thread() {
    check_outputs(KernelConfig { threads: ThreadsConfig { max: Some(1) }, ..KernelConfig::default() });
}

/// Each op as the composition of the single kernels.
#[test]
fn no_fusion() {
    check_gradients(KernelConfig { fusion: KernelConfig::none().fusion, ..KernelConfig::default() });
    check_outputs(KernelConfig { fusion: KernelConfig::none().fusion, ..KernelConfig::default() });
}

/// Fused ops on the decorated backend's own products, and the other way round.
#[test]
fn single_sections_off() {
    let (on, off) = (KernelConfig::default(), KernelConfig::none());
    check_gradients(KernelConfig { simd: off.simd.clone(), ..on.clone() });
    check_gradients(KernelConfig { blocking: off.blocking.clone(), ..on.clone() });
    check_outputs(KernelConfig { tiling: off.tiling, ..on.clone() });
    check_outputs(KernelConfig { simd: off.simd, ..on.clone() });
    check_outputs(KernelConfig { blocking: off.blocking, prefetch: off.prefetch, ..on });
    check_outputs(KernelConfig { fusion: FusionConfig::default(), ..KernelConfig::none() });
}
