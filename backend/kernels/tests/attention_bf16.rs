//! Attention whose queries, keys and values are bf16: by tiles of AMX, by `vdpbf16ps` and widened, against f64.
//!
//! Where the CPU has no AMX, a handler executes its instructions (amx/).
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod amx;
mod attention_case;
mod reference;

use attention_case::{Case, Features, SMALL, Shape, view};
use half::bf16;
use kiln_kernels::attention::{AttentionOptions, Tiles, attention};
use kiln_kernels::probe::{Probe, count, last};
use kiln_kernels::rope::Heads;
use kiln_kernels::simd::{Tier, testing};
use kiln_kernels::{Floats, FloatsMut, Launch};
use proptest::prelude::*;
use reference::assert_close;
use std::sync::{Mutex, MutexGuard};

/// One test at a time: what is assumed and what is counted is of the process.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The tiers that have instructions for bf16, those of a CPU without AMX by emulation, on one thread and on two.
fn launches() -> Vec<Launch> {
    if Tier::Avx512Bf16.is_available() && !Tier::Amx.is_available() {
        amx::install();
        testing::assume_amx();
    }
    let tiers = [Tier::Avx512Bf16, Tier::Amx].into_iter().filter(|tier| tier.is_available());
    tiers.flat_map(|tier| [1, 2].map(|threads| Launch { threads, ..Launch::single(tier) })).collect()
}

/// Checks a case, and that it ran by tiles where it should.
fn check(launch: Launch, shape: Shape, features: &Features) {
    check_case(launch, &Case::<bf16>::new(shape, features.clone(), 7));
}

fn check_case(launch: Launch, case: &Case<bf16>) {
    let before = count(Probe::AttentionTiles);
    case.check::<bf16>(launch);
    let Shape { batch, kv_heads, group, queries, d, .. } = case.shape;
    let tiles = launch.tier == Tier::Amx && d % 2 == 0 && group * queries >= 16 && batch * kv_heads > 0;
    assert_eq!(count(Probe::AttentionTiles) > before, tiles, "{launch:?}, {:?}", case.shape);
}

#[test]
fn every_head_size() {
    let _turn = alone();
    for launch in launches() {
        for d in [2, 15, 16, 30, 32, 34, 64, 72, 80, 96, 128, 160] {
            for dv in [d, 1, 17, 33, 48, 72] {
                let shape = Shape { batch: 1, dv, ..Shape::new([2, 2], [19, 75], d) };
                check(
                    launch,
                    shape,
                    &Features { tiles: SMALL, causal: dv % 2 == 0, gap: d % 3, ..Features::default() },
                );
            }
        }
    }
}

#[test]
fn every_length() {
    let _turn = alone();
    for launch in launches() {
        for group in [1, 2, 3] {
            for [queries, keys] in [[16, 1], [15, 33], [17, 32], [33, 31], [40, 65], [65, 40], [70, 70], [129, 300]] {
                for causal in [false, true] {
                    for tiles in [SMALL, Some(Tiles { rows: 384, keys: 256 }), None] {
                        let shape = Shape { batch: 1, ..Shape::new([1, group], [queries, keys], 32) };
                        check(launch, shape, &Features { causal, tiles, ..Features::default() });
                    }
                }
            }
        }
    }
}

/// Heads behind each other, whose keys are read in place, and heads beside each other, whose keys are copied.
#[test]
fn keys_in_place_and_copied() {
    let _turn = alone();
    for launch in launches() {
        let [heads, n, d] = [4, 83, 128];
        let features = Features { causal: true, ..Features::default() };
        let case = Case::<bf16>::new(Shape { batch: 1, ..Shape::new([heads, 1], [n, n], d) }, features, 3);
        let q: Vec<bf16> = case.q.iter().map(|&x| bf16::from_f32(x)).collect();
        let rounded = Case { q: q.iter().map(|x| x.to_f32()).collect(), ..case };
        let want = rounded.exact().0;
        let case = rounded;
        // The same numbers as `[heads, n, d]`.
        let apart = |x: &[bf16]| -> Vec<bf16> {
            let at = |h: usize, i: usize| &x[(i * heads + h) * d..][..d];
            (0..heads).flat_map(|h| (0..n).flat_map(move |i| at(h, i).iter().copied())).collect()
        };
        let run = |views: [Heads<'_>; 3]| {
            let mut out = vec![bf16::ZERO; heads * n * d];
            let options = AttentionOptions { causal: true, ..AttentionOptions::new(case.scale()) };
            attention(launch, views, &options, FloatsMut::Bf16(&mut out), None);
            out
        };
        let beside = run([&q, &case.k, &case.v].map(|x| view(x, [1, heads, n, d], 0)));
        let [q, k, v] = [&q, &case.k, &case.v].map(|x| apart(x));
        let behind = run([&q, &k, &v].map(|x| Heads::contiguous(Floats::Bf16(x), [1, heads, n, d])));
        assert_eq!(beside, behind, "{launch:?}");
        let by_head: Vec<f32> = beside.iter().map(|x| x.to_f32()).collect();
        assert_close(&by_head, &want, 0.0, 1e-2, &launch);
    }
}

#[test]
fn all_combinations_of_options() {
    let _turn = alone();
    for launch in launches() {
        for bits in 0..32 {
            let has = |bit: u32| bits >> bit & 1 == 1;
            let features = Features {
                causal: has(0),
                softcap: has(1).then_some(1.5),
                mask: has(2),
                bias: has(3),
                segments: has(4).then(|| vec![5, 5, 30, 41, 70, 71]),
                tiles: SMALL,
                gap: 1,
            };
            check(launch, Shape { batch: 2, ..Shape::new([1, 2], [71, 71], 16) }, &features);
        }
    }
}

/// Scores that grow along the keys, by far more than weights of one shift can hold, in rows beside others that don't.
#[test]
fn shifts_grow() {
    let _turn = alone();
    for launch in launches() {
        for (by, causal) in [(0.5, false), (3.0, true), (-3.0, false), (20.0, true)] {
            if by == 20.0 && launch.tier != Tier::Amx {
                // Scores of 350 are good to no 1e-5 in f32, which is what is expected of results that are no bf16.
                continue;
            }
            let shape = Shape { batch: 1, ..Shape::new([1, 1], [70, 333], 32) };
            let mut case = Case::<bf16>::new(shape, Features { causal, tiles: SMALL, ..Features::default() }, 11);
            for (key, k) in case.k.chunks_mut(32).enumerate() {
                k[0] = bf16::from_f32(by * key as f32 / 10.0);
            }
            for (query, q) in case.q.chunks_mut(32).enumerate() {
                q[0] = [1.0, 0.0, -1.0, 2.0][query % 4];
            }
            check_case(launch, &case);
        }
    }
}

#[test]
fn huge_scores_are_exact() {
    let _turn = alone();
    for launch in launches() {
        let shape = Shape { batch: 1, ..Shape::new([1, 1], [40, 100], 16) };
        let mut case = Case::<bf16>::new(shape, Features { tiles: SMALL, ..Features::default() }, 13);
        for (query, q) in case.q.chunks_mut(16).enumerate() {
            if query % 3 == 0 {
                // One element decides, so that the largest score is one key's, exactly.
                q.fill(0.0);
                q[3] = 1e19;
            }
        }
        check_case(launch, &case);
    }
}

#[test]
fn nan_and_infinity_are_as_by_definition() {
    let _turn = alone();
    for launch in launches() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38] {
            for at in [0, 40, 69] {
                let [queries, keys] = [20, 70];
                let features = Features { tiles: SMALL, causal: true, ..Features::default() };
                let shape = Shape { batch: 1, ..Shape::new([1, 1], [queries, keys], 8) };
                let mut case = Case::<bf16>::new(shape, features, 5);
                case.features.bias = true;
                for i in 0..queries {
                    case.bias[i * keys + at] = bad;
                }
                check_case(launch, &case);
                case.features.bias = false;
                // A NaN in q reaches the rows of one query, and one in k those that see the key.
                case.q[3] = if bad == 1e38 { 1e19 } else { bad };
                let (want, _) = case.exact();
                if want.iter().all(|y| y.is_finite()) || bad.is_nan() {
                    check_case(launch, &case);
                }
                case.k[at * 8 + 2] = bf16::from_f32(bad);
                if bad.is_nan() {
                    check_case(launch, &case);
                }
            }
        }
    }
}

#[test]
fn nothing_to_see_is_zero() {
    let _turn = alone();
    for launch in launches() {
        for shape in [
            Shape::new([2, 2], [30, 0], 16),
            Shape { batch: 0, ..Shape::new([2, 2], [30, 5], 16) },
            Shape { dv: 0, ..Shape::new([1, 1], [30, 5], 16) },
            Shape::new([1, 2], [50, 7], 16),
        ] {
            Case::<bf16>::new(shape, Features { causal: true, ..Features::default() }, 1).check::<bf16>(launch);
        }
        let mut case = Case::<bf16>::new(Shape::new([1, 2], [33, 40], 16), Features::default(), 1);
        case.features.mask = true;
        case.mask[3 * 40..5 * 40].fill(1);
        check_case(launch, &case);
        case.features.bias = true;
        case.bias[6 * 40..7 * 40].fill(f32::NEG_INFINITY);
        check_case(launch, &case);
    }
}

#[test]
fn keys_are_split_and_merged() {
    let _turn = alone();
    for launch in launches().into_iter().filter(|launch| launch.threads == 2) {
        let before = count(Probe::KeySplits);
        let shape = Shape { batch: 1, ..Shape::new([1, 1], [20, 6001], 64) };
        check(launch, shape, &Features::default());
        check(
            launch,
            Shape { queries: 1501, keys: 1501, d: 16, dv: 24, ..shape },
            &Features {
                segments: Some(vec![700, 1501]),
                tiles: Some(Tiles { rows: 1000, keys: 64 }),
                ..Features::default()
            },
        );
        assert!(count(Probe::KeySplits) > before, "{launch:?}");
        assert!(last(Probe::KeySplits) > 1);
    }
}

/// The result is of any type and order, and the same bits on any number of threads where keys are not split.
#[test]
fn results_of_any_type() {
    let _turn = alone();
    let [kv_heads, group, n, d] = [2, 2, 150, 64];
    let case =
        Case::<bf16>::new(Shape { batch: 1, ..Shape::new([kv_heads, group], [n, n], d) }, Features::default(), 3);
    let q: Vec<bf16> = case.q.iter().map(|&x| bf16::from_f32(x)).collect();
    let heads = kv_heads * group;
    let case = Case::<bf16> { q: q.iter().map(|x| x.to_f32()).collect(), ..case };
    let [k, v] = [&case.k, &case.v].map(|x| view(x, [1, kv_heads, n, d], 0));
    let views = [view(&q, [1, heads, n, d], 0), k, v];
    let (want, _) = case.exact();
    let mut first: Option<Vec<f32>> = None;
    for launch in launches() {
        for by_position in [false, true] {
            let options = AttentionOptions { by_position, split_keys: false, ..AttentionOptions::new(case.scale()) };
            let mut wide = vec![9.0f32; want.len()];
            attention(launch, views, &options, FloatsMut::F32(&mut wide), None);
            let mut halves = vec![bf16::ZERO; want.len()];
            attention(launch, views, &options, FloatsMut::Bf16(&mut halves), None);
            let rounded: Vec<bf16> = wide.iter().map(|&x| bf16::from_f32(x)).collect();
            assert_eq!(halves, rounded, "{launch:?}");
            let by_head: Vec<f32> = if by_position {
                (0..heads * n * d).map(|at| wide[(at / d % n * heads + at / d / n) * d + at % d]).collect()
            } else {
                wide
            };
            assert_close(&by_head, &want, 0.0, 4e-3, &launch);
            if launch.tier == Tier::Amx {
                assert_eq!(first.get_or_insert_with(|| by_head.clone()), &by_head, "{launch:?}");
            }
        }
    }
}

/// On AMX, bf16 that no tile takes is widened where `vdpbf16ps` is measured to be slower than f32 arithmetic; the tier
/// of its name runs it in any case. Weights that are rounded tell them apart.
#[test]
fn the_faster_arithmetic_is_used() {
    let _turn = alone();
    let [n, d] = [12, 64];
    let case = Case::<bf16>::new(Shape { batch: 1, ..Shape::new([1, 1], [n, n], d) }, Features::default(), 1);
    let q: Vec<bf16> = case.q.iter().map(|&x| bf16::from_f32(x)).collect();
    let rounded = Case { q: q.iter().map(|x| x.to_f32()).collect(), ..case };
    let want = rounded.exact().0;
    let error = |tier: Tier, prefers| {
        testing::assume_bf16_dots(Some(prefers));
        let views = [&q, &rounded.k, &rounded.v].map(|x| view(x, [1, 1, n, d], 0));
        let mut out = vec![0.0f32; n * d];
        let options = AttentionOptions::new(rounded.scale());
        attention(Launch::single(tier), views, &options, FloatsMut::F32(&mut out), None);
        testing::assume_bf16_dots(None);
        out.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max)
    };
    let is_wide = |error: f64| error < 1e-5;
    if Tier::Avx512Bf16.is_available() {
        for prefers in [true, false] {
            let error = error(Tier::Avx512Bf16, prefers);
            assert!(!is_wide(error) && error < 4e-3, "{error}");
        }
    }
    if Tier::Amx.is_available() {
        let [pairs, wide] = [true, false].map(|prefers| error(Tier::Amx, prefers));
        assert!(!is_wide(pairs) && pairs < 4e-3 && is_wide(wide), "{pairs} {wide}");
    }
}

/// Tile sizes that no configuration gives become possible ones.
#[test]
fn impossible_tiles_are_rounded() {
    let _turn = alone();
    for launch in launches() {
        for (rows, keys) in [(0, 0), (1, 30), (7, 33), (usize::MAX, usize::MAX)] {
            for queries in [1, 20] {
                let shape = Shape { batch: 1, ..Shape::new([1, 1], [queries, 71], 16) };
                check(launch, shape, &Features { tiles: Some(Tiles { rows, keys }), ..Features::default() });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        heads in [1usize..3, 1usize..6],
        lengths in [1usize..90, 1usize..200],
        (d, dv) in (1usize..70, 1usize..100),
        (causal, mask, bias, softcap) in any::<(bool, bool, bool, bool)>(),
        (rows, keys) in (1usize..80, 1usize..5),
    ) {
        let _turn = alone();
        let tiles = Some(Tiles { rows, keys: keys * 32 });
        let softcap = softcap.then_some(2.0);
        let features = Features { causal, softcap, mask, bias, tiles, segments: None, gap: d % 4 };
        for launch in launches() {
            check(launch, Shape { batch: 1, dv, ..Shape::new(heads, lengths, 2 * d) }, &features);
        }
    }
}
