//! Rows by id on every tier of this machine.

mod reference;

use half::{bf16, f16};
use kiln_kernels::Launch;
use kiln_kernels::embedding::{Before, EmbeddingTable, NamedRows, RowGrads, UnknownId, add_rows, embedding};
use kiln_kernels::gemm::PackedMatrix;
use reference::{Element, assert_close, exact, launches, random};

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

/// Rows added up by id, into zeros, into a table that has some, and without a table.
fn check_gradient<S: Element>(launch: Launch, rows: usize, hidden: usize, ids: &[usize]) {
    let what = (launch, rows, hidden, S::TYPE);
    let data = random::<S>(ids.len() * hidden, 1);
    let mut want = vec![0.0; rows * hidden];
    for (id, row) in ids.iter().zip(exact(&data).chunks(hidden)) {
        want[id * hidden..(id + 1) * hidden].iter_mut().zip(row).for_each(|(want, x)| *want += x);
    }
    // Each term is at most 2; a sum of f32 errs by half a unit a term.
    let bound = ids.len() as f64 * 2.0 * 6e-8 * ids.len() as f64;
    let grads = RowGrads { ids, data: S::view(&data), hidden };
    let mut table = vec![0.0f32; rows * hidden];
    add_rows(launch, grads, &mut table, Before::Zeros).unwrap();
    assert_close(&table, &want, 1e-6, bound, &what);
    let mut again = vec![0.0f32; rows * hidden];
    add_rows(launch, grads, &mut again, Before::Rows).unwrap();
    assert_eq!(again, table, "{what:?}");
    let mut filled = random::<f32>(rows * hidden, 2);
    let sums: Vec<f64> = exact(&filled).iter().zip(&want).map(|(before, added)| before + added).collect();
    add_rows(launch, grads, &mut filled, Before::Rows).unwrap();
    assert_close(&filled, &sums, 1e-6, bound + 1e-6, &what);

    let named = NamedRows::new(ids);
    let mut sums = vec![f32::NAN; named.ids().len() * hidden];
    named.sum(launch, S::view(&data), hidden, &mut sums);
    assert!(named.ids().is_sorted_by(|a, b| a < b), "{what:?}");
    let mut scattered = vec![0.0f32; rows * hidden];
    for (id, row) in named.ids().iter().zip(sums.chunks(hidden)) {
        scattered[id * hidden..(id + 1) * hidden].copy_from_slice(row);
    }
    assert_eq!(scattered, table, "{what:?}");
}

#[test]
fn gradients_of_every_type_and_length() {
    for launch in launches() {
        for hidden in [1, 7, 16, 33, 130] {
            let ids = [40, 0, 3, 3, 39, 3, 40];
            check_gradient::<f32>(launch, 41, hidden, &ids);
            check_gradient::<bf16>(launch, 41, hidden, &ids);
            check_gradient::<f16>(launch, 41, hidden, &ids);
        }
        let many: Vec<usize> = (0..900).map(|i| i * i % 50).collect();
        check_gradient::<f32>(launch, 50, 256, &many);
        check_gradient::<bf16>(launch, 50, 250, &many);
        check_gradient::<f32>(launch, 50, 256, &[]);
    }
}

#[test]
fn gradients_are_the_same_bits_for_every_number_of_threads() {
    let ids: Vec<usize> = (0..700).map(|i| i * i % 13).collect();
    let data = random::<f32>(700 * 300, 1);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut table = vec![0.0f32; 13 * 300];
        let launch = Launch { threads, ..Launch::default() };
        let grads = RowGrads { ids: &ids, data: f32::view(&data), hidden: 300 };
        pool.install(|| add_rows(launch, grads, &mut table, Before::Zeros)).unwrap();
        table
    };
    let one = run(1);
    assert!([2, 3, 7].into_iter().all(|threads| run(threads) == one));
}

#[test]
fn a_gradient_of_an_unknown_id_writes_nothing() {
    let mut table = vec![5.0f32; 12];
    let grads = RowGrads { ids: &[0, 4], data: f32::view(&[1.0; 6]), hidden: 3 };
    let error = add_rows(Launch::default(), grads, &mut table, Before::Rows).unwrap_err();
    assert_eq!((error, table), (UnknownId { id: 4, rows: 4 }, vec![5.0; 12]));
}

#[test]
fn infinity_and_nan_reach_their_row_alone() {
    for launch in launches() {
        let mut data = vec![1.0f32; 3 * 20];
        (data[3], data[25]) = (f32::NAN, f32::INFINITY);
        let mut table = vec![0.0f32; 4 * 20];
        let grads = RowGrads { ids: &[2, 1, 1], data: f32::view(&data), hidden: 20 };
        add_rows(launch, grads, &mut table, Before::Zeros).unwrap();
        assert!(table[43].is_nan() && table[25] == f32::INFINITY, "{launch:?}");
        assert_eq!(table.iter().filter(|x| x.is_finite()).count(), 78, "{launch:?}");
    }
}
