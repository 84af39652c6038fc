//! How cases are drawn.

use crate::check::Setting;
use crate::operand::{Layout, Operand, Values};
use burn_backend::DType;
use burn_kiln_fusion::KernelConfig;
use burn_kiln_fusion::config::{IsaChoice, SimdConfig, ThreadsConfig};
use kiln_kernels::simd::Tier;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::sync::Arc;

/// Runs `test` on cases of `strategy`, from a fixed seed; a failing case is made smaller first.
pub fn for_each<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&strategy, |case| {
        test(case);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Element types of a backend, f32 more often than the others.
pub fn dtypes(has_halves: bool) -> impl Strategy<Value = DType> + Clone {
    let halves: &[DType] = if has_halves { &[DType::F16, DType::BF16] } else { &[] };
    select([&[DType::F32; 3], [DType::F64].as_slice(), halves].concat())
}

/// One dimension: also 0 and 1, the sizes around a register, and odd ones.
pub fn sizes() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![1 => Just(0), 4 => Just(1), 10 => 2..9usize, 2 => select(vec![15, 16, 17, 33, 67])]
}

/// A shape of rank 1 to 5.
pub fn shapes() -> impl Strategy<Value = Vec<usize>> + Clone {
    let small = |shape: &Vec<usize>| shape.iter().product::<usize>() <= 20_000;
    prop::collection::vec(sizes(), 1..=5).prop_filter("too large", small)
}

/// An operand of a shape.
pub fn operand(shape: Vec<usize>, dtype: DType, values: Values) -> impl Strategy<Value = Operand> {
    let layouts = prop_oneof![1 => Just(Layout::Contiguous), 2 => select(Layout::ALL.to_vec())];
    (layouts, any::<u64>()).prop_map(move |(layout, seed)| Operand {
        shape: shape.clone(),
        dtype,
        layout,
        values,
        seed,
    })
}

/// All kinds of numbers.
pub fn values() -> impl Strategy<Value = Values> + Clone {
    select(vec![Values::Plain, Values::NonFinite, Values::Extreme])
}

/// `shape` with some dimensions made 1.
pub fn broadcast(shape: Vec<usize>) -> impl Strategy<Value = Vec<usize>> {
    let ones = prop::collection::vec(prop::bool::weighted(0.3), shape.len());
    ones.prop_map(move |ones| shape.iter().zip(ones).map(|(&size, one)| if one { 1 } else { size }).collect())
}

/// Every configuration that can change which code runs, and whether operands are held.
pub fn settings() -> impl Strategy<Value = Setting> + Clone {
    (select(configs()), any::<bool>()).prop_map(|(config, holds)| Setting { config: Arc::new(config), holds })
}

/// The default, each instruction set of this CPU, one thread, and everything off.
pub fn configs() -> Vec<KernelConfig> {
    let isa = |isa| KernelConfig { simd: SimdConfig { isa, ..SimdConfig::default() }, ..KernelConfig::default() };
    let tiers = Tier::available().into_iter().map(|tier| match tier {
        Tier::Portable => isa(IsaChoice::Portable),
        Tier::Avx2 => isa(IsaChoice::Avx2),
        Tier::Avx512 => isa(IsaChoice::Avx512),
        Tier::Avx512Bf16 => isa(IsaChoice::Avx512Bf16),
        Tier::Amx => isa(IsaChoice::Amx),
    });
    let one_thread = KernelConfig { threads: ThreadsConfig { max: Some(1) }, ..KernelConfig::default() };
    [KernelConfig::default(), KernelConfig::default(), one_thread, KernelConfig::none()]
        .into_iter()
        .chain(tiers)
        .collect()
}
