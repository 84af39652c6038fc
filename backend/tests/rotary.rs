//! Attention from projections and mixtures of experts as a model calls them: they reach their kernels, write caches in
//! place, and take nothing large outside of the pool.

use burn::tensor::{DType, Distribution, Tensor, TensorData};
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::routes::{Route, count};
use burn_kiln_fusion::config::FusionConfig;
use burn_kiln_fusion::{
    AttentionOptions, FusedOps, HeadNorms, KernelConfig, KvCache, MoeOptions, MoeWeights, Rotary, RotaryInputs, Weight,
};
use kiln_kernels::Launch;
use kiln_kernels::attention::multiplies_bf16;
use kiln_kernels::simd::Tier;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

type B = Kiln<Flex>;

/// Counts the large allocations of each thread.
struct Counting;

/// From this size on, bytes.
const LARGE: usize = 4096;

thread_local! {
    static LARGE_ONES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE {
            let _ = LARGE_ONES.try_with(|count| count.set(count.get() + 1));
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Large allocations of this thread in `work`.
fn count_large<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LARGE_ONES.get();
    let result = work();
    (LARGE_ONES.get() - before, result)
}

/// Routes are counted for the process: one test at a time, also after one that panicked.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const HEADS: usize = 8;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 64;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

/// One thread, so that all allocations are this thread's.
fn alone() -> KernelConfig {
    let mut config = KernelConfig::default();
    config.threads.max = Some(1);
    config
}

/// The op as a decoder layer calls it.
fn attend(
    [q, k, v]: &[Tensor<B, 3>; 3],
    rotary: &Rotary<B>,
    norms: &HeadNorms<B>,
    caches: Vec<&mut KvCache<B>>,
    config: &KernelConfig,
) -> Tensor<B, 3> {
    let lengths = [q.dims()[1]];
    let options = AttentionOptions { causal: true, ..Default::default() };
    B::attention_rotary(inputs([q, k, v], rotary, norms, &lengths), &options, caches, config)
}

fn inputs<'a>(
    [q, k, v]: [&Tensor<B, 3>; 3],
    rotary: &'a Rotary<B>,
    norms: &HeadNorms<B>,
    lengths: &'a [usize],
) -> RotaryInputs<'a, B> {
    let norms = Some(norms.clone());
    RotaryInputs { q: q.clone(), k: k.clone(), v: v.clone(), head_dim: HEAD_DIM, norms, rotary, lengths }
}

fn operands(length: usize) -> ([Tensor<B, 3>; 3], Rotary<B>, HeadNorms<B>) {
    let rows = [HEADS, KV_HEADS, KV_HEADS].map(|heads| random([1, length, heads * HEAD_DIM]));
    let angles = || random([1, length, HEAD_DIM / 2]);
    let norms = HeadNorms { q_gamma: random([HEAD_DIM]), k_gamma: random([HEAD_DIM]), epsilon: 1e-6 };
    (rows, Rotary { cos: angles(), sin: angles() }, norms)
}

fn assert_close<const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>, bound: f32) {
    let (a, b) = (a.into_data().to_vec::<f32>().unwrap(), b.into_data().to_vec::<f32>().unwrap());
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() <= bound || (a.is_nan() && b.is_nan()), "{a} {b}");
    }
}

#[test]
fn the_kernel_is_reached_unless_a_switch_is_off() {
    let _turn = turn();
    let (rows, rotary, norms) = operands(5);
    let reached = |config: &KernelConfig, dtype| {
        let before = count(Route::AttentionRotary);
        let mut cache = KvCache::new(9, dtype);
        let output = attend(&rows, &rotary, &norms, vec![&mut cache], config);
        assert_eq!(cache.len(), 5);
        (count(Route::AttentionRotary) - before, output)
    };
    let fusion = |fusion| KernelConfig { fusion, ..KernelConfig::default() };
    let (_, composed) = reached(&KernelConfig::none(), DType::F32);
    for (dtype, bound) in [(DType::F32, 1e-5), (DType::BF16, 2e-2), (DType::F16, 2e-3)] {
        let (times, output) = reached(&KernelConfig::default(), dtype);
        assert_eq!(times, 1);
        assert_close(output, composed.clone(), bound);
    }
    for off in [
        FusionConfig { attention: false, ..FusionConfig::default() },
        FusionConfig { qk_norm_rope: false, ..FusionConfig::default() },
    ] {
        assert_eq!(reached(&fusion(off), DType::F32).0, 0);
    }
}

#[test]
fn steady_decode_steps_allocate_nothing_large() {
    let _turn = turn();
    let config = alone();
    for dtype in [DType::F32, DType::BF16] {
        let mut cache = KvCache::new(200, dtype);
        let (rows, rotary, norms) = operands(100);
        attend(&rows, &rotary, &norms, vec![&mut cache], &config);
        let (rows, rotary, norms) = operands(1);
        let mut step = || attend(&rows, &rotary, &norms, vec![&mut cache], &config);
        step();
        for _ in 0..20 {
            let (large, output) = count_large(&mut step);
            assert_eq!((large, output.dims()), (0, [1, 1, HEADS * HEAD_DIM]), "{dtype:?}");
        }
    }
}

/// Elements around the new positions stay as they are, and a NaN shows where it is seen.
#[test]
fn nan_reaches_the_queries_that_see_it() {
    let _turn = turn();
    let config = KernelConfig::default();
    let ([q, k, v], rotary, norms) = operands(6);
    let mut values = v.into_data().to_vec::<f32>().unwrap();
    values[3 * KV_HEADS * HEAD_DIM] = f32::NAN;
    let v = Tensor::from_data(TensorData::new(values, [1, 6, KV_HEADS * HEAD_DIM]), &Default::default());
    let mut cache = KvCache::new(8, DType::F32);
    let output = attend(&[q, k, v], &rotary, &norms, vec![&mut cache], &config).into_data().to_vec::<f32>().unwrap();
    for (position, row) in output.chunks(HEADS * HEAD_DIM).enumerate().skip(3) {
        assert!(row[0].is_nan() && row[HEAD_DIM].is_nan(), "position {position}");
        assert!(!row[(HEADS - 1) * HEAD_DIM].is_nan(), "heads of other keys, position {position}");
    }
}

#[test]
#[should_panic(expected = "holds 6 of 8 positions and cannot take 6 more")]
fn a_full_cache_panics_before_it_is_written() {
    let _turn = turn();
    let (rows, rotary, norms) = operands(6);
    let mut cache = KvCache::new(8, DType::F32);
    for _ in 0..2 {
        attend(&rows, &rotary, &norms, vec![&mut cache], &KernelConfig::default());
    }
}

/// The largest difference of two tensors.
fn distance(a: &Tensor<B, 3>, b: &Tensor<B, 3>) -> f32 {
    (a.clone() - b.clone()).abs().max().into_scalar()
}

/// Where bf16 is multiplied as such, scores and weights are off by some roundings of 2⁻⁸; elsewhere, and where it is
/// not allowed, nothing is.
#[test]
fn queries_are_rounded_where_keys_are_and_it_is_allowed() {
    let _turn = turn();
    let tier = Launch::from(&KernelConfig::default()).tier;
    let mut exact = KernelConfig::default();
    exact.simd.bf16_activations = false;
    for length in [1, 5, 70] {
        let (rows, rotary, norms) = operands(length);
        let run = |config: &KernelConfig, cached: bool, kv_dtype| {
            let mut cache = KvCache::new(length, kv_dtype);
            let options = AttentionOptions { kv_dtype: Some(kv_dtype), ..Default::default() };
            let caches = if cached { vec![&mut cache] } else { Vec::new() };
            let lengths = [length];
            B::attention_rotary(inputs(rows.each_ref(), &rotary, &norms, &lengths), &options, caches, config)
        };
        let all = run(&KernelConfig::none(), false, DType::F32);
        for cached in [false, true] {
            assert!(distance(&run(&KernelConfig::default(), cached, DType::F32), &all) <= 1e-5);
            let rounded = run(&KernelConfig::default(), cached, DType::BF16);
            let plain = run(&exact, cached, DType::BF16);
            assert!(distance(&rounded, &all) <= 3e-2, "{length} {cached}: {}", distance(&rounded, &all));
            // Tiles of AMX take 16 rows at least; between 9 and 15 it depends on rates that are measured.
            let differs = distance(&rounded, &plain) > 0.0;
            let multiplies = multiplies_bf16(tier, HEAD_DIM, HEADS / KV_HEADS * length);
            assert_eq!(differs, multiplies, "{length} {cached}");
            assert!(multiplies == (tier >= Tier::Avx512Bf16) || length < 70, "{length} {tier}");
        }
        assert!(distance(&run(&exact, false, DType::BF16), &all) <= 1e-5);
    }
}

fn mixture(dtype: DType) -> MoeWeights<B> {
    MoeWeights {
        router: Weight::Plain(random([16, 96])),
        gate_up: random([16, 96, 2 * 80]).cast(dtype),
        down: random([16, 80, 96]).cast(dtype),
    }
}

#[test]
fn mixtures_reach_their_kernel_and_agree_with_the_composition() {
    let _turn = turn();
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let weights = mixture(dtype);
        for tokens in [1, 3, 70] {
            let x = random([tokens, 96]);
            let options = MoeOptions { top_k: 5, norm_topk_prob: true };
            let off = KernelConfig {
                fusion: FusionConfig { moe: false, ..FusionConfig::default() },
                ..KernelConfig::default()
            };
            let composed = B::moe(x.clone(), &weights, options, &off);
            // Rounded rows, two products deep, are off by up to a relative 2⁻⁸ of the largest terms each.
            let largest = composed.clone().abs().max().into_scalar();
            for (bf16_activations, bound) in [(false, 1e-4), (true, largest / 100.0)] {
                let mut config = KernelConfig::default();
                config.simd.bf16_activations = bf16_activations;
                let before = count(Route::Moe);
                let fused = B::moe(x.clone(), &weights, options, &config);
                assert_eq!(count(Route::Moe), before + 1);
                assert_close(fused, composed.clone(), bound);
            }
        }
    }
}

/// Equal probabilities: the first experts, as in the composition. NaN: a row of it.
#[test]
fn ties_and_nan_are_those_of_the_composition() {
    let _turn = turn();
    let weights =
        MoeWeights { router: Weight::Plain(Tensor::zeros([16, 96], &Default::default())), ..mixture(DType::F32) };
    let x = random::<2>([3, 96]);
    let nan = Tensor::<B, 1>::from_floats([f32::NAN], &Default::default()).reshape([1, 1]);
    let with_nan = x.clone().slice_assign([1..2, 4..5], nan);
    for x in [x, with_nan] {
        let options = MoeOptions { top_k: 3, norm_topk_prob: false };
        let fused = B::moe(x.clone(), &weights, options, &KernelConfig::default());
        assert_close(fused, B::moe(x, &weights, options, &KernelConfig::none()), 1e-4);
    }
}

#[test]
fn steady_mixtures_allocate_nothing_large() {
    let _turn = turn();
    let config = alone();
    let weights = mixture(DType::BF16);
    let x = random::<2>([1, 96]);
    let step = || B::moe(x.clone(), &weights, MoeOptions { top_k: 8, norm_topk_prob: true }, &config);
    step();
    for _ in 0..20 {
        assert_eq!(count_large(step).0, 0);
    }
}

/// A token's result does not depend on who else is in the batch or how many threads there are.
#[test]
fn mixtures_do_not_depend_on_threads() {
    let _turn = turn();
    let weights = mixture(DType::BF16);
    let x = random::<2>([40, 96]);
    let options = MoeOptions { top_k: 4, norm_topk_prob: true };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(7).build().unwrap();
    let many = pool.install(|| B::moe(x.clone(), &weights, options, &KernelConfig::default()));
    let one = B::moe(x, &weights, options, &alone());
    assert_eq!(many.into_data().to_vec::<f32>().unwrap(), one.into_data().to_vec::<f32>().unwrap());
}
