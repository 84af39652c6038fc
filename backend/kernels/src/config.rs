//! The plain-data sections of the configuration that kernels read.
//!
//! [`KernelConfig`] travels with a model into each fused op. It says what may be used and how large it may be; it never
//! says what a result means: any configuration gives the same numbers to rounding.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the kernels of one model may use. Every section has a switch, and sizes where there is something to size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelConfig {
    /// Loop tiling of matrix products and attention.
    pub tiling: TilingConfig,
    /// Cache-sized blocks in norms and softmax.
    pub blocking: BlockingConfig,
    /// Instruction set of the CPU kernels.
    pub simd: SimdConfig,
    /// Software prefetch inside streaming kernels.
    pub prefetch: PrefetchConfig,
    /// Which groups of operations run as one kernel.
    pub fusion: FusionConfig,
    /// How many threads one operation may use.
    pub threads: ThreadsConfig,
    /// How kernels, tiles and splits are chosen.
    pub planning: PlanningConfig,
    /// Kernels of cards.
    pub gpu: GpuKernelConfig,
    /// Results do not depend on the number of threads or on measured plans.
    pub deterministic: bool,
}

/// Loop tiling. `None` derives a size from the detected caches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TilingConfig {
    /// Off: matrix products and attention run as the decorated backend runs them, and no weight is packed.
    pub enabled: bool,
    /// Rows of the left operand in one packed block, elements.
    pub mc: Option<usize>,
    /// Depth of one packed block, elements.
    pub kc: Option<usize>,
    /// Columns of the right operand in one packed block, elements.
    pub nc: Option<usize>,
    /// Queries in one attention tile.
    pub attention_q: Option<usize>,
    /// Keys in one attention tile.
    pub attention_k: Option<usize>,
}

impl Default for TilingConfig {
    fn default() -> Self {
        Self { enabled: true, mc: None, kc: None, nc: None, attention_q: None, attention_k: None }
    }
}

/// Cache blocking of row-wise kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockingConfig {
    /// Off: norms and softmax run as the decorated backend runs them.
    pub enabled: bool,
    /// Bytes of the first-level cache that a block fills between two passes over it: what is read, the results and the
    /// weights. `None` is that cache. Sizes the column blocks in which norms write long rows, the blocks of a softmax
    /// that reads its row twice, and the strips of a softmax over a dimension that is not the last.
    pub rows: Option<usize>,
}

impl Default for BlockingConfig {
    fn default() -> Self {
        Self { enabled: true, rows: None }
    }
}

/// The instruction set that CPU kernels are compiled for and chosen by at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsaChoice {
    /// The best that the CPU has, or the one that `KILN_ISA` names.
    #[default]
    Auto,
    /// Registers of the `wide` crate, for every CPU.
    Portable,
    /// AVX2 and FMA, 256-bit registers.
    Avx2,
    /// AVX-512 F/BW/DQ/VL, 512-bit registers.
    Avx512,
    /// `vdpbf16ps` for products of two bf16 matrices, AVX-512 elsewhere.
    Avx512Bf16,
    /// AMX tiles for products of two bf16 matrices, AVX-512 elsewhere.
    Amx,
}

/// Manual SIMD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimdConfig {
    /// Off: element-wise operations and embeddings run as the decorated backend runs them.
    pub enabled: bool,
    /// The instruction set; one that the CPU lacks falls back to the next lower.
    pub isa: IsaChoice,
    /// Rounds f32 activations to bf16 in products of five rows or more with bf16 weights, and queries in attention over
    /// bf16 keys and values, on instruction sets that multiply bf16. Off: f32 arithmetic.
    ///
    /// Twice the rate and more; an element of the activations is off by a relative 2⁻⁸ at most. No other instruction
    /// set rounds.
    pub bf16_activations: bool,
    /// Rounds both f32 operands of products of more than 16 rows to bf16 where they are packed, on instruction sets
    /// that multiply bf16: training with f32 master weights and bf16 arithmetic, as PyTorch's autocast does it. Sums
    /// and everything that is no product stay f32.
    ///
    /// Twice the rate and more; an element of either operand is off by a relative 2⁻⁸ at most. No other instruction set
    /// rounds. Off unless asked for: f32 weights give f32 arithmetic.
    pub bf16_products: bool,
}

impl Default for SimdConfig {
    fn default() -> Self {
        Self { enabled: true, isa: IsaChoice::Auto, bf16_activations: true, bf16_products: false }
    }
}

/// Software prefetch inside streaming kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrefetchConfig {
    /// Off: only the hardware prefetcher works.
    pub enabled: bool,
    /// How far ahead of its use a line is requested, bytes. `None` is the distance that each kernel was measured with;
    /// 0 is off.
    pub distance: Option<usize>,
}

impl Default for PrefetchConfig {
    fn default() -> Self {
        Self { enabled: true, distance: None }
    }
}

/// Kernel fusion, by op. A switch that is off runs the default composition of that op, on the same single kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusionConfig {
    /// Bias, activation and residual in the store of a linear layer.
    pub linear_epilogue: bool,
    /// Scores, softmax and the weighted sum of attention as one kernel.
    pub attention: bool,
    /// Gate, up and activation of an MLP as one product, whose sums are never stored, and down with the residual.
    pub mlp: bool,
    /// A norm and the linear layers after it as one kernel: the norm is applied while the input is packed, once for all
    /// layers.
    pub norm_linear: bool,
    /// A residual addition and the norm after it.
    pub add_norm: bool,
    /// QK-norm and rotary embedding; with `attention` also both, the append to a cache and the attention as one op.
    pub qk_norm_rope: bool,
    /// The experts of a mixture as one op.
    pub moe: bool,
}

impl Default for FusionConfig {
    fn default() -> Self {
        Self {
            linear_epilogue: true,
            attention: true,
            mlp: true,
            norm_linear: true,
            add_norm: true,
            qk_norm_rope: true,
            moe: true,
        }
    }
}

/// Threads of one operation. Kernels run in the caller's current rayon pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThreadsConfig {
    /// At most this many splits an operation, and no more than the current pool has threads. `None` is the size of a
    /// pool that somebody chose; of rayon's global one, which has a thread for each logical CPU, one for each physical
    /// core.
    pub max: Option<usize>,
}

/// How kernels, tiles and splits are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanningConfig {
    /// Off: each op chooses for itself each time, from its shape and the sizes of this configuration, and nothing is
    /// kept or measured.
    pub enabled: bool,
    /// Plans that can be made in more than one good way are measured at their first use, and the fastest is kept. Never
    /// where results must be deterministic.
    pub tune: bool,
    /// Where measured plans are kept between runs. `None` is `kiln` in the user's cache folder.
    pub folder: Option<PathBuf>,
}

impl Default for PlanningConfig {
    fn default() -> Self {
        Self { enabled: true, tune: false, folder: None }
    }
}

/// Kernels of cards (CubeCL). They are in the groups that the other sections switch: products and attention in
/// `tiling`, norms and softmax in `blocking`, element-wise ones and rotations in `simd`, with the same fused ops in
/// `fusion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GpuKernelConfig {
    /// Off: every op runs as the decorated backend runs it, whatever the other sections say.
    pub enabled: bool,
    /// `planning.tune` for these kernels alone: those that can be cut in more than one good way are measured on the
    /// device at their first use, and the fastest is kept. Not with planning off, and never where results must be
    /// deterministic.
    pub tune: bool,
}

impl Default for GpuKernelConfig {
    fn default() -> Self {
        Self { enabled: true, tune: false }
    }
}

impl KernelConfig {
    /// Everything off: each op runs as the decorated backend runs it.
    pub fn none() -> Self {
        Self {
            tiling: TilingConfig { enabled: false, ..Default::default() },
            blocking: BlockingConfig { enabled: false, rows: None },
            simd: SimdConfig { enabled: false, bf16_activations: false, bf16_products: false, ..Default::default() },
            prefetch: PrefetchConfig { enabled: false, ..Default::default() },
            fusion: FusionConfig {
                linear_epilogue: false,
                attention: false,
                mlp: false,
                norm_linear: false,
                add_norm: false,
                qk_norm_rope: false,
                moe: false,
            },
            threads: ThreadsConfig::default(),
            planning: PlanningConfig { enabled: false, ..Default::default() },
            gpu: GpuKernelConfig { enabled: false, tune: false },
            deterministic: false,
        }
    }
}
