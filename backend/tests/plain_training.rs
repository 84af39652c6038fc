//! Whether plain Burn modules train at least as fast on `Autodiff<Kiln<Flex>>` as on `Autodiff<Flex>`: ignored, as a
//! time is nothing to assert beside other tests. `cargo test --release -p burn-kiln --test plain_training -- --ignored
//! --nocapture`.

use burn::module::{AutodiffModule, Module};
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use std::time::Instant;

/// A block as users write one.
#[derive(Module, Debug)]
struct Block<B: burn::tensor::backend::Backend> {
    up: Linear<B>,
    norm: LayerNorm<B>,
    gelu: Gelu,
    down: Linear<B>,
}

impl<B: burn::tensor::backend::Backend> Block<B> {
    fn new(width: usize) -> Self {
        let device = Default::default();
        Self {
            up: LinearConfig::new(width, 4 * width).init(&device),
            norm: LayerNormConfig::new(4 * width).init(&device),
            gelu: Gelu::new(),
            down: LinearConfig::new(4 * width, width).init(&device),
        }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.down.forward(self.gelu.forward(self.norm.forward(self.up.forward(x))))
    }
}

/// A block that is trained.
struct Training<B: AutodiffBackend> {
    block: Block<B>,
    optimizer: OptimizerAdaptor<AdamW, Block<B>, B>,
    x: Tensor<B, 2>,
}

impl<B: AutodiffBackend> Training<B>
where
    Block<B>: AutodiffModule<B>,
{
    fn new(rows: usize, width: usize) -> Self {
        let x = Tensor::random([rows, width], Distribution::Uniform(-1.0, 1.0), &Default::default());
        Self { block: Block::new(width), optimizer: AdamWConfig::new().init(), x }
    }

    /// The seconds of a step.
    fn step(&mut self) -> f64 {
        let start = Instant::now();
        let error = self.block.forward(self.x.clone()) - self.x.clone();
        let grads = GradientsParams::from_grads((error.clone() * error).mean().backward(), &self.block);
        self.block = self.optimizer.step(1e-3, self.block.clone(), grads);
        start.elapsed().as_secs_f64()
    }
}

#[test]
#[ignore = "measures time"]
fn plain_modules_train_at_least_as_fast_as_on_the_decorated_backend() {
    let mut slower = Vec::new();
    for (rows, width) in [(32, 64), (256, 256), (512, 512)] {
        let mut kiln = Training::<Autodiff<Kiln<Flex>>>::new(rows, width);
        let mut flex = Training::<Autodiff<Flex>>::new(rows, width);
        // In turn, so that what else the machine does meets both.
        let rounds = if rows < 100 { 200 } else { 20 };
        let mut times: Vec<[f64; 2]> = (0..rounds + 2).map(|_| [kiln.step(), flex.step()]).skip(2).collect();
        let mut median = |of: usize| {
            times.sort_by(|a, b| a[of].total_cmp(&b[of]));
            times[times.len() / 2][of]
        };
        let (kiln, flex) = (median(0), median(1));
        println!("{rows} x {width}: {:.3} ms on Kiln, {:.3} ms on Flex, {:.2}", kiln * 1e3, flex * 1e3, flex / kiln);
        if kiln > flex {
            slower.push((rows, width, flex / kiln));
        }
    }
    assert!(slower.is_empty(), "slower than the decorated backend: {slower:?}");
}
