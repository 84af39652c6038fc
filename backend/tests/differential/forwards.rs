//! Ops that Kiln forwards, or composes of what it forwards: the same bits.

use burn::tensor::activation::quiet_softmax;
use burn::tensor::backend::Backend;
use burn::tensor::module::{
    avg_pool2d, conv2d, embedding, interpolate, max_pool1d, max_pool2d, max_pool2d_with_indices,
};
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::quantization::{Calibration, QuantScheme, QuantStore, QuantValue, compute_q_params, compute_range};
use burn::tensor::{Bool, Distribution, Int, Tensor, TensorData, Transaction};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_ndarray::NdArray;

/// Numbers that repeat at no period of a small shape.
fn numbers<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    let len: usize = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|i| ((i * 37 + 11) % 101) as f32 / 17.0 - 3.0).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

fn ids<B: Backend, const D: usize>(shape: [usize; D], below: usize) -> Tensor<B, D, Int> {
    let len: usize = shape.iter().product();
    let values: Vec<i64> = (0..len).map(|i| (i * 5 + 2) as i64 % below as i64).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

fn floats<B: Backend>() -> Vec<TensorData> {
    let x = numbers::<B, 3>([3, 5, 7]);
    let (sorted, order) = x.clone().sort_with_indices(1);
    let (top, at) = x.clone().topk_with_indices(3, 2);
    vec![
        sorted.into_data(),
        order.into_data(),
        top.into_data(),
        at.into_data(),
        x.clone().gather(2, ids([3, 5, 4], 7)).into_data(),
        x.clone().scatter(1, ids([3, 2, 7], 5), numbers([3, 2, 7]), burn::tensor::IndexingUpdateOp::Add).into_data(),
        x.clone().select(1, ids([4], 5)).into_data(),
        x.clone().slice([0..2, 1..4]).into_data(),
        x.clone().slice_assign([0..1, 1..3, 0..7], numbers([1, 2, 7])).into_data(),
        x.clone().mask_fill(x.clone().greater_elem(0.5), -1.0).into_data(),
        x.clone().cumsum(1).into_data(),
        x.clone().var(2).into_data(),
        x.clone().powf_scalar(2.0).sqrt().into_data(),
        x.clone().cos().sin().erf().into_data(),
        Tensor::cat(vec![x.clone(), x.clone().flip([0])], 0).into_data(),
        Tensor::stack::<4>(vec![x.clone(), x.clone().neg()], 1).into_data(),
        x.clone().repeat_dim(1, 2).unfold::<4, _>(2, 3, 2).into_data(),
        x.clone().argmax(2).into_data(),
        x.clone().is_nan().into_data(),
        x.sum().into_data(),
    ]
}

fn modules<B: Backend>() -> Vec<TensorData> {
    let x = numbers::<B, 4>([2, 4, 9, 8]);
    let options = ConvOptions::new([2, 1], [1, 0], [1, 2], 2);
    let (pooled, indices) = max_pool2d_with_indices(x.clone(), [3, 2], [2, 2], [1, 0], [1, 1], false);
    let resize = InterpolateOptions::new(InterpolateMode::Bilinear);
    vec![
        conv2d(x.clone(), numbers([6, 2, 3, 2]), Some(numbers([6])), options).into_data(),
        pooled.into_data(),
        indices.into_data(),
        max_pool1d(numbers::<B, 3>([2, 3, 11]), 3, 2, 1, 1, false).into_data(),
        avg_pool2d(x.clone(), [3, 3], [2, 1], [1, 1], false, false).into_data(),
        interpolate(x, [5, 13], resize).into_data(),
        embedding(numbers::<B, 2>([11, 6]), ids([2, 5], 11)).into_data(),
        quiet_softmax(numbers::<B, 2>([0, 4]), 1).into_data(),
    ]
}

fn integers<B: Backend>() -> Vec<TensorData> {
    let (x, y) = (ids::<B, 2>([4, 6], 13), ids::<B, 2>([1, 6], 5));
    let truth: Tensor<B, 2, Bool> = x.clone().greater_elem(6);
    vec![
        (x.clone() * y.clone() - 3).into_data(),
        x.clone().remainder(y.clone().expand([4, 6]) + 1).into_data(),
        (x.clone() / 4).into_data(),
        x.clone().matmul(x.clone().transpose()).into_data(),
        x.clone().sort_descending(1).into_data(),
        x.clone().sum_dim(0).into_data(),
        x.clone().bitwise_xor(y.clone().expand([4, 6])).into_data(),
        x.clone().float().into_data(),
        truth.clone().bool_not().into_data(),
        truth.clone().bool_and(y.clone().equal_elem(2).expand([4, 6])).into_data(),
        truth.clone().any_dim(1).into_data(),
        truth.clone().argwhere().into_data(),
        truth.clone().transpose().into_data(),
        truth.int().into_data(),
    ]
}

fn quantised<B: Backend>() -> Vec<TensorData> {
    let scheme = B::quantised_scheme();
    let (x, y) = (numbers::<B, 2>([8, 16]), numbers::<B, 2>([16, 8]));
    let params = compute_q_params(&scheme, compute_range(&scheme, &x, &Calibration::MinMax));
    let q = x.quantize(&scheme, params);
    let p = y.quantize_dynamic(&scheme);
    vec![
        q.clone().into_data(),
        q.clone().dequantize().into_data(),
        q.clone().transpose().dequantize().into_data(),
        q.clone().matmul(p.clone()).dequantize().into_data(),
        (q.clone() + q).dequantize().into_data(),
        p.select(0, ids([3], 16)).dequantize().into_data(),
    ]
}

/// Schemes that both backends have.
trait Quantised: Backend {
    fn quantised_scheme() -> QuantScheme {
        QuantScheme::default().with_value(QuantValue::Q8S).with_store(QuantStore::Native)
    }
}
impl<B: Backend> Quantised for B {}

fn transaction<B: Backend>() -> Vec<TensorData> {
    let x = numbers::<B, 2>([3, 4]);
    let quantised = x.clone().quantize_dynamic(&B::quantised_scheme());
    Transaction::default()
        .register(x.clone() + 1.0)
        .register(ids::<B, 1>([5], 3))
        .register(quantised)
        .register(x.lower_elem(0.0))
        .execute()
}

/// Pooling's backward pass, through the tape.
fn pool_gradient<B: Backend>() -> Vec<TensorData> {
    let x = numbers::<Autodiff<B>, 4>([2, 3, 8, 7]).require_grad();
    let y = max_pool2d(x.clone(), [3, 2], [2, 2], [1, 1], [1, 1], false);
    let weight = numbers(y.dims());
    let grads = (y * weight).sum().backward();
    vec![x.grad(&grads).expect("a gradient").into_data()]
}

/// All draws in one test: the generator belongs to `B`, and `Kiln<B>` shares it.
fn random<B: Backend>() -> Vec<TensorData> {
    let device = Default::default();
    B::seed(&device, 42);
    [
        Distribution::Default,
        Distribution::Uniform(-2.0, 5.0),
        Distribution::Normal(1.0, 2.0),
        Distribution::Bernoulli(0.3),
    ]
    .map(|distribution| Tensor::<B, 2>::random([9, 5], distribution, &device).into_data())
    .to_vec()
}

/// Fails at the first result that is not the same.
fn assert_same(actual: Vec<TensorData>, expected: Vec<TensorData>) {
    assert_eq!(actual.len(), expected.len());
    for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        assert_eq!(actual.dtype, expected.dtype, "result {index}");
        assert_eq!(actual.shape, expected.shape, "result {index}");
        assert!(actual.as_bytes() == expected.as_bytes(), "result {index} is {actual} instead of {expected}");
    }
}

/// One test a group of ops and backend.
macro_rules! same {
    ($($group:ident)*) => {
        mod flex {
            use super::*;
            $(#[test] fn $group() { assert_same(super::$group::<Kiln<Flex>>(), super::$group::<Flex>()); })*
        }
        mod ndarray {
            use super::*;
            $(#[test] fn $group() { assert_same(super::$group::<Kiln<NdArray>>(), super::$group::<NdArray>()); })*
        }
    };
}

same!(floats modules integers quantised transaction pool_gradient random);
