//! Who runs a case in this process.

#[cfg(feature = "peers")]
mod candle;
mod gemm_crate;
mod generic;
mod packed;

use crate::case::{Case, Op};
use crate::measure::{Engine, Failure, Prepared};
use crate::operands::Operands;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::KernelConfig;
use rayon::ThreadPool;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use generic::OnFlex;

/// One call on the operands of a set.
pub type Work = Box<dyn FnMut(usize) + Send>;

/// Column of Kiln with the weight as the checkpoint has it, and of operations without a weight.
pub const KILN: &str = "kiln";
/// Column of Kiln with a packed weight.
pub const KILN_PACKED: &str = "kiln packed";
/// Column of the decorated backend.
pub const FLEX: &str = "flex";
/// Column of the `gemm` crate.
pub const GEMM: &str = "gemm";
/// Column of candle.
pub const CANDLE: &str = "candle";
/// Column of Kiln on one thread.
pub const KILN_ONE: &str = "kiln 1 thread";

/// Who is measured beside Kiln.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// The decorated backend.
    Flex,
    /// The `gemm` crate.
    Gemm,
    /// Candle.
    Candle,
    /// PyTorch.
    Torch,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Gemm, Self::Candle, Self::Torch];
}

/// Where work runs: the threads and the configuration that plain Burn ops find.
#[derive(Debug, Clone)]
pub struct Place {
    /// Kernels run in the pool of the caller, so the caller is one of its threads.
    pub pool: Arc<ThreadPool>,
    /// Instruction set, block sizes.
    pub config: Arc<KernelConfig>,
}

/// A case that runs in this process.
struct Local {
    name: &'static str,
    place: Place,
    sets: usize,
    next: usize,
    work: Work,
}

impl Engine for Local {
    fn name(&self) -> &str {
        self.name
    }

    fn run(&mut self, calls: usize) -> Result<Duration, Failure> {
        let Self { place, sets, next, work, .. } = self;
        catch(|| {
            place.pool.install(|| {
                burn_kiln::scope(&place.config, || {
                    let begin = Instant::now();
                    for _ in 0..calls {
                        work(*next % *sets);
                        *next += 1;
                    }
                    begin.elapsed()
                })
            })
        })
    }
}

/// Calls of engines that run at this moment.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Keeps the panics of engines from the screen: they are failures in a column. Others are reported as before.
pub fn hide_panics_of_engines() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if RUNNING.load(Ordering::Relaxed) == 0 {
            report(panic);
        }
    }));
}

/// Turns a panic into a failure with its message.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    RUNNING.fetch_add(1, Ordering::Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    RUNNING.fetch_sub(1, Ordering::Relaxed);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Failure::Panicked(text.lines().next().unwrap_or_default().into())
    })
}

/// The engines of this process for `case`, Kiln and of the others `peers`, and those that have none with the reason.
/// `one` is the place with one thread.
pub fn prepare(case: &Case, operands: &Operands, place: &Place, one: &Place, peers: &[Peer]) -> Prepared {
    let (mut engines, mut missing) = (Vec::<Box<dyn Engine>>::new(), Vec::<(String, Failure)>::new());
    let mut add = |name: &'static str, place: &Place, make: &(dyn Fn() -> Result<Work, Failure> + Sync)| {
        let made = catch(|| place.pool.install(|| burn_kiln::scope(&place.config, make)));
        match made.and_then(|work| work) {
            Ok(work) => {
                let (place, sets) = (place.clone(), operands.sets.len());
                engines.push(Box::new(Local { name, place, sets, next: 0, work }));
            }
            Err(failure) => missing.push((name.to_string(), failure)),
        }
    };
    let is_product = matches!(case.op, Op::Gemm | Op::Gemv | Op::Skinny | Op::Scaling);
    add(KILN, place, &|| Ok(generic::prepare::<Kiln<Flex>>(case, operands, &place.config)));
    if is_product {
        add(KILN_PACKED, place, &|| packed::prepare(case, operands, &place.config));
    }
    if case.op == Op::Scaling {
        add(KILN_ONE, one, &|| packed::prepare(case, operands, &one.config));
        return (engines, missing);
    }
    if peers.contains(&Peer::Flex) {
        add(FLEX, place, &|| Ok(generic::prepare::<Flex>(case, operands, &place.config)));
    }
    if is_product && peers.contains(&Peer::Gemm) {
        add(GEMM, place, &|| gemm_crate::prepare(case, operands));
    }
    if peers.contains(&Peer::Candle) {
        #[cfg(feature = "peers")]
        add(CANDLE, place, &|| candle::prepare(case, operands));
        #[cfg(not(feature = "peers"))]
        add(CANDLE, place, &|| Err(Failure::Unsupported("built without the feature `peers`".into())));
    }
    (engines, missing)
}
