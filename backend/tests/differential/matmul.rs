//! Matrix products, and linear layers as Burn's modules call them.

use crate::check::{Op, Setting, check, read, rounding, smallest};
use crate::operand::{Operand, Values};
use crate::strategy::{broadcast, dtypes, for_each, operand, settings, sizes};
use burn_backend::ops::{FloatTensorOps, ModuleOps};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, TensorData};
use burn_flex::Flex;
use burn_kiln::{Engine, Kiln};
use burn_ndarray::NdArray;
use burn_std::Shape;
use proptest::prelude::*;
use proptest::sample::select;

/// `Σ |a| |b|` over the products of each element: what rounding errors are relative to.
fn magnitudes(lhs: &TensorData, rhs: &TensorData) -> Vec<f64> {
    let upload = |data: &TensorData| {
        let values: Vec<f64> = data.iter::<f64>().map(|x| if x.is_finite() { x.abs() } else { 0.0 }).collect();
        Flex::float_from_data(TensorData::new(values, data.shape.clone()), &Default::default())
    };
    read::<Flex>(Flex::float_matmul(upload(lhs), upload(rhs))).iter::<f64>().collect()
}

/// Errors of a sum of `k` products: each term and each partial sum rounds once, in f32 at worst on both sides (in the
/// type itself for f64, and for f16 as Flex sums them), and the result rounds to its type.
fn bounds(k: usize, magnitudes: &[f64], expected: &TensorData) -> Vec<f64> {
    let sum = rounding(if expected.dtype == DType::BF16 { DType::F32 } else { expected.dtype });
    let (unit, tiny) = (rounding(expected.dtype), smallest(expected.dtype));
    let bound = |(&size, value): (&f64, f64)| 2.0 * (k + 2) as f64 * sum * size + 2.0 * unit * value.abs() + tiny;
    magnitudes.iter().zip(expected.iter::<f64>()).map(bound).collect()
}

#[derive(Debug)]
pub struct Matmul;

impl Op for Matmul {
    fn run<B: Backend>(&self, operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let [lhs, rhs] = <[_; 2]>::try_from(operands).expect("two operands");
        B::float_matmul(lhs, rhs)
    }

    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        let k = operands[0].shape.last().copied().unwrap_or(0);
        bounds(k, &magnitudes(&operands[0], &operands[1]), expected)
    }
}

#[derive(Debug)]
pub struct Linear;

impl Op for Linear {
    fn run<B: Backend>(&self, operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let mut operands = operands.into_iter();
        let (x, weight) = (operands.next().expect("the input"), operands.next().expect("the weight"));
        B::linear(x, weight, operands.next())
    }

    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        let (x, weight) = (&operands[0], &operands[1]);
        let [inputs, _] = weight.shape.dims();
        let rows = x.num_elements().checked_div(inputs).unwrap_or(0);
        let mut flat = x.clone();
        flat.shape = Shape::from([rows, inputs]);
        let mut sizes = magnitudes(&flat, weight);
        sizes.resize(expected.num_elements(), 0.0);
        // B rounds the product to its type before it adds the bias.
        let rounded = rounding(expected.dtype);
        let bias: Vec<f64> = operands.get(2).map_or(vec![0.0], |bias| bias.iter::<f64>().map(f64::abs).collect());
        let product: Vec<f64> =
            sizes.iter().enumerate().map(|(i, size)| 2.0 * rounded * (size + finite(bias[i % bias.len()]))).collect();
        let sum = bounds(inputs, &sizes, expected);
        sum.iter().zip(product).map(|(a, b)| a + b).collect()
    }
}

fn finite(x: f64) -> f64 {
    if x.is_finite() { x } else { 0.0 }
}

/// Sizes of products, from `smallest` on: up to several register tiles, and beyond the depth that one kernel call
/// takes.
fn lengths(smallest: usize) -> impl Strategy<Value = usize> + Clone {
    prop_oneof![6 => sizes(), 1 => select(vec![64, 65, 130, 300])].prop_map(move |size| size.max(smallest))
}

fn check_matmul<B: Engine>(has_halves: bool, smallest: usize) {
    let length = lengths(smallest);
    let numbers = select(vec![Values::Plain, Values::Plain, Values::NonFinite]);
    let batch = prop::collection::vec(1..4usize, 0..=3);
    let sizes = (batch, length.clone(), length.clone(), length, prop::bool::weighted(0.05));
    let cases = (sizes, dtypes(has_halves), numbers, settings())
        .prop_filter("too large", |((batch, m, k, n, _), ..)| batch.iter().product::<usize>() * m * k * n < 3_000_000)
        .prop_flat_map(|((batch, m, k, n, wrong), dtype, values, setting)| {
            let side = |rows: usize, cols: usize| {
                broadcast(batch.clone())
                    .prop_flat_map(move |batch| operand([batch, vec![rows, cols]].concat(), dtype, values))
            };
            (side(m, k), side(k + wrong as usize, n), Just(setting))
        });
    for_each(cases, |(lhs, rhs, setting)| check::<B>(&Matmul, &[lhs, rhs], &setting));
}

fn check_linear<B: Engine>(has_halves: bool, smallest: usize) {
    let length = lengths(smallest);
    let numbers = select(vec![Values::Plain, Values::Plain, Values::NonFinite]);
    let lead = prop::collection::vec(1..6usize, 1..=4);
    let sizes =
        (lead, length.clone(), length, prop::option::weighted(0.7, prop_oneof![9 => Just(0), 1 => Just(1usize)]));
    let cases = (sizes, dtypes(has_halves), numbers, settings())
        .prop_filter("too large", |((lead, k, n, _), ..)| lead.iter().product::<usize>() * k * n < 3_000_000)
        .prop_flat_map(|((lead, k, n, bias), dtype, values, setting)| {
            let mut operands =
                vec![operand([lead, vec![k]].concat(), dtype, values), operand(vec![k, n], dtype, values)];
            // A bias that is too long by 1 now and then: both must refuse it.
            operands.extend(bias.map(|excess| operand(vec![n + excess], dtype, values)));
            (operands, Just(setting))
        });
    for_each(cases, |(operands, setting)| check::<B>(&Linear, &operands, &setting));
}

#[test]
fn matmul_on_flex() {
    check_matmul::<Flex>(true, 0);
}

#[test]
fn matmul_on_ndarray() {
    check_matmul::<NdArray>(false, 1);
}

#[test]
fn linear_on_flex() {
    check_linear::<Flex>(true, 0);
}

#[test]
fn linear_on_ndarray() {
    check_linear::<NdArray>(false, 1);
}

/// A row that an input of rank 1 becomes, and one column: shapes of matrix-vector products, larger than drawn above.
#[test]
fn products_with_vectors() {
    let setting = Setting { config: Default::default(), holds: true };
    for (m, k, n) in [(1, 1000, 7), (7, 1000, 1), (1, 3, 1000), (1000, 3, 1), (1, 1000, 1), (2, 513, 129)] {
        let (a, b) = (Operand::plain(&[m, k], 1), Operand::plain(&[k, n], 2));
        check::<Flex>(&Matmul, &[a.clone(), b.clone()], &setting);
        check::<NdArray>(&Matmul, &[a.clone(), b.clone()], &setting);
        check::<Flex>(&Linear, &[a, b, Operand::plain(&[n], 3)], &setting);
    }
}

/// No products, rows, columns or depth. Not against B: Flex 0.21 reads outside of a tensor with a batch of 0 that meets
/// one of 1, and NdArray divides by 0.
#[test]
fn empty_products_are_zero() {
    fn run<B: Engine>(a: &[usize], b: &[usize], expected: &[usize]) {
        let operand = |shape: &[usize]| Operand::plain(shape, 1).build::<B>();
        let product = read::<B>(Kiln::<B>::float_matmul(operand(a), operand(b)));
        assert_eq!(product.shape.as_slice(), expected, "{a:?} by {b:?}");
        assert!(product.iter::<f32>().all(|x| x == 0.0), "{a:?} by {b:?}");
        if b.len() == 2 {
            let output = <Kiln<B> as ModuleOps<Kiln<B>>>::linear(operand(a), operand(b), None);
            assert_eq!(read::<B>(output).shape.as_slice(), expected, "linear of {a:?} by {b:?}");
        }
    }
    let cases: [[&[usize]; 3]; 8] = [
        [&[0, 3], &[3, 4], &[0, 4]],
        [&[2, 0], &[0, 4], &[2, 4]],
        [&[2, 3], &[3, 0], &[2, 0]],
        [&[0, 2, 3], &[1, 3, 4], &[0, 2, 4]],
        [&[1, 2, 3], &[0, 3, 4], &[0, 2, 4]],
        [&[2, 0, 2, 3], &[1, 0, 3, 4], &[2, 0, 2, 4]],
        [&[2, 5, 0], &[2, 0, 3], &[2, 5, 3]],
        [&[3, 2, 5, 0], &[1, 2, 0, 3], &[3, 2, 5, 3]],
    ];
    for [a, b, expected] in cases {
        run::<Flex>(a, b, expected);
        run::<NdArray>(a, b, expected);
    }
}
