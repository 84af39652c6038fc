//! Attention and rotary embedding on every tier of this machine against f64.

mod attention_case;
mod reference;

use attention_case::{Case, Features, SMALL, Shape, view};
use half::{bf16, f16};
use kiln_kernels::Caches;
use kiln_kernels::attention::{AttentionOptions, Tiles, attention};
use kiln_kernels::norm::{Normed, RmsNorm};
use kiln_kernels::rope::{Angles, Heads, qk_norm_rope, rope};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch};
use proptest::prelude::*;
use reference::{Element, assert_close, exact, launches, random};

fn check(launch: Launch, shape: Shape, features: &Features) {
    Case::<f32>::new(shape, features.clone(), 7).check::<f32>(launch);
}

#[test]
fn every_head_size() {
    for launch in launches() {
        for d in [1, 3, 8, 15, 16, 17, 33, 64, 72, 80, 128] {
            for queries in [2, 19] {
                check(launch, Shape::new([2, 2], [queries, 37], d), &Features { gap: d % 3, ..Features::default() });
            }
            let features = Features { tiles: SMALL, causal: true, ..Features::default() };
            check(launch, Shape { dv: d + 5, ..Shape::new([1, 3], [23, 70], d) }, &features);
        }
    }
}

#[test]
fn every_group_and_offset() {
    for launch in launches() {
        for group in [1, 2, 4, 5] {
            for [queries, keys] in [[1, 1], [1, 40], [2, 33], [40, 40], [40, 65], [65, 40], [33, 100]] {
                for causal in [false, true] {
                    let features = Features { causal, tiles: SMALL, ..Features::default() };
                    check(launch, Shape::new([2, group], [queries, keys], 24), &features);
                }
            }
        }
        // More heads in a group than rows in a tile.
        check(launch, Shape::new([1, 150], [2, 9], 8), &Features::default());
        check(launch, Shape::new([2, 13], [3, 40], 8), &Features { tiles: SMALL, ..Features::default() });
    }
}

#[test]
fn all_combinations_of_options() {
    for launch in launches() {
        for bits in 0..32 {
            let has = |bit: u32| bits >> bit & 1 == 1;
            let features = Features {
                causal: has(0),
                softcap: has(1).then_some(1.5),
                mask: has(2),
                bias: has(3),
                segments: has(4).then(|| vec![5, 5, 30, 41, 57]),
                tiles: SMALL,
                gap: 1,
            };
            check(launch, Shape::new([1, 2], [57, 57], 16), &features);
            // Few rows, another length of keys.
            if !has(4) {
                check(launch, Shape::new([1, 2], [3, 57], 16), &features);
            }
        }
    }
}

#[test]
fn halves_of_keys_and_queries() {
    for launch in launches() {
        for ([queries, keys], d) in [([1, 50], 72), ([30, 50], 72), ([50, 51], 34), ([7, 33], 15), ([101, 101], 128)] {
            let shape = Shape::new([2, 2], [queries, keys], d);
            let segments = (queries == keys).then(|| vec![33, 34, 101]);
            let features = Features { causal: true, tiles: SMALL, segments, gap: d % 3, ..Features::default() };
            Case::<bf16>::new(shape, features.clone(), 1).check::<f32>(launch);
            Case::<f16>::new(shape, features.clone(), 2).check::<f32>(launch);
            Case::<bf16>::new(shape, features.clone(), 3).check::<bf16>(launch);
            Case::<f16>::new(shape, features, 4).check::<f16>(launch);
        }
    }
}

#[test]
fn long_decode_splits_its_keys() {
    for launch in launches() {
        for group in [1, 4, 7] {
            let shape = Shape { batch: 1, ..Shape::new([1, group], [1, 5000], 128) };
            let features = Features { mask: true, causal: true, ..Features::default() };
            check(launch, shape, &features);
        }
        // Many rows of one head, split as well; and one split that sees nothing.
        check(launch, Shape { batch: 1, ..Shape::new([1, 1], [20, 3000], 64) }, &Features::default());
        let shape = Shape { batch: 1, ..Shape::new([1, 1], [1500, 1500], 16) };
        let tiles = Some(Tiles { rows: 128, keys: 64 });
        check(launch, shape, &Features { segments: Some(vec![700, 1500]), tiles, ..Features::default() });
    }
}

#[test]
fn whole_keys_give_the_same_bits_on_any_number_of_threads() {
    let case = Case::<f32>::new(Shape { batch: 1, ..Shape::new([1, 4], [1, 5000], 64) }, Features::default(), 3);
    let views =
        [view(&case.q, [1, 4, 1, 64], 0), view(&case.k, [1, 1, 5000, 64], 0), view(&case.v, [1, 1, 5000, 64], 0)];
    for tier in Tier::available() {
        let run = |threads, split_keys| {
            let mut out = vec![0.0f32; 4 * 64];
            let options = AttentionOptions { split_keys, ..AttentionOptions::new(case.scale()) };
            attention(Launch { threads, ..Launch::single(tier) }, views, &options, FloatsMut::F32(&mut out), None);
            out
        };
        assert_eq!(run(1, false), run(2, false), "{tier}");
        assert_eq!(run(1, true), run(1, false), "{tier}");
        assert_ne!(run(2, true), run(1, true), "{tier}: the keys were not split, so the tests of splits test nothing");
    }
}

#[test]
fn nothing_to_see_is_zero() {
    for launch in launches() {
        for shape in [
            Shape::new([2, 2], [3, 0], 16),
            Shape::new([2, 2], [0, 5], 16),
            Shape { batch: 0, ..Shape::new([2, 2], [3, 5], 16) },
            Shape { dv: 0, ..Shape::new([1, 1], [3, 5], 16) },
            Shape::new([1, 2], [20, 7], 16),
        ] {
            check(launch, shape, &Features { causal: true, ..Features::default() });
        }
        let mut case = Case::<f32>::new(Shape::new([1, 2], [9, 40], 16), Features::default(), 1);
        case.features.mask = true;
        case.mask[3 * 40..5 * 40].fill(1);
        case.check::<f32>(launch);
        case.features.bias = true;
        case.bias[6 * 40..7 * 40].fill(f32::NEG_INFINITY);
        case.check::<f32>(launch);
    }
}

#[test]
fn nan_and_infinity_are_as_by_definition() {
    for launch in launches() {
        for [queries, keys] in [[1, 70], [20, 70]] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38] {
                for at in [0, 40, 69] {
                    let features = Features { tiles: SMALL, causal: true, ..Features::default() };
                    // One head, so that every element at `at · 8` is key `at`'s.
                    let shape = Shape { batch: 1, ..Shape::new([1, 1], [queries, keys], 8) };
                    let mut case = Case::<f32>::new(shape, features, 5);
                    case.features.bias = true;
                    for i in 0..queries {
                        case.bias[i * keys + at] = bad;
                    }
                    case.check::<f32>(launch);
                    case.features.bias = false;
                    // A NaN in q reaches the rows of one query, whatever they see.
                    case.q[3] = if bad == 1e38 { 1e19 } else { bad };
                    let (want, _) = case.exact();
                    if want.iter().all(|y| y.is_finite()) || bad.is_nan() {
                        case.check::<f32>(launch);
                    }
                }
            }
        }
    }
}

#[test]
fn tiles_follow_the_caches() {
    let tiles = Tiles::derive(Caches::FALLBACK, 128, 128);
    assert_eq!(tiles, Tiles { rows: 96, keys: 64 });
    assert_eq!(Tiles::derive(Caches::FALLBACK, 64, 64), Tiles { rows: 240, keys: 96 });
    assert_eq!(Tiles::derive_backward(Caches::FALLBACK, 128, 128), Tiles { rows: 48, keys: 32 });
    assert_eq!(Tiles::derive_backward(Caches::FALLBACK, 64, 64), Tiles { rows: 48, keys: 64 });
    let config =
        kiln_kernels::config::TilingConfig { attention_q: Some(1000), attention_k: Some(33), ..Default::default() };
    assert_eq!(tiles.with(&config), Tiles { rows: 384, keys: 64 });
}

#[test]
#[should_panic(expected = "reaches past its slice")]
fn views_must_fit() {
    let view = Heads::contiguous(Floats::F32(&[0.0; 7]), [1, 1, 2, 4]);
    attention(
        Launch::single(Tier::Portable),
        [view; 3],
        &AttentionOptions::new(1.0),
        FloatsMut::F32(&mut [0.0; 8]),
        None,
    );
}

fn check_rope<S: Element>(launch: Launch, [batch, heads, length, d]: [usize; 4], broadcast: bool) {
    let (gap, half) = (3, d / 2);
    let x = random::<S>(batch * heads * length * (d + gap), 1);
    let each = if broadcast { length * half } else { batch * length * half };
    let angle = random::<f32>(each, 2);
    let (cos, sin): (Vec<f32>, Vec<f32>) = angle.iter().map(|a| (a.cos(), a.sin())).unzip();
    let gamma = random::<f32>(d, 3);
    let (mut plain, mut normed, mut want_rstd) = (vec![], vec![], vec![]);
    for b in 0..batch {
        for h in 0..heads {
            for t in 0..length {
                let row = exact(&x[((b * length + t) * heads + h) * (d + gap)..][..d]);
                let rstd = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / d as f64 + 1e-6).sqrt();
                let scaled: Vec<f64> = row.iter().zip(&gamma).map(|(x, &g)| x * rstd * g as f64).collect();
                let angles = (if broadcast { t } else { b * length + t }) * half;
                for (row, out) in [(&row, &mut plain), (&scaled, &mut normed)] {
                    let turn = |i: usize| (cos[angles + i] as f64, sin[angles + i] as f64);
                    out.extend((0..half).map(|i| row[i] * turn(i).0 - row[i + half] * turn(i).1));
                    out.extend((0..half).map(|i| row[i + half] * turn(i).0 + row[i] * turn(i).1));
                }
                want_rstd.push(rstd);
            }
        }
    }
    let what = (launch, batch, heads, length, d);
    let x = view(&x, [batch, heads, length, d], gap);
    let angles = Angles { cos: &cos, sin: &sin };
    let mut out = vec![S::from_f32(9.0); plain.len()];
    rope(launch, x, angles, S::view_mut(&mut out));
    assert_close(&out, &plain, 1e-6, 1e-6, &("rope", what));
    let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: 1e-6 };
    let mut rstd = vec![9.0f32; want_rstd.len()];
    qk_norm_rope(launch, norm, x, angles, Normed { out: S::view_mut(&mut out), rstd: Some(&mut rstd) });
    assert_close(&out, &normed, 1e-6, 2e-6, &("norm and rope", what));
    assert_close(&rstd, &want_rstd, 1e-6, 0.0, &("rstd", what));
}

#[test]
fn rotary_embedding_of_every_shape_and_type() {
    for launch in launches() {
        for shape in [[0, 1, 1, 2], [1, 1, 1, 2], [2, 3, 5, 6], [1, 2, 4, 34], [2, 2, 3, 72], [2, 4, 260, 128]] {
            for broadcast in [false, true] {
                check_rope::<f32>(launch, shape, broadcast);
                check_rope::<bf16>(launch, shape, broadcast);
                check_rope::<f16>(launch, shape, broadcast);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        heads in [1usize..3, 1usize..6],
        lengths in [1usize..60, 1usize..150],
        d in 1usize..90,
        (causal, mask, bias, softcap) in any::<(bool, bool, bool, bool)>(),
        (rows, keys) in (1usize..40, 1usize..5),
    ) {
        let tiles = Some(Tiles { rows, keys: keys * 32 });
        let softcap = softcap.then_some(2.0);
        let features = Features { causal, softcap, mask, bias, tiles, segments: None, gap: d % 4 };
        for launch in launches() {
            check(launch, Shape::new(heads, lengths, d), &features);
        }
    }
}
