//! The techniques one by one: what an ablation switches.

use super::{GpuConfig, OptimizationConfig};
use burn_kiln_fusion::config::{FusionConfig, IsaChoice};
use core::fmt;

/// A technique that can be switched by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Technique {
    /// Loop tiling of matrix products and attention, section `tiling`.
    Tiling,
    /// Cache blocking of norms and softmax, section `blocking`.
    Blocking,
    /// Manual SIMD of element-wise operations, and the instruction set of all kernels, section `simd`.
    Simd,
    /// Software prefetch, section `prefetch`.
    Prefetch,
    /// Kernel fusion, section `fusion`.
    Fusion,
    /// Reuse of buffers, section `pool`.
    Pool,
    /// Plans by shape, section `planning`.
    Planning,
    /// Packed weights, section `weights`.
    Packing,
    /// Several threads an operation, section `threads`.
    Threads,
}

impl Technique {
    /// Every technique.
    pub const ALL: [Self; 9] = [
        Self::Tiling,
        Self::Blocking,
        Self::Simd,
        Self::Prefetch,
        Self::Fusion,
        Self::Pool,
        Self::Planning,
        Self::Packing,
        Self::Threads,
    ];

    /// Its name in command lines and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiling => "tiling",
            Self::Blocking => "blocking",
            Self::Simd => "simd",
            Self::Prefetch => "prefetch",
            Self::Fusion => "fusion",
            Self::Pool => "pool",
            Self::Planning => "planning",
            Self::Packing => "packing",
            Self::Threads => "threads",
        }
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl OptimizationConfig {
    /// This configuration without `technique`. Without SIMD, element-wise operations are the decorated backend's, and
    /// the other kernels run in the portable tier.
    #[must_use]
    pub fn without(mut self, technique: Technique) -> Self {
        match technique {
            Technique::Tiling => self.tiling.enabled = false,
            Technique::Blocking => self.blocking.enabled = false,
            Technique::Simd => {
                self.simd.enabled = false;
                self.simd.isa = IsaChoice::Portable;
            }
            Technique::Prefetch => self.prefetch.enabled = false,
            Technique::Fusion => self.fusion = Self::none().fusion,
            Technique::Pool => self.pool.enabled = false,
            Technique::Planning => self.planning.enabled = false,
            Technique::Packing => self.weights.pack = false,
            Technique::Threads => self.threads.max = Some(1),
        }
        self
    }

    /// [`OptimizationConfig::none`] with `technique` on, sized for this machine. Threads alone are those of the
    /// decorated backend. On a card, `technique` is its kernels of that section.
    pub fn only(technique: Technique) -> Self {
        let mut config = Self { gpu: GpuConfig::default(), ..Self::none() };
        match technique {
            Technique::Tiling => config.tiling.enabled = true,
            Technique::Blocking => config.blocking.enabled = true,
            Technique::Simd => config.simd.enabled = true,
            Technique::Prefetch => config.prefetch.enabled = true,
            Technique::Fusion => config.fusion = FusionConfig::default(),
            Technique::Pool => config.pool.enabled = true,
            Technique::Planning => config.planning.enabled = true,
            Technique::Packing => config.weights.pack = true,
            Technique::Threads => config.threads.max = None,
        }
        config
    }
}
