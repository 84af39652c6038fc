//! Head norms and rotary embedding against f64, on any runtime.

use super::rows::list_strategies;
use crate::cube_device::{assert_near, download_guarded, make_noise, round, stores, upload, upload_poison, view};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::cube::{Angles, CubeError, HeadInputs, Placement, Strategy, place_heads};
use burn_std::DType;

const EPSILON: f64 = 1e-5;

/// `[batch, heads, length, d]` and its strides, in elements.
#[derive(Clone, Copy)]
struct Layout {
    dims: [usize; 4],
    strides: [usize; 4],
}

impl Layout {
    fn contiguous([b, h, l, d]: [usize; 4]) -> Self {
        Self { dims: [b, h, l, d], strides: [h * l * d, l * d, d, 1] }
    }

    /// Heads of a projection, `[batch, length, heads · d]`.
    fn projected([b, h, l, d]: [usize; 4]) -> Self {
        Self { dims: [b, h, l, d], strides: [l * h * d, d, h * d, 1] }
    }

    fn at(&self, [b, h, l]: [usize; 3]) -> usize {
        b * self.strides[0] + h * self.strides[1] + l * self.strides[2]
    }

    fn heads(&self) -> impl Iterator<Item = [usize; 3]> {
        let [b, h, l, _] = self.dims;
        (0..b * h * l).map(move |i| [i / l / h, i / l % h, i % l])
    }
}

/// The head, normed and rotated.
fn place(x: &[f64], gamma: Option<&[f64]>, angles: Option<(&[f64], &[f64])>) -> Vec<f64> {
    let d = x.len();
    let mut x = x.to_vec();
    if let Some(gamma) = gamma {
        let scale = 1.0 / (x.iter().map(|v| v * v).sum::<f64>() / d as f64 + EPSILON).sqrt();
        x = x.iter().zip(gamma).map(|(v, g)| v * scale * g).collect();
    }
    let Some((cos, sin)) = angles else { return x };
    let (a, b) = x.split_at(d / 2);
    let first = (0..d / 2).map(|i| a[i] * cos[i] - b[i] * sin[i]);
    first.chain((0..d / 2).map(|i| b[i] * cos[i] + a[i] * sin[i])).collect()
}

/// Cosines and sines, f32.
fn make_angles(seed: u64, count: usize) -> [Vec<f64>; 2] {
    let angles: Vec<f64> = make_noise(seed, count).iter().map(|v| 4.0 * v).collect();
    [f64::cos, f64::sin].map(|f| round(&angles.iter().map(|&a| f(a)).collect::<Vec<_>>(), DType::F32))
}

/// Queries, keys and values of projections, keys and values to a cache behind `start` positions of poison.
fn check_all<R: CubeRuntime>(device: &R::Device, d: usize, normed: bool, dtypes: [DType; 2], strategy: Strategy) {
    let [dtype, cache_dtype] = dtypes;
    let what = format!("d = {d}, normed {normed}, {dtypes:?}, {strategy:?}");
    let (batch, whole, start, capacity) = (2, 5, 4, 9);
    // Not all of the positions.
    let positions = 1..4;
    let length = positions.len();
    let counts = [4, 2, 2];
    let layouts = counts.map(|heads| Layout::projected([batch, heads, whole, d]));
    let sources = [0, 1, 2].map(|i| round(&make_noise(20 + i as u64, batch * counts[i] * whole * d), dtype));
    let gammas = [30, 31].map(|seed| round(&make_noise(seed, d), dtype));
    let [cos, sin] = make_angles(32, batch * whole * (d / 2));
    let x = [0, 1, 2].map(|i| {
        let flat = upload::<R>(device, &sources[i], &[sources[i].len()], dtype);
        view(flat, &layouts[i].dims, &layouts[i].strides)
    });
    let gamma_tensors = [0, 1].map(|i| upload::<R>(device, &gammas[i], &[d], dtype));
    let angle_tensors = [&cos, &sin].map(|values| upload::<R>(device, values, &[batch, whole, d / 2], DType::F32));
    let to = [0, 1, 2].map(|i| {
        let (room, dtype) = if i == 0 { (length, dtype) } else { (capacity, cache_dtype) };
        upload_poison::<R>(device, &[batch, counts[i], room, d], dtype)
    });
    let placements =
        [0, 1, 2].map(|i| Placement { x: &x[i], gamma: gamma_tensors.get(i).filter(|_| normed), to: &to[i] });
    let angles = Angles { cos: &angle_tensors[0], sin: &angle_tensors[1] };
    place_heads(
        &HeadInputs { placements: &placements, angles, epsilon: EPSILON, positions: positions.clone(), start },
        strategy,
    )
    .unwrap();
    for i in 0..3 {
        let placed = download_guarded(&to[i]);
        let (first, room, dtype) = if i == 0 { (0, length, dtype) } else { (start, capacity, cache_dtype) };
        let target = Layout::contiguous([batch, counts[i], room, d]);
        let mut expected = vec![f64::NAN; placed.len()];
        for [b, h, l] in layouts[i].heads().filter(|[.., l]| positions.contains(l)) {
            let from = layouts[i].at([b, h, l]);
            let angle = (b * whole + l) * (d / 2);
            let angles = (&cos[angle..angle + d / 2], &sin[angle..angle + d / 2]);
            let gamma = gammas.get(i).filter(|_| normed).map(Vec::as_slice);
            let head = place(&sources[i][from..from + d], gamma, (i < 2).then_some(angles));
            let at = target.at([b, h, first + l - positions.start]);
            expected[at..at + d].copy_from_slice(&head);
        }
        assert_near(&placed, &expected, dtype, &format!("{what}, tensor {i}"));
    }
}

pub fn queries_keys_and_values_are_placed_in_one_launch<R: CubeRuntime>(device: &R::Device) {
    let (f32, f16) = (DType::F32, DType::F16);
    for strategy in list_strategies::<R>(device) {
        for (d, normed) in [(2, true), (34, true), (72, false), (128, true), (256, true)] {
            check_all::<R>(device, d, normed, [f32, f32], strategy);
        }
    }
    check_all::<R>(device, 80, true, [f32, f16], Strategy::Auto);
    check_all::<R>(device, 64, false, [f16, f16], Strategy::Auto);
    if stores::<R>(device, DType::BF16) {
        bf16_is_rounded_to_nearest::<R>(device);
    }
}

/// The cache alone, and queries too, with vectors and without.
pub fn bf16_is_rounded_to_nearest<R: CubeRuntime>(device: &R::Device) {
    check_all::<R>(device, 128, true, [DType::F32, DType::BF16], Strategy::Auto);
    check_all::<R>(device, 34, true, [DType::BF16; 2], Strategy::Auto);
}

/// One angle for all batches, contiguous heads, no norm: plain rotary embedding.
pub fn plain_rotary_embedding_shares_angles<R: CubeRuntime>(device: &R::Device) {
    let (dims, d) = ([2, 3, 5, 8], 8);
    let layout = Layout::contiguous(dims);
    let values = round(&make_noise(40, dims.iter().product()), DType::F32);
    let [cos, sin] = make_angles(41, 5 * (d / 2));
    let x: CubeTensor<R> = upload(device, &values, &dims, DType::F32);
    let angles = [&cos, &sin].map(|values| upload::<R>(device, values, &[1, 5, d / 2], DType::F32));
    let mut expected = values.clone();
    for [b, h, l] in layout.heads() {
        let (at, angle) = (layout.at([b, h, l]), l * (d / 2));
        let angles = (&cos[angle..angle + d / 2], &sin[angle..angle + d / 2]);
        let head = place(&values[at..at + d], None, Some(angles));
        expected[at..at + d].copy_from_slice(&head);
    }
    let angles = Angles { cos: &angles[0], sin: &angles[1] };
    let y = upload_poison::<R>(device, &dims, DType::F32);
    let placements = [Placement { x: &x, gamma: None, to: &y }];
    let inputs = HeadInputs { placements: &placements, angles, epsilon: 0.0, positions: 0..5, start: 0 };
    place_heads(&inputs, Strategy::Auto).unwrap();
    assert_near(&download_guarded(&y), &expected, DType::F32, "rotary embedding");
}

pub fn invalid_calls_say_so<R: CubeRuntime>(device: &R::Device) {
    let make = |dims: &[usize]| upload::<R>(device, &vec![1.0; dims.iter().product()], dims, DType::F32);
    let (x, odd, short, angles) = (make(&[1, 2, 3, 8]), make(&[1, 2, 3, 7]), make(&[1, 2, 2, 8]), make(&[1, 3, 4]));
    let gamma = make(&[7]);
    let call = |placement: Placement<'_, R>, angles: &CubeTensor<R>| {
        let angles = Angles { cos: angles, sin: angles };
        let length = placement.x.meta.shape()[2];
        let inputs = HeadInputs { placements: &[placement], angles, epsilon: EPSILON, positions: 0..length, start: 0 };
        place_heads(&inputs, Strategy::Auto)
    };
    let invalid = |result| assert!(matches!(result, Err(CubeError::InvalidShapes { .. })), "{result:?}");
    invalid(call(Placement { x: &odd, gamma: None, to: &odd }, &angles));
    invalid(call(Placement { x: &x, gamma: None, to: &short }, &angles));
    invalid(call(Placement { x: &x, gamma: Some(&gamma), to: &x }, &angles));
    invalid(call(Placement { x: &x, gamma: None, to: &x }, &gamma));
    assert!(call(Placement { x: &x, gamma: None, to: &x }, &angles).is_ok());
    let none = make(&[1, 2, 0, 8]);
    assert!(call(Placement { x: &none, gamma: None, to: &none }, &make(&[1, 0, 4])).is_ok());
    none.client.flush().unwrap();
}
