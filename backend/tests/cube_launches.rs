//! What a decoder layer costs for one token: with `Kiln` at most seven launches, whatever the length of the cache, and
//! at most 1.15 times the bytes that must move.

use burn_backend::DType;
use burn_cubecl::{CubeBackend, cubecl::Runtime};
use burn_kiln::Kiln;
use burn_kiln_fusion::{
    AttentionOptions, Epilogue, FusedOps, GatedMlpWeights, HeadNorms, KernelConfig, KvCache, LinearWeights, Norm,
    NormKind, RmsWeights, Rotary, RotaryInputs, Weight,
    cube::cuda_text::{Launch, OfflineCuda, Sm61, take_launches},
};
use burn_tensor::Tensor;

type Bare = CubeBackend<OfflineCuda, f32, i32, u8>;

const EPSILON: f64 = 1e-6;

/// Sizes of a decoder layer.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    weight: DType,
    cache: DType,
}

const SMALL: Sizes = Sizes {
    hidden: 256,
    intermediate: 512,
    heads: 4,
    kv_heads: 2,
    head_dim: 64,
    weight: DType::F32,
    cache: DType::F32,
};

/// Qwen3-VL 2B.
const TWO_B: Sizes = Sizes {
    hidden: 2048,
    intermediate: 6144,
    heads: 16,
    kv_heads: 8,
    head_dim: 128,
    weight: DType::BF16,
    cache: DType::F16,
};

/// Numbers do not matter: the device records launches.
fn allocate<B: FusedOps<Device = Sm61>, const D: usize>(dims: [usize; D], dtype: DType) -> Tensor<B, D> {
    Tensor::empty(dims, (&Sm61::Records, dtype))
}

/// What a layer over `length` rows behind those in the cache launches.
fn run_layer<B: FusedOps<Device = Sm61>>(sizes: Sizes, length: usize, cache: &mut KvCache<B>) -> Vec<Launch> {
    let Sizes { hidden, intermediate, heads, kv_heads, head_dim, .. } = sizes;
    let config = KernelConfig::default();
    let f32s = |dims| allocate::<B, 1>(dims, DType::F32);
    let weight = |dims| Weight::Plain(allocate::<B, 2>(dims, sizes.weight));
    let x = allocate::<B, 3>([1, length, hidden], DType::F32);
    let norm = Norm { kind: NormKind::Rms, gamma: f32s([hidden]), beta: None, epsilon: EPSILON };
    let projections = [heads, kv_heads, kv_heads]
        .map(|heads| LinearWeights { weight: weight([heads * head_dim, hidden]), bias: None });
    let angles = || allocate([1, length, head_dim / 2], DType::F32);
    let rotary = Rotary { cos: angles(), sin: angles() };
    let norms = HeadNorms { q_gamma: f32s([head_dim]), k_gamma: f32s([head_dim]), epsilon: EPSILON };
    let output = weight([hidden, heads * head_dim]);
    let mlp = GatedMlpWeights {
        gate: weight([intermediate, hidden]),
        up: weight([intermediate, hidden]),
        down: weight([hidden, intermediate]),
    };
    // Launches are enqueued: those of a layer before must be there to be dropped.
    OfflineCuda::client(&Sm61::Records).flush().unwrap();
    drop(take_launches());

    let [q, k, v] = B::norm_linears(x.clone(), &norm, projections, &config);
    let lengths = [length];
    let inputs = RotaryInputs { q, k, v, head_dim, norms: Some(norms), rotary: &rotary, lengths: &lengths };
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let attended = B::attention_rotary(inputs, &options, vec![cache], &config);
    let mixed = FusedOps::linear(attended, &output, Epilogue::default(), &config);
    let norm = RmsWeights { gamma: norm.gamma, epsilon: EPSILON };
    B::add_norm_mlp_gated(mixed, x, &norm, &mlp, &config);
    OfflineCuda::client(&Sm61::Records).flush().unwrap();
    take_launches()
}

/// The launches for one token behind `filled` positions, whose cache is full then.
fn record_step<B: FusedOps<Device = Sm61>>(sizes: Sizes, filled: usize) -> Vec<Launch> {
    let mut cache = KvCache::new(filled + 1, sizes.cache);
    run_layer::<B>(sizes, filled, &mut cache);
    let launches = run_layer::<B>(sizes, 1, &mut cache);
    let names: Vec<_> = launches.iter().map(|launch| launch.kernel.as_str()).collect();
    println!("{} launches behind {filled} positions: {names:#?}", launches.len());
    launches
}

#[test]
fn a_decoder_layer_takes_seven_launches_at_most() {
    for filled in [20, 1024] {
        let (kiln, bare) = (record_step::<Kiln<Bare>>(SMALL, filled).len(), record_step::<Bare>(SMALL, filled).len());
        assert!(kiln <= 7, "{kiln} launches, {bare} of plain Burn");
        assert!(bare > 3 * kiln, "{kiln} launches, {bare} of plain Burn");
    }
}

/// Bytes of keys, or of values, of so many positions.
fn count_cache_bytes(sizes: Sizes, positions: usize) -> u64 {
    (sizes.kv_heads * sizes.head_dim * sizes.cache.size() * positions) as u64
}

/// Each buffer once a launch, whole. Of a cache, only the kernel over heads leaves most alone: it writes the newest
/// position.
fn count_moved_bytes(sizes: Sizes, filled: usize, launches: &[Launch]) -> u64 {
    let [whole, one] = [filled + 1, 1].map(|positions| count_cache_bytes(sizes, positions));
    let count = |launch: &Launch| {
        let places = launch.kernel.contains("place_rows");
        launch.buffers.iter().map(|&bytes| if places && bytes == whole { one } else { bytes }).sum::<u64>()
    };
    launches.iter().map(count).sum()
}

/// Weights, gammas, angles and the cache once, one position of the cache written, the layer's input and output.
fn count_least_bytes(sizes: Sizes, filled: usize) -> u64 {
    let Sizes { hidden, intermediate, heads, kv_heads, head_dim, weight, .. } = sizes;
    let weights = hidden * head_dim * (2 * heads + 2 * kv_heads) + 3 * hidden * intermediate;
    let floats = 2 * hidden + 2 * head_dim + head_dim + 2 * hidden;
    let cache = 2 * (count_cache_bytes(sizes, filled + 1) + count_cache_bytes(sizes, 1));
    (weights * weight.size() + floats * size_of::<f32>()) as u64 + cache
}

#[test]
fn a_decoding_step_moves_little_more_than_it_must() {
    for filled in [20, 1024, 8192] {
        let least = count_least_bytes(TWO_B, filled);
        let [kiln, bare] = [record_step::<Kiln<Bare>>(TWO_B, filled), record_step::<Bare>(TWO_B, filled)]
            .map(|launches| count_moved_bytes(TWO_B, filled, &launches));
        let ratio = |bytes: u64| bytes as f64 / least as f64;
        println!("behind {filled} positions {:.3} of the least, plain Burn {:.3}", ratio(kiln), ratio(bare));
        assert!(kiln >= least, "{kiln} bytes, of {least} that must move");
        assert!(ratio(kiln) <= 1.15, "{kiln} bytes: {:.3} of the least", ratio(kiln));
    }
}
