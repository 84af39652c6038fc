//! What the tests of the CubeCL kernels share, for any CubeCL runtime: tensors up to the device and back, and how far
//! numbers may be off.

#![allow(dead_code, unused_macros, unused_imports)] // each test file uses its part

use burn_backend::{bf16, f16};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::cube::cuda_text::{Sm61, check_host};
use burn_std::{DType, Metadata, Shape, Strides};
use cubecl::{
    Runtime,
    features::TypeUsage,
    wgpu::{WgpuDevice, WgpuRuntime},
};
use std::{
    io::Write,
    panic::catch_unwind,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Bytes behind each output that a kernel must leave alone.
const GUARD: usize = 256;

/// Runs `test` on a Vulkan device; without one it is skipped, or fails where `KILN_REQUIRE_GPU=1`.
pub fn with_vulkan(test: impl FnOnce(&WgpuDevice)) {
    static FOUND: OnceLock<bool> = OnceLock::new();
    if *FOUND.get_or_init(|| catch_unwind(|| drop(WgpuRuntime::client(&WgpuDevice::DefaultDevice))).is_ok()) {
        return test(&WgpuDevice::DefaultDevice);
    }
    skip("no Vulkan adapter: install a driver, such as mesa-vulkan-drivers with libvulkan1");
}

/// Runs `test` with the CUDA text of its kernels on the CPU; skipped, or a failure, as above where that cannot be.
pub fn with_cuda_text(test: impl FnOnce(&Sm61)) {
    match check_host() {
        Ok(()) => {
            // Tests side by side share two devices, each with a thread that compiles and runs.
            static NEXT: AtomicU16 = AtomicU16::new(0);
            test(&Sm61::Runs(NEXT.fetch_add(1, Ordering::Relaxed) % 2))
        }
        Err(missing) => skip(&missing.to_string()),
    }
}

/// [`with_cuda_text`] on a card whose conversions to bf16 cut off.
pub fn with_bf16_cut_off(test: impl FnOnce(&Sm61)) {
    with_cuda_text(|_| test(&Sm61::CutsOff));
}

/// Says why a test does not run; fails where `KILN_REQUIRE_GPU=1`.
pub fn skip(missing: &str) {
    assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
    // Not `eprintln`, which the test harness would swallow.
    std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
}

/// Tests for each check named, on Vulkan and as CUDA text, in modules named like that of the checks. Those named behind
/// `bf16` run as CUDA text on a card that cuts off what bf16 cannot hold, too.
macro_rules! test_on_devices {
    ($checks:ident: $($check:ident),* $(,)? $(; bf16: $($cut:ident),* $(,)?)?) => {
        mod $checks {
            mod vulkan {
                $(#[test]
                fn $check() {
                    crate::cube_device::with_vulkan(crate::cube_checks::$checks::$check::<cubecl::wgpu::WgpuRuntime>);
                })*
            }
            mod cuda_text {
                $(#[test]
                fn $check() {
                    type Runtime = burn_kiln_fusion::cube::cuda_text::OfflineCuda;
                    crate::cube_device::with_cuda_text(crate::cube_checks::$checks::$check::<Runtime>);
                })*
            }
            $(mod bf16_cut_off {
                $(#[test]
                fn $cut() {
                    type Runtime = burn_kiln_fusion::cube::cuda_text::OfflineCuda;
                    crate::cube_device::with_bf16_cut_off(crate::cube_checks::$checks::$cut::<Runtime>);
                })*
            })?
        }
    };
}
pub(crate) use test_on_devices;

/// [`test_on_devices`] without the CUDA text, for a check that is too large for it.
macro_rules! test_on_vulkan {
    ($checks:ident: $($check:ident),* $(,)?) => {
        mod $checks {
            $(#[test]
            fn $check() {
                crate::cube_device::with_vulkan(crate::cube_checks::$checks::$check::<cubecl::wgpu::WgpuRuntime>);
            })*
        }
    };
}
pub(crate) use test_on_vulkan;

/// Whether the device stores `dtype` and converts it.
pub fn stores<R: CubeRuntime>(device: &R::Device, dtype: DType) -> bool {
    let client = R::client(device);
    client.properties().type_usage(dtype.into()).is_superset(TypeUsage::Buffer | TypeUsage::Conversion)
}

pub fn encode(values: &[f64], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|&v| f16::from_f64(v).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|&v| bf16::from_f64(v).to_le_bytes()).collect(),
        DType::I32 => values.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect(),
        DType::U32 => values.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
        other => panic!("no test stores {other:?}"),
    }
}

pub fn decode(bytes: &[u8], dtype: DType) -> Vec<f64> {
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        DType::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect(),
        DType::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f64()).collect(),
        DType::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f64()).collect(),
        DType::I32 => bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect(),
        other => panic!("no test stores {other:?}"),
    }
}

/// The values as `dtype` holds them.
pub fn round(values: &[f64], dtype: DType) -> Vec<f64> {
    decode(&encode(values, dtype), dtype)
}

pub fn upload<R: CubeRuntime>(device: &R::Device, values: &[f64], dims: &[usize], dtype: DType) -> CubeTensor<R> {
    let client = R::client(device);
    let handle = client.create_from_slice(&encode(values, dtype));
    CubeTensor::new_contiguous(client, device.clone(), Shape::from(dims.to_vec()), handle, dtype)
}

/// A tensor full of NaN (0xFF bytes are one in every float type), with more of them behind it.
pub fn upload_poison<R: CubeRuntime>(device: &R::Device, dims: &[usize], dtype: DType) -> CubeTensor<R> {
    let client = R::client(device);
    let bytes = dims.iter().product::<usize>() * dtype.size() + GUARD;
    let handle = client.create_from_slice(&vec![0xFF; bytes]).offset_end(GUARD as u64);
    CubeTensor::new_contiguous(client, device.clone(), Shape::from(dims.to_vec()), handle, dtype)
}

/// The same buffer, seen with other dimensions and strides.
pub fn view<R: CubeRuntime>(mut tensor: CubeTensor<R>, dims: &[usize], strides: &[usize]) -> CubeTensor<R> {
    *tensor.meta = Metadata::new(Shape::from(dims.to_vec()), Strides::new(strides));
    tensor
}

/// The values, after a flush that reports launches which failed silently.
pub fn download<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Vec<f64> {
    tensor.client.flush().unwrap();
    decode(&tensor.client.read_one(tensor.handle.clone()).unwrap(), tensor.dtype)
}

/// The values of a tensor that was poison; what lies behind it must still be.
pub fn download_guarded<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Vec<f64> {
    let values = download(tensor);
    let mut handle = tensor.handle.clone();
    handle.offset_end = handle.offset_end.map(|offset| offset - GUARD as u64);
    let bytes = tensor.client.read_one(handle).unwrap();
    let guard = &bytes[values.len() * tensor.dtype.size()..];
    assert!(guard.len() == GUARD && guard.iter().all(|&byte| byte == 0xFF), "written past the end");
    values
}

/// Evenly spread numbers between -1 and 1.
pub fn make_noise(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    // Knuth's MMIX generator; its high bits are good enough here.
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / 2f64.powi(31)
    };
    (0..count).map(|_| 2.0 * draw() - 1.0).collect()
}

/// Rows of very different sizes; as the storage type holds them.
pub fn make_values(seed: u64, rows: usize, d: usize, dtype: DType) -> Vec<f64> {
    let noise = make_noise(seed, rows * d);
    let values: Vec<f64> = noise.iter().enumerate().map(|(i, v)| 2.0 * v * [1.0, 1e-2, 30.0][i / d % 3]).collect();
    round(&values, dtype)
}

/// What f32 arithmetic and rounding to `dtype` may add to `expected`. In units of 2^-24: a chain of at most 17 + 32 + 4
/// sums of positive terms, mean and epsilon give 57, of which the root halves the relative error; its own 4 (2 ulp),
/// two products. A chain of n random roundings errs by about √n: 16 is half of that worst case and four times what is
/// expected.
fn tolerate(expected: f64, dtype: DType) -> f64 {
    let arithmetic = 16.0 * 2f64.powi(-24);
    let (relative, tiny) = match dtype {
        DType::F16 => (2f64.powi(-11), 2f64.powi(-24)),
        DType::BF16 => (2f64.powi(-8), 2f64.powi(-133)),
        _ => (0.0, f64::from(f32::MIN_POSITIVE)),
    };
    expected.abs() * (arithmetic + relative) + tiny
}

/// Each element within its own rounding: for results whose terms all have one sign.
pub fn assert_close(actual: &[f64], expected: &[f64], dtype: DType, what: &str) {
    assert_within(actual, expected, what, |e| tolerate(e, dtype));
}

/// Half of the distance between neighbours of `dtype` at `value`: what rounding to nearest may cost. Cutting off costs
/// up to twice as much.
fn half_step(value: f64, dtype: DType) -> f64 {
    // Bits of the mantissa, and the exponent of the smallest normal number.
    let (mantissa, smallest) = match dtype {
        DType::F16 => (10, -14),
        DType::BF16 => (7, -126),
        _ => return 0.0,
    };
    let exponent = if value.is_normal() { value.abs().log2().floor() as i32 } else { smallest };
    2f64.powi(exponent.max(smallest) - mantissa - 1)
}

/// Each element within 1e-5 of the largest expected value, for arithmetic in f32, and its own rounding to `dtype`.
pub fn assert_near(actual: &[f64], expected: &[f64], dtype: DType, what: &str) {
    let largest = expected.iter().copied().filter(|e| e.is_finite()).fold(0.0, |a: f64, e| a.max(e.abs()));
    assert_within(actual, expected, what, |e| 1e-5 * largest + half_step(e, dtype));
}

fn assert_within(actual: &[f64], expected: &[f64], what: &str, tolerate: impl Fn(f64) -> f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let tolerance = tolerate(e);
        let same = a == e || a.is_nan() && e.is_nan() || (a - e).abs() <= tolerance;
        assert!(same, "{what}: element {i} is {a}, not {e} within {tolerance:e}");
    }
}
