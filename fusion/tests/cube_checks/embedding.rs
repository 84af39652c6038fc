//! Rows by id, on any runtime.

use crate::cube_device::{download, download_guarded, make_noise, round, stores, upload, upload_poison, view};
use burn_backend::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::cube::{
    CubeError,
    embedding::{embedding, launch},
};
use burn_std::DType;

/// Rows as the table stores them, with vectors and without; more of them than a cube takes.
pub fn gathers_rows_as_f32<R: CubeRuntime>(device: &R::Device) {
    for dtype in [DType::F32, DType::F16, DType::BF16].into_iter().filter(|&dtype| stores::<R>(device, dtype)) {
        for d in [24, 7] {
            let table = round(&make_noise(1, 5 * d), dtype);
            let ids: Vec<usize> = (0..50).map(|i| i * 3 % 5).collect();
            let numbers: Vec<f64> = ids.iter().map(|&id| id as f64).collect();
            let output = upload_poison::<R>(device, &[2, 25, d], DType::F32);
            let ids_tensor = upload::<R>(device, &numbers, &[2, 25], DType::I32);
            launch(&upload(device, &table, &[5, d], dtype), &ids_tensor, &output).unwrap();
            let expected: Vec<f64> = ids.iter().flat_map(|&id| table[id * d..][..d].to_vec()).collect();
            assert_eq!(download_guarded(&output), expected, "{dtype:?} {d}");
        }
    }
}

pub fn reads_padded_tables_in_place<R: CubeRuntime>(device: &R::Device) {
    let table = make_noise(2, 12 * 3);
    let padded = view(upload::<R>(device, &table, &[3, 12], DType::F32), &[3, 8], &[12, 1]);
    let ids = upload::<R>(device, &[2.0, 0.0], &[2], DType::I32);
    let rows = download(&embedding(&padded, &ids).unwrap());
    let expected = [&table[24..32], &table[..8]].concat();
    assert_eq!(rows, round(&expected, DType::F32));
}

/// An id outside of the table must not read another row.
pub fn rows_of_missing_ids_are_nan<R: CubeRuntime>(device: &R::Device) {
    let table = upload::<R>(device, &[1.0; 12], &[3, 4], DType::F32);
    let ids = upload::<R>(device, &[-1.0, 1.0, 3.0], &[3], DType::I32);
    let rows = download(&embedding(&table, &ids).unwrap());
    assert!(rows[..4].iter().chain(&rows[8..]).all(|v| v.is_nan()), "{rows:?}");
    assert_eq!(rows[4..8], [1.0; 4]);
}

pub fn invalid_calls_say_so<R: CubeRuntime>(device: &R::Device) {
    let table = upload::<R>(device, &[1.0; 12], &[3, 4], DType::F32);
    let (ids, none) = (upload::<R>(device, &[0.0], &[1], DType::I32), upload::<R>(device, &[], &[0], DType::I32));
    assert_eq!(embedding(&table, &none).unwrap().shape().to_vec(), [0, 4]);
    let error = embedding(&ids, &ids).unwrap_err();
    assert!(matches!(&error, CubeError::InvalidShapes { shapes, .. } if shapes[0] == [1]), "{error}");
    let error = embedding(&table, &table).unwrap_err();
    assert!(matches!(error, CubeError::InvalidDtype { found: DType::F32, .. }), "{error}");
    let error = launch(&table, &ids, &upload_poison::<R>(device, &[4], DType::F32)).unwrap_err();
    assert!(matches!(error, CubeError::InvalidShapes { .. }), "{error}");
}
