//! Burn's ops on `Kiln<Flex>` and on plain `Flex`, for regressions. Run alone on the machine: `cargo bench -p kiln-benches`.

use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Distribution, Tensor, activation, backend::Backend};
use burn_flex::Flex;
use burn_kiln::Kiln;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn random<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

/// `[m, k] · [k, n]` at the sizes of a 2B model's layers: one token, a prompt.
fn bench_matmul<B: Backend>(criterion: &mut Criterion, backend: &str) {
    let mut group = criterion.benchmark_group("matmul");
    for [m, k, n] in [[1, 2048, 6144], [128, 2048, 2048], [512, 512, 512]] {
        let (a, b) = (random::<B, 2>([m, k]), random::<B, 2>([k, n]));
        // Floating-point operations, not elements.
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        group.bench_function(BenchmarkId::new(backend, format!("{m}x{k}x{n}")), |bencher| {
            bencher.iter(|| black_box(a.clone().matmul(b.clone())));
        });
    }
}

/// Causal attention of 16 heads.
fn bench_attention<B: Backend>(criterion: &mut Criterion, backend: &str) {
    let mut group = criterion.benchmark_group("attention");
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    for length in [128, 1024] {
        let x = random::<B, 4>([1, 16, length, 128]);
        group.bench_function(BenchmarkId::new(backend, length), |bencher| {
            bencher.iter(|| black_box(attention(x.clone(), x.clone(), x.clone(), None, None, options)));
        });
    }
}

/// Row-wise and element-wise ops of a prompt's activations.
fn bench_rows<B: Backend>(criterion: &mut Criterion, backend: &str) {
    let mut group = criterion.benchmark_group("rows");
    let x = random::<B, 2>([512, 2048]);
    group.throughput(Throughput::Bytes(2 * 4 * 512 * 2048));
    group.bench_function(BenchmarkId::new(backend, "softmax"), |bencher| {
        bencher.iter(|| black_box(activation::softmax(x.clone(), 1)));
    });
    group.bench_function(BenchmarkId::new(backend, "gelu"), |bencher| {
        bencher.iter(|| black_box(activation::gelu(x.clone())));
    });
    group.bench_function(BenchmarkId::new(backend, "add"), |bencher| {
        bencher.iter(|| black_box(x.clone() + x.clone()));
    });
}

fn bench_all(criterion: &mut Criterion) {
    bench_matmul::<Kiln<Flex>>(criterion, "kiln");
    bench_matmul::<Flex>(criterion, "flex");
    bench_attention::<Kiln<Flex>>(criterion, "kiln");
    bench_attention::<Flex>(criterion, "flex");
    bench_rows::<Kiln<Flex>>(criterion, "kiln");
    bench_rows::<Flex>(criterion, "flex");
}

criterion_group!(benches, bench_all);
criterion_main!(benches);
