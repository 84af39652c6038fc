//! Operands of linear layers, norms and feed-forward blocks.

use crate::family::{Conversion, Float, TensorFamily};
use kiln_kernels::Activation;

/// What a linear layer does to its product before storing it: `activation(x·Wᵀ + bias) + residual`.
#[derive(Debug, Clone)]
pub struct Epilogue<F: TensorFamily, const D: usize> {
    /// `[out]`.
    pub bias: Option<Float<F, 1>>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// `[.., out]`, added last.
    pub residual: Option<Float<F, D>>,
}

impl<F: TensorFamily, const D: usize> Default for Epilogue<F, D> {
    fn default() -> Self {
        Self { bias: None, activation: None, residual: None }
    }
}

impl<F: TensorFamily, const D: usize> Epilogue<F, D> {
    /// Only a bias, where there is one.
    pub fn bias(bias: Option<Float<F, 1>>) -> Self {
        Self { bias, ..Self::default() }
    }

    /// Only a residual.
    pub fn residual(residual: Float<F, D>) -> Self {
        Self { residual: Some(residual), ..Self::default() }
    }

    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> Epilogue<C::To, D> {
        let Self { bias, activation, residual } = self;
        Epilogue { bias: bias.map(C::convert_float::<1>), activation, residual: residual.map(C::convert_float::<D>) }
    }
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// `x / √(mean(x²) + eps) · gamma`.
    Rms,
    /// `(x - mean(x)) / √(var(x) + eps) · gamma + beta`.
    Layer,
}

/// A norm over the last dimension with its weights.
#[derive(Debug, Clone)]
pub struct Norm<F: TensorFamily> {
    /// Which norm.
    pub kind: NormKind,
    /// `[d]`.
    pub gamma: Float<F, 1>,
    /// `[d]`; only layer norm has one.
    pub beta: Option<Float<F, 1>>,
    /// Added to the variance or the mean square.
    pub epsilon: f64,
}

impl<F: TensorFamily> Norm<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> Norm<C::To> {
        let Self { kind, gamma, beta, epsilon } = self;
        Norm { kind, gamma: C::convert_float::<1>(gamma), beta: beta.map(C::convert_float::<1>), epsilon }
    }
}

/// An RMS norm over the last dimension: its weight.
#[derive(Debug, Clone)]
pub struct RmsWeights<F: TensorFamily> {
    /// `[d]`.
    pub gamma: Float<F, 1>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl<F: TensorFamily> RmsWeights<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> RmsWeights<C::To> {
        RmsWeights { gamma: C::convert_float::<1>(self.gamma), epsilon: self.epsilon }
    }
}

/// A residual addition and the RMS norm of its sum.
#[derive(Debug, Clone)]
pub struct AddNorm<F: TensorFamily, const D: usize> {
    /// `x + residual`.
    pub sum: Float<F, D>,
    /// The RMS norm of `sum`.
    pub normed: Float<F, D>,
}

/// One of several linear layers that read the same rows: `x·Wᵀ + bias`.
#[derive(Debug, Clone)]
pub struct LinearWeights<F: TensorFamily> {
    /// `[out, in]`.
    pub weight: F::Weight,
    /// `[out]`.
    pub bias: Option<Float<F, 1>>,
}

impl<F: TensorFamily> LinearWeights<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> LinearWeights<C::To> {
        LinearWeights { weight: C::convert_weight(self.weight), bias: self.bias.map(C::convert_float::<1>) }
    }
}

/// Weights of `down( silu(x·gateᵀ) ⊙ (x·upᵀ) )`.
#[derive(Debug, Clone)]
pub struct GatedMlpWeights<F: TensorFamily> {
    /// `[intermediate, hidden]`.
    pub gate: F::Weight,
    /// `[intermediate, hidden]`.
    pub up: F::Weight,
    /// `[hidden, intermediate]`.
    pub down: F::Weight,
}

impl<F: TensorFamily> GatedMlpWeights<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> GatedMlpWeights<C::To> {
        let Self { gate, up, down } = self;
        let [gate, up, down] = [gate, up, down].map(C::convert_weight);
        GatedMlpWeights { gate, up, down }
    }
}

/// Weights of `activation(x·fc1ᵀ + fc1_bias)·fc2ᵀ + fc2_bias`.
#[derive(Debug, Clone)]
pub struct PlainMlpWeights<F: TensorFamily> {
    /// `[intermediate, hidden]`.
    pub fc1: F::Weight,
    /// `[intermediate]`.
    pub fc1_bias: Option<Float<F, 1>>,
    /// `[hidden, intermediate]`.
    pub fc2: F::Weight,
    /// `[hidden]`.
    pub fc2_bias: Option<Float<F, 1>>,
    /// Between the two layers.
    pub activation: Activation,
}

impl<F: TensorFamily> PlainMlpWeights<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> PlainMlpWeights<C::To> {
        PlainMlpWeights {
            fc1: C::convert_weight(self.fc1),
            fc1_bias: self.fc1_bias.map(C::convert_float::<1>),
            fc2: C::convert_weight(self.fc2),
            fc2_bias: self.fc2_bias.map(C::convert_float::<1>),
            activation: self.activation,
        }
    }
}

/// Weights of a mixture of gated MLPs, in the released orientation.
#[derive(Debug, Clone)]
pub struct MoeWeights<F: TensorFamily> {
    /// `[experts, hidden]`.
    pub router: F::Weight,
    /// `[experts, hidden, 2 · intermediate]`: gate in the first half of the last dimension, up in the second.
    pub gate_up: Float<F, 3>,
    /// `[experts, intermediate, hidden]`.
    pub down: Float<F, 3>,
}

impl<F: TensorFamily> MoeWeights<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> MoeWeights<C::To> {
        MoeWeights {
            router: C::convert_weight(self.router),
            gate_up: C::convert_float::<3>(self.gate_up),
            down: C::convert_float::<3>(self.down),
        }
    }
}

/// How experts are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoeOptions {
    /// Experts a token goes to.
    pub top_k: usize,
    /// Whether the chosen probabilities are divided by their sum.
    pub norm_topk_prob: bool,
}
