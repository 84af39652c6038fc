//! One case against every engine, and what stays the same from case to case.

use crate::args::Isa;
use crate::case::{Case, Op};
use crate::engines::{self, Place};
use crate::measure::{Effort, Engine, interleave};
use crate::operands::Operands;
use crate::peaks::{Bandwidth, Peaks};
use crate::roofline::limit;
use crate::row::{Outcome, Row, Setting};
use crate::torch::Torch;
use burn_kiln::kernels::gemm::{Blocking, Caches, Tile};
use burn_kiln_fusion::KernelConfig;
use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::Arc;

/// Everything that cases of one instruction set and one number of threads share.
#[derive(Debug)]
pub struct Session {
    isa: Isa,
    place: Place,
    one: Place,
    effort: Effort,
    /// The machine's peaks with these threads.
    pub peaks: Peaks,
    /// PyTorch, if it is there.
    pub torch: Torch,
}

/// Kiln's configuration for an instruction set and, in place of the detected ones, caches.
pub fn configure(isa: Isa, caches: Option<Caches>, threads: usize) -> KernelConfig {
    let mut config = KernelConfig::default();
    config.simd.isa = isa.choice;
    if let Some(caches) = caches {
        let blocking = Blocking::derive(caches, Tile::of(isa.tier), threads);
        config.tiling.mc = Some(blocking.mc);
        config.tiling.kc = Some(blocking.kc);
        config.tiling.nc = Some(blocking.nc);
    }
    config
}

/// A pool of `threads` threads and the configuration for it.
fn place(isa: Isa, caches: Option<Caches>, threads: usize) -> Result<Place, ThreadPoolBuildError> {
    let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).build()?);
    Ok(Place { pool, config: Arc::new(configure(isa, caches, threads)) })
}

impl Session {
    /// Makes the pools and measures the peaks. `memory` is the bandwidth with these threads where it is known.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn start(
        isa: Isa,
        threads: usize,
        caches: Option<Caches>,
        effort: Effort,
        memory: Option<Bandwidth>,
    ) -> Result<Self, ThreadPoolBuildError> {
        let (place, one) = (place(isa, caches, threads)?, place(isa, caches, 1)?);
        let peaks = Peaks::measure(isa.tier, &place.pool, memory);
        Ok(Self { isa, place, one, effort, peaks, torch: Torch::absent("not asked for") })
    }

    /// Measures `case`.
    pub fn measure(&mut self, case: &Case) -> Row {
        let operands = self.place.pool.install(|| Operands::random(case));
        let (mut engines, missing) = engines::prepare(case, &operands, &self.place, &self.one);
        let mut missing: Vec<_> = missing.into_iter().map(|(name, why)| (name.to_string(), why)).collect();
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
