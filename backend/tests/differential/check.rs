//! One op on `B` and on `Kiln<B>`.

use crate::operand::Operand;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, TensorData, TensorMetadata};
use burn_kiln::{Engine, Kiln, scope};
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use core::fmt::Debug;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

/// An op of Burn's, on any backend.
pub trait Op: Debug {
    /// Calls it.
    fn run<B: Backend>(&self, operands: Vec<FloatTensor<B>>) -> FloatTensor<B>;

    /// How far each element may be from `B`'s: the rounding errors of both sides.
    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64>;

    /// Whether `actual` may stand where `B` has `expected`, beyond what [`Op::allow`] says: the places where Kiln means
    /// to differ, each with its reason.
    fn forgives(&self, _actual: f64, _expected: f64) -> bool {
        false
    }
}

/// What an op runs with besides its operands.
#[derive(Debug, Clone)]
pub struct Setting {
    /// For `Kiln<B>`.
    pub config: Arc<KernelConfig>,
    /// Whether the caller still holds the operands while the op runs: then it must leave them as they are.
    pub holds: bool,
}

/// Half the distance from 1 to the next number of `dtype`: the rounding error of one operation.
pub fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F32 => f32::EPSILON as f64 / 2.0,
        DType::F16 => f64::exp2(-11.0),
        DType::BF16 => f64::exp2(-8.0),
        other => panic!("{other:?} does not round"),
    }
}

/// The smallest normal number of `dtype`: below it backends may keep fewer digits, or none.
pub fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MIN_POSITIVE,
        DType::F16 => f64::exp2(-14.0),
        _ => f32::MIN_POSITIVE as f64,
    }
}

/// Runs `op` on both and compares: results, or that both panic.
pub fn check<B: Engine>(op: &impl Op, operands: &[Operand], setting: &Setting) {
    let build = || operands.iter().map(Operand::build::<B>).collect::<Vec<_>>();
    let expected = catch(|| read::<B>(op.run::<B>(build())));

    let given = build();
    let held = if setting.holds { given.clone() } else { Vec::new() };
    let actual = catch(|| read::<B>(scope(&setting.config, || op.run::<Kiln<B>>(given))));
    let device = Default::default();
    let what = || format!("{op:?} on {} with {operands:?} and {setting:?}", B::name(&device));

    for (index, tensor) in held.into_iter().enumerate() {
        let (now, before) = (read::<B>(tensor), read::<B>(operands[index].build::<B>()));
        assert!(now.as_bytes() == before.as_bytes(), "{}: operand {index} was changed", what());
    }
    match (actual, expected) {
        (Err(_), Err(_)) => {}
        (Err(message), Ok(_)) => panic!("{}: panics, B does not: {message}", what()),
        (Ok(_), Err(message)) => panic!("{}: gives a result where B panics: {message}", what()),
        (Ok(actual), Ok(expected)) => {
            let data: Vec<TensorData> = build().into_iter().map(read::<B>).collect();
            let allowed = op.allow(&data, &expected);
            compare(&what(), &actual, &expected, &allowed, |a, e| op.forgives(a, e));
        }
    }
}

/// Asserts the same shape and type, the same NaN and infinities, and numbers within `allowed`.
pub fn compare(
    what: &str,
    actual: &TensorData,
    expected: &TensorData,
    allowed: &[f64],
    forgives: impl Fn(f64, f64) -> bool,
) {
    assert_eq!(actual.shape, expected.shape, "{what}: shape");
    assert_eq!(actual.dtype, expected.dtype, "{what}: element type");
    assert_eq!(allowed.len(), expected.num_elements(), "{what}: bounds");
    for (index, ((a, e), &bound)) in actual.iter::<f64>().zip(expected.iter::<f64>()).zip(allowed).enumerate() {
        let same = a == e || (a.is_nan() && e.is_nan());
        let near = a.is_finite() && e.is_finite() && (a - e).abs() <= bound;
        assert!(
            same || near || forgives(a, e),
            "{what}: element {index} is {a:e} instead of {e:e}, where {bound:e} is allowed"
        );
    }
}

/// The elements of a tensor of any rank.
pub fn read<B: Backend>(tensor: FloatTensor<B>) -> TensorData {
    let shape = tensor.shape();
    let flat = B::float_reshape(tensor, Shape::from([shape.num_elements()]));
    let mut data = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(flat)).into_data();
    data.shape = shape;
    data
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`, or what it panicked with; such a panic is part of a test and not printed.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|&s| s.into())).unwrap_or_default()
    })
}
