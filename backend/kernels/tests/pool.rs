//! The pool of result buffers: what is dropped is handed out again, within a cap, with counters that add up.

use kiln_kernels::memory::{ALIGNMENT, Pool, PooledBytes};
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

fn address(bytes: &PooledBytes) -> usize {
    bytes.as_slice().as_ptr().addr()
}

#[test]
fn a_dropped_buffer_is_the_next_one_of_its_class() {
    let (_turn, pool) = alone();
    for len in [1, 300, 4_000, 200_000, 777_777, 9_999_991] {
        let first = PooledBytes::take(len);
        assert_eq!(first.as_slice().len(), len);
        assert!(address(&first).is_multiple_of(ALIGNMENT));
        let (at, before) = (address(&first), pool.stats());
        drop(first);
        for same_class in [len, len + 1] {
            assert_eq!(address(&PooledBytes::take(same_class)), at, "{same_class}");
        }
        let after = pool.stats();
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (2, 0));
    }
}

#[test]
fn two_buffers_at_a_time_are_two() {
    let (_turn, pool) = alone();
    drop(PooledBytes::take(100_000));
    let before = pool.stats();
    let mut pair = [PooledBytes::take(100_000), PooledBytes::take(100_000)];
    assert_ne!(address(&pair[0]), address(&pair[1]));
    pair[0].as_mut_slice().fill(1);
    pair[1].as_mut_slice().fill(2);
    assert!(pair[0].as_slice().iter().all(|&byte| byte == 1));
    let after = pool.stats();
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (1, 1));
}

#[test]
fn the_cap_holds_and_zero_keeps_nothing() {
    let (_turn, pool) = alone();
    pool.set_cap(3 << 20);
    for _ in 0..3 {
        drop((0..4).map(|_| PooledBytes::take(1 << 20)).collect::<Vec<_>>());
        assert!(pool.stats().held <= 3 << 20, "{:?}", pool.stats());
    }
    // Larger than the cap: returned at once, and what was held stays.
    let held = pool.stats().held;
    drop(PooledBytes::take(64 << 20));
    assert_eq!(pool.stats().held, held);
    // Other sizes come into use: what was held makes room.
    drop(PooledBytes::take(5 << 19));
    assert!((5 << 19..=3 << 20).contains(&pool.stats().held), "{:?}", pool.stats());
    pool.set_cap(0);
    drop(PooledBytes::take(4_096));
    assert_eq!(pool.stats().held, 0);
}

#[test]
fn counters_add_up_and_trim_returns_everything() {
    let (_turn, pool) = alone();
    let start = pool.stats();
    assert_eq!(start.held, 0);
    let buffers: Vec<_> = [1_000, 50_000, 3_000_000].into_iter().map(PooledBytes::take).collect();
    let during = pool.stats();
    assert!(during.in_use - start.in_use >= 3_051_000);
    assert!(during.high_water >= during.in_use);
    drop(buffers);
    let after = pool.stats();
    assert_eq!((after.in_use, after.held), (start.in_use, during.in_use - start.in_use));
    pool.trim();
    assert_eq!(pool.stats().held, 0);
}

#[test]
fn threads_share_large_blocks_and_leave_small_ones_when_they_end() {
    let (_turn, pool) = alone();
    let large = PooledBytes::take(5_555_555);
    let at = address(&large);
    std::thread::spawn(move || {
        drop(large);
        drop((0..4).map(|_| PooledBytes::take(3_333)).collect::<Vec<_>>());
        assert!(pool.stats().held >= 4 * 3_333 + 5_555_555);
    })
    .join()
    .unwrap();
    assert_eq!(address(&PooledBytes::take(5_555_555)), at);
    assert!(pool.stats().held < 4 * 3_333 + 5_555_555 * 2);
    // A trim reaches what another thread cached the next time that it comes by.
    std::thread::spawn(move || {
        drop(PooledBytes::take(3_333));
        std::thread::spawn(move || pool.trim()).join().unwrap();
        let misses = pool.stats().misses;
        let _one = PooledBytes::take(3_333);
        assert_eq!(pool.stats().misses, misses + 1);
    })
    .join()
    .unwrap();
}

#[test]
fn many_threads_at_once() {
    let (_turn, pool) = alone();
    let before = pool.stats();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            scope.spawn(move || {
                for step in 0..2_000usize {
                    let mut bytes = PooledBytes::take(1 + step * 977 % 400_000);
                    bytes.as_mut_slice().fill(thread);
                    assert!(bytes.as_slice().iter().all(|&byte| byte == thread));
                }
            });
        }
    });
    let after = pool.stats();
    assert_eq!(after.in_use, before.in_use);
    assert_eq!(after.hits + after.misses - before.hits - before.misses, 16_000);
    assert!(after.held <= after.cap);
}
