//! Functions and arithmetic of elements.

use crate::check::{Op, check, rounding, smallest};
use crate::strategy::{broadcast, dtypes, for_each, operand, settings, shapes, values};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Scalar, TensorData};
use burn_flex::Flex;
use burn_kiln::Engine;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone, Copy)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

const ARITHMETIC: [Arithmetic; 4] = [Arithmetic::Add, Arithmetic::Sub, Arithmetic::Mul, Arithmetic::Div];

impl Op for Arithmetic {
    fn run<B: Backend>(&self, operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let [lhs, rhs] = <[_; 2]>::try_from(operands).expect("two operands");
        match self {
            Self::Add => B::float_add(lhs, rhs),
            Self::Sub => B::float_sub(lhs, rhs),
            Self::Mul => B::float_mul(lhs, rhs),
            Self::Div => B::float_div(lhs, rhs),
        }
    }

    /// One operation, correctly rounded on both sides: bit for bit the same.
    fn allow(&self, _operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        vec![0.0; expected.num_elements()]
    }
}

/// An operation of one operand with itself: the buffer is shared, nothing may be written in place.
#[derive(Debug, Clone, Copy)]
struct WithItself(Arithmetic);

impl Op for WithItself {
    fn run<B: Backend>(&self, mut operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let x = operands.remove(0);
        let result = self.0.run::<B>(vec![x.clone(), x.clone()]);
        // Its result is its own by now, `x` is not.
        self.0.run::<B>(vec![result, x])
    }

    fn allow(&self, _operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        vec![0.0; expected.num_elements()]
    }
}

#[derive(Debug, Clone, Copy)]
struct WithScalar(Arithmetic, f64);

impl Op for WithScalar {
    fn run<B: Backend>(&self, mut operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let (x, scalar) = (operands.remove(0), Scalar::Float(self.1));
        match self.0 {
            Arithmetic::Add => B::float_add_scalar(x, scalar),
            Arithmetic::Sub => B::float_sub_scalar(x, scalar),
            Arithmetic::Mul => B::float_mul_scalar(x, scalar),
            Arithmetic::Div => B::float_div_scalar(x, scalar),
        }
    }

    fn allow(&self, _operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        vec![0.0; expected.num_elements()]
    }
}

#[derive(Debug, Clone, Copy)]
enum Function {
    Exp,
    Relu,
    Gelu,
    Sigmoid,
    Tanh,
}

const FUNCTIONS: [Function; 5] = [Function::Exp, Function::Relu, Function::Gelu, Function::Sigmoid, Function::Tanh];

impl Op for Function {
    fn run<B: Backend>(&self, mut operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let x = operands.remove(0);
        match self {
            Self::Exp => B::float_exp(x),
            Self::Relu => B::relu(x),
            Self::Gelu => B::gelu(x),
            Self::Sigmoid => B::sigmoid(x),
            Self::Tanh => B::float_tanh(x),
        }
    }

    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        let (unit, tiny) = (rounding(expected.dtype), smallest(expected.dtype));
        let bound = |(x, y): (f64, f64)| match self {
            Self::Relu => 0.0,
            // 2 ulp a side.
            Self::Exp | Self::Tanh => 8.0 * unit * y.abs() + tiny,
            // B's 1 + erf(..) cancels left of 0: its error is that of a number near 1, times x.
            Self::Gelu => 8.0 * unit * x.abs().max(1.0),
            // B takes the exponential of a logarithm as large as x, whose rounding the exponential turns into a
            // relative error.
            Self::Sigmoid => (8.0 + 2.0 * x.abs().min(200.0)) * unit * y + tiny,
        };
        operands[0].iter::<f64>().zip(expected.iter::<f64>()).map(bound).collect()
    }

    /// ReLU of NaN: NdArray gives 0 or NaN by which of its loops runs, Flex and the kernel 0. GELU of -∞: B multiplies
    /// -∞ by 0, the kernel gives the limit. GELU of huge numbers: NdArray doubles them before it halves them, so that
    /// they overflow.
    fn forgives(&self, actual: f64, expected: f64) -> bool {
        let limit = actual == 0.0 && expected.is_nan();
        let overflow = expected == f64::INFINITY && actual.is_finite() && actual > f32::MAX as f64 / 2.0;
        matches!(self, Self::Relu) && limit || matches!(self, Self::Gelu) && (limit || overflow)
    }
}

fn check_arithmetic<B: Engine>(has_halves: bool) {
    let cases = (shapes(), dtypes(has_halves), values(), select(ARITHMETIC.to_vec()), settings()).prop_flat_map(
        |(shape, dtype, values, op, setting)| {
            let side =
                |shape: &Vec<usize>| broadcast(shape.clone()).prop_flat_map(move |shape| operand(shape, dtype, values));
            ((side(&shape), side(&shape)), Just(op), Just(setting))
        },
    );
    for_each(cases, |((lhs, rhs), op, setting)| check::<B>(&op, &[lhs, rhs], &setting));
}

fn check_one_operand<B: Engine, O: Op + Clone + 'static>(has_halves: bool, ops: Vec<O>) {
    let cases = (shapes(), dtypes(has_halves), values(), select(ops), settings())
        .prop_flat_map(|(shape, dtype, values, op, setting)| (operand(shape, dtype, values), Just(op), Just(setting)));
    for_each(cases, |(x, op, setting)| check::<B>(&op, &[x], &setting));
}

fn with_scalars() -> Vec<WithScalar> {
    let scalars = [0.1, -3.0, 0.0, 1e-40, 3e38, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    ARITHMETIC.iter().flat_map(|&op| scalars.map(|scalar| WithScalar(op, scalar))).collect()
}

#[test]
fn arithmetic_on_flex() {
    check_arithmetic::<Flex>(true);
}

#[test]
fn arithmetic_on_ndarray() {
    check_arithmetic::<NdArray>(false);
}

#[test]
fn arithmetic_of_a_tensor_with_itself_on_flex() {
    check_one_operand::<Flex, _>(true, ARITHMETIC.map(WithItself).to_vec());
}

#[test]
fn arithmetic_of_a_tensor_with_itself_on_ndarray() {
    check_one_operand::<NdArray, _>(false, ARITHMETIC.map(WithItself).to_vec());
}

#[test]
fn arithmetic_with_a_number_on_flex() {
    check_one_operand::<Flex, _>(true, with_scalars());
}

#[test]
fn arithmetic_with_a_number_on_ndarray() {
    check_one_operand::<NdArray, _>(false, with_scalars());
}

#[test]
fn functions_on_flex() {
    check_one_operand::<Flex, _>(true, FUNCTIONS.to_vec());
}

#[test]
fn functions_on_ndarray() {
    check_one_operand::<NdArray, _>(false, FUNCTIONS.to_vec());
}
