//! Numbers of the CubeCL kernels on a Vulkan device, against f64. A software driver (Mesa's lavapipe) will do: it is an
//! independent compiler with planes of 8, so a kernel that assumes warps of 32 fails here.

use burn_backend::{TensorMetadata, bf16, f16};
use burn_cubecl::tensor::CubeTensor;
use burn_kiln_fusion::cube::{
    CubeError, Reduction, RmsNormOptions, RmsNormOutput, Unavailable, rms_norm,
    rms_norm::{Strategy, launch},
};
use burn_std::{DType, Metadata, Shape};
use cubecl::{
    Runtime,
    features::TypeUsage,
    wgpu::{WgpuDevice, WgpuRuntime},
};
use std::{io::Write, panic::catch_unwind, sync::OnceLock};

type Tensor = CubeTensor<WgpuRuntime>;

const EPSILON: f64 = 1e-6;
/// Bytes behind each output that a kernel must leave alone.
const GUARD: usize = 256;

/// Runs `test` on the device; without one it is skipped, or fails where `KILN_REQUIRE_GPU=1`.
fn with_device(test: impl FnOnce(&WgpuDevice)) {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let device = WgpuDevice::DefaultDevice;
    if *FOUND.get_or_init(|| catch_unwind(|| drop(WgpuRuntime::client(&WgpuDevice::DefaultDevice))).is_ok()) {
        return test(&device);
    }
    let missing = "no Vulkan adapter: install a driver, such as mesa-vulkan-drivers with libvulkan1";
    assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
    // Not `eprintln`, which the test harness would swallow.
    writeln!(std::io::stderr(), "skipped: {missing}").unwrap();
}

fn encode(values: &[f64], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|&v| f16::from_f64(v).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|&v| bf16::from_f64(v).to_le_bytes()).collect(),
        DType::I32 => values.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect(),
        other => panic!("no test stores {other:?}"),
    }
}

fn decode(bytes: &[u8], dtype: DType) -> Vec<f64> {
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        DType::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect(),
        DType::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f64()).collect(),
        DType::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f64()).collect(),
        other => panic!("no test stores {other:?}"),
    }
}

fn upload(device: &WgpuDevice, values: &[f64], dims: &[usize], dtype: DType) -> Tensor {
    let client = WgpuRuntime::client(device);
    let handle = client.create_from_slice(&encode(values, dtype));
    CubeTensor::new_contiguous(client, device.clone(), Shape::from(dims.to_vec()), handle, dtype)
}

/// A tensor full of NaN (0xFF bytes are one in every float type), with more of them behind it.
fn upload_poison(device: &WgpuDevice, dims: &[usize], dtype: DType) -> Tensor {
    let client = WgpuRuntime::client(device);
    let bytes = dims.iter().product::<usize>() * dtype.size() + GUARD;
    let handle = client.create_from_slice(&vec![0xFF; bytes]).offset_end(GUARD as u64);
    CubeTensor::new_contiguous(client, device.clone(), Shape::from(dims.to_vec()), handle, dtype)
}

/// The values, after a flush that reports launches which failed silently.
fn download(tensor: &Tensor) -> Vec<f64> {
    tensor.client.flush().unwrap();
    decode(&tensor.client.read_one(tensor.handle.clone()).unwrap(), tensor.dtype)
}

/// The values of a tensor that was poison; what lies behind it must still be.
fn download_guarded(tensor: &Tensor) -> Vec<f64> {
    let values = download(tensor);
    let mut handle = tensor.handle.clone();
    handle.offset_end = handle.offset_end.map(|offset| offset - GUARD as u64);
    let bytes = tensor.client.read_one(handle).unwrap();
    let guard = &bytes[values.len() * tensor.dtype.size()..];
    assert!(guard.len() == GUARD && guard.iter().all(|&byte| byte == 0xFF), "written past the end");
    values
}

/// Rows of very different sizes; as the storage type holds them.
fn make_values(seed: u64, rows: usize, d: usize, dtype: DType) -> Vec<f64> {
    let mut state = seed;
    // Knuth's MMIX generator; its high bits are good enough here.
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / 2f64.powi(31)
    };
    let values: Vec<f64> = (0..rows * d).map(|i| (4.0 * draw() - 2.0) * [1.0, 1e-2, 30.0][i / d % 3]).collect();
    decode(&encode(&values, dtype), dtype)
}

/// `(y, rstd)` in f64.
fn compute_reference(x: &[f64], gamma: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let d = gamma.len();
    let rstd: Vec<f64> =
        x.chunks(d).map(|row| 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / d as f64 + EPSILON).sqrt()).collect();
    let y = x.iter().enumerate().map(|(i, v)| v * rstd[i / d] * gamma[i % d]).collect();
    (y, rstd)
}

/// What f32 arithmetic and rounding to `dtype` may add to `expected`. In units of 2^-24: a chain of at most 17 + 32 + 4 sums
/// of positive terms, mean and epsilon give 57, of which the root halves the relative error; its own 4 (2 ulp), two products.
/// A chain of n random roundings errs by about √n: 16 is half of that worst case and four times what is expected.
fn tolerate(expected: f64, dtype: DType) -> f64 {
    let arithmetic = 16.0 * 2f64.powi(-24);
    let (relative, tiny) = match dtype {
        DType::F16 => (2f64.powi(-11), 2f64.powi(-24)),
        DType::BF16 => (2f64.powi(-8), 2f64.powi(-133)),
        _ => (0.0, f64::from(f32::MIN_POSITIVE)),
    };
    expected.abs() * (arithmetic + relative) + tiny
}

fn assert_close(actual: &[f64], expected: &[f64], dtype: DType, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let tolerance = tolerate(e, dtype);
        assert!((a - e).abs() <= tolerance, "{what}: element {i} is {a}, not {e} within {tolerance:e}");
    }
}

/// Runs the kernel into poisoned outputs and compares both.
fn check(device: &WgpuDevice, (rows, d): (usize, usize), (x_dtype, gamma_dtype): (DType, DType), strategy: Strategy) {
    let what = format!("[{rows}, {d}] {x_dtype:?} x {gamma_dtype:?} {strategy:?}");
    let x = make_values(7, rows, d, x_dtype);
    let gamma = make_values(8, 1, d, gamma_dtype);
    let output = RmsNormOutput {
        y: upload_poison(device, &[rows, d], x_dtype),
        rstd: Some(upload_poison(device, &[rows, 1], DType::F32)),
    };
    let x_tensor = upload(device, &x, &[rows, d], x_dtype);
    let gamma_tensor = upload(device, &gamma, &[d], gamma_dtype);
    launch(&x_tensor, &gamma_tensor, &output, EPSILON, strategy).unwrap();
    let (y, rstd) = compute_reference(&x, &gamma);
    assert_close(&download_guarded(&output.y), &y, x_dtype, &what);
    assert_close(&download_guarded(output.rstd.as_ref().unwrap()), &rstd, DType::F32, &what);
}

/// The strategies that the device can run. CubeCL hides the planes of CPU drivers; they are there all the same.
fn list_strategies(device: &WgpuDevice) -> Vec<Strategy> {
    let client = WgpuRuntime::client(device);
    let hardware = &client.properties().hardware;
    let mut strategies = vec![Strategy::Auto, Strategy::Reduce(Reduction::SharedMemory)];
    if hardware.plane_size_min == hardware.plane_size_max {
        strategies.push(Strategy::Reduce(Reduction::Planes { size: hardware.plane_size_min }));
    }
    strategies
}

#[test]
fn rms_norm_matches_f64_at_every_size() {
    with_device(|device| {
        for strategy in list_strategies(device) {
            for d in [1, 3, 32, 33, 128, 1000, 2048, 4099] {
                check(device, (5, d), (DType::F32, DType::F32), strategy);
            }
        }
    });
}

#[test]
fn rms_norm_stores_half_precision_and_computes_in_f32() {
    with_device(|device| {
        let client = WgpuRuntime::client(device);
        for dtype in [DType::F16, DType::BF16] {
            let stored =
                client.properties().type_usage(dtype.into()).is_superset(TypeUsage::Buffer | TypeUsage::Conversion);
            if stored {
                for (rows, d) in [(5, 1), (3, 33), (4, 128), (2, 2048), (3, 4099)] {
                    for strategy in list_strategies(device) {
                        check(device, (rows, d), (dtype, dtype), strategy);
                    }
                    check(device, (rows, d), (dtype, DType::F32), Strategy::Auto);
                    check(device, (rows, d), (DType::F32, dtype), Strategy::Auto);
                }
            } else {
                let (x, gamma) =
                    (upload(device, &[1.0; 6], &[2, 3], dtype), upload(device, &[1.0; 3], &[3], DType::F32));
                let error = rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap_err();
                let reason = Unavailable::Storage(dtype);
                let shapes = vec![vec![2, 3], vec![3]];
                assert_eq!(error, CubeError::Unavailable { kernel: "rms_norm", reason, shapes });
                eprintln!("{dtype:?}: {error}");
            }
        }
    });
}

#[test]
fn rms_norm_covers_more_rows_than_one_dimension_of_cubes() {
    with_device(|device| check(device, (70_001, 3), (DType::F32, DType::F32), Strategy::Auto));
}

#[test]
fn rms_norm_reads_strided_operands_and_keeps_leading_dimensions() {
    with_device(|device| {
        let (rows, d) = (4, 6);
        let values = make_values(9, rows, d, DType::F32);
        let mut transposed = vec![0.0; rows * d];
        for (i, &v) in values.iter().enumerate() {
            transposed[i % d * rows + i / d] = v;
        }
        let mut x = upload(device, &transposed, &[2, 2, d], DType::F32);
        x.meta = Box::new(Metadata::new(Shape::from(vec![2, 2, d]), burn_std::strides![2, 1, rows]));
        let gamma = upload(device, &[0.5; 6], &[d], DType::F32);
        let output = rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON).with_rstd()).unwrap();
        let (y, rstd) = compute_reference(&values, &[0.5; 6]);
        assert_eq!(output.y.shape().to_vec(), [2, 2, d]);
        assert_close(&download(&output.y), &y, DType::F32, "strided y");
        let kept = output.rstd.unwrap();
        assert_eq!(kept.shape().to_vec(), [2, 2, 1]);
        assert_close(&download(&kept), &rstd, DType::F32, "strided rstd");
    });
}

#[test]
fn rms_norm_reads_padded_rows_in_place() {
    with_device(|device| {
        // Rows 12 apart allow vectors of four, rows 9 apart do not; what lies between must not count.
        for pitch in [12, 9] {
            let values = make_values(10, 6, pitch, DType::F32);
            let mut x = upload(device, &values, &[6, pitch], DType::F32);
            x.meta = Box::new(Metadata::new(Shape::from(vec![2, 3, 8]), burn_std::strides![3 * pitch, pitch, 1]));
            let gamma = make_values(11, 1, 8, DType::F32);
            let rows: Vec<f64> = values.chunks(pitch).flat_map(|row| row[..8].to_vec()).collect();
            let y = rms_norm(&x, &upload(device, &gamma, &[8], DType::F32), RmsNormOptions::new(EPSILON)).unwrap().y;
            assert_close(&download(&y), &compute_reference(&rows, &gamma).0, DType::F32, "padded rows");
        }
    });
}

#[test]
fn rms_norm_handles_rows_of_zeros_and_of_nan_apart() {
    with_device(|device| {
        let x = [[0.0; 5], [1.0, f64::NAN, 1.0, 1.0, 1.0], [3.0; 5]].concat();
        let (x, gamma) = (upload(device, &x, &[3, 5], DType::F32), upload(device, &[2.0; 5], &[5], DType::F32));
        let y = download(&rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap().y);
        assert_eq!(y[..5], [0.0; 5]);
        assert!(y[5..10].iter().all(|v| v.is_nan()));
        assert_close(&y[10..], &compute_reference(&[3.0; 5], &[2.0; 5]).0, DType::F32, "row of threes");
    });
}

#[test]
fn rms_norm_of_no_rows_is_empty() {
    with_device(|device| {
        let (x, gamma) = (upload(device, &[], &[0, 5], DType::F32), upload(device, &[2.0; 5], &[5], DType::F32));
        let output = rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap();
        assert_eq!(output.y.shape().to_vec(), [0, 5]);
        output.y.client.flush().unwrap();
    });
}

#[test]
fn invalid_calls_say_so_with_their_shapes() {
    with_device(|device| {
        let call = |x_dims: &[usize], gamma_dims: &[usize], dtype| {
            let fill = |dims: &[usize]| vec![1.0; dims.iter().product()];
            let x = upload(device, &fill(x_dims), x_dims, dtype);
            let gamma = upload(device, &fill(gamma_dims), gamma_dims, DType::F32);
            rms_norm(&x, &gamma, RmsNormOptions::new(EPSILON)).unwrap_err()
        };
        let error = call(&[2, 3], &[4], DType::F32);
        assert!(
            matches!(&error, CubeError::InvalidShapes { shapes, .. } if *shapes == [vec![2, 3], vec![4]]),
            "{error}"
        );
        assert!(error.to_string().contains("[[2, 3], [4]]"), "{error}");
        assert!(matches!(call(&[2, 0], &[0], DType::F32), CubeError::InvalidShapes { .. }));
        assert!(matches!(call(&[2, 3], &[1, 3], DType::F32), CubeError::InvalidShapes { .. }));
        assert!(matches!(call(&[2, 3], &[3], DType::I32), CubeError::InvalidDtype { found: DType::I32, .. }));

        let (x, gamma) = (upload(device, &[1.0; 6], &[2, 3], DType::F32), upload(device, &[1.0; 3], &[3], DType::F32));
        let output = RmsNormOutput { y: upload_poison(device, &[3, 2], DType::F32), rstd: None };
        let error = launch(&x, &gamma, &output, EPSILON, Strategy::Auto).unwrap_err();
        assert!(matches!(error, CubeError::InvalidShapes { .. }), "{error}");
        assert!(download_guarded(&output.y).iter().all(|v| v.is_nan()));
    });
}

#[test]
fn planes_of_another_length_are_unavailable() {
    with_device(|device| {
        let (x, gamma) = (upload(device, &[1.0; 6], &[2, 3], DType::F32), upload(device, &[1.0; 3], &[3], DType::F32));
        let options = RmsNormOptions::new(EPSILON).with_strategy(Strategy::Reduce(Reduction::Planes { size: 2 }));
        let error = rms_norm(&x, &gamma, options).unwrap_err();
        let expected =
            matches!(error, CubeError::Unavailable { reason: Unavailable::PlaneSize { expected: 2, .. }, .. });
        assert!(expected, "{error}");
    });
}
