//! What is asked of a product.

use super::Call;
use crate::{
    Activation,
    cube::{CubeError, operands::is_output},
};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::{DType, Shape};

/// A product of rows with one or several weights `[n, k]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Rows of `x`: the product of all its dimensions but the last.
    pub rows: usize,
    /// Elements of a row.
    pub k: usize,
    /// Rows of each weight, and so columns of each output.
    pub n: Vec<usize>,
    /// One output of two products, `silu(x·gateᵀ) ⊙ (x·upᵀ)`, each weight with `n[0]` rows.
    pub gated: bool,
    /// Whether the rows of `x` are normalised first.
    pub norm: bool,
    /// After the bias.
    pub activation: Option<Activation>,
    /// How `x`, the residual and the outputs are stored.
    pub x: DType,
    /// How the weights are stored.
    pub weight: DType,
    /// How biases are stored; f32 when there are none.
    pub bias: DType,
    /// How the norm's weight is stored; f32 without a norm.
    pub gamma: DType,
    leading: Vec<usize>,
}

impl Problem {
    /// Reads it off a call and checks that its operands fit.
    ///
    /// # Errors
    /// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`].
    pub(super) fn new<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Self, CubeError> {
        let operands = call.operands();
        operands.check_floats()?;
        let invalid = |expected| operands.invalid(expected);
        let dims = call.x.shape().to_vec();
        let (&k, leading) = match dims.split_last() {
            Some((0, _)) | None => return Err(invalid("x must have a last dimension of 1 or more")),
            Some(found) => found,
        };
        let mut n = Vec::new();
        for layer in &call.layers {
            let &[out, depth] = layer.weight.shape().to_vec().as_slice() else {
                return Err(invalid("weights must have two dimensions"));
            };
            if depth != k {
                return Err(invalid("the last dimension of each weight must be that of x"));
            }
            if layer.bias.is_some_and(|bias| bias.shape().to_vec() != [out]) {
                return Err(invalid("a bias must have one dimension, the first of its weight"));
            }
            n.push(out);
        }
        let first = call.layers.first().ok_or_else(|| invalid("there must be a weight"))?;
        if call.layers.len() > 1 && (call.up.is_some() || call.residual.is_some()) {
            return Err(invalid("a gate or a residual needs a single layer"));
        }
        if call.up.is_some() && (call.activation.is_some() || first.bias.is_some()) {
            return Err(invalid("gate and up have neither bias nor activation of their own"));
        }
        if call.up.is_some_and(|up| up.shape() != first.weight.shape()) {
            return Err(invalid("gate and up must have one shape"));
        }
        if call.norm.is_some_and(|norm| norm.gamma.shape().to_vec() != [k]) {
            return Err(invalid("gamma must have one dimension, the last one of x"));
        }
        let problem = Self {
            rows: leading.iter().product(),
            k,
            n,
            gated: call.up.is_some(),
            norm: call.norm.is_some(),
            activation: call.activation,
            x: call.x.dtype,
            weight: first.weight.dtype,
            bias: first.bias.map_or(DType::F32, |bias| bias.dtype),
            gamma: call.norm.map_or(DType::F32, |norm| norm.gamma.dtype),
            leading: leading.to_vec(),
        };
        if call.addend.is_some_and(|addend| addend.shape() != call.x.shape() || addend.dtype != problem.x) {
            return Err(invalid("the addend must have the shape and dtype of x"));
        }
        let output = problem.output_shape(0);
        if call.residual.is_some_and(|residual| residual.shape() != output || residual.dtype != problem.x) {
            return Err(invalid("the residual must have the shape of the output and the dtype of x"));
        }
        let mut weights = call.layers.iter().map(|layer| layer.weight).chain(call.up);
        if weights.any(|weight| weight.dtype != problem.weight) {
            return Err(invalid("weights of one call must have one dtype"));
        }
        let biases = |bias: Option<&CubeTensor<R>>| bias.map(|bias| bias.dtype);
        if call.layers.iter().any(|layer| biases(layer.bias) != biases(first.bias)) {
            return Err(invalid("layers of one call must all have a bias of one dtype, or none"));
        }
        Ok(problem)
    }

    /// Checks tensors that are to be written.
    pub(super) fn check_outputs<R: CubeRuntime>(
        &self,
        call: &Call<'_, R>,
        outputs: &[CubeTensor<R>],
    ) -> Result<(), CubeError> {
        let shapes = self.output_shapes(call);
        let expected =
            "there must be an output [.., out] for each layer and one for the sum, contiguous, in the dtype of x";
        if outputs.len() != shapes.len() {
            return Err(call.operands().invalid(expected));
        }
        match outputs.iter().zip(&shapes).find(|(tensor, shape)| !is_output(tensor, shape, self.x)) {
            Some((output, _)) => Err(call.operands().invalid_output(expected, output)),
            None => Ok(()),
        }
    }

    /// The shape of output `layer`, `[.., n]`.
    pub(super) fn output_shape(&self, layer: usize) -> Shape {
        Shape::from([self.leading.as_slice(), &[self.n[layer]]].concat())
    }

    /// The shapes of all outputs: of each layer, then the sum with an addend.
    pub(super) fn output_shapes<R: CubeRuntime>(&self, call: &Call<'_, R>) -> Vec<Shape> {
        (0..self.n.len()).map(|layer| self.output_shape(layer)).chain(call.addend.map(|_| call.x.shape())).collect()
    }

    /// Weights of which each output is made.
    pub fn weights_per_output(&self) -> usize {
        if self.gated { 2 } else { 1 }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    /// Rows of `k` f32 with weights of so many f16 rows.
    pub fn make_problem(rows: usize, k: usize, n: &[usize], gated: bool) -> Problem {
        Problem {
            rows,
            k,
            n: n.to_vec(),
            gated,
            norm: false,
            activation: None,
            x: DType::F32,
            weight: DType::F16,
            bias: DType::F32,
            gamma: DType::F32,
            leading: vec![rows],
        }
    }
}
