//! Gradients of attention on every tier of this machine against f64.

mod reference;

use half::{bf16, f16};
use kiln_kernels::Launch;
use kiln_kernels::attention::{
    AttentionOptions, AttentionResult, GradHeads, Scores, Tiles, attention, attention_backward,
};
use kiln_kernels::rope::Heads;
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut};
use reference::{Element, exact, launches, random};

/// What may hide keys or change scores, and layouts.
#[derive(Debug, Clone, Default)]
struct Features {
    causal: bool,
    softcap: Option<f32>,
    mask: bool,
    bias: bool,
    segments: Option<Vec<usize>>,
    tiles: Option<Tiles>,
    /// Elements between one head's rows and the next of what is read.
    gap: usize,
    /// Gradients are written as a projection has them.
    by_position: bool,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    batch: usize,
    kv_heads: usize,
    group: usize,
    queries: usize,
    keys: usize,
    d: usize,
    dv: usize,
}

impl Shape {
    fn new([kv_heads, group]: [usize; 2], [queries, keys]: [usize; 2], d: usize) -> Self {
        Self { batch: 2, kv_heads, group, queries, keys, d, dv: d }
    }

    fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    /// Shapes of q, k and v.
    fn operands(&self) -> [[usize; 4]; 3] {
        let Self { batch, kv_heads, queries, keys, d, dv, .. } = *self;
        [[batch, self.heads(), queries, d], [batch, kv_heads, keys, d], [batch, kv_heads, keys, dv]]
    }
}

/// `[batch, length, heads, d + gap]` seen as `[batch, heads, length, d]`.
fn view<S: Element>(data: &[S], [batch, heads, length, head_dim]: [usize; 4], gap: usize) -> Heads<'_> {
    let width = head_dim + gap;
    let strides = [length * heads * width, width, heads * width];
    Heads { data: S::view(data), batch, heads, length, head_dim, strides }
}

/// A case with its numbers; what is read is `[batch, length, heads, d + gap]`, f32 rounded to the types of the test.
struct Case {
    shape: Shape,
    features: Features,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    grad: Vec<f32>,
    mask: Vec<u8>,
    bias: Vec<f32>,
}

/// Result of the forward and gradients by definition, contiguous by head, and the sums of magnitudes that errors are
/// relative to.
struct Exact {
    out: Vec<f64>,
    lse: Vec<f64>,
    grads: [Vec<f64>; 3],
    sizes: [Vec<f64>; 3],
}

fn round<S: Element>(x: Vec<f32>) -> Vec<f32> {
    x.into_iter().map(|x| S::from_f32(x).to_f32()).collect()
}

impl Case {
    fn new<Q: Element, S: Element>(shape: Shape, features: Features, seed: u64) -> Self {
        let [q, k, v] = shape.operands();
        let len = |[batch, heads, length, d]: [usize; 4]| batch * heads * length * (d + features.gap);
        let Shape { batch, queries, keys, dv, .. } = shape;
        let mask = random::<f32>(batch * queries * keys, seed ^ 1).into_iter().map(|x| u8::from(x > 0.8)).collect();
        Self {
            q: round::<Q>(random(len(q), seed ^ 2)),
            k: round::<S>(random(len(k), seed ^ 3)),
            v: round::<S>(random(len(v), seed ^ 4)),
            grad: round::<Q>(random(len([batch, shape.heads(), queries, dv]), seed ^ 6)),
            mask,
            bias: random(shape.heads() * queries * keys, seed ^ 5),
            shape,
            features,
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.shape.d as f32).sqrt()
    }

    /// Score of a pair and its slope by the product, or none where the key is hidden.
    fn score(&self, product: f64, [b, h, i, j]: [usize; 4]) -> Option<[f64; 2]> {
        let Shape { queries, keys, .. } = self.shape;
        let features = &self.features;
        let scale = f64::from(self.scale());
        let mut score = [product * scale, scale];
        if let Some(cap) = features.softcap.map(f64::from) {
            let t = (product * scale / cap).tanh();
            score = [cap * t, scale * (1.0 - t * t)];
        }
        if features.bias {
            score[0] += f64::from(self.bias[(h * queries + i) * keys + j]);
        }
        let segment = |x: usize| features.segments.as_ref().map(|ends| ends.iter().filter(|&&e| e <= x).count());
        let hidden = (features.mask && self.mask[(b * queries + i) * keys + j] != 0)
            || (features.causal && j + queries > i + keys)
            || segment(i) != segment(j);
        (!hidden).then_some(score)
    }

    /// By definition; `δ` is of the result rounded by `Q`, as the kernel reads it.
    fn exact<Q: Element>(&self) -> Exact {
        let Shape { batch, group, queries, keys, d, dv, kv_heads } = self.shape;
        let (heads, gap) = (self.shape.heads(), self.features.gap);
        let [q, k, v, grad] = [&self.q, &self.k, &self.v, &self.grad].map(|x| exact(x));
        let mut all = Exact {
            out: vec![0.0; batch * heads * queries * dv],
            lse: vec![f64::NEG_INFINITY; batch * heads * queries],
            grads: self.shape.operands().map(|shape| vec![0.0; shape.iter().product()]),
            sizes: self.shape.operands().map(|shape| vec![0.0; shape.iter().product()]),
        };
        for b in 0..batch {
            for h in 0..heads {
                for i in 0..queries {
                    let row = |x: &[f64], n: usize| x[((b * queries + i) * heads + h) * (n + gap)..][..n].to_vec();
                    let (q, grad) = (row(&q, d), row(&grad, dv));
                    let key = |x: &[f64], j: usize, n: usize| {
                        x[((b * keys + j) * kv_heads + h / group) * (n + gap)..][..n].to_vec()
                    };
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let dot_size = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
                    let scores: Vec<Option<[f64; 2]>> =
                        (0..keys).map(|j| self.score(dot(&q, &key(&k, j, d)), [b, h, i, j])).collect();
                    let most = scores.iter().flatten().fold(f64::NEG_INFINITY, |m, s| m.max(s[0]));
                    let sum: f64 = scores.iter().flatten().map(|s| (s[0] - most).exp()).sum();
                    if sum == 0.0 || most == f64::NEG_INFINITY {
                        continue;
                    }
                    let index = (b * heads + h) * queries + i;
                    all.lse[index] = most + sum.ln();
                    let weights: Vec<f64> =
                        scores.iter().map(|s| s.map_or(0.0, |s| (s[0] - most).exp() / sum)).collect();
                    for (j, weight) in weights.iter().enumerate() {
                        for (c, v) in key(&v, j, dv).iter().enumerate() {
                            all.out[index * dv + c] += weight * v;
                        }
                    }
                    let out: Vec<f64> = all.out[index * dv..][..dv]
                        .iter()
                        .map(|&x| f64::from(Q::from_f32(x as f32).to_f32()))
                        .collect();
                    let (delta, delta_size) = (dot(&grad, &out), dot_size(&grad, &out));
                    for j in 0..keys {
                        let Some([_, slope]) = scores[j] else { continue };
                        let (k, v) = (key(&k, j, d), key(&v, j, dv));
                        let ds = weights[j] * (dot(&grad, &v) - delta) * slope;
                        // The rounding of a slope near 0 is that of 1.
                        let ds_size = weights[j] * (dot_size(&grad, &v) + delta_size) * f64::from(self.scale());
                        let at = (b * kv_heads + h / group) * keys + j;
                        for c in 0..d {
                            all.grads[0][index * d + c] += ds * k[c];
                            all.sizes[0][index * d + c] += ds_size * k[c].abs();
                            all.grads[1][at * d + c] += ds * q[c];
                            all.sizes[1][at * d + c] += ds_size * q[c].abs();
                        }
                        for (c, grad) in grad.iter().enumerate() {
                            all.grads[2][at * dv + c] += weights[j] * grad;
                            all.sizes[2][at * dv + c] += weights[j] * grad.abs();
                        }
                    }
                }
            }
        }
        all
    }

    fn options(&self) -> AttentionOptions<'_> {
        let Shape { queries, keys, .. } = self.shape;
        let features = &self.features;
        AttentionOptions {
            causal: features.causal,
            softcap: features.softcap,
            mask: features.mask.then(|| Scores { data: &self.mask, strides: [queries * keys, 0, keys, 1] }),
            bias: features.bias.then(|| Scores { data: &self.bias, strides: [0, queries * keys, keys, 1] }),
            segments: features.segments.as_deref(),
            tiles: features.tiles,
            ..AttentionOptions::new(self.scale())
        }
    }

    /// The kernel's gradients, by head, of a result `out` that is contiguous by head.
    fn run<Q: Element, S: Element>(&self, launch: Launch, out: &[Q], lse: &[f32]) -> [Vec<f32>; 3] {
        let Shape { batch, queries, dv, .. } = self.shape;
        let (gap, heads) = (self.features.gap, self.shape.heads());
        let typed = |x: &[f32]| x.iter().map(|&x| Q::from_f32(x)).collect::<Vec<Q>>();
        let keys_typed = |x: &[f32]| x.iter().map(|&x| S::from_f32(x)).collect::<Vec<S>>();
        let (q, grad, k, v) = (typed(&self.q), typed(&self.grad), keys_typed(&self.k), keys_typed(&self.v));
        let shapes = self.shape.operands();
        let result = [batch, heads, queries, dv];
        let mut grads = shapes.map(|shape| vec![9.0f32; shape.iter().product()]);
        let [dq, dk, dv] = &mut grads;
        let by_position = self.features.by_position;
        attention_backward(
            launch,
            [view(&q, shapes[0], gap), view(&k, shapes[1], gap), view(&v, shapes[2], gap)],
            &self.options(),
            AttentionResult { out: Heads::contiguous(Q::view(out), result), lse, grad: view(&grad, result, gap) },
            [dq, dk, dv].map(|data| GradHeads { data, by_position }),
        );
        let mut shapes = shapes.iter();
        grads.map(|grad| {
            let [batch, heads, length, d] = *shapes.next().expect("three operands");
            if !by_position {
                return grad;
            }
            let element = |i: usize| {
                let (row, c) = (i / d, i % d);
                let (b, h, position) = (row / length / heads, row / length % heads, row % length);
                grad[((b * length + position) * heads + h) * d + c]
            };
            (0..batch * heads * length * d).map(element).collect()
        })
    }

    /// Against the definition.
    fn check_typed<Q: Element, S: Element>(&self, launch: Launch) {
        let want = self.exact::<Q>();
        let out: Vec<Q> = want.out.iter().map(|&x| Q::from_f32(x as f32)).collect();
        let lse: Vec<f32> = want.lse.iter().map(|&x| x as f32).collect();
        let grads = self.run::<Q, S>(launch, &out, &lse);
        for (name, ((got, want), sizes)) in
            ["dq", "dk", "dv"].iter().zip(grads.iter().zip(&want.grads).zip(&want.sizes))
        {
            for (i, ((&got, &want), &size)) in got.iter().zip(want).zip(sizes).enumerate() {
                // Weights are off by the rounding of their scores, sums by that of their terms.
                let allowed = 8e-6 * size + 1e-30;
                assert!(
                    (f64::from(got) - want).abs() <= allowed,
                    "{name}[{i}] is {got:e}, not {want:e}, off by more than {allowed:e}: {launch:?} {:?} {:?}",
                    self.shape,
                    self.features
                );
            }
        }
    }
}

fn check(launch: Launch, shape: Shape, features: &Features) {
    Case::new::<f32, f32>(shape, features.clone(), 7).check_typed::<f32, f32>(launch);
}

/// Small tiles, so that small shapes have several.
const SMALL: Option<Tiles> = Some(Tiles { rows: 20, keys: 32 });

#[test]
fn every_head_size() {
    for launch in launches() {
        for d in [1, 3, 8, 15, 16, 17, 33, 64, 72, 80, 112, 128] {
            let features = Features { gap: d % 3, by_position: d % 2 == 0, ..Features::default() };
            check(launch, Shape::new([2, 2], [19, 37], d), &features);
            let features = Features { tiles: SMALL, causal: true, ..features };
            check(launch, Shape { dv: d + 5, ..Shape::new([1, 3], [23, 70], d) }, &features);
        }
    }
}

#[test]
fn every_group_and_offset() {
    for launch in launches() {
        for group in [1, 2, 4, 5] {
            for [queries, keys] in [[1, 1], [1, 40], [2, 33], [40, 40], [40, 65], [65, 40], [33, 100], [130, 129]] {
                for causal in [false, true] {
                    let features = Features { causal, tiles: SMALL, ..Features::default() };
                    check(launch, Shape::new([2, group], [queries, keys], 24), &features);
                }
            }
        }
        // More heads in a group than rows in a tile.
        check(launch, Shape::new([1, 400], [2, 9], 8), &Features::default());
        check(launch, Shape::new([2, 23], [3, 40], 8), &Features { tiles: SMALL, ..Features::default() });
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
                by_position: has(1),
            };
            check(launch, Shape::new([1, 2], [57, 57], 16), &features);
            // Few rows, another length of keys.
            if !has(4) {
                check(launch, Shape::new([1, 2], [3, 57], 16), &features);
            }
        }
    }
}

/// What training packs: several sequences in one row; and pictures.
#[test]
fn packed_sequences_and_pictures() {
    for launch in launches() {
        for (causal, d, segments) in [
            (true, 128, vec![70, 71, 200, 333]),
            (false, 64, vec![64, 128, 192, 256]),
            (false, 72, vec![100, 301]),
            (false, 80, vec![1, 2, 3, 250]),
        ] {
            let length = segments.last().copied().unwrap_or(0);
            let shape = Shape { batch: 1, ..Shape::new([2, 2], [length, length], d) };
            check(
                launch,
                shape,
                &Features { causal, segments: Some(segments), by_position: true, ..Features::default() },
            );
        }
    }
}

#[test]
fn halves_of_operands() {
    for launch in launches() {
        for ([queries, keys], d) in [([30, 50], 72), ([50, 51], 34), ([7, 33], 15), ([101, 101], 128)] {
            let shape = Shape::new([2, 2], [queries, keys], d);
            let segments = (queries == keys).then(|| vec![33, 34, 101]);
            let features = Features { causal: true, tiles: SMALL, segments, gap: d % 3, ..Features::default() };
            let case = |seed| (shape, features.clone(), seed);
            let (a, b, c) = case(1);
            Case::new::<f32, bf16>(a, b, c).check_typed::<f32, bf16>(launch);
            let (a, b, c) = case(2);
            Case::new::<f32, f16>(a, b, c).check_typed::<f32, f16>(launch);
            let (a, b, c) = case(3);
            Case::new::<bf16, bf16>(a, b, c).check_typed::<bf16, bf16>(launch);
            let (a, b, c) = case(4);
            Case::new::<f16, f32>(a, b, c).check_typed::<f16, f32>(launch);
        }
    }
}

/// Scales that reverse the order of scores, or make all of them equal.
#[test]
fn any_scale() {
    for launch in launches() {
        for scale in [-0.4f32, 0.0] {
            let shape = Shape { batch: 1, ..Shape::new([1, 2], [21, 34], 16) };
            let case = Case::new::<f32, f32>(shape, Features::default(), 9);
            // By definition: of queries times `scale · √d`, with the usual scale.
            let by = scale / case.scale();
            let scaled = Case {
                q: case.q.iter().map(|x| x * by).collect(),
                ..Case::new::<f32, f32>(shape, Features::default(), 9)
            };
            let want = scaled.exact::<f32>();
            let out: Vec<f32> = want.out.iter().map(|&x| x as f32).collect();
            let lse: Vec<f32> = want.lse.iter().map(|&x| x as f32).collect();
            let views = [&case.q, &case.k, &case.v].map(|x| x.as_slice());
            let shapes = shape.operands();
            let mut grads = shapes.map(|shape| vec![9.0f32; shape.iter().product()]);
            let [dq, dk, dv] = &mut grads;
            let result = [1, 2, 21, 16];
            attention_backward(
                launch,
                [view(views[0], shapes[0], 0), view(views[1], shapes[1], 0), view(views[2], shapes[2], 0)],
                &AttentionOptions::new(scale),
                AttentionResult {
                    out: Heads::contiguous(Floats::F32(&out), result),
                    lse: &lse,
                    grad: view(&case.grad, result, 0),
                },
                [dq, dk, dv].map(|grad| GradHeads::by_head(grad)),
            );
            for (i, (&got, &want)) in grads[0].iter().zip(&want.grads[0]).enumerate() {
                assert!((f64::from(got) - want * f64::from(by)).abs() < 1e-5, "dq[{i}] is {got}, scale {scale}");
            }
            for (grad, want) in grads[1..].iter().zip(&want.grads[1..]) {
                for (&got, &want) in grad.iter().zip(want) {
                    assert!((f64::from(got) - want).abs() < 1e-4, "{got}, not {want}, scale {scale}");
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    // One head, three of them, several segments: blocks of one and of two passes.
    for (shape, segments) in [
        (Shape { batch: 1, ..Shape::new([1, 2], [700, 700], 24) }, None),
        (Shape { batch: 1, ..Shape::new([3, 1], [400, 500], 40) }, None),
        (Shape { batch: 1, ..Shape::new([1, 2], [700, 700], 24) }, Some(vec![13, 600, 700])),
    ] {
        for causal in [false, true] {
            let features = Features { causal, segments: segments.clone(), by_position: true, ..Features::default() };
            let case = Case::new::<f32, f32>(shape, features, 3);
            let len = shape.heads() * shape.queries;
            let (mut out, mut lse) = (vec![0.0f32; len * shape.dv], vec![0.0f32; len]);
            let shapes = shape.operands();
            let operands = [view(&case.q, shapes[0], 0), view(&case.k, shapes[1], 0), view(&case.v, shapes[2], 0)];
            for tier in Tier::available() {
                let alone = Launch::single(tier);
                attention(alone, operands, &case.options(), FloatsMut::F32(&mut out), Some(&mut lse));
                let bits = |threads| {
                    case.run::<f32, f32>(Launch { threads, ..alone }, &out, &lse)
                        .map(|grad| grad.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
                };
                let want = bits(1);
                for threads in [2, 3, 8] {
                    assert!(bits(threads) == want, "{tier}, {threads} threads, {shape:?}, causal: {causal}");
                }
            }
        }
    }
}

/// A segment's gradients are those that it has alone.
#[test]
fn neighbours_in_a_packed_sequence_do_not_show() {
    let shape = Shape { batch: 1, ..Shape::new([2, 2], [150, 150], 32) };
    let features = Features { causal: true, segments: Some(vec![37, 150]), by_position: true, ..Features::default() };
    let packed = Case::new::<f32, f32>(shape, features, 3);
    let heads = shape.heads();
    let (out, lse) = (random::<f32>(heads * 150 * 32, 1), random::<f32>(heads * 150, 2));
    let cut = |x: &[f32], heads: usize| x[37 * heads * 32..].to_vec();
    let alone = Case {
        shape: Shape { queries: 113, keys: 113, ..shape },
        features: Features { segments: None, ..packed.features.clone() },
        q: cut(&packed.q, heads),
        k: cut(&packed.k, 2),
        v: cut(&packed.v, 2),
        grad: cut(&packed.grad, heads),
        mask: vec![],
        bias: vec![],
    };
    // `[head][position]` less the first positions of each head.
    let tail = |x: &[f32], d: usize| x.chunks(150 * d).flat_map(|head| head[37 * d..].to_vec()).collect::<Vec<f32>>();
    for launch in launches() {
        let whole = packed.run::<f32, f32>(launch, &out, &lse);
        let part = alone.run::<f32, f32>(launch, &tail(&out, 32), &tail(&lse, 1));
        for (whole, part) in whole.iter().zip(&part) {
            assert_eq!(&tail(whole, 32), part, "{launch:?}");
        }
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
            Shape::new([1, 2], [150, 7], 16),
        ] {
            check(launch, shape, &Features { causal: true, ..Features::default() });
        }
        // All keys of two queries are masked.
        let mut case = Case::new::<f32, f32>(Shape::new([1, 2], [9, 40], 16), Features::default(), 1);
        case.features.mask = true;
        case.mask[3 * 40..5 * 40].fill(1);
        case.check_typed::<f32, f32>(launch);
    }
}

/// NaN and infinities reach what they reach by definition, and what lies in other tiles or segments not at all.
#[test]
fn nan_and_infinity_propagate() {
    let shape = Shape { batch: 1, ..Shape::new([1, 1], [80, 80], 16) };
    let features = Features { segments: Some(vec![40, 80]), tiles: SMALL, ..Features::default() };
    for launch in launches() {
        for bad in [f32::NAN, f32::INFINITY] {
            // Of query 50, of the gradient at 50, of value 50, and of key 50.
            for part in 0..4 {
                let mut case = Case::new::<f32, f32>(shape, features.clone(), 5);
                [&mut case.q, &mut case.grad, &mut case.v, &mut case.k][part][50 * 16 + 3] = bad;
                let shapes = shape.operands();
                let operands = [view(&case.q, shapes[0], 0), view(&case.k, shapes[1], 0), view(&case.v, shapes[2], 0)];
                let (mut out, mut lse) = (vec![0.0f32; 80 * 16], vec![0.0f32; 80]);
                attention(launch, operands, &case.options(), FloatsMut::F32(&mut out), Some(&mut lse));
                let [dq, dk, dv] = case.run::<f32, f32>(launch, &out, &lse);
                let row = |x: &[f32], i: usize| x[i * 16..][..16].to_vec();
                for grad in [&dq, &dk, &dv] {
                    assert!(grad[..40 * 16].iter().all(|x| x.is_finite()), "the other segment: {part} {launch:?}");
                }
                let lost = |x: &[f32], i: usize| row(x, i).iter().any(|x| !x.is_finite());
                // Query, result and value 50 make the scores' gradients of their row or column NaN.
                let whole_row = part < 2;
                assert!(lost(&dq, 50), "dq of the row: {part}, {bad}, {launch:?}");
                assert!(lost(&dk, 50), "dk: {part}, {bad}, {launch:?}");
                assert!(lost(&dv, 50) || part == 2, "dv: {part}, {bad}, {launch:?}");
                if whole_row {
                    assert!(row(&dq, 45).iter().all(|x| x.is_finite()), "another query: {part}, {bad}, {launch:?}");
                    assert!((40..80).all(|key| lost(&dk, key)), "all keys of the query: {part}, {bad}, {launch:?}");
                } else {
                    assert!((40..80).all(|query| lost(&dq, query)), "all queries: {part}, {bad}, {launch:?}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "elements of the gradient")]
fn gradients_must_fit() {
    let view = Heads::contiguous(Floats::F32(&[0.0; 8]), [1, 1, 2, 4]);
    let (mut a, mut b, mut c) = ([0.0; 8], [0.0; 7], [0.0; 8]);
    attention_backward(
        Launch::single(Tier::Portable),
        [view; 3],
        &AttentionOptions::new(1.0),
        AttentionResult { out: view, lse: &[0.0; 2], grad: view },
        [GradHeads::by_head(&mut a), GradHeads::by_head(&mut b), GradHeads::by_head(&mut c)],
    );
}

#[test]
#[should_panic(expected = "one shape")]
fn the_result_must_fit() {
    let view = Heads::contiguous(Floats::F32(&[0.0; 8]), [1, 1, 2, 4]);
    let short = Heads::contiguous(Floats::F32(&[0.0; 4]), [1, 1, 1, 4]);
    let (mut a, mut b, mut c) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    attention_backward(
        Launch::single(Tier::Portable),
        [view; 3],
        &AttentionOptions::new(1.0),
        AttentionResult { out: view, lse: &[0.0; 2], grad: short },
        [GradHeads::by_head(&mut a), GradHeads::by_head(&mut b), GradHeads::by_head(&mut c)],
    );
}
