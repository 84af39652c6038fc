//! Your own module on Kiln: moved there without a copy, run under a configuration, and moved back.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Distribution, Tensor, TensorPrimitive, backend::Backend};
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig, Optimized};
use clap::Parser;
use kiln_kernels::simd::Tier;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A stack of MLPs on plain Flex, and the same on Kiln: numbers compared, both timed
#[derive(Parser)]
struct Arguments {
    /// An `OptimizationConfig`, TOML or JSON; without it, the one that KILN_CONFIG names, else the one for this machine
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Width of the MLPs
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=16384))]
    width: u32,
    /// Rows of the input
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65536))]
    rows: u32,
}

/// An MLP behind a norm and beside a residual.
#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    norm: LayerNorm<B>,
    up: Linear<B>,
    down: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    /// Parameters are lazy: nothing is allocated before they are read.
    fn new(width: usize, device: &B::Device) -> Self {
        Self {
            norm: LayerNormConfig::new(width).init(device),
            up: LinearConfig::new(width, 4 * width).init(device),
            down: LinearConfig::new(4 * width, width).init(device),
        }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        x.clone() + self.down.forward(gelu(self.up.forward(self.norm.forward(x))))
    }
}

#[derive(Module, Debug)]
struct Stack<B: Backend> {
    layers: Vec<Mlp<B>>,
}

impl<B: Backend> Stack<B> {
    fn new(width: usize, device: &B::Device) -> Self {
        Self { layers: (0..4).map(|_| Mlp::new(width, device)).collect() }
    }

    /// # Shapes
    /// `x` and output `[rows, width]`.
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    Tier::from_env()?;
    let mut out = std::io::stdout().lock();
    let (width, rows) = (arguments.width as usize, arguments.rows as usize);
    let config = match &arguments.config {
        Some(path) => OptimizationConfig::from_file(path)?,
        None => OptimizationConfig::from_env()?,
    };
    let device = Default::default();
    let plain = Stack::<Flex>::new(width, &device);
    let x = Tensor::<Flex, 2>::random([rows, width], Distribution::Normal(0.0, 1.0), &device);
    let expected = plain.forward(x.clone());
    let slow = fastest(|| plain.forward(x.clone()));

    // The parameters move; the second module is only their new place.
    let fast: Optimized<Stack<Kiln<Flex>>> = Optimized::apply(plain, Stack::new(width, &device), &config)?;
    let on_kiln = Tensor::<Kiln<Flex>, 2>::from_primitive(TensorPrimitive::Float(x.into_primitive().tensor()));
    let found = fast.run(|stack| stack.forward(on_kiln.clone()));
    let quick = fast.run(|stack| fastest(|| stack.forward(on_kiln.clone())));

    let expected: Vec<f32> = expected.into_data().to_vec().map_err(|error| format!("{error:?}"))?;
    let found: Vec<f32> = found.into_data().to_vec().map_err(|error| format!("{error:?}"))?;
    let error = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    writeln!(out, "Flex {slow:.2?}, Kiln {quick:.2?}: {:.2} times as fast", slow.as_secs_f64() / quick.as_secs_f64())?;
    writeln!(out, "largest difference {error:.1e}")?;

    let back: Stack<Flex> = fast.undo(Stack::new(width, &device))?;
    writeln!(out, "and back: {} parameters on Flex", back.num_params())?;
    Ok(())
}

/// The best of some runs.
fn fastest<T>(run: impl Fn() -> T) -> Duration {
    let time = || {
        let began = Instant::now();
        run();
        began.elapsed()
    };
    (0..10).map(|_| time()).min().unwrap_or_default()
}
