//! RMS norm against f64, on any runtime.

use crate::cube_device::{assert_close, download, download_guarded, make_values, stores, upload, upload_poison, view};
use burn_backend::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::cube::{
    CubeError, Reduction, RmsNormOptions, RmsNormOutput, Unavailable, rms_norm,
    rms_norm::{Strategy, launch},
};
use burn_std::DType;

const EPSILON: f64 = 1e-6;

/// `(y, rstd)` in f64.
fn compute_reference(x: &[f64], gamma: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let d = gamma.len();
    let rstd: Vec<f64> =
        x.chunks(d).map(|row| 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / d as f64 + EPSILON).sqrt()).collect();
    let y = x.iter().enumerate().map(|(i, v)| v * rstd[i / d] * gamma[i % d]).collect();
    (y, rstd)
}

/// Runs the kernel into poisoned outputs and compares both.
fn check<R: CubeRuntime>(
    device: &R::Device,
    (rows, d): (usize, usize),
    (x_dtype, gamma_dtype): (DType, DType),
    strategy: Strategy,
) {
    let what = format!("[{rows}, {d}] {x_dtype:?} x {gamma_dtype:?} {strategy:?}");
    let x = make_values(7, rows, d, x_dtype);
    let gamma = make_values(8, 1, d, gamma_dtype);
    let output = RmsNormOutput {
        y: upload_poison::<R>(device, &[rows, d], x_dtype),
        rstd: Some(upload_poison::<R>(device, &[rows, 1], DType::F32)),
    };
    let x_tensor = upload::<R>(device, &x, &[rows, d], x_dtype);
    let gamma_tensor = upload::<R>(device, &gamma, &[d], gamma_dtype);
    launch(&x_tensor, &gamma_tensor, &output, EPSILON, strategy).unwrap();
    let (y, rstd) = compute_reference(&x, &gamma);
    assert_close(&download_guarded(&output.y), &y, x_dtype, &what);
    assert_close(&download_guarded(output.rstd.as_ref().unwrap()), &rstd, DType::F32, &what);
}

/// The strategies that the device can run. CubeCL hides the planes of CPU drivers; they are there all the same.
fn list_strategies<R: CubeRuntime>(device: &R::Device) -> Vec<Strategy> {
    let client = R::client(device);
    let hardware = &client.properties().hardware;
    let mut strategies = vec![Strategy::Auto, Strategy::Reduce(Reduction::SharedMemory)];
    if hardware.plane_size_min == hardware.plane_size_max {
        strategies.push(Strategy::Reduce(Reduction::Planes { size: hardware.plane_size_min }));
    }
    strategies
}

pub fn matches_f64_at_every_size<R: CubeRuntime>(device: &R::Device) {
    for strategy in list_strategies::<R>(device) {
        for d in [1, 3, 32, 33, 128, 1000, 2048, 4099] {
            check::<R>(device, (5, d), (DType::F32, DType::F32), strategy);
        }
    }
}

pub fn stores_half_precision_and_computes_in_f32<R: CubeRuntime>(device: &R::Device) {
    for dtype in [DType::F16, DType::BF16] {
        if stores::<R>(device, dtype) {
            for (rows, d) in [(5, 1), (3, 33), (4, 128), (2, 2048), (3, 4099)] {
                for strategy in list_strategies::<R>(device) {
                    check::<R>(device, (rows, d), (dtype, dtype), strategy);
                }
                check::<R>(device, (rows, d), (dtype, DType::F32), Strategy::Auto);
                check::<R>(device, (rows, d), (DType::F32, dtype), Strategy::Auto);
            }
        } else {
            let (x, gamma) =
                (upload::<R>(device, &[1.0; 6], &[2, 3], dtype), upload::<R>(device, &[1.0; 3], &[3], DType::F32));
            let error = rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap_err();
            let reason = Unavailable::Storage(dtype);
            let shapes = vec![vec![2, 3], vec![3]];
            assert_eq!(error, CubeError::Unavailable { kernel: "rms_norm", reason, shapes });
            eprintln!("{dtype:?}: {error}");
        }
    }
}

pub fn covers_more_rows_than_one_dimension_of_cubes<R: CubeRuntime>(device: &R::Device) {
    check::<R>(device, (70_001, 3), (DType::F32, DType::F32), Strategy::Auto);
}

pub fn reads_strided_operands_and_keeps_leading_dimensions<R: CubeRuntime>(device: &R::Device) {
    let (rows, d) = (4, 6);
    let values = make_values(9, rows, d, DType::F32);
    let mut transposed = vec![0.0; rows * d];
    for (i, &v) in values.iter().enumerate() {
        transposed[i % d * rows + i / d] = v;
    }
    let x = view(upload::<R>(device, &transposed, &[2, 2, d], DType::F32), &[2, 2, d], &[2, 1, rows]);
    let gamma = upload::<R>(device, &[0.5; 6], &[d], DType::F32);
    let output = rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON).with_rstd()).unwrap();
    let (y, rstd) = compute_reference(&values, &[0.5; 6]);
    assert_eq!(output.y.shape().to_vec(), [2, 2, d]);
    assert_close(&download(&output.y), &y, DType::F32, "strided y");
    let kept = output.rstd.unwrap();
    assert_eq!(kept.shape().to_vec(), [2, 2, 1]);
    assert_close(&download(&kept), &rstd, DType::F32, "strided rstd");
}

pub fn reads_padded_rows_in_place<R: CubeRuntime>(device: &R::Device) {
    // Rows 12 apart allow vectors of four, rows 9 apart do not; what lies between must not count.
    for pitch in [12, 9] {
        let values = make_values(10, 6, pitch, DType::F32);
        let x = upload::<R>(device, &values, &[6, pitch], DType::F32);
        let x = view(x, &[2, 3, 8], &[3 * pitch, pitch, 1]);
        let gamma = make_values(11, 1, 8, DType::F32);
        let rows: Vec<f64> = values.chunks(pitch).flat_map(|row| row[..8].to_vec()).collect();
        let y = rms_norm(&x, &upload::<R>(device, &gamma, &[8], DType::F32), RmsNormOptions::new(EPSILON)).unwrap().y;
        assert_close(&download(&y), &compute_reference(&rows, &gamma).0, DType::F32, "padded rows");
    }
}

pub fn handles_rows_of_zeros_and_of_nan_apart<R: CubeRuntime>(device: &R::Device) {
    let x = [[0.0; 5], [1.0, f64::NAN, 1.0, 1.0, 1.0], [3.0; 5]].concat();
    let (x, gamma) = (upload::<R>(device, &x, &[3, 5], DType::F32), upload::<R>(device, &[2.0; 5], &[5], DType::F32));
    let y = download(&rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap().y);
    assert_eq!(y[..5], [0.0; 5]);
    assert!(y[5..10].iter().all(|v| v.is_nan()));
    assert_close(&y[10..], &compute_reference(&[3.0; 5], &[2.0; 5]).0, DType::F32, "row of threes");
}

pub fn of_no_rows_is_empty<R: CubeRuntime>(device: &R::Device) {
    let (x, gamma) = (upload::<R>(device, &[], &[0, 5], DType::F32), upload::<R>(device, &[2.0; 5], &[5], DType::F32));
    let output = rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap();
    assert_eq!(output.y.shape().to_vec(), [0, 5]);
    output.y.client.flush().unwrap();
}

pub fn invalid_calls_say_so_with_their_shapes<R: CubeRuntime>(device: &R::Device) {
    let call = |x_dims: &[usize], gamma_dims: &[usize], dtype| {
        let fill = |dims: &[usize]| vec![1.0; dims.iter().product()];
        let x = upload::<R>(device, &fill(x_dims), x_dims, dtype);
        let gamma = upload::<R>(device, &fill(gamma_dims), gamma_dims, DType::F32);
        rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap_err()
    };
    let error = call(&[2, 3], &[4], DType::F32);
    assert!(matches!(&error, CubeError::InvalidShapes { shapes, .. } if *shapes == [vec![2, 3], vec![4]]), "{error}");
    assert!(error.to_string().contains("[[2, 3], [4]]"), "{error}");
    assert!(matches!(call(&[2, 0], &[0], DType::F32), CubeError::InvalidShapes { .. }));
    assert!(matches!(call(&[2, 3], &[1, 3], DType::F32), CubeError::InvalidShapes { .. }));
    assert!(matches!(call(&[2, 3], &[3], DType::I32), CubeError::InvalidDtype { found: DType::I32, .. }));

    let (x, gamma) =
        (upload::<R>(device, &[1.0; 6], &[2, 3], DType::F32), upload::<R>(device, &[1.0; 3], &[3], DType::F32));
    let output = RmsNormOutput { y: upload_poison::<R>(device, &[3, 2], DType::F32), rstd: None };
    let error = launch(&x, &gamma, &output, EPSILON, Strategy::Auto).unwrap_err();
    assert!(matches!(error, CubeError::InvalidShapes { .. }), "{error}");
    assert!(download_guarded(&output.y).iter().all(|v| v.is_nan()));
}

pub fn planes_of_another_length_are_unavailable<R: CubeRuntime>(device: &R::Device) {
    let (x, gamma) =
        (upload::<R>(device, &[1.0; 6], &[2, 3], DType::F32), upload::<R>(device, &[1.0; 3], &[3], DType::F32));
    let options = RmsNormOptions::new(EPSILON).with_strategy(Strategy::Reduce(Reduction::Planes { size: 2 }));
    let error = rms_norm(&x, &gamma, options).unwrap_err();
    let expected = matches!(error, CubeError::Unavailable { reason: Unavailable::PlaneSize { expected: 2, .. }, .. });
    assert!(expected, "{error}");
}
