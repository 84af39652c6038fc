//! Ops by their sizes.

use burn_backend::DType;
use burn_kiln_fusion::NormKind;

/// An op of a model, as far as it decides how the op runs: for [`Engine::explain_op`](crate::Engine::explain_op).
/// Activations are f32, weights are `W`, `[out, in]`; lengths are in elements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OpShape<W> {
    /// A norm of rows.
    Norm {
        /// Which.
        kind: NormKind,
        /// Rows.
        rows: usize,
        /// Length of a row.
        d: usize,
        /// Whether a residual is added first.
        residual: bool,
    },
    /// RMS norm and linear layers after it.
    NormLinears {
        /// Rows.
        rows: usize,
        /// Of each layer.
        weights: Vec<W>,
    },
    /// Norm and rotation of queries' and keys' heads, and the store of keys and values to a cache.
    Heads(AttentionShape),
    /// Attention with a cache.
    Attention(AttentionShape),
    /// A gated MLP and its residual.
    GatedMlp {
        /// Rows.
        rows: usize,
        /// `[intermediate, hidden]`.
        gate: W,
        /// `[intermediate, hidden]`.
        up: W,
        /// `[hidden, intermediate]`.
        down: W,
        /// Whether residual addition and RMS norm come first.
        add_norm: bool,
    },
    /// A mixture of experts behind its router.
    Moe {
        /// Rows.
        tokens: usize,
        /// Length of a row.
        hidden: usize,
        /// Length of an expert's hidden row.
        intermediate: usize,
        /// How many there are.
        experts: usize,
        /// Experts of a token.
        top_k: usize,
    },
    /// Softmax of rows.
    Softmax {
        /// Rows.
        rows: usize,
        /// Length of a row.
        d: usize,
    },
    /// An activation of so many elements.
    Activation(usize),
    /// Rows of a weight by id.
    Embedding {
        /// How many.
        ids: usize,
        /// `[rows, d]`.
        table: W,
    },
}

/// Sizes of an attention of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    /// Positions of the queries.
    pub queries: usize,
    /// Positions of keys and values, those of the queries included.
    pub keys: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Length of a head.
    pub head_dim: usize,
    /// How keys and values are stored.
    pub cache: DType,
    /// Whether a query sees the keys up to its own position only.
    pub causal: bool,
}

impl<W> OpShape<W> {
    /// The same op with other weights.
    pub fn map_weights<'a, V>(&'a self, mut map: impl FnMut(&'a W) -> V) -> OpShape<V> {
        match self {
            &Self::Norm { kind, rows, d, residual } => OpShape::Norm { kind, rows, d, residual },
            Self::NormLinears { rows, weights } => {
                OpShape::NormLinears { rows: *rows, weights: weights.iter().map(map).collect() }
            }
            Self::Heads(shape) => OpShape::Heads(*shape),
            Self::Attention(shape) => OpShape::Attention(*shape),
            Self::GatedMlp { rows, gate, up, down, add_norm } => {
                let [gate, up, down] = [gate, up, down].map(map);
                OpShape::GatedMlp { rows: *rows, gate, up, down, add_norm: *add_norm }
            }
            &Self::Moe { tokens, hidden, intermediate, experts, top_k } => {
                OpShape::Moe { tokens, hidden, intermediate, experts, top_k }
            }
            &Self::Softmax { rows, d } => OpShape::Softmax { rows, d },
            Self::Activation(elements) => OpShape::Activation(*elements),
            Self::Embedding { ids, table } => OpShape::Embedding { ids: *ids, table: map(table) },
        }
    }
}
