//! The products that are compared.

use crate::case::{Dtype, LAYERS};
use burn::tensor::{DType, Distribution, Tensor};
use burn_flex::Flex;
use burn_kiln::{Kiln, scope};
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, Weight};
use clap::ValueEnum;
use kiln_kernels::ElementType;
use kiln_kernels::planning::{Layout, ProductShape};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::sync::Arc;

type B = Kiln<Flex>;

/// Where products come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
pub enum Group {
    /// The decoder of the 2B model.
    #[value(name = "2b")]
    #[serde(rename = "2b")]
    B2,
    /// The decoder of the 4B model.
    #[value(name = "4b")]
    #[serde(rename = "4b")]
    B4,
    /// The decoder of the 8B model.
    #[value(name = "8b")]
    #[serde(rename = "8b")]
    B8,
    /// Squares.
    #[serde(rename = "small")]
    Small,
}

/// How the right operand is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A packed weight.
    Packed,
    /// A weight in the checkpoint's rows, `[n, k]`.
    Rows,
    /// A matrix `[k, n]`, by Burn's `matmul`.
    Matrix,
}

/// `[m, k] · [k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Product {
    /// Where it comes from.
    pub group: Group,
    /// Type of the right operand; the left one is f32, and of a matrix too.
    pub dtype: Dtype,
    /// How the right one is held.
    pub form: Form,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Depth.
    pub k: usize,
}

/// Rows of a decoder's products: a token, a few, prompts.
const ROWS: [usize; 5] = [1, 4, 16, 128, 512];

/// Sizes of squares.
const SQUARES: [usize; 9] = [16, 24, 32, 48, 64, 96, 128, 192, 256];

/// Up to this many rows weights come from memory in a model, so here too.
const COLD_ROWS: usize = 16;

/// Bytes of the weights that take turns then: several times the caches of most machines.
const COLD_BYTES: usize = 192 << 20;

/// The products of `group` with weights of `dtype`.
pub fn list(group: Group, dtype: Dtype) -> Vec<Product> {
    let layers = match group {
        Group::B2 => &LAYERS[..4],
        Group::B4 => &LAYERS[4..9],
        Group::B8 => &LAYERS[9..],
        Group::Small => {
            let forms: &[Form] = if dtype == Dtype::F32 { &[Form::Packed, Form::Matrix] } else { &[Form::Packed] };
            let square = |form: &Form| SQUARES.map(|n| Product { group, dtype, form: *form, m: n, n, k: n });
            return forms.iter().flat_map(square).collect();
        }
    };
    let forms = [Form::Packed, Form::Rows].into_iter();
    let each =
        forms.flat_map(|form| ROWS.into_iter().flat_map(move |m| layers.iter().map(move |&layer| (form, m, layer))));
    each.map(|(form, m, (n, k))| Product { group, dtype, form, m, n, k }).collect()
}

/// A product's operands.
#[derive(Debug, Clone)]
pub struct Operands {
    x: Tensor<B, 2>,
    right: Right,
    next: usize,
}

#[derive(Debug, Clone)]
enum Right {
    Weights(Arc<Vec<Weight<B>>>),
    Matrix(Tensor<B, 2>),
}

impl Product {
    /// What planning sees of it.
    pub fn shape(&self) -> ProductShape {
        let Self { m, n, k, .. } = *self;
        let layout = match self.form {
            Form::Packed => Layout::Packed,
            Form::Rows => Layout::Columns,
            Form::Matrix => Layout::Rows,
        };
        let b = match self.dtype {
            Dtype::F32 => ElementType::F32,
            Dtype::Bf16 => ElementType::Bf16,
        };
        ProductShape { m, n, k, a: ElementType::F32, b, layout }
    }

    fn stored(&self) -> DType {
        match self.dtype {
            Dtype::F32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
        }
    }

    /// Random operands: one right one in cache, as many as no cache holds for a few rows of a model.
    pub fn operands(&self) -> Operands {
        let Self { group, form, m, n, k, .. } = *self;
        let device = Default::default();
        let random = |shape: [usize; 2]| Tensor::<B, 2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let right = if form == Form::Matrix {
            Right::Matrix(random([k, n]))
        } else {
            let rows = random([n, k]).cast(self.stored());
            let cold = group != Group::Small && m <= COLD_ROWS;
            let count = if cold { COLD_BYTES.div_ceil(n * k * self.dtype.size()) } else { 1 };
            let weight = |_| {
                // A copy: weights that share their memory would share a cache too.
                let weight = Weight::Plain(rows.clone().mul_scalar(1.0));
                if form == Form::Packed { weight.pack(&KernelConfig::default()) } else { weight }
            };
            Right::Weights(Arc::new((0..count).map(weight).collect()))
        };
        Operands { x: random([m, k]), right, next: 0 }
    }
}

impl Operands {
    /// Multiplies once under `config`.
    pub fn multiply(&mut self, config: &Arc<KernelConfig>) {
        match &self.right {
            Right::Matrix(matrix) => {
                drop(black_box(scope(config, || self.x.clone().matmul(matrix.clone()))));
            }
            Right::Weights(weights) => {
                self.next = (self.next + 1) % weights.len();
                let weight = &weights[self.next];
                drop(black_box(<B as FusedOps>::linear(self.x.clone(), weight, Epilogue::default(), config)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_is_there_in_every_form() {
        assert_eq!(list(Group::B2, Dtype::F32).len(), 2 * 5 * 4);
        assert_eq!(list(Group::B4, Dtype::Bf16).len(), 2 * 5 * 5);
        assert_eq!(list(Group::B8, Dtype::F32).len(), 2 * 5 * 4);
        assert_eq!((list(Group::Small, Dtype::F32).len(), list(Group::Small, Dtype::Bf16).len()), (18, 9));
        let config = Arc::new(KernelConfig::default());
        for product in list(Group::Small, Dtype::Bf16).into_iter().chain(list(Group::Small, Dtype::F32)) {
            product.operands().multiply(&config);
        }
    }
}
