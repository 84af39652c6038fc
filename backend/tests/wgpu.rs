//! `Kiln` over a Vulkan device: the fused op reaches the CubeCL kernel, everything else still works.

mod vulkan;

use burn_autodiff::Autodiff;
use burn_backend::Backend;
use burn_cubecl::CubeBackend;
use burn_flex::Flex;
use burn_kiln::{
    gpu::KilnWgpu,
    routes::{Route, count},
};
use burn_kiln_fusion::{AddNorm, Epilogue, FusedOps, KernelConfig, TrainingOps, Weight, config::GpuKernelConfig};
use burn_tensor::{Int, Tensor, TensorData, Tolerance, activation::softmax};
use burn_wgpu::{WgpuDevice, WgpuRuntime};
use std::sync::Arc;
use vulkan::with_device;

type Bare = CubeBackend<WgpuRuntime, f32, i32, u32>;

const EPSILON: f64 = 1e-6;

/// `x` `[2, 3, 33]` and `gamma` `[33]`.
fn make_operands<B: FusedOps<Device = WgpuDevice>>(device: &WgpuDevice) -> (Tensor<B, 3>, Tensor<B, 1>) {
    let x: Vec<f32> = (0..2 * 3 * 33).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
    let gamma: Vec<f32> = (0..33).map(|i| 0.5 + i as f32 / 33.0).collect();
    (Tensor::from_data(TensorData::new(x, [2, 3, 33]), device), Tensor::from_data(TensorData::new(gamma, [33]), device))
}

/// The RMS norm of `x` and the reciprocal deviations, in f64.
fn compute_reference(x: &TensorData, gamma: &TensorData) -> (TensorData, TensorData) {
    let (x, gamma): (Vec<f32>, Vec<f32>) = (x.to_vec().unwrap(), gamma.to_vec().unwrap());
    let (mut y, mut rstd) = (Vec::new(), Vec::new());
    for row in x.chunks(gamma.len()) {
        let squares: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let scale = 1.0 / (squares / gamma.len() as f64 + EPSILON).sqrt();
        y.extend(row.iter().zip(&gamma).map(|(&v, &g)| (f64::from(v) * scale * f64::from(g)) as f32));
        rstd.push(scale as f32);
    }
    (TensorData::new(y, [2, 3, 33]), TensorData::new(rstd, [2, 3, 1]))
}

/// One test for all that counts: the counters are the process's.
#[test]
fn rms_norm_reaches_the_cubecl_kernel() {
    with_device(|device| {
        let (x, gamma) = make_operands::<KilnWgpu>(device);
        let (y, rstd) = compute_reference(&x.to_data(), &gamma.to_data());
        let tolerance = Tolerance::<f32>::rel_abs(2e-6, 1e-7);
        let config = KernelConfig::default();

        let before = count(Route::CubeRmsNorm);
        let output = KilnWgpu::rms_norm(x.clone(), gamma.clone(), EPSILON, &config);
        assert_eq!(count(Route::CubeRmsNorm), before + 1);
        output.into_data().assert_approx_eq(&y, tolerance);

        let forward = KilnWgpu::rms_norm_forward(x.clone(), gamma.clone(), EPSILON, &config);
        assert_eq!(count(Route::CubeRmsNorm), before + 2);
        forward.output.into_data().assert_approx_eq(&y, tolerance);
        forward.rstd.into_data().assert_approx_eq(&rstd, tolerance);

        // Switched off, and on the bare backend: the composition, with the same numbers.
        let off = KilnWgpu::rms_norm(x, gamma, EPSILON, &KernelConfig::none());
        off.into_data().assert_approx_eq(&y, tolerance);
        let (x, gamma) = make_operands::<Bare>(device);
        Bare::rms_norm(x, gamma, EPSILON, &config).into_data().assert_approx_eq(&y, tolerance);
        assert_eq!(count(Route::CubeRmsNorm), before + 2);

        check_training(device);
        assert!(count(Route::CubeRmsNorm) > before + 2, "training never reached the kernel");
    });
}

/// With n = x · rstd and h = weight · gamma: dx = rstd · (h - n · mean(h · n)), dgamma = Σ weight · n (f64).
fn compute_gradients(x: &[f32], gamma: &[f32], weight: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let d = gamma.len();
    let (mut dx, mut dgamma) = (Vec::new(), vec![0.0; d]);
    for (row, weight) in x.chunks(d).zip(weight.chunks(d)) {
        let squares: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let scale = 1.0 / (squares / d as f64 + EPSILON).sqrt();
        let n: Vec<f64> = row.iter().map(|&v| f64::from(v) * scale).collect();
        let h: Vec<f64> = weight.iter().zip(gamma).map(|(&w, &g)| f64::from(w) * f64::from(g)).collect();
        let mean = h.iter().zip(&n).map(|(h, n)| h * n).sum::<f64>() / d as f64;
        dx.extend(h.iter().zip(&n).map(|(h, n)| (scale * (h - n * mean)) as f32));
        for (sum, (&w, n)) in dgamma.iter_mut().zip(weight.iter().zip(&n)) {
            *sum += f64::from(w) * n;
        }
    }
    (dx, dgamma.into_iter().map(|sum| sum as f32).collect())
}

fn check_training(device: &WgpuDevice) {
    type Trained = Autodiff<KilnWgpu>;
    let (x, gamma) = make_operands::<Trained>(device);
    let weight = x.clone().cos();
    let (x, gamma) = (x.require_grad(), gamma.require_grad());
    let y = Trained::rms_norm(x.clone(), gamma.clone(), EPSILON, &KernelConfig::default());
    let grads = (y * weight.clone()).sum().backward();
    let list = |data: TensorData| data.to_vec::<f32>().unwrap();
    let (dx, dgamma) = compute_gradients(&list(x.to_data()), &list(gamma.to_data()), &list(weight.to_data()));
    let tolerance = Tolerance::<f32>::rel_abs(1e-5, 2e-6);
    x.grad(&grads).unwrap().into_data().assert_approx_eq(&TensorData::new(dx, [2, 3, 33]), tolerance);
    gamma.grad(&grads).unwrap().into_data().assert_approx_eq(&TensorData::new(dgamma, [33]), tolerance);
}

#[test]
fn other_ops_run_as_cubecl_runs_them() {
    with_device(|device| {
        let a = Tensor::<KilnWgpu, 2>::from_data([[1.0, 2.0], [3.0, 4.0]], device);
        let b = Tensor::<KilnWgpu, 2>::from_data([[0.5, -1.0], [2.0, 1.0]], device);
        let product = a.matmul(b).into_data();
        product.assert_approx_eq(&TensorData::from([[4.5, 1.0], [9.5, 1.0]]), Tolerance::<f32>::default());
    });
}

/// The section's switch: every kernel off, whatever the other sections say, and the same numbers.
#[test]
fn a_card_without_its_kernels() {
    with_device(|device| {
        let run = |config: &KernelConfig| {
            let (x, gamma) = make_operands::<KilnWgpu>(device);
            let weight = Weight::Plain(Tensor::<KilnWgpu, 2>::ones([5, 33], device));
            let ids = Tensor::<KilnWgpu, 2, Int>::from_data([[4, 0, 2]], device);
            let normed = KilnWgpu::rms_norm(x.clone(), gamma.clone(), EPSILON, config);
            let AddNorm { sum, normed: again, .. } = KilnWgpu::add_norm(normed, x.clone(), gamma, EPSILON, config);
            let product = KilnWgpu::linear(KilnWgpu::silu(again, config), &weight, Epilogue::default(), config);
            let probabilities = softmax(product, 2);
            let rows = KilnWgpu::embedding(&weight, ids, config).slice([0..1, 0..3, 0..5]);
            Tensor::cat(vec![probabilities.reshape([1, 6, 5]), rows, sum.slice([0..1, 0..3, 0..5])], 1).into_data()
        };
        let total = || Route::ALL.iter().map(|&route| count(route)).sum::<u64>();
        let before = total();
        let gpu = GpuKernelConfig { enabled: false, ..Default::default() };
        let config = Arc::new(KernelConfig { gpu, ..Default::default() });
        // `gpu.enabled` off. Compositions are made of plain ops, which the scope tells.
        let off = KilnWgpu::scope(&config, || run(&config));
        assert_eq!(total(), before);
        off.assert_approx_eq(&run(&KernelConfig::default()), Tolerance::<f32>::rel_abs(1e-5, 1e-6));
        assert!(total() >= before + 6, "{}", total() - before);
    });
}

/// What a limit of a card's memory counts with: a weight takes what the layout says, and its place is used again.
#[test]
fn weights_take_what_their_layout_says() {
    with_device(|device| {
        let memory = || {
            KilnWgpu::sync(device).unwrap();
            KilnWgpu::device_memory(device).unwrap()
        };
        let put = |rows: usize| {
            let data = TensorData::zeros::<f32, _>([rows, 333]);
            KilnWgpu::memory_persistent_allocations(device, data, |data| Tensor::<KilnWgpu, 2>::from_data(data, device))
        };
        // The first one makes a tensor to look at.
        let (_, before) = (memory(), memory());
        let bytes = |rows| before.layout.tensor_bytes(&[rows, 333], 4);
        let (first, second) = (put(10), put(10));
        let both = memory();
        assert_eq!([both.in_use - before.in_use, both.reserved - before.reserved], [2 * bytes(10); 2]);
        drop(first);
        let third = put(10);
        assert_eq!(memory(), both);
        drop((second, third));
        let other = put(11);
        assert_eq!(memory().reserved, both.reserved + bytes(11));
        KilnWgpu::memory_cleanup(device);
        let cleaned = memory();
        assert!(cleaned.reserved - cleaned.in_use <= before.reserved - before.in_use, "{cleaned:?}, {before:?}");
        drop(other);
        assert_eq!(Flex::device_memory(&Default::default()), None);
    });
}
