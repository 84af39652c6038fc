//! Layer norm, residual and norm, softmax and activations against f64, on any runtime.

use crate::cube_device::{
    assert_near, download, download_guarded, make_noise, make_values, round, stores, upload, upload_poison, view,
};
use burn_backend::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::cube::{
    CubeError, NormInputs, NormOutputs, Reduction, SoftmaxForm, Strategy, activation, add_norm, launch_norm,
    layer_norm, softmax,
};
use burn_kiln_fusion::{Activation, NormKind};
use burn_std::DType;

const EPSILON: f64 = 1e-6;

/// The strategies that the device can run. CubeCL hides the planes of CPU drivers; they are there all the same.
pub fn list_strategies<R: CubeRuntime>(device: &R::Device) -> Vec<Strategy> {
    let client = R::client(device);
    let hardware = &client.properties().hardware;
    let mut strategies = vec![Strategy::Reduce(Reduction::SharedMemory)];
    if hardware.plane_size_min == hardware.plane_size_max {
        strategies.push(Strategy::Reduce(Reduction::Planes { size: hardware.plane_size_min }));
    }
    strategies
}

/// Reductions and row lengths: one vector and less, odd, those of heads and layers, more than a cube has units. Each is
/// a kernel to compile, so that half precision and the reduction that no GPU needs have fewer.
fn list_rows<R: CubeRuntime>(device: &R::Device, dtype: DType) -> Vec<(Strategy, usize)> {
    let lengths = |strategy| match (strategy, dtype) {
        (Strategy::Reduce(Reduction::Planes { .. }), DType::F32) => &[1, 33, 128, 1028, 2049][..],
        (_, DType::F32) => &[33, 1028],
        (Strategy::Reduce(Reduction::Planes { .. }), _) => &[33, 128],
        _ => &[33],
    };
    list_strategies::<R>(device).into_iter().flat_map(|s| lengths(s).iter().map(move |&d| (s, d))).collect()
}

fn list_dtypes<R: CubeRuntime>(device: &R::Device) -> Vec<DType> {
    [DType::F32, DType::F16, DType::BF16].into_iter().filter(|&dtype| stores::<R>(device, dtype)).collect()
}

fn normalize_layer(x: &[f64], gamma: &[f64], beta: Option<&[f64]>) -> Vec<f64> {
    let d = gamma.len();
    let row = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / d as f64;
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / d as f64;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        (0..d).map(|i| (row[i] - mean) * scale * gamma[i] + beta.map_or(0.0, |beta| beta[i])).collect::<Vec<_>>()
    };
    x.chunks(d).flat_map(row).collect()
}

pub fn layer_norm_matches_f64<R: CubeRuntime>(device: &R::Device) {
    for dtype in list_dtypes::<R>(device) {
        for (strategy, d) in list_rows::<R>(device, dtype) {
            let rows = 5;
            let has_beta = d % 2 == 1;
            // Means as large as the deviations.
            let x: Vec<f64> = make_noise(1, rows * d).iter().enumerate().map(|(i, v)| v + (i / d) as f64).collect();
            let (x, gamma, beta) = (round(&x, dtype), make_values(2, 1, d, dtype), make_values(3, 1, d, dtype));
            let y = upload_poison::<R>(device, &[rows, d], dtype);
            let beta_tensor = upload::<R>(device, &beta, &[d], dtype);
            let inputs = NormInputs {
                kind: NormKind::Layer,
                x: &upload(device, &x, &[rows, d], dtype),
                residual: None,
                gamma: &upload(device, &gamma, &[d], dtype),
                beta: has_beta.then_some(&beta_tensor),
                epsilon: EPSILON,
            };
            launch_norm(&inputs, &NormOutputs { y: &y, sum: None, rstd: None }, strategy).unwrap();
            let expected = normalize_layer(&x, &gamma, has_beta.then_some(&beta));
            assert_near(&download_guarded(&y), &expected, dtype, &format!("{d} {dtype:?} {strategy:?}"));
        }
    }
}

/// One pass for both means would lose all digits here.
pub fn layer_norm_keeps_small_deviations_from_large_means<R: CubeRuntime>(device: &R::Device) {
    let (rows, d) = (3, 256);
    let x: Vec<f64> = make_noise(4, rows * d).iter().map(|v| 1000.0 + v).collect();
    let (x, gamma) = (round(&x, DType::F32), vec![1.0; d]);
    let operands = [upload::<R>(device, &x, &[rows, d], DType::F32), upload(device, &gamma, &[d], DType::F32)];
    let y = layer_norm(&operands[0], &operands[1], None, EPSILON, Strategy::Auto).unwrap();
    let expected = normalize_layer(&x, &gamma, None);
    // The mean itself is rounded to 1000 · 2^-24 = 6e-5, which is what remains.
    for (a, e) in download(&y).iter().zip(&expected) {
        assert!((a - e).abs() < 2e-4, "{a} {e}");
    }
}

pub fn add_norm_matches_f64<R: CubeRuntime>(device: &R::Device) {
    for dtype in list_dtypes::<R>(device) {
        for (strategy, d) in list_rows::<R>(device, dtype) {
            let rows = 7;
            let what = format!("{d} {dtype:?} {strategy:?}");
            let (x, residual) = (make_values(5, rows, d, dtype), make_values(6, rows, d, dtype));
            let gamma = make_values(7, 1, d, DType::F32);
            let [sum, y] = [0; 2].map(|_| upload_poison::<R>(device, &[rows, d], dtype));
            let rstd = upload_poison::<R>(device, &[rows, 1], DType::F32);
            let inputs = NormInputs {
                kind: NormKind::Rms,
                x: &upload(device, &x, &[rows, d], dtype),
                residual: Some(&upload(device, &residual, &[rows, d], dtype)),
                gamma: &upload(device, &gamma, &[d], DType::F32),
                beta: None,
                epsilon: EPSILON,
            };
            launch_norm(&inputs, &NormOutputs { y: &y, sum: Some(&sum), rstd: Some(&rstd) }, strategy).unwrap();
            let expected: Vec<f64> = x.iter().zip(&residual).map(|(a, b)| a + b).collect();
            let expected = round(&expected, dtype);
            assert_near(&download_guarded(&sum), &expected, dtype, &what);
            let scales: Vec<f64> = expected
                .chunks(d)
                .map(|row| 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / d as f64 + EPSILON).sqrt())
                .collect();
            assert_near(&download_guarded(&rstd), &scales, DType::F32, &what);
            let normed: Vec<f64> = expected.iter().enumerate().map(|(i, v)| v * scales[i / d] * gamma[i % d]).collect();
            assert_near(&download_guarded(&y), &normed, dtype, &what);
        }
    }
}

pub fn add_norm_reads_padded_rows_in_place<R: CubeRuntime>(device: &R::Device) {
    let (rows, d, pitch) = (6, 8, 12);
    let values = make_values(8, rows, pitch, DType::F32);
    let cut: Vec<f64> = values.chunks(pitch).flat_map(|row| row[..d].to_vec()).collect();
    let x = view(upload::<R>(device, &values, &[rows, pitch], DType::F32), &[rows, d], &[pitch, 1]);
    let residual = upload::<R>(device, &cut, &[rows, d], DType::F32);
    let gamma = upload::<R>(device, &[1.0; 8], &[d], DType::F32);
    for (x, residual) in [(&x, &residual), (&residual, &x)] {
        let output = add_norm(x, residual, &gamma, EPSILON, Strategy::Auto).unwrap();
        let doubled: Vec<f64> = cut.iter().map(|v| 2.0 * v).collect();
        assert_near(&download(&output.sum), &doubled, DType::F32, "sum of padded rows");
    }
}

/// `e^{x - m} / s`, or its logarithm.
fn normalize_exponentials(x: &[f64], d: usize, form: SoftmaxForm) -> Vec<f64> {
    let row = |row: &[f64]| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|v| (v - max).exp()).sum();
        let one = |v: &f64| match form {
            SoftmaxForm::Plain => (v - max).exp() / sum,
            SoftmaxForm::Log => v - max - sum.ln(),
        };
        row.iter().map(one).collect::<Vec<_>>()
    };
    x.chunks(d).flat_map(row).collect()
}

pub fn softmax_matches_f64<R: CubeRuntime>(device: &R::Device) {
    for form in [SoftmaxForm::Plain, SoftmaxForm::Log] {
        for dtype in list_dtypes::<R>(device) {
            for (strategy, d) in list_rows::<R>(device, dtype) {
                let rows = 6;
                let x = make_values(9, rows, d, dtype);
                let y = upload_poison::<R>(device, &[rows, d], dtype);
                softmax::launch(&upload(device, &x, &[rows, d], dtype), &y, form, strategy).unwrap();
                let expected = normalize_exponentials(&x, d, form);
                assert_near(&download_guarded(&y), &expected, dtype, &format!("{form:?} {d} {dtype:?} {strategy:?}"));
            }
        }
    }
}

pub fn softmax_takes_hidden_huge_and_nan_scores<R: CubeRuntime>(device: &R::Device) {
    let hidden = f64::NEG_INFINITY;
    let rows = [
        [hidden, 1.0, hidden, 2.0, 0.0],
        [-3e38, 3e38, 0.0, 1.0, 2.0],
        [-1e30, -1e30, -1e30, hidden, hidden],
        [hidden; 5],
        [0.0, f64::NAN, 0.0, 0.0, 0.0],
    ];
    for strategy in list_strategies::<R>(device) {
        let x = upload::<R>(device, &rows.concat(), &[5, 5], DType::F32);
        let y = download(&softmax(&x, SoftmaxForm::Plain, strategy).unwrap());
        let expected = normalize_exponentials(&rows[..3].concat(), 5, SoftmaxForm::Plain);
        assert_near(&y[..15], &expected, DType::F32, "hidden and huge scores");
        assert!(y[15..].iter().all(|v| v.is_nan()), "{y:?}");
    }
}

pub fn softmax_reads_strided_operands_and_takes_none<R: CubeRuntime>(device: &R::Device) {
    let values = make_values(10, 3, 4, DType::F32);
    let transposed = view(upload::<R>(device, &values, &[3, 4], DType::F32), &[4, 3], &[1, 4]);
    let columns: Vec<f64> = (0..12).map(|i| values[i % 3 * 4 + i / 3]).collect();
    let y = softmax(&transposed, SoftmaxForm::Plain, Strategy::Auto).unwrap();
    assert_near(&download(&y), &normalize_exponentials(&columns, 3, SoftmaxForm::Plain), DType::F32, "columns");
    for dims in [[0, 5], [5, 0]] {
        let y = softmax(&upload::<R>(device, &[], &dims, DType::F32), SoftmaxForm::Log, Strategy::Auto).unwrap();
        assert_eq!(y.shape().to_vec(), dims);
        y.client.flush().unwrap();
    }
}

fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::GeluErf => 0.5 * x * libm::erfc(-x / core::f64::consts::SQRT_2),
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

pub fn activations_match_f64<R: CubeRuntime>(device: &R::Device) {
    for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
        for dtype in list_dtypes::<R>(device) {
            // Odd counts take vectors of one; the last is more than a pass of all cubes on a device of a few
            // multiprocessors.
            for (count, gated) in [(1, false), (1027, true), (4100, false), (4100, true), (1 << 18, false)] {
                let x: Vec<f64> = make_noise(11, count).iter().map(|v| 9.0 * v).collect();
                let (x, up) = (round(&x, dtype), round(&make_noise(12, count), dtype));
                let y = upload_poison::<R>(device, &[count], dtype);
                let [x_tensor, up_tensor] = [&x, &up].map(|values| upload::<R>(device, values, &[count], dtype));
                activation::launch(&x_tensor, gated.then_some(&up_tensor), &y, activation).unwrap();
                let expected: Vec<f64> =
                    (0..count).map(|i| activate(x[i], activation) * if gated { up[i] } else { 1.0 }).collect();
                let what = format!("{activation:?} of {count} {dtype:?}, gated {gated}");
                assert_near(&download_guarded(&y), &expected, dtype, &what);
            }
        }
    }
}

pub fn activations_take_extremes_and_nothing<R: CubeRuntime>(device: &R::Device) {
    for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
        let x = [0.0, 1e30, -1e30, 100.0, -100.0, f64::INFINITY, f64::NAN];
        let x = upload::<R>(device, &x, &[7], DType::F32);
        let y = download(&burn_kiln_fusion::cube::activate(&x, None, activation).unwrap());
        assert_eq!(y[..2], [0.0, f64::from(1e30f32)], "{activation:?}");
        assert_eq!(y[2].abs(), 0.0, "{activation:?}");
        assert_eq!(y[3..6], [100.0, y[4], f64::INFINITY], "{activation:?}");
        assert!(y[4].abs() < 1e-30 && y[6].is_nan(), "{activation:?}: {y:?}");
        let none = upload::<R>(device, &[], &[0, 3], DType::F32);
        let y = burn_kiln_fusion::cube::activate(&none, Some(&none), activation).unwrap();
        y.client.flush().unwrap();
    }
}

pub fn invalid_calls_say_so<R: CubeRuntime>(device: &R::Device) {
    let make = |dims: &[usize], dtype| upload::<R>(device, &vec![1.0; dims.iter().product()], dims, dtype);
    let (x, other, ints) = (make(&[2, 3], DType::F32), make(&[3, 2], DType::F32), make(&[2, 3], DType::I32));
    let gamma = make(&[3], DType::F32);
    let invalid = |result: Result<(), CubeError>| assert!(matches!(result, Err(CubeError::InvalidShapes { .. })));
    invalid(layer_norm(&x, &gamma, Some(&make(&[2], DType::F32)), EPSILON, Strategy::Auto).map(drop));
    invalid(add_norm(&x, &other, &gamma, EPSILON, Strategy::Auto).map(drop));
    invalid(softmax::launch(&x, &other, SoftmaxForm::Plain, Strategy::Auto));
    invalid(activation::launch(&x, Some(&other), &x, Activation::Silu));
    let error = softmax(&ints, SoftmaxForm::Plain, Strategy::Auto).unwrap_err();
    assert!(matches!(error, CubeError::InvalidDtype { found: DType::I32, .. }), "{error}");
}
