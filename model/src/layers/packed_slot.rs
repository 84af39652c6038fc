//! The place beside a weight for what a backend packed from it.

use burn::module::{
    AutodiffModule, Content, Devices, EmptyRecord, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor, Param, ParamId,
};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Shape, Tensor};
use burn_kiln_fusion::{FusedOps, KernelConfig, Weight};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Holds a `B::Packed`, or nothing.
///
/// A module is bound by plain `Backend` (Burn derives its autodiff twin on the inner backend), which has no packed
/// form: so the type is erased here, and asked for again where `B: FusedOps`.
///
/// A packed weight is a derived value. Whatever may change the parameter that it came from empties the slot:
/// mapping, loading a record, moving to another device, and going to or from an autodiff backend.
pub struct PackedSlot<B: Backend> {
    packed: Option<Arc<dyn Any + Send + Sync>>,
    backend: PhantomData<B>,
}

impl<B: Backend> PackedSlot<B> {
    /// Nothing packed.
    pub fn empty() -> Self {
        Self { packed: None, backend: PhantomData }
    }

    /// True when nothing is packed.
    pub fn is_empty(&self) -> bool {
        self.packed.is_none()
    }
}

impl<B: FusedOps> PackedSlot<B> {
    /// What the slot holds, if it is of this backend.
    pub fn get(&self) -> Option<&B::Packed> {
        self.packed.as_ref()?.downcast_ref()
    }

    /// The packed weight where there is one, else the parameter's value.
    pub(super) fn weight(&self, parameter: &Param<Tensor<B, 2>>) -> Weight<B> {
        match self.get() {
            Some(packed) => Weight::Packed(packed.clone()),
            None => Weight::Plain(parameter.val()),
        }
    }

    /// Packs `parameter` into this slot and lets go of its tensor.
    ///
    /// The parameter stays: it turns lazy, and unpacks when something (a record, a visitor) asks for its value.
    pub(super) fn fill(&mut self, parameter: &mut Param<Tensor<B, 2>>, config: &KernelConfig) {
        if self.get().is_some() {
            return;
        }
        let (id, device, shape) = (parameter.id, parameter.lazy_device(), parameter.lazy_shape());
        let plain = std::mem::replace(parameter, hollow(id, &device, shape.clone())).into_value();
        let packed = B::pack(plain, config);
        let source = packed.clone();
        let unpack = move |_: &B::Device, require_grad| B::unpack(&source).set_require_grad(require_grad);
        *parameter = Param::uninitialized(id, unpack, device, true, shape);
        self.packed = Some(Arc::new(packed));
    }

    /// Puts the rows back into `parameter`, bit for bit, and empties the slot.
    pub(super) fn empty_into(&mut self, parameter: &mut Param<Tensor<B, 2>>) {
        if let Some(packed) = self.get() {
            let id = parameter.id;
            let plain = B::unpack(packed);
            let shape = plain.shape();
            let device = plain.device();
            *parameter = hollow(id, &device, shape).transform_for_load(plain, id);
        }
        self.packed = None;
    }
}

/// A lazy parameter that is replaced before anything reads it; it allocates nothing.
fn hollow<B: Backend>(id: ParamId, device: &B::Device, shape: Shape) -> Param<Tensor<B, 2>> {
    let zeros = shape.clone();
    Param::uninitialized(id, move |device, _| Tensor::zeros(zeros.clone(), device), device.clone(), true, shape)
}

impl<B: Backend> Clone for PackedSlot<B> {
    fn clone(&self) -> Self {
        Self { packed: self.packed.clone(), backend: PhantomData }
    }
}

impl<B: Backend> fmt::Debug for PackedSlot<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "PackedSlot(empty)" } else { "PackedSlot(packed)" })
    }
}

impl<B: Backend> Module<B> for PackedSlot<B> {
    type Record = EmptyRecord;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        devices
    }

    fn fork(self, _: &B::Device) -> Self {
        Self::empty()
    }

    fn to_device(self, _: &B::Device) -> Self {
        Self::empty()
    }

    fn visit<V: ModuleVisitor<B>>(&self, _: &mut V) {}

    fn map<M: ModuleMapper<B>>(self, _: &mut M) -> Self {
        Self::empty()
    }

    fn load_record(self, _: Self::Record) -> Self {
        Self::empty()
    }

    fn into_record(self) -> Self::Record {
        EmptyRecord
    }
}

impl<B: AutodiffBackend> AutodiffModule<B> for PackedSlot<B> {
    type InnerModule = PackedSlot<B::InnerBackend>;

    fn valid(&self) -> Self::InnerModule {
        PackedSlot::empty()
    }

    fn from_inner(_: Self::InnerModule) -> Self {
        Self::empty()
    }
}

impl<B: Backend> ModuleDisplayDefault for PackedSlot<B> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&format!("{self:?}")).optional()
    }
}

impl<B: Backend> ModuleDisplay for PackedSlot<B> {}
