//! Moving parameters from one module to another of the same structure.
//!
//! Burn's modules carry their backend in their type, and nothing maps `Linear<B>` to `Linear<Kiln<B>>`. So the tensors
//! are taken out of the one, by path, and put into a second one of the same sizes. `Kiln<B>` keeps `B`'s tensors, so
//! none is copied.

use super::TransferError;
use burn_backend::tensor::{BoolTensor, FloatTensor, IntTensor, QuantizedTensor};
use burn_backend::{Backend, TensorMetadata};
use burn_core::module::{Module, ModuleMapper, Param};
use burn_std::Shape;
use burn_tensor::{Bool, Int, Tensor, TensorPrimitive};
use std::collections::BTreeMap;

/// Gives the parameters of `source` to `target`, path by path, without a copy: `target` is a module of the same sizes
/// on a backend that shares the source's tensors, such as one whose parameters are still lazy (nothing is allocated for
/// them).
///
/// Parameters keep their ids. A parameter of `source` that is lazy is initialised.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn_flex::Flex;
/// use burn_kiln::{Kiln, transfer};
///
/// let config = LinearConfig::new(8, 4);
/// let plain: Linear<Flex> = config.init(&Default::default());
/// let fast: Linear<Kiln<Flex>> = transfer(plain, config.init(&Default::default()))?;
/// # Ok::<(), burn_kiln::TransferError>(())
/// ```
///
/// # Errors
/// [`TransferError`] where the two are not made of the same parameters.
pub fn transfer<S, T, M, N>(source: M, target: N) -> Result<N, TransferError>
where
    S: Backend,
    T: Backend<
            FloatTensorPrimitive = S::FloatTensorPrimitive,
            IntTensorPrimitive = S::IntTensorPrimitive,
            BoolTensorPrimitive = S::BoolTensorPrimitive,
            QuantizedTensorPrimitive = S::QuantizedTensorPrimitive,
        >,
    M: Module<S>,
    N: Module<T>,
{
    let mut taker = Taker::<S> { path: Vec::new(), taken: BTreeMap::new() };
    drop(source.map(&mut taker));
    let mut giver = Giver::<S> { path: Vec::new(), taken: taker.taken, outcome: Ok(()) };
    let target = target.map(&mut GiverTo::<S, T> { giver: &mut giver, target: core::marker::PhantomData });
    giver.outcome?;
    match giver.taken.into_keys().next() {
        Some(path) => Err(TransferError::Left { path }),
        None => Ok(target),
    }
}

/// A parameter's value.
enum Value<B: Backend> {
    Float(FloatTensor<B>),
    Quantized(QuantizedTensor<B>),
    Int(IntTensor<B>),
    Bool(BoolTensor<B>),
}

impl<B: Backend> Value<B> {
    /// Kind and shape.
    fn describe(&self) -> String {
        match self {
            Self::Float(tensor) => describe("float", &tensor.shape()),
            Self::Quantized(tensor) => describe("float", &tensor.shape()),
            Self::Int(tensor) => describe("int", &tensor.shape()),
            Self::Bool(tensor) => describe("bool", &tensor.shape()),
        }
    }
}

fn describe(kind: &str, shape: &Shape) -> String {
    format!("{kind} {:?}", shape.to_vec())
}

/// Takes every value out of a module.
struct Taker<B: Backend> {
    path: Vec<String>,
    taken: BTreeMap<String, Value<B>>,
}

impl<B: Backend> Taker<B> {
    fn keep(&mut self, value: Value<B>) {
        self.taken.insert(self.path.join("."), value);
    }
}

/// A lazy parameter in place of one whose value was taken; nobody reads it.
macro_rules! hollow {
    ($param:expr, $dims:ident, $empty:expr) => {{
        let (id, device, shape) = ($param.id, $param.lazy_device(), $param.lazy_shape());
        let $dims = shape.clone();
        (
            Param::uninitialized(id, move |device, _| $empty($dims.clone(), device), device, false, shape),
            $param.into_value(),
        )
    }};
}

impl<B: Backend> ModuleMapper<B> for Taker<B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (rest, value) = hollow!(param, dims, |shape: Shape, device: &B::Device| Tensor::zeros(shape, device));
        self.keep(match value.into_primitive() {
            TensorPrimitive::Float(tensor) => Value::Float(tensor),
            TensorPrimitive::QFloat(tensor) => Value::Quantized(tensor),
        });
        rest
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        let (rest, value) = hollow!(param, dims, |shape: Shape, device: &B::Device| Tensor::zeros(shape, device));
        self.keep(Value::Int(value.into_primitive()));
        rest
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        let (rest, value) = hollow!(param, dims, |shape: Shape, device: &B::Device| Tensor::empty(shape, device));
        self.keep(Value::Bool(value.into_primitive()));
        rest
    }
}

/// Holds what was taken, until it is given.
struct Giver<B: Backend> {
    path: Vec<String>,
    taken: BTreeMap<String, Value<B>>,
    outcome: Result<(), TransferError>,
}

impl<B: Backend> Giver<B> {
    /// The value for the parameter at the current path, of this kind and shape. After an error there is none.
    fn find(&mut self, kind: &str, shape: &Shape) -> Option<Value<B>> {
        if self.outcome.is_err() {
            return None;
        }
        let path = self.path.join(".");
        let expected = describe(kind, shape);
        match self.taken.remove(&path) {
            Some(value) if value.describe() == expected => Some(value),
            Some(value) => {
                self.outcome = Err(TransferError::Shape { path, found: value.describe(), expected });
                None
            }
            None => {
                self.outcome = Err(TransferError::Missing { path });
                None
            }
        }
    }
}

/// Gives values to a module on `T`.
struct GiverTo<'a, S: Backend, T> {
    giver: &'a mut Giver<S>,
    target: core::marker::PhantomData<T>,
}

impl<S, T> ModuleMapper<T> for GiverTo<'_, S, T>
where
    S: Backend,
    T: Backend<
            FloatTensorPrimitive = S::FloatTensorPrimitive,
            IntTensorPrimitive = S::IntTensorPrimitive,
            BoolTensorPrimitive = S::BoolTensorPrimitive,
            QuantizedTensorPrimitive = S::QuantizedTensorPrimitive,
        >,
{
    fn enter_module(&mut self, name: &str, _: &str) {
        self.giver.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.giver.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<T, D>>) -> Param<Tensor<T, D>> {
        let tensor = match self.giver.find("float", &param.lazy_shape()) {
            Some(Value::Float(tensor)) => TensorPrimitive::Float(tensor),
            Some(Value::Quantized(tensor)) => TensorPrimitive::QFloat(tensor),
            _ => return param,
        };
        let id = param.id;
        param.transform_for_load(Tensor::from_primitive(tensor), id)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<T, D, Int>>) -> Param<Tensor<T, D, Int>> {
        let Some(Value::Int(tensor)) = self.giver.find("int", &param.lazy_shape()) else { return param };
        let id = param.id;
        param.transform_for_load(Tensor::from_primitive(tensor), id)
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<T, D, Bool>>) -> Param<Tensor<T, D, Bool>> {
        let Some(Value::Bool(tensor)) = self.giver.find("bool", &param.lazy_shape()) else { return param };
        let id = param.id;
        param.transform_for_load(Tensor::from_primitive(tensor), id)
    }
}
