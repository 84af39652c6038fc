//! One case against every engine, and what stays the same from case to case.

use crate::args::Isa;
use crate::case::{Case, Op, Shape};
use crate::engines::{self, Place};
use crate::measure::{Effort, Engine, interleave};
use crate::operands::Operands;
use crate::peaks::Peaks;
use crate::roofline::limit;
use crate::row::{Outcome, Row, Setting};
use crate::torch::Torch;
use burn_kiln::kernels::attention::Tiles;
use burn_kiln::kernels::gemm::{Blocking, Caches, Tile};
use burn_kiln_fusion::KernelConfig;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::Arc;

/// Everything that cases of one instruction set and one number of threads share.
#[derive(Debug)]
pub struct Session {
    isa: Isa,
    caches: Option<Caches>,
    pool: Arc<ThreadPool>,
    one: Arc<ThreadPool>,
    effort: Effort,
    /// The machine's peaks with these threads.
    pub peaks: Peaks,
    /// PyTorch, if it is there.
    pub torch: Torch,
}

/// Kiln's configuration for an instruction set and, in place of the detected ones, caches: the sizes of blocks and tiles that `case` would
/// have there.
pub fn configure(isa: Isa, caches: Option<Caches>, threads: usize, case: &Case) -> KernelConfig {
    let mut config = KernelConfig::default();
    config.simd.isa = isa.choice;
    let Some(caches) = caches else { return config };
    let blocking = Blocking::derive(caches, Tile::of(isa.tier), threads);
    config.tiling.mc = Some(blocking.mc);
    config.tiling.kc = Some(blocking.kc);
    config.tiling.nc = Some(blocking.nc);
    if let Shape::Heads { dim, .. } = case.shape {
        let tiles = Tiles::derive(caches, dim, dim);
        config.tiling.attention_q = Some(tiles.rows);
        config.tiling.attention_k = Some(tiles.keys);
    }
    config
}

fn start_pool(threads: usize) -> Result<Arc<ThreadPool>, ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(threads).build().map(Arc::new)
}

impl Session {
    /// Makes the pools and measures the peaks of `threads` threads.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn start(
        isa: Isa,
        threads: usize,
        caches: Option<Caches>,
        effort: Effort,
    ) -> Result<Self, ThreadPoolBuildError> {
        let pool = start_pool(threads)?;
        let peaks = Peaks::measure(isa.tier, &pool);
        Ok(Self { isa, caches, pool, one: start_pool(1)?, effort, peaks, torch: Torch::absent("not asked for") })
    }

    /// The same on peaks that are known.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn with_peaks(isa: Isa, peaks: Peaks, effort: Effort) -> Result<Self, ThreadPoolBuildError> {
        let (pool, one) = (start_pool(peaks.threads)?, start_pool(1)?);
        Ok(Self { isa, caches: None, pool, one, effort, peaks, torch: Torch::absent("not asked for") })
    }

    /// Measures `case`.
    pub fn measure(&mut self, case: &Case) -> Row {
        let operands = self.pool.install(|| Operands::random(case));
        let place = |pool: &Arc<ThreadPool>| Place {
            pool: Arc::clone(pool),
            config: Arc::new(configure(self.isa, self.caches, pool.current_num_threads(), case)),
        };
        let (mut engines, mut missing) = engines::prepare(case, &operands, &place(&self.pool), &place(&self.one));
        if case.op != Op::Scaling {
            let (torch, absent) = self.torch.prepare(case);
            engines.extend(torch);
            missing.extend(absent);
        }
        let samples = interleave(&mut engines, self.effort);
        let outcomes = (engines.iter().zip(samples))
            .map(|(engine, samples)| Outcome { name: engine.name().into(), samples, note: engine.note() })
            .collect();
        drop::<Vec<Box<dyn Engine>>>(engines);
        self.torch.finish();
        let setting =
            Setting { isa: self.isa.tier.to_string(), threads: self.peaks.threads, limit: limit(case, &self.peaks) };
        Row::new(case, setting, outcomes, missing)
    }
}
