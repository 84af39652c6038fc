//! The activations that a configuration can name.

use burn::config::Config;

/// An element-wise activation, as `hidden_act` names it.
#[derive(Config, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HiddenAct {
    /// `silu`: `x / (1 + e⁻ˣ)`.
    Silu,
    /// `gelu_pytorch_tanh`: `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    GeluTanh,
    /// `gelu`: `x/2 · (1 + erf(x/√2))`.
    Gelu,
}

impl HiddenAct {
    /// The names that [`HiddenAct::from_name`] knows.
    pub(super) const NAMES: &'static str = "silu, gelu_pytorch_tanh, gelu";

    /// The activation that HF calls `name`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "silu" => Some(Self::Silu),
            "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "gelu" => Some(Self::Gelu),
            _ => None,
        }
    }
}
