//! Rounding to what buffers store, bit for bit against the `half` crate, on any runtime.

use crate::cube_device::stores;
use burn_backend::{bf16, f16};
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::cube::store::{round_scalar, round_store, round_to_bf16};
use burn_std::DType;
use cubecl::prelude::*;

#[cube(launch)]
fn round_vectors<N: Size>(x: &Array<Vector<f32, N>>, y: &mut Array<Vector<f32, N>>) {
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = round_to_bf16::<N>(x[ABSOLUTE_POS]);
    }
}

#[cube(launch)]
fn store_vectors<X: Float, N: Size>(
    x: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<X, N>>,
    #[define(X)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = round_store::<X, N>(x[ABSOLUTE_POS]);
    }
}

#[cube(launch)]
fn store_scalars<X: Float>(x: &Array<f32>, y: &mut Array<X>, #[define(X)] _dtype: StorageType) {
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = round_scalar::<X>(x[ABSOLUTE_POS]);
    }
}

/// Every sign, exponent and upper mantissa with lower halves that are exact, tied, and next to those, for bf16 (a tie
/// is 0x8000) and for f16 (0x1000): so all bf16s and what lies between them, subnormals, infinities, the largest finite
/// number, and NaN with payloads in either half, 0x7F800001 and 0x7FFFFFFF among them.
fn list_bits() -> Vec<u32> {
    let lower = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF];
    (0..1 << 16).flat_map(|upper: u32| lower.map(|lower| upper << 16 | lower)).collect()
}

const UNITS: u32 = 256;

/// What `launch` writes for [`list_bits`]: `bytes` an element, `vector` elements a unit.
fn run<R: CubeRuntime>(
    device: &R::Device,
    vector: usize,
    bytes: usize,
    launch: impl FnOnce(&ComputeClient<R>, CubeCount, CubeDim, ArrayArg<R>, ArrayArg<R>),
) -> Vec<u8> {
    let client = R::client(device);
    let bits = list_bits();
    let x = client.create_from_slice(u32::as_bytes(&bits));
    let y = client.create_from_slice(&vec![0x55; bits.len() * bytes]);
    let vectors = bits.len() / vector;
    let cubes = CubeCount::Static(vectors.div_ceil(UNITS as usize) as u32, 1, 1);
    // SAFETY: both were made with room for `bits.len()` elements.
    let [x, to] = [&x, &y].map(|handle| unsafe { ArrayArg::from_raw_parts(handle.clone(), bits.len()) });
    launch(&client, cubes, CubeDim::new_1d(UNITS), x, to);
    client.flush().unwrap();
    client.read_one(y).unwrap().to_vec()
}

fn read_words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn read_halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
}

pub fn rounded_f32s_are_the_bf16s_of_half<R: CubeRuntime>(device: &R::Device) {
    for vector in [1, 2, 4] {
        let rounded = run::<R>(device, vector, 4, |client, cubes, units, x, y| {
            round_vectors::launch::<R>(client, cubes, units, vector, x, y);
        });
        for (bits, found) in list_bits().into_iter().zip(read_words(&rounded)) {
            let expected = bf16::from_f32(f32::from_bits(bits)).to_f32();
            let same = found == expected.to_bits() || expected.is_nan() && f32::from_bits(found).is_nan();
            assert!(same && found & 0xFFFF == 0, "{bits:#010x} became {found:#010x}, not {:#010x}", expected.to_bits());
        }
    }
}

/// All of them, whatever the device's conversion does with what does not fit.
pub fn stored_bf16s_are_those_of_half<R: CubeRuntime>(device: &R::Device) {
    if stores::<R>(device, DType::BF16) {
        check_stored::<R>(device, DType::BF16, |v| bf16::from_f32(v).to_bits(), |bits| bf16::from_bits(bits).is_nan());
    }
}

/// The conversion of the device must round, for the kernels leave f16 to it.
pub fn stored_f16s_are_those_of_half<R: CubeRuntime>(device: &R::Device) {
    if stores::<R>(device, DType::F16) {
        check_stored::<R>(device, DType::F16, |v| f16::from_f32(v).to_bits(), |bits| f16::from_bits(bits).is_nan());
    }
}

fn check_stored<R: CubeRuntime>(device: &R::Device, dtype: DType, narrow: fn(f32) -> u16, is_nan: fn(u16) -> bool) {
    let scalars = run::<R>(device, 1, 2, |client, cubes, units, x, y| {
        store_scalars::launch::<R>(client, cubes, units, x, y, dtype.into());
    });
    let vectors = run::<R>(device, 4, 2, |client, cubes, units, x, y| {
        store_vectors::launch::<R>(client, cubes, units, 4, x, y, dtype.into());
    });
    for stored in [scalars, vectors] {
        for (bits, found) in list_bits().into_iter().zip(read_halves(&stored)) {
            let expected = narrow(f32::from_bits(bits));
            let same = found == expected || is_nan(found) && is_nan(expected);
            assert!(same, "{bits:#010x} was stored as {dtype:?} {found:#06x}, not {expected:#06x}");
        }
    }
}
