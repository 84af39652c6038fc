//! One layer in both directions.

use super::tape::{Collect, backward, leaf};
use super::{Gradients, Keep};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_autodiff::Autodiff;

/// What is kept of a layer of `DI` dimensions in and `DO` out until its turn in reverse.
pub(super) enum Saved<B: Backend, const DI: usize, const DO: usize> {
    /// Nothing: no gradient goes through it.
    Nothing,
    /// Its input.
    Input(Tensor<B, DI>),
    /// Its tape, between its ends.
    Tape { input: Tensor<Autodiff<B>, DI>, output: Tensor<Autodiff<B>, DO> },
}

/// What a layer has to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    /// Whether a gradient goes through it.
    pub recorded: bool,
    /// Whether its input wants one.
    pub input_wanted: bool,
    pub keep: Keep,
}

/// The output of a layer, which `plain` computes, or `taped` with a tape, and what is kept of it.
pub(super) fn advance<B: Backend, const DI: usize, const DO: usize>(
    x: Tensor<B, DI>,
    task: Task,
    plain: impl FnOnce(Tensor<B, DI>) -> Tensor<B, DO>,
    taped: impl FnOnce(Tensor<Autodiff<B>, DI>) -> Tensor<Autodiff<B>, DO>,
) -> (Tensor<B, DO>, Saved<B, DI, DO>) {
    match (task.recorded, task.keep) {
        (false, _) => (plain(x), Saved::Nothing),
        (true, Keep::Input) => (plain(x.clone()), Saved::Input(x)),
        (true, Keep::Tape) => {
            let input = leaf(x, task.input_wanted);
            let output = taped(input.clone());
            (output.clone().inner(), Saved::Tape { input, output })
        }
    }
}

/// The gradient of a layer's input, where it is wanted, from its output's; those of the parameters of `module` go to
/// `gradients`.
pub(super) fn retreat<B: Backend, M: Module<Autodiff<B>>, const DI: usize, const DO: usize>(
    saved: Saved<B, DI, DO>,
    grad: Tensor<B, DO>,
    task: Task,
    taped: impl FnOnce(Tensor<Autodiff<B>, DI>) -> Tensor<Autodiff<B>, DO>,
    (module, gradients): (&M, &mut Gradients<B>),
) -> Option<Tensor<B, DI>> {
    let (input, output) = match saved {
        Saved::Nothing => return None,
        Saved::Input(x) => {
            let input = leaf(x, task.input_wanted);
            (input.clone(), taped(input))
        }
        Saved::Tape { input, output } => (input, output),
    };
    let mut tape = backward(output, grad)?;
    Collect { tape: &mut tape, gradients }.from(module);
    input.grad_remove(&mut tape)
}
