//! Blocks of the model, each optimized by itself: for who builds a model of their own from them, or compares one block
//! alone.

use super::Block;
use crate::Result;
use crate::layers::{LayerNorm, RmsNorm};
use crate::text::{DecoderLayer, LayerContext, Mlp, TextAttention};
use crate::vision::{VisionAttention, VisionBlock, VisionMlp};
use burn::tensor::Tensor;
use burn_kiln::{Engine, Kiln, OptimizationConfig, scope, transfer};
use burn_kiln_fusion::{AttentionOptions, KernelConfig, KvCache, Rotary};
use std::sync::Arc;

/// A block on Kiln's kernels, its weights packed, with the configuration that it runs under.
///
/// ```
/// use burn_flex::Flex;
/// use burn_kiln::OptimizationConfig;
/// use qwen3_vl_burn::config::TextConfig;
/// use qwen3_vl_burn::optimized::OptimizedMlp;
/// use qwen3_vl_burn::text::Mlp;
///
/// let config = TextConfig::new(320, 64, 128, 1, 4, 2, 16, [4, 2, 2], true);
/// let decoder = config.init::<Flex>(&Default::default());
/// let mlp = decoder.layers.into_iter().next().unwrap().mlp;
/// let fast = OptimizedMlp::<Flex>::new(mlp, &OptimizationConfig::detect())?;
/// let mlp: Mlp<Flex> = fast.undo()?;
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OptimizedBlock<M> {
    block: M,
    kernels: Arc<KernelConfig>,
}

/// Attention of a decoder layer: QK-norm, rotary positions, KV cache and attention in one op, packed projections.
pub type OptimizedAttention<B> = OptimizedBlock<TextAttention<Kiln<B>>>;
/// The MLP of a decoder layer, dense or a mixture of experts.
pub type OptimizedMlp<B> = OptimizedBlock<Mlp<Kiln<B>>>;
/// A whole decoder layer.
pub type OptimizedDecoderLayer<B> = OptimizedBlock<DecoderLayer<Kiln<B>>>;
/// Attention of a block of the vision tower.
pub type OptimizedVisionAttention<B> = OptimizedBlock<VisionAttention<Kiln<B>>>;
/// The MLP of a block of the vision tower.
pub type OptimizedVisionMlp<B> = OptimizedBlock<VisionMlp<Kiln<B>>>;
/// A whole block of the vision tower.
pub type OptimizedVisionBlock<B> = OptimizedBlock<VisionBlock<Kiln<B>>>;

impl<M> OptimizedBlock<M> {
    /// Moves the block to Kiln, without a copy, and packs its weights, one at a time.
    ///
    /// # Errors
    /// [`Error::Optimization`](crate::Error::Optimization) for a configuration with values out of range.
    pub fn new<B, P>(block: P, config: &OptimizationConfig) -> Result<Self>
    where
        B: Engine,
        P: Block<B, On<Kiln<B>> = M>,
        M: Block<Kiln<B>>,
    {
        config.validate()?;
        config.apply_to_process();
        let target = block.init_like::<Kiln<B>>();
        let mut block = transfer::<B, Kiln<B>, _, _>(block, target)?;
        let kernels = config.kernels();
        if config.weights.pack {
            block.visit_weights(&mut |_, mut weight| weight.pack(&kernels));
        }
        Ok(Self { block, kernels: Arc::new(kernels) })
    }

    /// The block back on `B`, its weights in the checkpoint's rows, bit for bit.
    ///
    /// # Errors
    /// None that a block of [`OptimizedBlock::new`] can give.
    pub fn undo<B, P>(mut self) -> Result<P>
    where
        B: Engine,
        P: Block<B>,
        M: Block<Kiln<B>, On<B> = P>,
    {
        self.block.visit_weights(&mut |_, mut weight| weight.unpack());
        let target = self.block.init_like::<B>();
        Ok(transfer::<Kiln<B>, B, _, _>(self.block, target)?)
    }

    /// The block.
    pub fn block(&self) -> &M {
        &self.block
    }

    /// What its kernels may use.
    pub fn kernels(&self) -> &KernelConfig {
        &self.kernels
    }
}

/// What one sequence, causal, needs beside its rows.
fn run_causal<B: Engine, T>(
    kernels: &Arc<KernelConfig>,
    rotary: &Rotary<Kiln<B>>,
    length: usize,
    run: impl FnOnce(&LayerContext<'_, Kiln<B>>) -> T,
) -> T {
    let attention = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let context = LayerContext { rotary, attention: &attention, lengths: &[length], kernels };
    scope(kernels, || run(&context))
}

impl<B: Engine> OptimizedAttention<B> {
    /// Causal attention of the rows that `norm` makes of one sequence, output projection included; see
    /// [`TextAttention::forward`].
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`.
    ///
    /// # Panics
    /// When the cache has no room.
    pub fn forward(
        &self,
        x: Tensor<Kiln<B>, 3>,
        norm: &RmsNorm<Kiln<B>>,
        rotary: &Rotary<Kiln<B>>,
        cache: Option<&mut KvCache<Kiln<B>>>,
    ) -> Tensor<Kiln<B>, 3> {
        let length = x.dims()[1];
        run_causal(&self.kernels, rotary, length, |context| {
            self.block.forward(x, norm, context, cache.into_iter().collect())
        })
    }
}

impl<B: Engine> OptimizedMlp<B> {
    /// `mlp(norm(sum)) + sum` for `sum = x + residual`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[batch, length, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<Kiln<B>, 3>,
        residual: Tensor<Kiln<B>, 3>,
        norm: &RmsNorm<Kiln<B>>,
    ) -> Tensor<Kiln<B>, 3> {
        scope(&self.kernels, || self.block.forward(x, residual, norm, &self.kernels))
    }
}

impl<B: Engine> OptimizedDecoderLayer<B> {
    /// Runs the layer over one sequence; see [`DecoderLayer::forward`].
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`.
    ///
    /// # Panics
    /// When the cache has no room.
    pub fn forward(
        &self,
        x: Tensor<Kiln<B>, 3>,
        rotary: &Rotary<Kiln<B>>,
        cache: Option<&mut KvCache<Kiln<B>>>,
    ) -> Tensor<Kiln<B>, 3> {
        let length = x.dims()[1];
        run_causal(&self.kernels, rotary, length, |context| self.block.forward(x, context, cache.into_iter().collect()))
    }
}

impl<B: Engine> OptimizedVisionAttention<B> {
    /// `x + proj(attention(norm(x)))`; see [`VisionAttention::forward`].
    ///
    /// # Shapes
    /// `x` and output `[batch, patches, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<Kiln<B>, 3>,
        norm: &LayerNorm<Kiln<B>>,
        rotary: &Rotary<Kiln<B>>,
        options: &AttentionOptions<Kiln<B>>,
    ) -> Tensor<Kiln<B>, 3> {
        scope(&self.kernels, || self.block.forward(x, norm, rotary, options, &self.kernels))
    }
}

impl<B: Engine> OptimizedVisionMlp<B> {
    /// `fc2(activation(fc1(x))) + residual`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[batch, patches, hidden]`.
    pub fn forward(&self, x: Tensor<Kiln<B>, 3>, residual: Tensor<Kiln<B>, 3>) -> Tensor<Kiln<B>, 3> {
        scope(&self.kernels, || self.block.forward(x, residual, &self.kernels))
    }
}

impl<B: Engine> OptimizedVisionBlock<B> {
    /// Runs the block; see [`VisionBlock::forward`].
    ///
    /// # Shapes
    /// `x` and output `[batch, patches, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<Kiln<B>, 3>,
        rotary: &Rotary<Kiln<B>>,
        options: &AttentionOptions<Kiln<B>>,
    ) -> Tensor<Kiln<B>, 3> {
        scope(&self.kernels, || self.block.forward(x, rotary, options, &self.kernels))
    }
}
