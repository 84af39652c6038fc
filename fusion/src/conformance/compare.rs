//! Arrays to tensors, and results against arrays.

pub(super) use crate::compose::rows::reshape;
use crate::reference::Array;
use burn_backend::{Backend, DType, TensorData};
use burn_tensor::{Bool, Int, Tensor};

/// `array` as a flat f32 tensor.
pub(super) fn upload<B: Backend>(array: &Array, device: &B::Device) -> Tensor<B, 1> {
    let values: Vec<f32> = array.data.iter().map(|&value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, [array.data.len()]), (device, DType::F32))
}

/// `array` as an f32 tensor of its shape.
pub(super) fn upload_shaped<B: Backend, const D: usize>(array: &Array, device: &B::Device) -> Tensor<B, D> {
    reshape(upload(array, device), to_dims(&array.shape))
}

/// True where `array` is not 0.
pub(super) fn upload_mask<B: Backend>(array: &Array, device: &B::Device) -> Tensor<B, 4, Bool> {
    upload_shaped::<B, 4>(array, device).not_equal_elem(0.0)
}

/// Ids as a tensor of the shape `dims`.
pub(super) fn upload_ids<B: Backend, const D: usize>(
    ids: &[i64],
    dims: [usize; D],
    device: &B::Device,
) -> Tensor<B, D, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), dims), device)
}

/// A shape of a known rank.
pub(super) fn to_dims<const D: usize>(shape: &[usize]) -> [usize; D] {
    <[usize; D]>::try_from(shape).unwrap_or_else(|_| panic!("{shape:?} has not {D} dimensions"))
}

/// Asserts `|actual - expected| ≤ bound · max(1, max |expected|)` for every element. Infinities must agree exactly.
pub(super) fn assert_close<B: Backend, const D: usize>(what: &str, actual: Tensor<B, D>, expected: &Array, bound: f64) {
    let actual: Vec<f64> = actual.into_data().iter::<f64>().collect();
    assert_eq!(actual.len(), expected.data.len(), "{what}: {} values for {:?}", actual.len(), expected.shape);
    let finite = expected.data.iter().filter(|value| value.is_finite());
    let allowed = bound * finite.fold(1.0, |max: f64, value| max.max(value.abs()));
    let mut worst = (0, 0.0);
    for (index, (&actual, &expected)) in actual.iter().zip(&expected.data).enumerate() {
        let is_same = actual == expected || (actual.is_nan() && expected.is_nan());
        let error = if is_same { 0.0 } else { (actual - expected).abs() };
        // A NaN is worse than any number.
        if error > worst.1 || error.is_nan() {
            worst = (index, if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    let (index, error) = worst;
    assert!(
        error <= allowed,
        "{what}: element {index} of {:?} is {} instead of {}, off by {error:.3e} where {allowed:.3e} is allowed",
        expected.shape,
        actual[index],
        expected.data[index],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    fn compare(actual: [f32; 2], expected: [f64; 2]) {
        let actual = Tensor::<Flex, 1>::from_data(actual, &Default::default());
        assert_close("a test", actual, &Array::new(&[2], expected.to_vec()), 1e-3);
    }

    #[test]
    fn values_within_the_bound_of_the_largest_pass() {
        compare([10.005, 0.005], [10.0, 0.0]);
        compare([f32::NEG_INFINITY, f32::NAN], [f64::NEG_INFINITY, f64::NAN]);
    }

    #[test]
    #[should_panic(expected = "element 1 of [2] is")]
    fn a_value_beyond_it_fails() {
        compare([10.0, 0.02], [10.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "element 0 of [2] is NaN")]
    fn a_nan_fails() {
        compare([f32::NAN, 0.0], [1.0, 0.0]);
    }
}
