//! What attention launches on a card of compute capability 6.1, counted on a device that keeps launches and runs none.

use burn_cubecl::{CubeBackend, cubecl::Runtime};
use burn_kiln::Kiln;
use burn_kiln_fusion::{
    AttentionOptions, FusedOps, HeadNorms, KernelConfig, KvCache, Rotary, RotaryInputs,
    cube::cuda_text::{OfflineCuda, Sm61, take_launches},
};
use burn_std::DType;
use burn_tensor::Tensor;

type Recorded = Kiln<CubeBackend<OfflineCuda, f32, i32, u8>>;

const HEAD_DIM: usize = 128;

/// Attention of `length` further positions: 16 heads of queries, 8 of keys and values. The names of its launches.
fn count_launches(length: usize, cache: &mut KvCache<Recorded>) -> Vec<String> {
    let device = Sm61::Records;
    let zeros = |width| Tensor::<Recorded, 3>::zeros([1, length, width], &device);
    let gamma = Tensor::<Recorded, 1>::ones([HEAD_DIM], &device);
    let rotary = Rotary { cos: zeros(HEAD_DIM / 2), sin: zeros(HEAD_DIM / 2) };
    let inputs = RotaryInputs {
        q: zeros(16 * HEAD_DIM),
        k: zeros(8 * HEAD_DIM),
        v: zeros(8 * HEAD_DIM),
        head_dim: HEAD_DIM,
        norms: Some(HeadNorms { q_gamma: gamma.clone(), k_gamma: gamma, epsilon: 1e-6 }),
        rotary: &rotary,
        lengths: &[length],
    };
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    OfflineCuda::client(&device).flush().unwrap();
    drop(take_launches());
    let output = Recorded::attention_rotary(inputs, &options, vec![cache], &KernelConfig::default());
    OfflineCuda::client(&device).flush().unwrap();
    assert_eq!(output.dims(), [1, length, 16 * HEAD_DIM]);
    take_launches().into_iter().map(|launch| launch.kernel).collect()
}

/// The cache is written where it is: no launch copies it. Two launches while there are few keys, else three.
#[test]
fn a_decoding_step_is_three_launches() {
    let expect = |launches: Vec<String>, kernels: &[&str]| {
        let same = launches.len() == kernels.len() && launches.iter().zip(kernels).all(|(a, b)| a.contains(b));
        assert!(same, "{launches:?} are not {kernels:?}");
    };
    let mut cache = KvCache::new(1024, DType::F16);
    // The first call also fills the buffers of the cache, two launches.
    assert_eq!(count_launches(100, &mut cache).len(), 4);
    expect(count_launches(1, &mut cache), &["place_rows", "attend_tile"]);
    expect(count_launches(700, &mut cache), &["place_rows", "attend_tile"]);
    expect(count_launches(1, &mut cache), &["place_rows", "attend_tile", "combine_rows"]);
    let held = cache.view();
    let launches = count_launches(1, &mut cache);
    assert!(launches.len() > 3, "a cache that somebody else sees was written: {launches:?}");
    drop(held);
    expect(count_launches(1, &mut cache), &["place_rows", "attend_tile", "combine_rows"]);
}
