//! One case against every engine, and what stays the same from case to case.

use crate::affinity::{hold_to_cores, release};
use crate::case::{Case, Op, Shape};
use crate::engines::{self, KILN, KILN_PACKED, Peer, Place};
use crate::gauges::{self, Gauge, Reading};
use crate::isa::Isa;
use crate::measure::{Effort, Engine, interleave_by_state};
use crate::operands::{Operands, count_rotated};
use crate::peaks::{Memory, Peaks};
use crate::row::{Outcome, Row, Setting};
use crate::state::{Meter, State, Wait};
use crate::torch::Torch;
use burn_kiln_fusion::KernelConfig;
use kiln_kernels::Caches;
use kiln_kernels::attention::Tiles;
use kiln_kernels::gemm::{Blocking, Tile};
use kiln_kernels::memory::Pool;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

/// Everything that cases of one instruction set and one number of threads share.
#[derive(Debug)]
pub struct Session {
    isa: Isa,
    caches: Option<Caches>,
    pool: Arc<ThreadPool>,
    one: Arc<ThreadPool>,
    effort: Effort,
    /// Gauges the cores' state.
    meter: Meter,
    /// What gauges of memory move; without it no gauge runs beside the engines.
    memory: Option<Rc<RefCell<Memory>>>,
    /// The machine's peaks with these threads. Rounds that reach more raise those of arithmetic.
    pub peaks: Peaks,
    /// PyTorch, if it is there.
    pub torch: Torch,
    /// Who is measured beside Kiln.
    pub peers: Vec<Peer>,
}

/// Kiln's configuration for an instruction set and, in place of the detected ones, caches: the sizes of blocks and
/// tiles that `case` would have there.
pub fn configure(isa: Isa, caches: Option<Caches>, threads: usize, case: &Case) -> KernelConfig {
    let mut config = KernelConfig::default();
    config.simd.isa = isa.choice;
    let Some(caches) = caches else { return config };
    let blocking = Blocking::derive(caches, Tile::of(isa.tier), threads);
    config.tiling.mc = Some(blocking.mc);
    config.tiling.kc = Some(blocking.kc);
    config.tiling.nc = Some(blocking.nc);
    config.blocking.rows = Some(kiln_kernels::Launch::block_of(caches));
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
    /// Makes the pools and measures the peaks of `threads` threads, with the buffers of an earlier session if there was
    /// one. The calling thread, the pools and PyTorch's process, if it is started now, are held to as many cores.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn start(
        isa: Isa,
        threads: usize,
        caches: Option<Caches>,
        effort: Effort,
        earlier: Option<&Self>,
    ) -> Result<Self, ThreadPoolBuildError> {
        if hold_to_cores(threads).is_none() {
            release();
        }
        let pool = start_pool(threads)?;
        let mut meter = Meter::new(&pool);
        let kept = earlier.and_then(|session| session.memory.clone());
        let memory = kept.unwrap_or_else(|| Rc::new(RefCell::new(Memory::new(&pool))));
        let peaks = Peaks::measure(isa.tier, &pool, &mut memory.borrow_mut(), &mut meter);
        let (one, torch) = (start_pool(1)?, Torch::absent("not asked for"));
        Ok(Self { isa, caches, pool, one, effort, meter, memory: Some(memory), peaks, torch, peers: Peer::ALL.into() })
    }

    /// The same on peaks that are known, without gauges beside the engines, of the cores' state neither.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn with_peaks(isa: Isa, peaks: Peaks, effort: Effort) -> Result<Self, ThreadPoolBuildError> {
        let (pool, one) = (start_pool(peaks.threads)?, start_pool(1)?);
        let torch = Torch::absent("not asked for");
        let meter = Meter::absent();
        Ok(Self { isa, caches: None, pool, one, effort, meter, memory: None, peaks, torch, peers: Peer::ALL.into() })
    }

    /// Takes samples until there are enough of some states.
    pub fn wait_for(&mut self, wait: Option<Wait>) {
        self.meter.wait = wait;
    }

    /// Measures `case`.
    pub fn measure(&mut self, case: &Case) -> Row {
        let operands = self.pool.install(|| Operands::random(case));
        let place = |pool: &Arc<ThreadPool>| Place {
            pool: Arc::clone(pool),
            config: Arc::new(configure(self.isa, self.caches, pool.current_num_threads(), case)),
        };
        let (mut engines, mut missing) =
            engines::prepare(case, &operands, &place(&self.pool), &place(&self.one), &self.peers);
        if case.op != Op::Scaling && self.peers.contains(&Peer::Torch) {
            let (torch, absent) = self.torch.prepare(case);
            engines.extend(torch);
            missing.extend(absent);
        }
        // Next to Kiln's turns, whose limit they tell.
        let gauges = self.gauges(case);
        let ours = engines.iter().take_while(|engine| [KILN, KILN_PACKED].contains(&engine.name())).count();
        engines.splice(ours..ours, gauges.iter().map(|gauge| -> Box<dyn Engine> { Box::new(gauge.clone()) }));
        let mut samples = interleave_by_state(&mut engines, ours + gauges.len(), self.effort, &mut self.meter);
        let read = samples.drain(ours..ours + gauges.len());
        let readings: Vec<Reading> =
            gauges.iter().zip(read).map(|(gauge, samples)| Reading::new(gauge, samples)).collect();
        engines.drain(ours..ours + gauges.len());
        let outcomes: Vec<Outcome> = (engines.iter().zip(samples))
            .map(|(engine, samples)| Outcome { name: engine.name().into(), samples, note: engine.note() })
            .collect();
        drop::<Vec<Box<dyn Engine>>>(engines);
        self.torch.finish();
        drop(operands);
        // Sets of operands lie in the pool now: the next case has other sizes.
        Pool::global().trim();
        let states = outcomes.iter().flat_map(|outcome| outcome.samples.iter().flatten()).map(|sample| sample.state);
        let mut states: BTreeSet<State> = states.collect();
        if states.is_empty() {
            states.insert(State::Unknown);
        }
        let limits =
            states.into_iter().map(|state| (state, gauges::apply(case, &mut self.peaks, &readings, state))).collect();
        let setting = Setting {
            isa: self.isa.tier.to_string(),
            threads: self.peaks.threads,
            limits,
            rotated: count_rotated(case),
        };
        Row::new(case, setting, outcomes, missing)
    }

    /// The gauges that run beside the engines of `case`.
    fn gauges(&self, case: &Case) -> Vec<Gauge> {
        let Some(memory) = &self.memory else { return Vec::new() };
        gauges::choose(case, self.isa).into_iter().map(|quantity| Gauge::new(quantity, &self.pool, memory)).collect()
    }
}
