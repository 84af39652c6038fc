//! Matrix products and embeddings. The kernels know no sizes: what counts is the number of rows, how wide loads can be,
//! and how many outputs there are for the card's five multiprocessors.

use super::case::{Cases, Kind, allocate, name};
use burn_kiln_fusion::{
    Activation,
    cube::{
        Strategy as RowStrategy,
        embedding::embedding,
        int8::{self, Int8Rows, quantize},
        product::{Call, Layer, RowNorm, Strategy, matmul, multiply, tiled::Tile},
    },
};
use burn_std::DType::{self, BF16, F16, F32, I32};

/// What is around a product, as the models have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Bias, GELU and residual.
    Linear,
    /// A norm and three layers.
    Qkv,
    /// A norm, gate and up.
    Gated,
    /// The same of a sum.
    AddGated,
}

fn add_product(
    cases: &mut Cases,
    form: Form,
    (rows, k, n): (usize, usize, usize),
    (x, weight): (DType, DType),
    strategy: Strategy,
) {
    let (kind, by) = match strategy {
        Strategy::Tiled(Tile { rows, columns, .. }) => (Kind::Tiled, format!("tiles of {rows}x{columns}")),
        _ => (Kind::Streaming, "gemv".to_owned()),
    };
    let case = format!("{form:?} {} x {} [{rows}, {k}] to {n}, {by}", name(x), name(weight)).to_lowercase();
    let x = allocate(&[rows, k], x);
    let (residual, bias, gamma) = (allocate(&[rows, n], x.dtype), allocate(&[n], weight), allocate(&[k], weight));
    let weight = allocate(&[n, k], weight);
    let norm = (form != Form::Linear).then_some(RowNorm { gamma: &gamma, epsilon: 1e-6 });
    let layer = || Layer { weight: &weight, bias: (form == Form::Linear).then_some(&bias) };
    let call = Call {
        norm,
        layers: (0..if form == Form::Qkv { 3 } else { 1 }).map(|_| layer()).collect(),
        addend: (form == Form::AddGated).then_some(&x),
        up: matches!(form, Form::Gated | Form::AddGated).then_some(&weight),
        activation: (form == Form::Linear).then_some(Activation::GeluTanh),
        residual: (form == Form::Linear).then_some(&residual),
        strategy,
        ..Call::new(&x, &weight)
    };
    cases.add(case, kind, || drop(multiply(&call).unwrap()));
}

/// Few rows.
fn add_gemv(cases: &mut Cases, dtypes: (DType, DType)) {
    // 2,048 outputs fill the card with four outputs a warp, 700 with two, 64 with one.
    for (rows, n) in [(1, 2048), (1, 700), (1, 64), (2, 2048), (4, 2048), (8, 2048)] {
        add_product(cases, Form::Linear, (rows, 64, n), dtypes, Strategy::Auto);
    }
    for form in [Form::Qkv, Form::Gated, Form::AddGated] {
        for rows in [1, 2, 4, 8] {
            if (form, rows) == (Form::Gated, 8) || rows < 8 {
                add_product(cases, form, (rows, 64, 2048), dtypes, Strategy::Auto);
            }
        }
    }
    for k in [62, 61] {
        add_product(cases, Form::AddGated, (1, k, 2048), dtypes, Strategy::Auto);
    }
}

/// Many rows, loads of four elements and of one.
fn add_tiles(cases: &mut Cases, dtypes: (DType, DType)) {
    for tile in Tile::ALL {
        add_product(cases, Form::Linear, (128, 64, 128), dtypes, Strategy::Tiled(tile));
        add_product(cases, Form::Gated, (128, 64, 128), dtypes, Strategy::Tiled(tile));
    }
    add_product(cases, Form::Gated, (128, 61, 128), dtypes, Strategy::Tiled(Tile::LARGE));
}

/// Products of 8-bit integers, with loads of four words and of one, and what makes them.
fn add_int8(cases: &mut Cases) {
    for (k, d) in [(2048, 2048), (257, 65 * 4)] {
        for x in [F32, BF16] {
            cases.add(format!("quantize {} [8, {k}]", name(x)), Kind::Streaming, || {
                quantize(&allocate(&[8, k], x), RowStrategy::Auto).unwrap();
            });
        }
        for rows in [1, 2, 8] {
            let make = |rows| Int8Rows { values: allocate(&[rows, d / 4], I32), scales: allocate(&[rows], F32), d };
            cases.add(format!("int8 [{rows}, {d}] to 2048"), Kind::Streaming, || {
                int8::multiply(&make(rows), &make(2048), RowStrategy::Auto).unwrap();
            });
        }
    }
}

/// Products with weights of every storage, plain ones with both sides as they lie, embeddings.
pub fn add(cases: &mut Cases) {
    for weight in [F32, F16, BF16] {
        add_gemv(cases, (F32, weight));
        add_tiles(cases, (F32, weight));
        cases.add(format!("embedding {} [2048, 64]", name(weight)), Kind::Streaming, || {
            embedding(&allocate(&[2048, 64], weight), &allocate(&[1, 7], I32)).unwrap();
        });
    }
    add_product(cases, Form::Linear, (1, 64, 2048), (F16, F16), Strategy::Auto);
    add_int8(cases);
    for tile in Tile::ALL {
        let Tile { rows, columns, .. } = tile;
        cases.add(format!("matmul f32 [128, 64] x [64, 128], tiles of {rows}x{columns}"), Kind::Tiled, || {
            matmul(&allocate(&[128, 64], F32), &allocate(&[64, 128], F32), Strategy::Tiled(tile)).unwrap();
        });
    }
}
