//! A plain Burn module on Kiln: nothing changes but the backend's type.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Distribution, Tensor, backend::Backend};
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::routes::{Route, count};
use kiln_kernels::simd::Tier;
use std::error::Error;
use std::io::Write;

/// A transformer's MLP.
#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    norm: LayerNorm<B>,
    up: Linear<B>,
    down: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    fn new(width: usize, device: &B::Device) -> Self {
        Self {
            norm: LayerNormConfig::new(width).init(device),
            up: LinearConfig::new(width, 4 * width).init(device),
            down: LinearConfig::new(4 * width, width).init(device),
        }
    }

    /// # Shapes
    /// `x` and output `[batch, length, width]`.
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        x.clone() + self.down.forward(gelu(self.up.forward(self.norm.forward(x))))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    type B = Kiln<Flex>;
    // What KILN_ISA asks for and this CPU lacks is an error here; without this line, a warning of `tracing`.
    Tier::from_env()?;
    let mut out = std::io::stdout().lock();
    let device = Default::default();
    let mlp = Mlp::<B>::new(256, &device);
    let x = Tensor::random([1, 64, 256], Distribution::Normal(0.0, 1.0), &device);
    let y = mlp.forward(x);
    writeln!(out, "{} gives {:?}", B::name(&device), y.dims())?;
    for route in Route::ALL {
        if count(route) > 0 {
            writeln!(out, "{route}: {} kernels", count(route))?;
        }
    }
    Ok(())
}
