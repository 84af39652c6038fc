//! `Kiln` over a Vulkan device: linear layers, MLPs, plain products and embeddings reach the CubeCL kernels, with the
//! right numbers.

mod vulkan;

use burn::{
    module::Param,
    nn::{Linear, LinearConfig},
};
use burn_backend::{Backend, DType};
use burn_kiln::{
    AttentionShape, Kiln, OpShape,
    gpu::KilnWgpu,
    routes::{Route, count},
};
use burn_kiln_fusion::{
    Activation, Epilogue, FusedOps, GatedMlpWeights, KernelConfig, LinearWeights, Norm, NormKind, RmsWeights, Weight,
    config::GpuKernelConfig,
    conformance::{self, Suite},
};
use burn_tensor::{Int, Tensor, TensorData, Tolerance};
use burn_wgpu::WgpuDevice;
use vulkan::with_device;

type Flex = Kiln<burn_flex::Flex>;

/// Numbers between -1 and 1 that differ with `seed`, as f16 holds them.
fn make<B: Backend, const D: usize>(seed: usize, dims: [usize; D], device: &B::Device) -> Tensor<B, D> {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (((i + 7 * seed) as f32 * 0.737).sin() * 64.0).round() / 64.0).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// Runs `work` and fails unless `route` ran in it once.
fn reaches<T>(route: Route, work: impl FnOnce() -> T) -> T {
    let before = count(route);
    let result = work();
    assert_eq!(count(route), before + 1, "{route}");
    result
}

/// Each element within 1e-5 of the largest expected value: lavapipe's exponential is good to some 1e-6, and the sums
/// before it cancel.
fn assert_close<const D: usize>(actual: Tensor<KilnWgpu, D>, expected: Tensor<Flex, D>) {
    let (actual, expected) = (actual.into_data(), expected.into_data());
    let largest = expected.iter::<f64>().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    actual.assert_approx_eq(&expected, Tolerance::<f32>::absolute((1e-5 * largest) as f32));
}

/// The ops on both backends: gate and up in f16 on the device, whose numbers are those of f32.
struct Operands<B: FusedOps> {
    x: Tensor<B, 3>,
    norm: Norm<B>,
    gate: Weight<B>,
    up: Weight<B>,
    down: Weight<B>,
    bias: Tensor<B, 1>,
}

impl<B: FusedOps> Operands<B> {
    fn new(rows: usize, dtype: DType, device: &B::Device) -> Self {
        let weight = |seed, dims| Weight::Plain(make::<B, 2>(seed, dims, device).cast(dtype));
        let norm = Norm { kind: NormKind::Rms, gamma: make(2, [40], device), beta: None, epsilon: 1e-6 };
        Self {
            x: make(1, [1, rows, 40], device),
            norm,
            gate: weight(3, [52, 40]),
            up: weight(4, [52, 40]),
            down: weight(5, [40, 52]),
            bias: make(6, [52], device),
        }
    }

    fn linear(&self) -> Tensor<B, 3> {
        let epilogue =
            Epilogue { bias: Some(self.bias.clone()), activation: Some(Activation::GeluTanh), residual: None };
        FusedOps::linear(self.x.clone(), &self.gate, epilogue, &KernelConfig::default())
    }

    fn norm_linears(&self) -> [Tensor<B, 3>; 2] {
        let layers = [&self.gate, &self.up].map(|weight| LinearWeights { weight: weight.clone(), bias: None });
        B::norm_linears(self.x.clone(), &self.norm, layers, &KernelConfig::default())
    }

    fn mlp(&self) -> Tensor<B, 3> {
        let weights = GatedMlpWeights { gate: self.gate.clone(), up: self.up.clone(), down: self.down.clone() };
        B::mlp_gated(self.x.clone(), &weights, Some(self.x.clone()), &KernelConfig::default())
    }

    fn add_norm_mlp(&self) -> Tensor<B, 3> {
        let weights = GatedMlpWeights { gate: self.gate.clone(), up: self.up.clone(), down: self.down.clone() };
        let norm = RmsWeights { gamma: self.norm.gamma.clone(), epsilon: self.norm.epsilon };
        let residual = self.x.clone() * 0.5;
        B::add_norm_mlp_gated(self.x.clone(), residual, &norm, &weights, &KernelConfig::default())
    }
}

#[test]
fn ops_reach_the_cubecl_kernels() {
    with_device(|device| {
        for rows in [1, 33] {
            let gpu = Operands::<KilnWgpu>::new(rows, DType::F16, device);
            let cpu = Operands::<Flex>::new(rows, DType::F32, &Default::default());
            assert_close(reaches(Route::CubeLinear, || gpu.linear()), cpu.linear());
            let outputs = reaches(Route::CubeNormLinears, || gpu.norm_linears());
            for (actual, expected) in outputs.into_iter().zip(cpu.norm_linears()) {
                assert_close(actual, expected);
            }
            assert_close(reaches(Route::CubeGatedMlp, || gpu.mlp()), cpu.mlp());
            assert_close(reaches(Route::CubeGatedMlp, || gpu.add_norm_mlp()), cpu.add_norm_mlp());
        }
        check_plain_products(device);
        check_embedding(device);
    });
}

/// Burn's own linear and matmul.
fn check_plain_products(device: &WgpuDevice) {
    let cpu = Default::default();
    let (a, b) = (make::<KilnWgpu, 3>(7, [2, 17, 20], device), make::<KilnWgpu, 3>(8, [2, 20, 18], device));
    let expected = make::<Flex, 3>(7, [2, 17, 20], &cpu).matmul(make(8, [2, 20, 18], &cpu));
    assert_close(reaches(Route::CubeMatmul, || a.matmul(b)), expected);

    // A row with a weight whose memory is [out, in], and many rows with one whose memory is [in, out].
    let turned = make::<KilnWgpu, 2>(9, [24, 20], device).transpose();
    for (weight, rows) in [(turned, 1), (make(9, [20, 24], device), 20)] {
        let mut layer: Linear<KilnWgpu> = LinearConfig::new(20, 24).with_bias(false).init(device);
        layer.weight = Param::from_tensor(weight.clone());
        let x = make::<KilnWgpu, 2>(10, [rows, 20], device);
        let expected = make::<Flex, 2>(10, [rows, 20], &cpu).matmul(Tensor::from_data(weight.into_data(), &cpu));
        assert_close(reaches(Route::CubeLinear, || layer.forward(x)), expected);
    }
}

fn check_embedding(device: &WgpuDevice) {
    let ids = Tensor::<KilnWgpu, 2, Int>::from_data([[3, 0, 4], [1, 1, 2]], device);
    let table = make::<KilnWgpu, 2>(11, [5, 12], device);
    let weight = Weight::Plain(table.cast(DType::F16));
    let rows = reaches(Route::CubeEmbedding, || KilnWgpu::embedding(&weight, ids, &KernelConfig::default()));
    let expected = make::<Flex, 2>(11, [5, 12], &Default::default());
    let ids = Tensor::<Flex, 2, Int>::from_data([[3, 0, 4], [1, 1, 2]], &Default::default());
    assert_close(rows, Flex::embedding(&Weight::Plain(expected), ids, &KernelConfig::default()));
}

/// Outputs alone, against f64: gradients are compositions of these.
#[test]
fn mlps_and_embeddings_conform() {
    with_device(|device| {
        let suite = Suite { gradients: false, ..Suite::<KilnWgpu>::new(device.clone()) };
        conformance::mlp::check(&suite);
        conformance::embedding::check(&suite);
    });
}

#[test]
fn the_plan_of_a_linear_layer_is_told() {
    with_device(|device| {
        let weight = Weight::Plain(make::<KilnWgpu, 2>(12, [70, 40], device));
        let explain = |rows| KilnWgpu::explain_linear(&weight, rows, &KernelConfig::default()).unwrap();
        assert!(explain(1).starts_with("f32 rows, gemv of 1 rows"), "{}", explain(1));
        assert!(explain(40).starts_with("f32 rows, tiles of 32x64x16"), "{}", explain(40));
        assert_eq!(KilnWgpu::explain_linear(&weight, 1, &KernelConfig::none()), None);
    });
}

#[test]
fn the_plan_of_every_op_is_told() {
    with_device(|device| {
        let weight = |seed, dims| Weight::Plain(make::<KilnWgpu, 2>(seed, dims, device));
        let (square, wide, down) = (weight(13, [64, 64]), weight(14, [96, 64]), weight(15, [64, 96]));
        let shape = |queries, keys| AttentionShape {
            queries,
            keys,
            heads: 4,
            kv_heads: 2,
            head_dim: 64,
            cache: DType::F16,
            causal: true,
        };
        let mlp = |rows| OpShape::GatedMlp { rows, gate: &wide, up: &wide, down: &down, add_norm: true };
        let config = KernelConfig::default();
        let explain = |op: &OpShape<_>| KilnWgpu::explain_op(op, device, &config).unwrap();
        let norm = |residual| OpShape::Norm { kind: NormKind::Rms, rows: 3, d: 64, residual };
        for (op, expected) in [
            (norm(false), "16 units a row, 1 row a cube, vectors of 4, reduced by a tree"),
            (norm(true), "16 units a row"),
            (OpShape::Softmax { rows: 3, d: 50 }, "vectors of 2"),
            (OpShape::Activation(640), "1 cubes of 256 units, vectors of 4"),
            (OpShape::Heads(shape(1, 200)), "8 units a row"),
            (OpShape::Attention(shape(40, 40)), "tiles of 64 rows by 32 keys"),
            (OpShape::Attention(shape(1, 100)), "tiles of 8 rows by 64 keys"),
            (OpShape::Attention(shape(1, 5000)), "parts of 192 keys, combined by"),
            (OpShape::NormLinears { rows: 1, weights: vec![&square, &square, &wide] }, "gemv of 1 rows"),
            // Layer after layer, as they are launched.
            (OpShape::NormLinears { rows: 6, weights: vec![&square, &square, &wide] }, "gemv of 8 rows"),
            (mlp(1), "residual, norm, gate and up: gemv of 1 rows"),
            (mlp(40), "residual and norm: 16 units a row"),
            (OpShape::Embedding { ids: 2, table: &square }, "cubes of 256 units, vectors of 4"),
            (OpShape::Attention(AttentionShape { head_dim: 300, ..shape(1, 1) }), "unavailable: attention over shapes"),
        ] {
            let text = explain(&op);
            assert!(text.contains(expected), "{op:?}: {text}");
        }
        let none = KernelConfig { fusion: config.fusion.clone(), ..KernelConfig::none() };
        for (config, section) in
            [(none.clone(), "gpu"), (KernelConfig { gpu: GpuKernelConfig::default(), ..none }, "tiling")]
        {
            let off = KilnWgpu::explain_op(&OpShape::Attention(shape(1, 9)), device, &config).unwrap();
            assert_eq!(off, format!("the decorated backend's ops: {section}.enabled is off"));
        }
        let composed = KernelConfig { fusion: KernelConfig::none().fusion, ..KernelConfig::default() };
        let told = KilnWgpu::explain_op(&OpShape::Attention(shape(1, 9)), device, &composed).unwrap();
        assert_eq!(told, "op by op: fusion.attention is off");
    });
}
