//! What a full cache does.

use burn_flex::Flex;
use burn_kiln_fusion::{AttentionInputs, AttentionOptions, CacheFull, FusedOps, KernelConfig, KvCache};
use burn_tensor::{DType, Tensor};

fn zeros(length: usize) -> Tensor<Flex, 4> {
    Tensor::zeros([1, 1, length, 2], &Default::default())
}

#[test]
fn a_full_cache_says_how_large_it_must_be_and_stays_as_it_was() {
    let mut cache = KvCache::<Flex>::new(3, DType::F32);
    assert_eq!(cache.append(zeros(2), zeros(2)), Ok(()));
    let full = CacheFull { length: 2, added: 2, capacity: 3 };
    assert_eq!(cache.append(zeros(2), zeros(2)), Err(full));
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.append(zeros(1), zeros(1)), Ok(()));
}

#[test]
#[should_panic(expected = "holds 0 of 3 positions and cannot take 4 more: make a cache of at least 4 positions")]
fn attention_with_a_full_cache_panics() {
    let mut cache = KvCache::<Flex>::new(3, DType::F32);
    let inputs = AttentionInputs { q: zeros(4), k: zeros(4), v: zeros(4) };
    let _ = FusedOps::attention(inputs, &AttentionOptions::default(), Some(&mut cache), &KernelConfig::default());
}

#[test]
fn reserving_keeps_what_is_held() {
    let mut cache = KvCache::<Flex>::new(0, DType::F32);
    cache.reserve(2);
    let device = Default::default();
    let rows = |values: [f32; 4]| Tensor::<Flex, 1>::from_floats(values, &device).reshape([1, 2, 1, 2]);
    cache.append(rows([1.0, 2.0, 3.0, 4.0]), rows([-1.0, -2.0, -3.0, -4.0])).unwrap();
    cache.reserve(1);
    assert_eq!(cache.capacity(), 2);
    cache.reserve(5);
    cache.append(rows([5.0, 6.0, 7.0, 8.0]), rows([-5.0, -6.0, -7.0, -8.0])).unwrap();
    assert_eq!((cache.len(), cache.capacity()), (2, 5));
    let (k, v) = cache.view().unwrap();
    // Each head has its two positions behind each other.
    assert_eq!(k.into_data().to_vec::<f32>().unwrap(), [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
    assert_eq!(v.into_data().to_vec::<f32>().unwrap(), [-1.0, -2.0, -5.0, -6.0, -3.0, -4.0, -7.0, -8.0]);
}
