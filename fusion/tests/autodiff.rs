//! Nodes of the fused ops among Burn's own on one tape.

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn_flex::Flex;
use burn_kiln_fusion::conformance::Sampler;
use burn_kiln_fusion::{Epilogue, FusedOps, GatedMlpWeights, KernelConfig, MoeOptions, MoeWeights, Weight, compose};
use burn_tensor::{DType, Int, Tensor, TensorData};

type Tape<C> = Autodiff<Flex, C>;
type Plain = Autodiff<Flex>;

const TOKENS: usize = 5;
const HIDDEN: usize = 6;
const INTERMEDIATE: usize = 7;
const EPSILON: f64 = 1e-6;

fn draw<C: CheckpointStrategy, const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<Tape<C>, D> {
    let values: Vec<f32> = Sampler::new(seed).draw(&shape).data.iter().map(|&value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default()).require_grad()
}

/// Operands of two residual layers.
struct Operands<C: CheckpointStrategy> {
    x: Tensor<Tape<C>, 2>,
    gamma: Tensor<Tape<C>, 1>,
    matrices: [Tensor<Tape<C>, 2>; 3],
}

impl<C: CheckpointStrategy> Operands<C> {
    fn draw() -> Self {
        let wide = [INTERMEDIATE, HIDDEN];
        let matrices = [draw(3, wide), draw(4, wide), draw(5, [HIDDEN, INTERMEDIATE])];
        Self { x: draw(1, [TOKENS, HIDDEN]), gamma: draw(2, [HIDDEN]), matrices }
    }

    fn weights(&self) -> GatedMlpWeights<Tape<C>> {
        let [gate, up, down] = self.matrices.clone().map(Weight::Plain);
        GatedMlpWeights { gate, up, down }
    }

    /// Two layers by fused ops, with ops of Burn's between them.
    fn run_fused(&self) -> Tensor<Tape<C>, 1> {
        let config = KernelConfig::default();
        let weights = self.weights();
        let mut stream = self.x.clone();
        let mut branch = self.x.clone().sin();
        for _ in 0..2 {
            let both = FusedOps::add_norm(stream, branch, self.gamma.clone(), EPSILON, &config);
            branch = FusedOps::mlp_gated(both.normed.clone(), &weights, Some(both.normed), &config);
            // A second consumer of the sum, of the same depth as its norm.
            stream = both.sum.clone() + both.sum.tanh();
        }
        (stream + branch).powi_scalar(2).sum()
    }

    /// The same by Burn's ops alone.
    fn run_plain(&self) -> Tensor<Tape<C>, 1> {
        let [gate, up, down] = self.matrices.clone().map(Tensor::transpose);
        let mut stream = self.x.clone();
        let mut branch = self.x.clone().sin();
        for _ in 0..2 {
            let sum = stream + branch;
            let deviation = (sum.clone().powi_scalar(2).mean_dim(1) + EPSILON).sqrt();
            let normed = sum.clone() / deviation * self.gamma.clone().unsqueeze();
            let hidden = burn_tensor::activation::silu(normed.clone().matmul(gate.clone()));
            branch = (hidden * normed.clone().matmul(up.clone())).matmul(down.clone()) + normed;
            stream = sum.clone() + sum.tanh();
        }
        (stream + branch).powi_scalar(2).sum()
    }

    /// Gradients of all operands, flat.
    fn differentiate(&self, loss: Tensor<Tape<C>, 1>) -> Vec<Vec<f32>> {
        let grads = loss.backward();
        let read = |grad: Option<TensorData>| grad.expect("a gradient").iter::<f32>().collect::<Vec<_>>();
        let mut all = vec![
            read(self.x.grad(&grads).map(Tensor::into_data)),
            read(self.gamma.grad(&grads).map(Tensor::into_data)),
        ];
        all.extend(self.matrices.iter().map(|matrix| read(matrix.grad(&grads).map(Tensor::into_data))));
        all
    }
}

/// Both orders of f32 rounding agree to 1e-5 of the largest gradient.
fn assert_same(actual: &[Vec<f32>], expected: &[Vec<f32>]) {
    for (actual, expected) in actual.iter().zip(expected) {
        let largest = expected.iter().fold(1.0_f32, |max, value| max.max(value.abs()));
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() <= 1e-5 * largest, "{actual} is not {expected}, of at most {largest}");
        }
    }
}

#[test]
fn a_residual_stream_gives_the_gradients_of_burns_own_ops() {
    let operands = Operands::<NoCheckpointing>::draw();
    let fused = operands.differentiate(operands.run_fused());
    let plain = Operands::<NoCheckpointing>::draw();
    assert_same(&fused, &plain.differentiate(plain.run_plain()));
}

#[test]
fn balanced_checkpointing_computes_burns_ops_again_but_not_the_nodes() {
    let operands = Operands::<BalancedCheckpointing>::draw();
    let plain = Operands::<NoCheckpointing>::draw();
    assert_same(&operands.differentiate(operands.run_fused()), &plain.differentiate(plain.run_plain()));
}

#[test]
fn gradients_have_the_dtype_of_what_they_belong_to() {
    let device = Default::default();
    let x = Tensor::<Plain, 2>::ones([2, 3], (&device, DType::F32)).require_grad();
    let weight = Tensor::<Plain, 2>::ones([4, 3], (&device, DType::BF16)).require_grad();
    let bias = Tensor::<Plain, 1>::ones([4], (&device, DType::BF16)).require_grad();
    let epilogue = Epilogue::bias(Some(bias.clone()));
    let y = FusedOps::linear(x.clone(), &Weight::Plain(weight.clone()), epilogue, &KernelConfig::default());
    let grads = y.sum().backward();
    assert_eq!(x.grad(&grads).map(|grad| grad.dtype()), Some(DType::F32));
    assert_eq!(weight.grad(&grads).map(|grad| grad.dtype()), Some(DType::BF16));
    assert_eq!(bias.grad(&grads).map(|grad| grad.dtype()), Some(DType::BF16));
}

#[test]
fn what_nothing_trains_is_not_recorded() {
    let device = Default::default();
    let x = Tensor::<Plain, 2>::ones([2, 3], &device);
    let gamma = Tensor::<Plain, 1>::ones([3], &device);
    let both = FusedOps::add_norm(x.clone(), x, gamma, EPSILON, &KernelConfig::default());
    assert!(!both.normed.is_require_grad());
    // A leaf may be asked for gradients; an output of a recorded node may not, and would panic here.
    assert!(both.sum.require_grad().is_require_grad());
    assert!(both.normed.require_grad().is_require_grad());
}

/// The composition is what an op without a node runs as: it must differentiate by itself.
#[test]
fn the_composition_of_a_mixture_differentiates_on_the_tape() {
    let options = MoeOptions { top_k: 2, norm_topk_prob: true };
    let config = KernelConfig::default();
    let x = draw::<NoCheckpointing, 2>(1, [TOKENS, HIDDEN]);
    let router = draw::<NoCheckpointing, 2>(2, [4, HIDDEN]);
    let weights = MoeWeights::<Plain> {
        router: Weight::Plain(router.clone()),
        gate_up: draw::<NoCheckpointing, 3>(3, [4, HIDDEN, 2 * INTERMEDIATE]),
        down: draw::<NoCheckpointing, 3>(4, [4, INTERMEDIATE, HIDDEN]),
    };
    let differentiate = |output: Tensor<Plain, 2>| {
        let grads = output.powi_scalar(2).sum().backward();
        let read = |data: Option<TensorData>| data.expect("a gradient").iter::<f32>().collect::<Vec<_>>();
        vec![
            read(x.grad(&grads).map(Tensor::into_data)),
            read(router.grad(&grads).map(Tensor::into_data)),
            read(weights.gate_up.grad(&grads).map(Tensor::into_data)),
            read(weights.down.grad(&grads).map(Tensor::into_data)),
        ]
    };
    // The node was held against the reference by the conformance checks.
    let composed = differentiate(compose::moe::moe(x.clone(), &weights, options, &config));
    assert_same(&composed, &differentiate(FusedOps::moe(x.clone(), &weights, options, &config)));
}

/// Tapes that end on other threads free nothing of this one's, though its nodes are held by nobody while an op is
/// recorded and its leaves were used before.
#[test]
fn tapes_of_several_threads_leave_each_other_alone() {
    let work = |seed: u64| {
        let table = draw::<NoCheckpointing, 2>(seed, [7, 3]).require_grad();
        for _ in 0..300 {
            let ids = Tensor::<Tape<NoCheckpointing>, 2, Int>::from_data([[1, 4, 1]], &Default::default());
            let config = KernelConfig::default();
            let rows = FusedOps::embedding(&Weight::Plain(table.clone()), ids, &config);
            let out = FusedOps::silu(FusedOps::silu(rows, &config), &config);
            let grads = out.sum().backward();
            assert!(table.grad(&grads).is_some(), "thread {seed}");
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || work(seed));
        }
    });
}
