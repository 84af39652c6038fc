//! Attention against f64, on any runtime.

use crate::cube_device::{assert_near, download_guarded, make_noise, round, stores, upload, upload_poison, view};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::cube::{
    AttentionInputs, AttentionOutputs, AttentionRules, AttentionStrategy, CubeError, Unavailable,
    attention::list_rivals, launch_attention,
};
use burn_std::{BoolStore, DType};

/// Sizes of one attention.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    head_dim: usize,
    value_dim: usize,
}

/// What is asked for. A mask and a bias have dimensions of their own, each 1 or whole.
#[derive(Debug, Clone)]
struct Case {
    sizes: Sizes,
    causal: bool,
    softcap: Option<f64>,
    mask: Option<[usize; 4]>,
    bias: Option<[usize; 4]>,
    segments: Option<Vec<usize>>,
    dtypes: [DType; 2],
    strategy: AttentionStrategy,
}

impl Case {
    fn new(heads: [usize; 2], [queries, keys]: [usize; 2], d: usize) -> Self {
        let [heads, kv_heads] = heads;
        Self {
            sizes: Sizes { batch: 1, heads, kv_heads, queries, keys, head_dim: d, value_dim: d },
            causal: false,
            softcap: None,
            mask: None,
            bias: None,
            segments: None,
            dtypes: [DType::F32; 2],
            strategy: AttentionStrategy::Auto,
        }
    }

    fn causal(self) -> Self {
        Self { causal: true, ..self }
    }

    fn splits(self, splits: usize) -> Self {
        Self { strategy: AttentionStrategy::Splits(splits), ..self }
    }

    fn stored(self, dtypes: [DType; 2]) -> Self {
        Self { dtypes, ..self }
    }
}

/// Where `[batch, heads, length, d]` lies; heads of a projection are strided.
fn place(dims: [usize; 4], projected: bool) -> [usize; 4] {
    let [_, h, l, d] = dims;
    if projected { [l * h * d, d, h * d, 1] } else { [h * l * d, l * d, d, 1] }
}

/// The value of a tensor of `dims` that is broadcast, at `[batch, head, query, key]`.
fn look(values: &[f64], dims: [usize; 4], at: [usize; 4]) -> f64 {
    values[(0..4).fold(0, |index, i| index * dims[i] + if dims[i] == 1 { 0 } else { at[i] })]
}

/// Operands in f64, as they are stored.
struct Operands {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    mask: Vec<f64>,
    bias: Vec<f64>,
}

/// `(output [batch, heads, queries, value_dim], lse)` in f64.
fn attend(case: &Case, operands: &Operands, projected: bool) -> (Vec<f64>, Vec<f64>) {
    let Sizes { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = case.sizes;
    let at = |dims, [b, h, l]: [usize; 3]| {
        let strides = place(dims, projected);
        b * strides[0] + h * strides[1] + l * strides[2]
    };
    let (mut out, mut lse) = (Vec::new(), Vec::new());
    for (b, h) in (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
        let kv_head = h / (heads / kv_heads);
        for query in 0..queries {
            let q = at([batch, heads, queries, head_dim], [b, h, query]);
            let score = |key: usize| {
                let k = at([batch, kv_heads, keys, head_dim], [b, kv_head, key]);
                let product: f64 = (0..head_dim).map(|i| operands.q[q + i] * operands.k[k + i]).sum();
                let mut score = product / (head_dim as f64).sqrt();
                if let Some(cap) = case.softcap {
                    score = cap * (score / cap).tanh();
                }
                let segment = |i: usize| case.segments.as_ref().map_or(0, |ends| ends.partition_point(|&end| end <= i));
                let hidden = case.causal && key + queries > query + keys
                    || segment(key) != segment(query)
                    || case.mask.is_some_and(|dims| look(&operands.mask, dims, [b, h, query, key]) != 0.0);
                let bias = case.bias.map_or(0.0, |dims| look(&operands.bias, dims, [b, h, query, key]));
                if hidden { f64::NEG_INFINITY } else { score + bias }
            };
            let scores: Vec<f64> = (0..keys).map(score).collect();
            let peak = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - peak).exp()).sum();
            lse.push(peak + sum.ln());
            for i in 0..value_dim {
                let weighted = |(key, s): (usize, &f64)| {
                    (s - peak).exp() * operands.v[at([batch, kv_heads, keys, value_dim], [b, kv_head, key]) + i]
                };
                let total: f64 = scores.iter().enumerate().map(weighted).sum();
                out.push(if sum == 0.0 { 0.0 } else { total / sum });
            }
        }
    }
    (out, lse)
}

/// Runs the kernel into poisoned outputs and compares both.
fn check<R: CubeRuntime>(device: &R::Device, case: &Case) {
    for projected in [false, true] {
        check_layout::<R>(device, case, projected);
    }
}

fn check_layout<R: CubeRuntime>(device: &R::Device, case: &Case, projected: bool) {
    let what = format!("{case:?}, projected {projected}");
    let Sizes { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = case.sizes;
    let [dtype, kv_dtype] = case.dtypes;
    let draw = |seed, dims: [usize; 4], dtype| {
        let noise = make_noise(seed, dims.iter().product());
        round(&noise.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), dtype)
    };
    let q_dims = [batch, heads, queries, head_dim];
    let (k_dims, v_dims) = ([batch, kv_heads, keys, head_dim], [batch, kv_heads, keys, value_dim]);
    let hide = |dims: [usize; 4]| {
        let mut mask: Vec<f64> = draw(4, dims, DType::F32).iter().map(|v| f64::from(u8::from(*v > 0.4))).collect();
        // The first query of the first head sees nothing.
        mask.iter_mut().take(dims[3]).for_each(|hidden| *hidden = 1.0);
        mask
    };
    let operands = Operands {
        q: draw(1, q_dims, dtype),
        k: draw(2, k_dims, kv_dtype),
        v: draw(3, v_dims, kv_dtype),
        mask: case.mask.map(hide).unwrap_or_default(),
        bias: case.bias.map(|dims| draw(5, dims, DType::F32)).unwrap_or_default(),
    };
    let send = |values: &[f64], dims: [usize; 4], dtype| {
        let flat: CubeTensor<R> = upload(device, values, &dims, dtype);
        view(flat, &dims, &place(dims, projected))
    };
    let q = send(&operands.q, q_dims, dtype);
    let [k, v] = [(&operands.k, k_dims), (&operands.v, v_dims)].map(|(values, dims)| send(values, dims, kv_dtype));
    let mask = case.mask.map(|dims| {
        let mut mask: CubeTensor<R> = upload(device, &operands.mask, &dims, DType::U32);
        mask.dtype = DType::Bool(BoolStore::U32);
        mask
    });
    let bias = case.bias.map(|dims| upload::<R>(device, &operands.bias, &dims, DType::F32));
    let out_dims = [batch, heads, queries, value_dim];
    let out = view(upload_poison::<R>(device, &out_dims, dtype), &out_dims, &place(out_dims, projected));
    let lse = upload_poison::<R>(device, &[batch, heads, queries, 1], DType::F32);
    let rules = AttentionRules {
        scale: 1.0 / (head_dim as f64).sqrt(),
        causal: case.causal,
        softcap: case.softcap,
        segments: case.segments.as_deref(),
    };
    let inputs = AttentionInputs { q: &q, k: &k, v: &v, mask: mask.as_ref(), bias: bias.as_ref() };
    let outputs = AttentionOutputs { out: &out, start: 0, lse: Some(&lse) };
    launch_attention(&inputs, &rules, &outputs, case.strategy).unwrap();

    let (expected, expected_lse) = attend(case, &operands, projected);
    let raw = download_guarded(&out);
    let strides = place(out_dims, projected);
    let index = |i: usize| {
        let (row, column) = (i / value_dim, i % value_dim);
        let (b, h, l) = (row / queries / heads, row / queries % heads, row % queries);
        b * strides[0] + h * strides[1] + l * strides[2] + column
    };
    let ours: Vec<f64> = (0..raw.len()).map(|i| raw[index(i)]).collect();
    assert_near(&ours, &expected, dtype, &what);
    assert_near(&download_guarded(&lse), &expected_lse, DType::F32, &format!("{what}, lse"));
}

/// Prefill and decoding, over every tile, with head sizes of the models at hand and odd ones.
pub fn attention_matches_f64<R: CubeRuntime>(device: &R::Device) {
    check::<R>(device, &Case::new([4, 2], [40, 70], 64).causal());
    check::<R>(device, &Case::new([2, 2], [67, 67], 72));
    check::<R>(device, &Case::new([4, 2], [11, 70], 80).causal());
    check::<R>(device, &Case::new([4, 2], [37, 37], 128).causal());
    check::<R>(device, &Case::new([2, 1], [9, 41], 256).causal());
    check::<R>(device, &Case::new([3, 1], [5, 9], 34));
    check::<R>(device, &Case::new([6, 2], [1, 131], 128));
    let two = Sizes { batch: 2, value_dim: 12, ..Case::new([4, 2], [3, 50], 8).sizes };
    check::<R>(device, &Case { sizes: two, ..Case::new([4, 2], [3, 50], 8).causal() });
}

/// Keys in parts, one of which no query may see. The tiles are those of the test above.
pub fn split_keys_give_what_the_whole_gives<R: CubeRuntime>(device: &R::Device) {
    check::<R>(device, &Case::new([4, 2], [1, 300], 128).splits(4));
    check::<R>(device, &Case::new([4, 2], [1, 300], 128).splits(99));
    check::<R>(device, &Case::new([2, 1], [1, 600], 128));
    check::<R>(device, &Case::new([3, 1], [5, 150], 34).splits(3));
    check::<R>(device, &Case::new([4, 1], [70, 40], 64).causal().splits(2));
}

/// What autotune may choose.
pub fn every_rival_matches_f64<R: CubeRuntime>(device: &R::Device) {
    let case = Case::new([4, 2], [1, 300], 128);
    let make = |dims: [usize; 4]| upload::<R>(device, &vec![1.0; dims.iter().product()], &dims, DType::F32);
    let (q, k) = (make([1, 4, 1, 128]), make([1, 2, 300, 128]));
    let inputs = AttentionInputs { q: &q, k: &k, v: &k, mask: None, bias: None };
    let rules = AttentionRules { scale: 1.0, causal: false, softcap: None, segments: None };
    let outputs = AttentionOutputs { out: &q, start: 0, lse: None };
    let rivals = list_rivals(&inputs, &rules, &outputs).unwrap();
    assert!(rivals[0] == AttentionStrategy::Auto && rivals.len() >= 3, "{rivals:?}");
    for strategy in rivals {
        check::<R>(device, &Case { strategy, ..case.clone() });
    }
    // Many rows fill a device by themselves.
    let many = make([1, 4, 300, 128]);
    let (inputs, outputs) = (AttentionInputs { q: &many, ..inputs }, AttentionOutputs { out: &many, ..outputs });
    assert_eq!(list_rivals(&inputs, &rules, &outputs).unwrap(), [AttentionStrategy::Auto]);
}

pub fn masks_biases_caps_and_segments_hide_and_shift<R: CubeRuntime>(device: &R::Device) {
    let base =
        Case { sizes: Sizes { batch: 2, ..Case::new([4, 2], [9, 21], 16).sizes }, ..Case::new([4, 2], [9, 21], 16) };
    for dims in [[2, 4, 9, 21], [1, 4, 9, 21], [1, 1, 9, 21], [2, 1, 1, 21]] {
        check::<R>(device, &Case { mask: Some(dims), bias: Some([dims[0], 1, 9, 21]), ..base.clone() });
    }
    check::<R>(device, &Case { mask: Some([1, 1, 9, 21]), softcap: Some(0.7), ..base }.causal().splits(2));
    let square = Case::new([2, 2], [75, 75], 16);
    for causal in [false, true] {
        let case = Case { segments: Some(vec![1, 1, 33, 34, 75]), causal, ..square.clone() };
        check::<R>(device, &case);
        check::<R>(device, &case.splits(2));
    }
}

/// More queries than keys: under a causal mask the first ones see nothing. No keys at all; no queries.
pub fn queries_that_see_nothing_give_zeros<R: CubeRuntime>(device: &R::Device) {
    check::<R>(device, &Case::new([2, 1], [7, 3], 16).causal());
    check::<R>(device, &Case::new([2, 1], [7, 0], 16).causal());
    check::<R>(device, &Case::new([2, 1], [0, 5], 16));
}

pub fn half_precision_is_stored_and_f32_computed<R: CubeRuntime>(device: &R::Device) {
    let (f32, f16) = (DType::F32, DType::F16);
    check::<R>(device, &Case::new([4, 2], [1, 200], 64).stored([f32, f16]).splits(2));
    check::<R>(device, &Case::new([4, 2], [3, 9], 16).causal().stored([f16, f16]));
    if stores::<R>(device, DType::BF16) {
        check::<R>(device, &Case::new([4, 2], [1, 200], 64).stored([f32, DType::BF16]));
        bf16_is_rounded_to_nearest::<R>(device);
    }
}

/// Outputs by the kernel over tiles, with vectors and without, and by the one that puts parts of the keys together.
pub fn bf16_is_rounded_to_nearest<R: CubeRuntime>(device: &R::Device) {
    let stored = [DType::BF16; 2];
    check::<R>(device, &Case::new([4, 2], [11, 70], 64).causal().stored(stored));
    check::<R>(device, &Case::new([3, 1], [5, 9], 34).stored(stored));
    check::<R>(device, &Case::new([4, 2], [1, 200], 64).stored(stored).splits(2));
}

/// A value of NaN reaches the queries that see it and leaves the other columns whole. (A weight of 0 times NaN is NaN:
/// in its column it may reach others, as in PyTorch.)
pub fn nan_stays_where_it_is_seen<R: CubeRuntime>(device: &R::Device) {
    let (queries, d) = (6, 4);
    let ones = vec![1.0; queries * d];
    let mut values = ones.clone();
    values[4 * d] = f64::NAN;
    let send = |values: &[f64]| upload::<R>(device, values, &[1, 1, queries, d], DType::F32);
    let (q, v) = (send(&ones), send(&values));
    let out = upload_poison::<R>(device, &[1, 1, queries, d], DType::F32);
    let inputs = AttentionInputs { q: &q, k: &q, v: &v, mask: None, bias: None };
    let segments = [4, 5, 6];
    let rules = AttentionRules { scale: 1.0, causal: false, softcap: None, segments: Some(&segments) };
    let outputs = AttentionOutputs { out: &out, start: 0, lse: None };
    launch_attention(&inputs, &rules, &outputs, AttentionStrategy::Auto).unwrap();
    let out = download_guarded(&out);
    for (i, value) in out.iter().enumerate() {
        assert!(*value == 1.0 || i % d == 0 && value.is_nan(), "{out:?}");
    }
    assert!(out[4 * d].is_nan());
}

pub fn invalid_calls_say_so<R: CubeRuntime>(device: &R::Device) {
    let make = |dims: [usize; 4], dtype| upload::<R>(device, &vec![1.0; dims.iter().product()], &dims, dtype);
    let (q, k) = (make([1, 4, 3, 8], DType::F32), make([1, 2, 5, 8], DType::F32));
    let plain = AttentionRules { scale: 1.0, causal: false, softcap: None, segments: None };
    let call = |q: &CubeTensor<R>, k: &CubeTensor<R>, out: &CubeTensor<R>, rules: AttentionRules<'_>| {
        let inputs = AttentionInputs { q, k, v: k, mask: None, bias: None };
        launch_attention(&inputs, &rules, &AttentionOutputs { out, start: 0, lse: None }, AttentionStrategy::Auto)
    };
    let invalid =
        |result: Result<(), CubeError>| assert!(matches!(result, Err(CubeError::InvalidShapes { .. })), "{result:?}");
    invalid(call(&q, &make([1, 3, 5, 8], DType::F32), &q, plain));
    invalid(call(&q, &make([2, 2, 5, 8], DType::F32), &q, plain));
    invalid(call(&q, &k, &k, plain));
    invalid(call(&q, &k, &q, AttentionRules { softcap: Some(0.0), ..plain }));
    invalid(call(&q, &k, &q, AttentionRules { segments: Some(&[3]), ..plain }));
    let ints = make([1, 4, 3, 8], DType::I32);
    assert!(matches!(call(&ints, &k, &q, plain), Err(CubeError::InvalidDtype { .. })));
    let (q, k) = (make([1, 1, 1, 260], DType::F32), make([1, 1, 2, 260], DType::F32));
    let error = call(&q, &k, &q, plain).unwrap_err();
    let expected = Unavailable::HeadDim { found: 260, limit: 256 };
    assert!(matches!(error, CubeError::Unavailable { reason, .. } if reason == expected), "{error}");
}
