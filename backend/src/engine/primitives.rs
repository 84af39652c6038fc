//! Operands as an engine sees them: primitives, which know neither their decorator nor their rank.

use super::Engine;
use burn_backend::tensor::{BoolTensor, FloatTensor};
use burn_kiln_fusion::TensorFamily;
use core::marker::PhantomData;

/// The family of `B`'s primitives: `Norm<Primitives<B>>` is a norm with its weights, as a kernel of `B` takes it.
#[derive(Debug, Clone, Copy)]
pub struct Primitives<B>(PhantomData<B>);

/// The rank of operands that do not say it: a primitive knows its own.
pub const ANY_RANK: usize = 0;

impl<B: Engine> TensorFamily for Primitives<B> {
    type Float<const D: usize> = FloatTensor<B>;
    type Bool<const D: usize> = BoolTensor<B>;
    type Weight = EngineWeight<B>;
}

/// A weight `[out, in]`. Cloning is cheap: both forms are reference counted.
#[derive(Debug, Clone)]
pub enum EngineWeight<B: Engine> {
    /// The checkpoint's rows.
    Plain(FloatTensor<B>),
    /// What the engine packed.
    Packed(B::Panels),
}
