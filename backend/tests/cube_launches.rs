//! How many kernels a decoder layer launches for one token: with `Kiln` at most seven, whatever the length of the cache.

use burn_backend::DType;
use burn_cubecl::{CubeBackend, cubecl::Runtime};
use burn_kiln::Kiln;
use burn_kiln_fusion::{
    AttentionOptions, Epilogue, FusedOps, GatedMlpWeights, HeadNorms, KernelConfig, KvCache, LinearWeights, Norm,
    NormKind, Rotary, RotaryInputs, Weight,
    cube::cuda_text::{OfflineCuda, Sm61, take_launches},
};
use burn_tensor::{Tensor, TensorData};

type Bare = CubeBackend<OfflineCuda, f32, i32, u8>;

const HIDDEN: usize = 256;
const INTERMEDIATE: usize = 512;
const HEAD_DIM: usize = 64;
const KV_DIM: usize = 2 * HEAD_DIM;
const EPSILON: f64 = 1e-6;

/// Numbers do not matter: the device records launches.
fn zeros<B: FusedOps<Device = Sm61>, const D: usize>(dims: [usize; D]) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(vec![0.0f32; dims.iter().product()], dims), &Sm61::Records)
}

fn weight<B: FusedOps<Device = Sm61>>(dims: [usize; 2]) -> Weight<B> {
    Weight::Plain(zeros(dims))
}

/// A decoder layer over `length` rows behind those in the cache.
fn run_layer<B: FusedOps<Device = Sm61>>(length: usize, cache: &mut KvCache<B>) {
    let config = KernelConfig::default();
    let x = zeros::<B, 3>([1, length, HIDDEN]);
    let norm = Norm { kind: NormKind::Rms, gamma: zeros([HIDDEN]), beta: None, epsilon: EPSILON };
    let projections = [HIDDEN, KV_DIM, KV_DIM].map(|n| LinearWeights { weight: weight([n, HIDDEN]), bias: None });
    let rotary = Rotary { cos: zeros([1, length, HEAD_DIM / 2]), sin: zeros([1, length, HEAD_DIM / 2]) };
    let heads = HeadNorms { q_gamma: zeros([HEAD_DIM]), k_gamma: zeros([HEAD_DIM]), epsilon: EPSILON };
    let output = weight::<B>([HIDDEN, HIDDEN]);
    let mlp = GatedMlpWeights {
        gate: weight([INTERMEDIATE, HIDDEN]),
        up: weight([INTERMEDIATE, HIDDEN]),
        down: weight([HIDDEN, INTERMEDIATE]),
    };
    // Launches are enqueued: those of a layer before must be there to be dropped.
    OfflineCuda::client(&Sm61::Records).flush().unwrap();
    drop(take_launches());

    let [q, k, v] = B::norm_linears(x.clone(), &norm, projections, &config);
    let lengths = [length];
    let inputs = RotaryInputs { q, k, v, head_dim: HEAD_DIM, norms: Some(heads), rotary: &rotary, lengths: &lengths };
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let attended = B::attention_rotary(inputs, &options, vec![cache], &config);
    let mixed = FusedOps::linear(attended, &output, Epilogue::default(), &config);
    B::add_norm_mlp_gated(mixed, x, (norm.gamma, EPSILON), &mlp, &config);
}

/// Launches for one token behind `filled` positions.
fn count_launches<B: FusedOps<Device = Sm61>>(filled: usize) -> usize {
    let mut cache = KvCache::new(2048, DType::F32);
    run_layer::<B>(filled, &mut cache);
    run_layer::<B>(1, &mut cache);
    OfflineCuda::client(&Sm61::Records).flush().unwrap();
    let launches = take_launches();
    let names: Vec<_> = launches.iter().map(|launch| launch.kernel.as_str()).collect();
    println!("{} launches behind {filled} positions: {names:#?}", launches.len());
    launches.len()
}

#[test]
fn a_decoder_layer_takes_seven_launches_at_most() {
    for filled in [20, 1024] {
        let (kiln, bare) = (count_launches::<Kiln<Bare>>(filled), count_launches::<Bare>(filled));
        assert!(kiln <= 7, "{kiln} launches, {bare} of plain Burn");
        assert!(bare > 3 * kiln, "{kiln} launches, {bare} of plain Burn");
    }
}
