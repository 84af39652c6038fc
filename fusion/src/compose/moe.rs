//! Mixture of gated MLPs.
//!
//! Tokens are grouped by expert: one pair of products an expert, over the tokens that chose it, and none for the
//! others. Outputs come back in the order of the slots (token by token, best expert first), so that a token's sum has a
//! fixed order.

use super::routing::{Routing, to_indices};
use crate::{
    Epilogue, FusedOps, KernelConfig, MoeGrads, MoeInputGrads, MoeOptions, MoeWeights, SiluMulGrads, TrainingOps,
};
use burn_tensor::{IndexingUpdateOp, Tensor};

/// Default of [`FusedOps::moe`].
pub fn moe<B: FusedOps>(
    x: Tensor<B, 2>,
    weights: &MoeWeights<B>,
    options: MoeOptions,
    config: &KernelConfig,
) -> Tensor<B, 2> {
    let [tokens, hidden] = x.dims();
    if tokens == 0 {
        return x;
    }
    let Gates { routing, chosen, .. } = route(x.clone(), weights, options, config);
    let mut outputs = Vec::with_capacity(routing.experts.len());
    for (expert, slots) in &routing.experts {
        let expert = Expert::take(weights, *expert, &x);
        let rows = gather_tokens(&x, slots, routing.top_k);
        outputs.push(expert.run(rows, config).output);
    }
    let outputs = Tensor::cat(outputs, 0).select(0, routing.locate(&x.device()));
    let outputs = outputs.reshape([tokens, routing.top_k, hidden]);
    (outputs * chosen.unsqueeze_dim(2)).sum_dim(1).reshape([tokens, hidden])
}

/// Default of [`TrainingOps::moe_backward`].
pub fn moe_backward<B: TrainingOps>(
    x: Tensor<B, 2>,
    weights: &MoeWeights<B>,
    options: MoeOptions,
    grad: Tensor<B, 2>,
    config: &KernelConfig,
) -> MoeGrads<B> {
    let like = (&x.device(), x.dtype());
    let mut gate_up = Tensor::zeros(weights.gate_up.dims(), like);
    let mut down = Tensor::zeros(weights.down.dims(), like);
    let sink = |index: usize, of_gate_up: Tensor<B, 2>, of_down: Tensor<B, 2>| {
        // Moved, so that the stacks are written in place.
        gate_up.inplace(|stack| assign(stack, index, of_gate_up));
        down.inplace(|stack| assign(stack, index, of_down));
    };
    let MoeInputGrads { x, router } = differentiate(x, weights, options, grad, Some(sink), config);
    MoeGrads { x, router, gate_up, down }
}

/// Default of [`TrainingOps::moe_input_backward`].
pub fn moe_input_backward<B: TrainingOps>(
    x: Tensor<B, 2>,
    weights: &MoeWeights<B>,
    options: MoeOptions,
    grad: Tensor<B, 2>,
    config: &KernelConfig,
) -> MoeInputGrads<B> {
    differentiate(x, weights, options, grad, None::<Sink<B>>, config)
}

/// What takes the gradients of an expert's matrices.
type Sink<B> = fn(usize, Tensor<B, 2>, Tensor<B, 2>);

/// The gradients of the tokens and of the router; those of each chosen expert, of gate and up and of down, go to
/// `sink`.
fn differentiate<B: TrainingOps>(
    x: Tensor<B, 2>,
    weights: &MoeWeights<B>,
    options: MoeOptions,
    grad: Tensor<B, 2>,
    mut sink: Option<impl FnMut(usize, Tensor<B, 2>, Tensor<B, 2>)>,
    config: &KernelConfig,
) -> MoeInputGrads<B> {
    let ([tokens, hidden], device) = (x.dims(), x.device());
    if tokens == 0 {
        let router = Tensor::zeros(weights.router.unpack().dims(), (&device, x.dtype()));
        return MoeInputGrads { x: x.zeros_like(), router };
    }
    let gates = route(x.clone(), weights, options, config);
    let (routing, top_k) = (&gates.routing, gates.routing.top_k);
    let scales = gates.chosen.clone().reshape([tokens * top_k, 1]);
    let (mut dx, mut dots) = (Vec::new(), Vec::new());
    for (index, slots) in &routing.experts {
        let expert = Expert::take(weights, *index, &x);
        let rows = gather_tokens(&x, slots, top_k);
        let pass = expert.run(rows.clone(), config);
        let grad = gather_tokens(&grad, slots, top_k);
        // The gradient of a slot's probability is its output's product with the gradient.
        dots.push((pass.output.clone() * grad.clone()).sum_dim(1));
        let grad = grad * scales.clone().select(0, to_indices(slots.iter().copied(), &device));
        let dh = grad.clone().matmul(expert.down.clone().transpose());
        let SiluMulGrads { gate, up, product } = B::silu_mul_backward(pass.gate, pass.up, dh, config);
        let products = Tensor::cat(vec![gate, up], 1);
        if let Some(sink) = &mut sink {
            sink(*index, rows.transpose().matmul(products.clone()), product.transpose().matmul(grad));
        }
        dx.push(products.matmul(expert.gate_up.transpose()));
    }
    let places = routing.locate(&device);
    let dx = Tensor::cat(dx, 0).select(0, places.clone()).reshape([tokens, top_k, hidden]);
    let dchosen = Tensor::cat(dots, 0).select(0, places).reshape([tokens, top_k]);
    let dlogits = gates.differentiate(dchosen, options);
    let sum = dx.sum_dim(1).reshape([tokens, hidden]);
    MoeInputGrads {
        x: B::linear_input_gradient(&weights.router, dlogits.clone(), Some(sum), config),
        router: B::linear_weight_gradient(x, dlogits, None, config),
    }
}

/// Probabilities of the experts and which were chosen.
struct Gates<B: FusedOps> {
    routing: Routing,
    /// `softmax(x·routerᵀ)`, `[tokens, experts]`.
    probabilities: Tensor<B, 2>,
    /// Weights of the chosen experts, divided by their sum where asked, `[tokens, top_k]`.
    chosen: Tensor<B, 2>,
}

fn route<B: FusedOps>(
    x: Tensor<B, 2>,
    weights: &MoeWeights<B>,
    options: MoeOptions,
    config: &KernelConfig,
) -> Gates<B> {
    let device = x.device();
    let logits = FusedOps::linear(x, &weights.router, Epilogue::default(), config);
    let probabilities = burn_tensor::activation::softmax(logits, 1);
    let routing = Routing::choose(probabilities.clone().detach(), options.top_k);
    let mut chosen = probabilities.clone().gather(1, routing.to_ids(&device));
    if options.norm_topk_prob {
        chosen = chosen.clone() / chosen.sum_dim(1);
    }
    Gates { routing, probabilities, chosen }
}

impl<B: FusedOps> Gates<B> {
    /// The gradient of the router's logits from that of the chosen weights `c`, `[tokens, top_k]`.
    ///
    /// Divided weights `c = p/Σp` give `dp = (dc - Σ dc·c) / Σp`; the softmax gives `p ⊙ (dp - Σ dp·p)`.
    fn differentiate(&self, dchosen: Tensor<B, 2>, options: MoeOptions) -> Tensor<B, 2> {
        let ids = self.routing.to_ids::<B>(&dchosen.device());
        let dchosen = if options.norm_topk_prob {
            let sum = self.probabilities.clone().gather(1, ids.clone()).sum_dim(1);
            let along = (dchosen.clone() * self.chosen.clone()).sum_dim(1);
            (dchosen - along) / sum
        } else {
            dchosen
        };
        let dp = self.probabilities.zeros_like().scatter(1, ids, dchosen, IndexingUpdateOp::Add);
        let along = (dp.clone() * self.probabilities.clone()).sum_dim(1);
        self.probabilities.clone() * (dp - along)
    }
}

/// One expert's matrices in the activations' dtype. Only one expert is converted at a time.
struct Expert<B: FusedOps> {
    /// `[hidden, 2 · intermediate]`.
    gate_up: Tensor<B, 2>,
    /// `[intermediate, hidden]`.
    down: Tensor<B, 2>,
}

/// What an expert computed for its tokens.
struct ExpertPass<B: FusedOps> {
    gate: Tensor<B, 2>,
    up: Tensor<B, 2>,
    output: Tensor<B, 2>,
}

impl<B: FusedOps> Expert<B> {
    fn take(weights: &MoeWeights<B>, index: usize, like: &Tensor<B, 2>) -> Self {
        let matrix = |stack: &Tensor<B, 3>| {
            let [_, rows, columns] = stack.dims();
            stack.clone().narrow(0, index, 1).reshape([rows, columns]).cast(like.dtype())
        };
        Self { gate_up: matrix(&weights.gate_up), down: matrix(&weights.down) }
    }

    fn run(&self, x: Tensor<B, 2>, config: &KernelConfig) -> ExpertPass<B> {
        let products = x.matmul(self.gate_up.clone());
        let intermediate = products.dims()[1] / 2;
        let gate = products.clone().narrow(1, 0, intermediate);
        let up = products.narrow(1, intermediate, intermediate);
        let output = (B::silu(gate.clone(), config) * up.clone()).matmul(self.down.clone());
        ExpertPass { gate, up, output }
    }
}

/// Rows of the tokens that `slots` belong to.
fn gather_tokens<B: FusedOps>(x: &Tensor<B, 2>, slots: &[usize], top_k: usize) -> Tensor<B, 2> {
    let tokens = to_indices(slots.iter().map(|slot| slot / top_k), &x.device());
    x.clone().select(0, tokens)
}

/// Writes one expert's matrix into a stack.
fn assign<B: FusedOps>(stack: Tensor<B, 3>, index: usize, matrix: Tensor<B, 2>) -> Tensor<B, 3> {
    let [_, rows, columns] = stack.dims();
    stack.slice_assign([index..index + 1, 0..rows, 0..columns], matrix.unsqueeze_dim(0))
}
