//! `KernelConfig::none()` is plain `B`: no op of `Kiln<B>` reaches a kernel under it. A file, and so a process, of its
//! own: routes are counted for the process.

use burn::tensor::module::{attention, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Distribution, Int, Tensor, TensorPrimitive, activation, backend::Backend};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::routes::{Route, count};
use burn_kiln::{Engine, Kiln};
use burn_kiln_fusion::conformance::{self, Suite, WeightForm};
use burn_kiln_fusion::{FusedOps, KernelConfig, Weight};
use burn_ndarray::NdArray;
use burn_tensor::DType;
use std::sync::Arc;

/// What ran so far, by route.
fn counts() -> Vec<(Route, u64)> {
    Route::ALL.into_iter().map(|route| (route, count(route))).collect()
}

fn random<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(0.1, 1.0), &Default::default())
}

/// Every method that the decorator overrides, on operands that kernels take.
fn run_overridden<B: Backend>() {
    let x = random::<B, 2>([96, 96]);
    let (row, scale) = (random::<B, 2>([1, 96]), random::<B, 1>([96]));
    drop(x.clone().matmul(x.clone()));
    drop([x.clone() + x.clone(), x.clone() - x.clone(), x.clone() * x.clone(), x.clone() / x.clone()]);
    drop([x.clone() + row.clone(), x.clone() + 2.0, x.clone() - 2.0, x.clone() * 2.0, x.clone() / 2.0]);
    drop([x.clone().exp(), x.clone().tanh()]);
    drop([activation::relu(x.clone()), activation::gelu(x.clone()), activation::sigmoid(x.clone())]);
    drop([activation::softmax(x.clone(), 1), activation::softmax(x.clone(), 0), activation::log_softmax(x.clone(), 1)]);
    drop(linear(x.clone(), x.clone(), Some(scale.clone())));
    let lower = |x: Tensor<B, 1>| x.into_primitive().tensor();
    let normed = B::layer_norm(x.into_primitive().tensor(), lower(scale.clone()), Some(lower(scale)), 1e-5);
    drop(Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(normed)));
    let x = random::<B, 2>([96, 96]);
    let slope = B::gelu_backward(x.clone().into_primitive().tensor(), x.into_primitive().tensor());
    drop(Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(slope)));
    let heads = random::<B, 4>([1, 4, 33, 16]);
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    drop(attention(heads.clone(), heads.clone(), heads, None, None, options));
}

/// Every fused op and every backward, by the conformance checks: their operands have all layouts, and results must be
/// right.
fn run_fused<B: Engine>() {
    let forms = vec![WeightForm::Plain(DType::F32), WeightForm::Packed(DType::F32)];
    let suite = Suite::<Kiln<B>> { config: KernelConfig::none(), forms, ..Suite::new(Default::default()) };
    conformance::check_all(&suite);
}

#[test]
fn no_op_reaches_a_kernel() {
    let none = Arc::new(KernelConfig::none());
    // Packed with everything on, then used with everything off.
    let packed = Weight::<Kiln<Flex>>::Plain(random([64, 96])).pack(&KernelConfig::default());
    let ids = Tensor::<Kiln<Flex>, 2, Int>::from_data([[1, 3, 5]], &Default::default());
    let x = random::<Kiln<Flex>, 3>([1, 40, 96]);
    let before = counts();
    burn_kiln::scope(&none, || {
        run_overridden::<Kiln<Flex>>();
        run_overridden::<Kiln<NdArray>>();
        run_overridden::<Autodiff<Kiln<Flex>>>();
        // Burn's own nodes of the loss around an op, which the checks sum up, take the scope of this thread.
        run_fused::<Flex>();
        run_fused::<NdArray>();
    });
    // Outside of a scope: the op's own configuration is enough.
    drop(<Kiln<Flex> as FusedOps>::embedding(&packed, ids, &none));
    drop(<Kiln<Flex> as FusedOps>::linear(x, &packed, Default::default(), &none));
    assert_eq!(counts(), before);

    // The same ops do reach kernels where they may: what is counted above is no accident of the operands.
    run_overridden::<Kiln<Flex>>();
    let after = counts();
    for route in
        [Route::Matmul, Route::Linear, Route::Binary, Route::Unary, Route::Softmax, Route::LayerNorm, Route::Attention]
    {
        assert!(after[route as usize].1 > before[route as usize].1, "{route} is not reached by its op");
    }
}
