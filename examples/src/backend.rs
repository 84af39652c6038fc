//! `--backend`, `--dtype`, `--threads`, `--memory-limit` and `--gpu-memory`, and how a program runs on what they name.

use crate::Error;
use crate::threads::start_pool;
use burn_flex::Flex;
use burn_kiln::{Engine, Kiln, OptimizationConfig};
use burn_kiln_fusion::TrainingOps;
#[cfg(feature = "ndarray")]
use burn_ndarray::NdArray;
use burn_tensor::DType;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use qwen3_vl_burn::LoadOptions;
use std::marker::PhantomData;
use std::path::PathBuf;

/// Backends; all but the first are in a program only where it was built with their feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Kiln's kernels over Flex, on the CPU.
    #[value(alias = "cpu")]
    Kiln,
    /// Plain Flex, Burn's own CPU backend. Needs feature `flex`.
    Flex,
    /// Plain NdArray. Needs feature `ndarray`.
    Ndarray,
    /// Kiln's kernels over NdArray. Needs feature `ndarray`.
    KilnNdarray,
    /// Kiln's CubeCL kernels through Vulkan, Metal or DX12. Needs feature `wgpu`.
    Wgpu,
    /// Kiln's CubeCL kernels through CUDA, on NVIDIA cards from Pascal up. Needs feature `cuda`.
    Cuda,
}

impl Backend {
    /// Whether its tensors are in a card's memory.
    pub fn is_card(self) -> bool {
        matches!(self, Self::Wgpu | Self::Cuda)
    }

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kiln => "kiln",
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::KilnNdarray => "kiln-ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// The error of a program that was built without it.
    fn not_built_in(self) -> Error {
        let command = match self {
            Self::Cuda => "CUDARC_CUDA_VERSION=12080 cargo run --release --features cuda",
            Self::Flex => "cargo run --release --features flex",
            Self::Ndarray | Self::KilnNdarray => "cargo run --release --features ndarray",
            _ => "cargo run --release --features wgpu",
        };
        Error::NotBuiltIn { backend: self.name(), command }
    }
}

/// Types that weights and the KV cache are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// bfloat16 weights and KV cache; everything between them is f32.
    Bf16,
}

impl Dtype {
    /// Burn's name of it.
    pub fn burn(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Where a program runs.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Backend
    #[arg(long, value_enum, default_value = "kiln")]
    pub backend: Backend,
    /// Type of the weights and the KV cache; the stored one if not given
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// Threads; one for each physical core if not given, and at most eight for each logical CPU
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// The most memory that weights may take, as `2GiB` or a number of bytes: what is beyond is read from the
    /// checkpoint's files at each token, ahead of its use, around the page cache. Without it, the files are mapped and
    /// all weights come to be in memory
    #[arg(long, value_name = "SIZE", value_parser = read_size)]
    pub memory_limit: Option<ByteSize>,
    /// The most of a card's memory that weights may take, as `2GiB` or a number of bytes: what is beyond stays in host
    /// memory and is sent to the card at each token, ahead of its use. With --memory-limit, it comes from the
    /// checkpoint's files. For --backend wgpu and cuda
    #[arg(long, value_name = "SIZE", value_parser = read_size)]
    pub gpu_memory: Option<ByteSize>,
    /// An `OptimizationConfig` (TOML or JSON) for Kiln's kernels; without it, the file that KILN_CONFIG names, else
    /// what suits this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// In place of `config`, for programs that try several.
    #[arg(skip)]
    pub optimization: Option<OptimizationConfig>,
}

/// A number of bytes; one beyond 64 bits would become the largest.
fn read_size(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() < u64::MAX => Ok(size),
        Ok(_) => Err("expected less than 16 EiB".to_owned()),
        // A number without a unit that no u64 holds.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("expected less than 16 EiB".to_owned())
        }
        Err(error) => Err(error),
    }
}

/// A program that any backend can run.
pub trait Program: Send {
    /// What it returns.
    type Out: Send;
    /// Runs on `B`'s default device.
    fn run<B: TrainingOps>(self) -> Result<Self::Out, Error>;
}

/// A program that any backend with Kiln's kernels can run.
pub trait KilnProgram: Send {
    /// What it returns.
    type Out: Send;
    /// Runs on the default device of `Kiln<B>`.
    fn run<B: Engine>(self) -> Result<Self::Out, Error>;
}

/// Runs on the backend that `kiln` decorates.
fn run_decorated<B: Engine, P: KilnProgram>(_kiln: PhantomData<Kiln<B>>, program: P) -> Result<P::Out, Error> {
    program.run::<B>()
}

impl Place {
    /// `backend`, all else as without arguments.
    pub fn on(backend: Backend) -> Self {
        Self {
            backend,
            dtype: None,
            threads: None,
            memory_limit: None,
            gpu_memory: None,
            config: None,
            optimization: None,
        }
    }

    /// What Kiln's kernels may use; `None` on a backend that has none of them.
    ///
    /// # Errors
    /// [`Error::Model`] for a configuration that cannot be read or has values out of range.
    pub fn optimization(&self) -> Result<Option<OptimizationConfig>, Error> {
        if matches!(self.backend, Backend::Flex | Backend::Ndarray) {
            return Ok(None);
        }
        let config = match (&self.optimization, &self.config) {
            (Some(config), _) => Ok(config.clone()),
            (None, Some(path)) => OptimizationConfig::from_file(path),
            (None, None) => OptimizationConfig::from_env(),
        };
        let mut config = config.map_err(qwen3_vl_burn::Error::from)?;
        config.streaming.memory_limit = self.memory_limit.or(config.streaming.memory_limit);
        config.gpu.memory_limit = self.gpu_memory.or(config.gpu.memory_limit);
        Ok(Some(config))
    }

    /// How a checkpoint is loaded here; `config` is what [`Place::optimization`] gave.
    pub fn load_options<'a>(&self, config: Option<&OptimizationConfig>) -> LoadOptions<'a> {
        let dtype = self.dtype.map(Dtype::burn);
        let memory_limit = self.memory_limit.or(config.and_then(|config| config.streaming.memory_limit));
        // One configuration may serve the CPU and a card.
        let gpu_memory = self.gpu_memory.or(config.and_then(|config| config.gpu.memory_limit));
        let gpu_memory = gpu_memory.filter(|_| self.backend.is_card());
        let [memory_limit, gpu_memory] = [memory_limit, gpu_memory].map(|limit| limit.map(|limit| limit.as_u64()));
        LoadOptions { dtype, memory_limit, gpu_memory, ..LoadOptions::default() }
    }

    /// Runs `program` on the backend, in a thread pool of the size asked for.
    ///
    /// # Errors
    /// [`Error::NoCard`], [`Error::NotBuiltIn`], [`Error::Threads`], and those of `program`.
    pub fn run<P: Program>(&self, program: P) -> Result<P::Out, Error> {
        self.start_pool()?.install(|| match self.backend {
            Backend::Kiln => program.run::<Kiln<Flex>>(),
            #[cfg(feature = "flex")]
            Backend::Flex => program.run::<Flex>(),
            #[cfg(feature = "ndarray")]
            Backend::Ndarray => program.run::<NdArray>(),
            #[cfg(feature = "ndarray")]
            Backend::KilnNdarray => program.run::<Kiln<NdArray>>(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => program.run::<burn_kiln::gpu::KilnWgpu>(),
            #[cfg(feature = "cuda")]
            Backend::Cuda => program.run::<burn_kiln::gpu::KilnCuda>(),
            #[allow(unreachable_patterns)] // where all are built in
            other => Err(other.not_built_in()),
        })
    }

    /// The same for a program that looks at Kiln's kernels.
    ///
    /// # Errors
    /// [`Error::NoKernels`], and those of [`Place::run`].
    pub fn run_kiln<P: KilnProgram>(&self, program: P) -> Result<P::Out, Error> {
        self.start_pool()?.install(|| match self.backend {
            Backend::Kiln => run_decorated(PhantomData::<Kiln<Flex>>, program),
            #[cfg(feature = "ndarray")]
            Backend::KilnNdarray => run_decorated(PhantomData::<Kiln<NdArray>>, program),
            Backend::Flex | Backend::Ndarray => Err(Error::NoKernels { backend: self.backend.name() }),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => run_decorated(PhantomData::<burn_kiln::gpu::KilnWgpu>, program),
            #[cfg(feature = "cuda")]
            Backend::Cuda => run_decorated(PhantomData::<burn_kiln::gpu::KilnCuda>, program),
            #[allow(unreachable_patterns)] // where all are built in
            other => Err(other.not_built_in()),
        })
    }

    /// Runs `work` in a thread pool of the size asked for.
    ///
    /// # Errors
    /// [`Error::NoCard`], [`Error::Threads`], and those of `work`.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        self.start_pool()?.install(work)
    }

    /// Threads as asked for, where the options fit the backend.
    fn start_pool(&self) -> Result<rayon::ThreadPool, Error> {
        if self.gpu_memory.is_some() && !self.backend.is_card() {
            return Err(Error::NoCard { backend: self.backend.name() });
        }
        start_pool(self.threads.map(usize::from))
    }
}
