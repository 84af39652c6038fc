//! A module together with the configuration that its plain Burn ops use.

use super::{TransferError, transfer};
use crate::{ConfigError, Engine, Kiln, OptimizationConfig};
use burn_core::module::Module;
use burn_kiln_fusion::KernelConfig;
use std::sync::Arc;

/// A module of plain Burn layers on `Kiln<B>`, with the configuration that its ops run under: the form of
/// `apply_low_level_optimizations` for a user's own module.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use burn_kiln::{Kiln, Optimized, OptimizationConfig};
///
/// let (config, device) = (LinearConfig::new(8, 4), Default::default());
/// let plain: Linear<Flex> = config.init(&device);
/// let fast: Optimized<Linear<Kiln<Flex>>> =
///     Optimized::apply(plain, config.init(&device), &OptimizationConfig::detect())?;
/// let y = fast.run(|linear| linear.forward(Tensor::<_, 2>::ones([3, 8], &device)));
/// assert_eq!(y.dims(), [3, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Optimized<M> {
    module: M,
    kernels: Arc<KernelConfig>,
}

/// Why a module cannot be optimized.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The two modules are not made of the same parameters.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl<M> Optimized<M> {
    /// Moves the parameters of `module` to `target`, the same module on `Kiln<B>` (freshly initialised: nothing is
    /// allocated for lazy parameters), without a copy.
    ///
    /// # Errors
    /// [`OptimizeError`] for a configuration with values out of range, and for modules of other sizes.
    pub fn apply<B, P>(module: P, target: M, config: &OptimizationConfig) -> Result<Self, OptimizeError>
    where
        B: Engine,
        P: Module<B>,
        M: Module<Kiln<B>>,
    {
        config.validate()?;
        config.apply_to_process();
        let module = transfer::<B, Kiln<B>, _, _>(module, target)?;
        Ok(Self { module, kernels: Arc::new(config.kernels()) })
    }

    /// Moves the parameters back to a module on `B`.
    ///
    /// # Errors
    /// [`TransferError`] for a module of other sizes.
    pub fn undo<B, P>(self, target: P) -> Result<P, TransferError>
    where
        B: Engine,
        P: Module<B>,
        M: Module<Kiln<B>>,
    {
        transfer::<Kiln<B>, B, _, _>(self.module, target)
    }

    /// Runs `work` on the module; the plain Burn ops that this thread starts in it use the module's configuration.
    pub fn run<T>(&self, work: impl FnOnce(&M) -> T) -> T {
        crate::scope(&self.kernels, || work(&self.module))
    }

    /// The module.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// What its kernels may use.
    pub fn kernels(&self) -> &KernelConfig {
        &self.kernels
    }
}
