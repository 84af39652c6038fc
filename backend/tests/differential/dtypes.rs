//! Element types as a program asks for them.

use burn::tensor::{DType, Tensor, TensorData, backend::Backend, get_device_settings};
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_ndarray::NdArray;

/// Everything that depends on the backend's types: what it says of them, and what tensors become.
fn describe<B: Backend>(halves: &[DType]) -> Vec<String> {
    let device = B::Device::default();
    let mut said = vec![format!("{:?}", get_device_settings::<B>(&device))];
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I8, DType::U32] {
        said.push(format!("{dtype:?} {} {:?}", B::supports_dtype(&device, dtype), B::dtype_usage(&device, dtype)));
    }
    let doubles = || TensorData::new(vec![1.0f64, 2.5, -3.0, 1e-300, 1e300, 0.1], [2, 3]);
    let mut note = |tensor: Tensor<B, 2>| {
        let data = tensor.into_data();
        said.push(format!("{:?} {:?} {:?}", data.dtype, data.shape, data.as_bytes()));
    };
    note(Tensor::from_data(doubles(), &device));
    note(Tensor::from_floats([[1.0, 2.0], [0.1, -7.5]], &device));
    note(Tensor::zeros([2, 2], &device) + 1);
    for &dtype in [DType::F64, DType::F32].iter().chain(halves) {
        let x = Tensor::<B, 2>::from_data(doubles(), (&device, dtype));
        note(x.clone());
        note(x.clone() * x.clone() - 0.1);
        note(x.clone().cast(DType::F32) / 3.0);
        note(Tensor::full([2, 3], 0.1, (&device, dtype)) + x.clone());
        note(x.clone().mul_scalar(2i32).add_scalar(1u8));
        note(x.slice([0..1, 0..3]).neg());
    }
    said
}

#[test]
fn types_are_those_of_flex() {
    let halves = [DType::F16, DType::BF16];
    compare(describe::<Kiln<Flex>>(&halves), describe::<Flex>(&halves));
}

#[test]
fn types_are_those_of_ndarray() {
    compare(describe::<Kiln<NdArray>>(&[]), describe::<NdArray>(&[]));
}

fn compare(actual: Vec<String>, expected: Vec<String>) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual, expected);
    }
}

#[test]
fn the_name_says_what_it_decorates() {
    assert_eq!(Kiln::<Flex>::name(&Default::default()), "kiln<flex>");
    assert_eq!(Kiln::<NdArray>::name(&Default::default()), "kiln<ndarray>");
}
