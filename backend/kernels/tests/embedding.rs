//! Rows by id on every tier of this machine.

mod reference;

use half::{bf16, f16};
use kiln_kernels::Launch;
use kiln_kernels::embedding::{EmbeddingTable, UnknownId, embedding};
use kiln_kernels::gemm::PackedMatrix;
use reference::{Element, launches, random};

/// `ids` of a table `[rows, hidden]`, plain and packed, are its rows.
fn check<S: Element>(launch: Launch, rows: usize, hidden: usize, ids: &[usize]) {
    let table = random::<S>(rows * hidden, 1);
    let want: Vec<f32> = ids.iter().flat_map(|id| &table[id * hidden..(id + 1) * hidden]).map(|x| x.to_f32()).collect();
    let mut out = vec![f32::NAN; ids.len() * hidden];
    let plain = EmbeddingTable::Plain { data: S::view(&table), hidden };
    embedding(launch, plain, ids, &mut out).unwrap();
    assert_eq!(out, want, "{launch:?} {rows} {hidden}");
    let packed = PackedMatrix::pack(launch, S::view(&table), [rows, hidden]).unwrap();
    let mut out = vec![f32::NAN; ids.len() * hidden];
    embedding(launch, EmbeddingTable::Packed(&packed), ids, &mut out).unwrap();
    assert_eq!(out, want, "packed {launch:?} {rows} {hidden}");
}

#[test]
fn rows_of_every_type_and_length() {
    for launch in launches() {
        for hidden in [1, 7, 16, 33, 130] {
            let ids = [40, 0, 3, 3, 39];
            check::<f32>(launch, 41, hidden, &ids);
            check::<bf16>(launch, 41, hidden, &ids);
            check::<f16>(launch, 41, hidden, &ids);
        }
        // Enough for every thread.
        let many: Vec<usize> = (0..900).map(|i| i * 7 % 50).collect();
        check::<bf16>(launch, 50, 256, &many);
        check::<f32>(launch, 50, 256, &[]);
    }
}

#[test]
fn an_unknown_id_writes_nothing() {
    let table = random::<f32>(12, 1);
    let mut out = vec![5.0f32; 6];
    let plain = EmbeddingTable::Plain { data: f32::view(&table), hidden: 3 };
    let error = embedding(Launch::default(), plain, &[0, 4], &mut out).unwrap_err();
    assert_eq!((error, out), (UnknownId { id: 4, rows: 4 }, vec![5.0; 6]));
    assert_eq!(error.to_string(), "id 4 of an embedding with 4 rows");
}
