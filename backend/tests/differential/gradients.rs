//! Gradients through `Autodiff<Kiln<B>>` and through `Autodiff<B>`, of nets in plain Burn ops.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::module::{attention, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor, TensorData, TensorPrimitive, Tolerance, activation};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::{Engine, Kiln};
use burn_kiln_fusion::conformance::Sampler;
use burn_ndarray::NdArray;

/// Takes the gradient of one leaf from those of a backward pass.
type ReadGradient<B> = Box<dyn Fn(&<B as AutodiffBackend>::Gradients) -> TensorData>;

/// Leaves of a net, the same numbers on every backend.
struct Leaves<B: AutodiffBackend> {
    sampler: Sampler,
    made: Vec<ReadGradient<B>>,
}

impl<B: AutodiffBackend> Leaves<B> {
    fn new() -> Self {
        Self { sampler: Sampler::new(11), made: Vec::new() }
    }

    /// A tensor whose gradient is compared.
    fn make<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<B, D> {
        let values: Vec<f32> = self.sampler.draw(&shape).data.iter().map(|&x| x as f32).collect();
        let leaf = Tensor::<B, D>::from_data(TensorData::new(values, shape), &Default::default()).require_grad();
        let held = leaf.clone();
        self.made.push(Box::new(move |grads| held.grad(grads).expect("a gradient").into_data()));
        leaf
    }

    /// The loss and all gradients.
    fn differentiate(self, loss: Tensor<B, 1>) -> Vec<TensorData> {
        let grads = loss.backward();
        let mut all = vec![loss.into_data()];
        all.extend(self.made.iter().map(|grad| grad(&grads)));
        all
    }
}

/// Burn's layer norm, as `nn::LayerNorm` calls it.
fn layer_norm<B: AutodiffBackend>(
    x: Tensor<B, 3>,
    gamma: Tensor<B, 1>,
    beta: Option<Tensor<B, 1>>,
    epsilon: f64,
) -> Tensor<B, 3> {
    let lower = |tensor: Tensor<B, 1>| tensor.into_primitive().tensor();
    let output = B::layer_norm(x.into_primitive().tensor(), lower(gamma), beta.map(lower), epsilon);
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

/// Two layers, GELU between them, cross entropy over a log-softmax.
fn mlp<B: AutodiffBackend>() -> Vec<TensorData> {
    let mut leaves = Leaves::<B>::new();
    let x = leaves.make([3, 5, 17]);
    let hidden = linear(x, leaves.make([17, 33]), Some(leaves.make([33])));
    let hidden = activation::gelu(hidden.clone()) + activation::relu(hidden.clone()) * activation::sigmoid(hidden);
    let logits = linear(hidden, leaves.make([33, 9]), Some(leaves.make([9])));
    let target = activation::softmax(leaves.make([3, 5, 9]), 2);
    let loss = (activation::log_softmax(logits, 2) * target).mean().neg();
    leaves.differentiate(loss)
}

/// A layer norm on each side of arithmetic that broadcasts in both directions.
fn norms<B: AutodiffBackend>() -> Vec<TensorData> {
    let mut leaves = Leaves::<B>::new();
    let x = leaves.make([4, 6, 19]);
    let y = layer_norm(x, leaves.make([19]), Some(leaves.make([19])), 1e-5);
    let y = y * leaves.make([1, 6, 1]) + leaves.make([4, 1, 19]);
    let y = (leaves.make([1, 1, 19]) - y).div(leaves.make([4, 6, 1]).exp() + 1.5) / 0.7;
    let y = layer_norm(y, leaves.make([19]), None, 1e-6).swap_dims(1, 2);
    let loss = (y.clone() * y * leaves.make([4, 19, 6])).sum();
    leaves.differentiate(loss)
}

/// Causal attention with a mask and a bias, then a product with a transposed operand.
fn scores<B: AutodiffBackend>() -> Vec<TensorData> {
    let mut leaves = Leaves::<B>::new();
    let (q, k, v) = (leaves.make([2, 3, 7, 8]), leaves.make([2, 3, 9, 8]), leaves.make([2, 3, 9, 5]));
    let hides = Tensor::<B, 1, burn::tensor::Int>::arange(0..9, &Default::default()).equal_elem(2);
    let mask: Tensor<B, 4, Bool> = hides.reshape([1, 1, 1, 9]).expand([2, 3, 7, 9]);
    let options = AttentionModuleOptions { is_causal: true, softcap: Some(5.0), ..Default::default() };
    let y = attention(q, k, v, Some(mask), Some(leaves.make([2, 3, 7, 9])), options);
    let y = y.swap_dims(1, 2).reshape([2, 7, 15]);
    let y = y.clone().matmul(y.transpose()).matmul(leaves.make([1, 7, 4]));
    let loss = (y * leaves.make([2, 7, 4])).sum();
    leaves.differentiate(loss)
}

fn check<B: Engine>() {
    let nets = [
        ("mlp", mlp::<Autodiff<Kiln<B>>>(), mlp::<Autodiff<B>>()),
        ("norms", norms::<Autodiff<Kiln<B>>>(), norms::<Autodiff<B>>()),
        ("scores", scores::<Autodiff<Kiln<B>>>(), scores::<Autodiff<B>>()),
    ];
    for (net, actual, expected) in nets {
        println!("{net}");
        assert_eq!(actual.len(), expected.len(), "{net}");
        for (actual, expected) in actual.iter().zip(&expected) {
            // Gradients are sums of up to 300 terms of size 1, some twenty operations deep: 20 · √300 · 6e-8.
            actual.assert_approx_eq::<f32>(expected, Tolerance::rel_abs(1e-4, 2e-5));
        }
    }
}

#[test]
fn gradients_on_flex() {
    check::<Flex>();
}

#[test]
fn gradients_on_ndarray() {
    check::<NdArray>();
}
