//! Rows and attention of `Kiln` over a Vulkan device: the ops reach the CubeCL kernels, plain Burn ops among them, with
//! the numbers of the f64 reference.

mod vulkan;

use burn_cubecl::CubeBackend;
use burn_kiln::{
    gpu::KilnWgpu,
    routes::{Route, count},
};
use burn_kiln_fusion::{
    AttentionInputs, AttentionOptions, FusedOps, KernelConfig, TrainingOps,
    conformance::{Suite, attention_rotary, rope},
};
use burn_tensor::{Tensor, TensorData, Tolerance, activation, module, ops::AttentionModuleOptions};
use burn_wgpu::{WgpuDevice, WgpuRuntime};
use vulkan::with_device;

type Bare = CubeBackend<WgpuRuntime, f32, i32, u32>;

/// Runs `work`; `route` must be noted `times` in it. The counters are the process's, so one test counts.
fn expect<T>(route: Route, times: u64, work: impl FnOnce() -> T) -> T {
    let before = count(route);
    let result = work();
    assert_eq!(count(route) - before, times, "{route}");
    result
}

fn make<const D: usize>(dims: [usize; D], device: &WgpuDevice) -> Tensor<KilnWgpu, D> {
    let count = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i: usize| (i as f32 * 0.37).sin() * 3.0).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// The same values on the bare backend.
fn bare<const D: usize>(x: &Tensor<KilnWgpu, D>, device: &WgpuDevice) -> Tensor<Bare, D> {
    Tensor::from_data(x.to_data(), device)
}

#[test]
fn ops_reach_the_cubecl_kernels() {
    with_device(|device| {
        check_rows(device);
        let suite = Suite { gradients: false, ..Suite::<KilnWgpu>::new(device.clone()) };
        let before = count(Route::CubeRope);
        rope::check(&suite);
        assert!(count(Route::CubeRope) > before);
        check_attention(device);
        let before = count(Route::CubeAttentionRotary);
        attention_rotary::check(&suite);
        assert!(count(Route::CubeAttentionRotary) > before);
    });
}

/// Fused ops and the plain Burn ops that kernels stand behind, against the compositions of the bare backend.
fn check_rows(device: &WgpuDevice) {
    let (on, off) = (KernelConfig::default(), KernelConfig::none());
    let (x, residual) = (make([2, 3, 33], device), make([2, 3, 33], device) * 0.5);
    let (gamma, beta) = (make([33], device), make([33], device) * 0.25);
    let close = |ours: TensorData, theirs: TensorData| {
        ours.assert_approx_eq(&theirs, Tolerance::<f32>::rel_abs(1e-5, 1e-5));
    };
    let (bare_x, bare_residual) = (bare(&x, device), bare(&residual, device));
    let (bare_gamma, bare_beta) = (bare(&gamma, device), bare(&beta, device));

    let y = expect(Route::CubeLayerNorm, 1, || {
        FusedOps::layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), 1e-6, &on)
    });
    let expected = <Bare as FusedOps>::layer_norm(bare_x.clone(), bare_gamma.clone(), Some(bare_beta), 1e-6, &off);
    close(y.into_data(), expected.into_data());

    let y = expect(Route::CubeAddNorm, 1, || {
        KilnWgpu::add_norm_forward(x.clone(), residual.clone(), gamma.clone(), 1e-6, &on)
    });
    let expected = Bare::add_norm_forward(bare_x.clone(), bare_residual.clone(), bare_gamma, 1e-6, &off);
    close(y.sum.into_data(), expected.sum.into_data());
    close(y.normed.into_data(), expected.normed.into_data());
    close(y.rstd.into_data(), expected.rstd.into_data());

    let y = expect(Route::CubeSoftmax, 1, || activation::softmax(x.clone(), 2));
    close(y.into_data(), activation::softmax(bare_x.clone(), 2).into_data());
    let y = expect(Route::CubeSoftmax, 1, || activation::log_softmax(x.clone(), 2));
    close(y.into_data(), activation::log_softmax(bare_x.clone(), 2).into_data());
    let y = expect(Route::CubeSoftmax, 0, || activation::softmax(x.clone(), 1));
    close(y.into_data(), activation::softmax(bare_x.clone(), 1).into_data());

    let y = expect(Route::CubeUnary, 1, || KilnWgpu::gelu_tanh(x.clone(), &on));
    close(y.into_data(), Bare::gelu_tanh(bare_x.clone(), &off).into_data());
    let y = expect(Route::CubeUnary, 1, || activation::gelu(x.clone()));
    close(y.into_data(), activation::gelu(bare_x.clone()).into_data());
    let y = expect(Route::CubeUnary, 1, || KilnWgpu::silu(x.clone(), &on));
    close(y.into_data(), Bare::silu(bare_x, &off).into_data());
    expect(Route::CubeUnary, 0, || KilnWgpu::silu(x.clone(), &off));
}

/// Burn's attention and the fused one, with every kind of mask, against the composition of the bare backend.
fn check_attention(device: &WgpuDevice) {
    let (on, off) = (KernelConfig::default(), KernelConfig::none());
    let (q, k, v) = (make([2, 4, 5, 16], device), make([2, 2, 9, 16], device), make([2, 2, 9, 16], device));
    let bias = make([2, 1, 5, 9], device);
    let mask = make([1, 4, 5, 9], device).greater_elem(2.0);
    let inputs = AttentionInputs { q: q.clone(), k: k.clone(), v: v.clone() };
    let options = AttentionOptions { causal: true, mask: Some(mask), bias: Some(bias), ..AttentionOptions::default() };
    let ours = expect(Route::CubeAttention, 1, || KilnWgpu::attention_forward(inputs.clone(), &options, &on));
    let theirs = expect(Route::CubeAttention, 0, || KilnWgpu::attention_forward(inputs, &options, &off));
    ours.output.into_data().assert_approx_eq(&theirs.output.into_data(), Tolerance::<f32>::rel_abs(1e-5, 1e-5));
    ours.lse.into_data().assert_approx_eq(&theirs.lse.into_data(), Tolerance::<f32>::rel_abs(1e-5, 1e-5));

    // Burn's own op, which knows no groups.
    let [k, v] = [k, v].map(|x| x.repeat_dim(1, 2));
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    let lower = |x: &Tensor<KilnWgpu, 4>| bare(x, device);
    let expected = module::attention(lower(&q), lower(&k), lower(&v), None, None, options);
    let ours = expect(Route::CubeAttention, 1, || module::attention(q, k, v, None, None, options));
    ours.into_data().assert_approx_eq(&expected.into_data(), Tolerance::<f32>::rel_abs(1e-5, 1e-5));
}
