//! Products of 8-bit integers against f64, on any runtime.

use crate::cube_device::{assert_near, download, make_values, upload, view};
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::cube::{
    CubeError, Reduction, Strategy,
    int8::{Int8Rows, multiply, quantize},
};
use burn_std::DType;

/// The rows that the words and scales stand for.
fn read_rows<R: CubeRuntime>(rows: &Int8Rows<R>) -> Vec<f64> {
    let (words, scales) = (download(&rows.values), download(&rows.scales));
    let row_words = rows.d.div_ceil(4);
    let mut found = Vec::new();
    for (row, scale) in words.chunks(row_words).zip(scales) {
        let bytes: Vec<i8> = row.iter().flat_map(|&word| (word as i32).to_le_bytes()).map(|byte| byte as i8).collect();
        assert!(bytes[rows.d..].iter().all(|&byte| byte == 0), "rows end in zeros");
        found.extend(bytes[..rows.d].iter().map(|&byte| f64::from(byte) * scale));
    }
    found
}

/// Plane operations where the device has them by itself, and a tree.
const STRATEGIES: [Strategy; 2] = [Strategy::Auto, Strategy::Reduce(Reduction::SharedMemory)];

pub fn rows_are_quantized_to_half_a_scale<R: CubeRuntime>(device: &R::Device) {
    for (rows, d, dtype) in [(3, 64, DType::F32), (4, 37, DType::F32), (1, 2, DType::F16)] {
        let values = make_values(1, rows, d, dtype);
        let x = upload::<R>(device, &values, &[rows, d], dtype);
        for strategy in STRATEGIES {
            let found = read_rows(&quantize(&x, strategy).unwrap());
            for (found, row) in found.chunks(d).zip(values.chunks(d)) {
                let scale = row.iter().fold(0.0, |largest: f64, v| largest.max(v.abs())) / 127.0;
                for (found, value) in found.iter().zip(row) {
                    assert!((found - value).abs() <= 0.5001 * scale, "{found} for {value}, scale {scale}");
                }
            }
        }
    }
    // A row of zeros; rows that lie apart.
    let x = upload::<R>(device, &[0.0, 0.0, 0.0, 9.0, 1.0, -2.0, 4.0, 9.0], &[2, 4], DType::F32);
    let found = read_rows(&quantize(&view(x, &[2, 3], &[4, 1]), Strategy::Auto).unwrap());
    assert_near(&found, &[0.0, 0.0, 0.0, 32.0 * 4.0 / 127.0, -63.0 * 4.0 / 127.0, 4.0], DType::F32, "padded rows");
}

/// The sums are those of the integers: only scales are rounded.
pub fn int8_products_match_f64<R: CubeRuntime>(device: &R::Device) {
    for (rows, k, n) in [(1, 64, 9), (3, 37, 5), (9, 300, 66), (2, 4, 3)] {
        let make = |seed, rows| upload::<R>(device, &make_values(seed, rows, k, DType::F32), &[rows, k], DType::F32);
        let (x, weight) = (make(1, rows), make(2, n));
        for strategy in STRATEGIES {
            let [x, weight] = [&x, &weight].map(|side| quantize(side, strategy).unwrap());
            let y = multiply(&x, &weight, strategy).unwrap();
            let (left, right) = (read_rows(&x), read_rows(&weight));
            let dot = |at: usize| {
                let (row, column) = (&left[at / n * k..][..k], &right[at % n * k..][..k]);
                row.iter().zip(column).map(|(a, b)| a * b).sum::<f64>()
            };
            let expected: Vec<f64> = (0..rows * n).map(dot).collect();
            // Relative to the largest: rows differ in size.
            assert_near(&download(&y), &expected, DType::F32, &format!("[{rows}, {k}] to {n}, {strategy:?}"));
        }
    }
    let make = |dims: [usize; 2]| {
        let values = vec![1.0; dims[0] * dims[1]];
        quantize(&upload::<R>(device, &values, &dims, DType::F32), Strategy::Auto).unwrap()
    };
    let error = multiply(&make([2, 5]), &make([2, 6]), Strategy::Auto).unwrap_err();
    assert!(matches!(error, CubeError::InvalidShapes { .. }), "{error}");
    let ints = upload::<R>(device, &[1.0; 4], &[2, 2], DType::I32);
    assert!(matches!(quantize(&ints, Strategy::Auto), Err(CubeError::InvalidDtype { .. })));
}
