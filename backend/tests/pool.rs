//! Tensors in memory of the pool.

use burn::tensor::{Distribution, Tensor, activation};
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::memory::TensorMemory;
use burn_kiln_fusion::{FusedOps, KernelConfig};
use kiln_kernels::memory::{Pool, PooledBytes};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test's turn. The pool is one for the process: one test at a time, and none leaves blocks in its thread's cache,
/// which would come back to the pool when the thread ends, in the middle of the next test.
struct Turn(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Drop for Turn {
    fn drop(&mut self) {
        Pool::global().trim();
    }
}

/// The next turn, from an empty pool.
fn alone() -> (Turn, &'static Pool) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = Turn(TURN.lock().unwrap_or_else(PoisonError::into_inner));
    let pool = Pool::global();
    pool.set_cap(1 << 30);
    pool.trim();
    (turn, pool)
}

#[test]
fn bytes_of_a_tensor_grow_and_copy_as_others() {
    let _turn = alone();
    let mut bytes = PooledBytes::take(1_024);
    bytes.as_mut_slice().fill(7);
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_byte_slice(&[9; 4_096]);
    assert_eq!((bytes.len(), bytes[1_023], bytes[1_024]), (5_120, 7, 9));
    assert_eq!(&*bytes.clone(), &*bytes);
    // What cannot be cut in place is handed back whole.
    let whole = PooledBytes::take(64).into_bytes().split(16).map(|_| ()).unwrap_err().0;
    assert_eq!(whole.len(), 64);
    assert_eq!(&*PooledBytes::take(0).into_bytes(), &[] as &[u8]);
}

/// Norms write over an operand that nobody else holds: only what has no place yet is taken from the pool.
#[test]
fn norms_work_in_place() {
    type B = Kiln<Flex>;
    let (_turn, pool) = alone();
    let device = Default::default();
    let config = KernelConfig::default();
    let random = || Tensor::<B, 2>::random([64, 256], Distribution::Uniform(-1.0, 1.0), &device);
    let gamma = Tensor::<B, 1>::ones([256], &device);
    let (x, residual) = (random(), random());
    let taken = |work: &dyn Fn(Tensor<B, 2>) -> Tensor<B, 2>, x: Tensor<B, 2>| {
        let before = pool.stats();
        let y = work(x);
        let after = pool.stats();
        (after.hits + after.misses - before.hits - before.misses, y.into_data())
    };
    let layer = |x| <B as FusedOps>::layer_norm(x, gamma.clone(), None, 1e-6, &config);
    let rms = |x| <B as FusedOps>::rms_norm(x, gamma.clone(), 1e-6, &config);
    let add = |x| <B as FusedOps>::add_norm(x, residual.clone(), gamma.clone(), 1e-6, &config).normed;
    let own = || Tensor::from_data(x.to_data(), &device);
    // The result; and the reciprocal deviations; and the sum.
    for (work, new) in [(&layer as &dyn Fn(_) -> _, 0), (&rms, 1), (&add, 2)] {
        let (alone, in_place) = taken(work, own());
        let (shared, beside) = taken(work, x.clone());
        assert_eq!((alone, shared), (new, new + 1));
        assert_eq!(in_place.to_vec::<f32>().unwrap(), beside.to_vec::<f32>().unwrap());
    }
}

/// Plain Burn ops: after the first steps every result lies in memory that an earlier one left, and memory does not
/// grow.
#[test]
fn steady_steps_of_tensor_ops_allocate_nothing() {
    let (_turn, pool) = alone();
    let device = Default::default();
    let x = Tensor::<Kiln<Flex>, 2>::random([64, 256], Distribution::Uniform(-1.0, 1.0), &device);
    let w = Tensor::<Kiln<Flex>, 2>::random([256, 256], Distribution::Uniform(-1.0, 1.0), &device);
    let step = || {
        let y = activation::softmax(activation::gelu(x.clone().matmul(w.clone())), 1) + x.clone();
        y.into_data().to_vec::<f32>().unwrap()
    };
    let first = step();
    step();
    let before = pool.stats();
    for _ in 0..10_000 / 20 {
        assert_eq!(step(), first);
    }
    let after = pool.stats();
    assert_eq!(after.misses, before.misses);
    assert!(after.hits >= before.hits + 500);
    assert_eq!((after.high_water, after.in_use), (before.high_water, before.in_use));
}
