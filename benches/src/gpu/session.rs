//! One case against every engine.

use super::card::{Card, Plain};
use super::case::Case;
use super::engine::Queued;
use super::peaks::{self, Amount, Peaks};
use super::row::{Limits, Outcome, Row};
use super::shapes::Shapes;
use super::work::{Sets, Work, prepare};
use crate::engines::catch;
use crate::measure::{Effort, Engine, Failure, interleave};
use crate::torch::Torch;
use burn::tensor::{Distribution, Tensor, backend::Backend};
use burn_backend::DeviceOps;
use burn_cubecl::{CubeRuntime, cubecl::server::ComputeServer, element::BoolElement};
use burn_kiln::routes::{Route, count};
use burn_kiln::{Engine as KilnEngine, Kiln};
use burn_kiln_fusion::KernelConfig;
use std::sync::Arc;

pub use super::work::OnCard;

/// Column of Kiln.
pub const KILN: &str = "kiln";
/// Column of plain Burn.
pub const BURN: &str = "burn";

/// What cases share.
pub struct Session<R: CubeRuntime, BT> {
    /// The card.
    pub card: Card<R, BT>,
    /// Its limits.
    pub peaks: Peaks,
    /// PyTorch, if it is there.
    pub torch: Torch,
    /// Kiln's configuration.
    config: Arc<KernelConfig>,
    shapes: Shapes,
    effort: Effort,
}

impl<R, BT> Session<R, BT>
where
    R: CubeRuntime,
    R::Server: ComputeServer,
    R::Device: DeviceOps + Default,
    BT: BoolElement,
    Plain<R, BT>: KilnEngine + OnCard<R>,
{
    /// Measures the card's limits.
    ///
    /// # Errors
    /// What the device reports.
    pub fn start(
        card: Card<R, BT>,
        torch: Torch,
        config: KernelConfig,
        shapes: Shapes,
        effort: Effort,
    ) -> Result<Self, Failure> {
        let peaks = measure_peaks(&card, shapes, effort)?;
        Ok(Self { card, peaks, torch, config: Arc::new(config), shapes, effort })
    }

    /// Measures the limits once more, and keeps the better ones: clocks rise with work, and fall with heat.
    ///
    /// # Errors
    /// What the device reports.
    pub fn measure_peaks(&mut self) -> Result<(), Failure> {
        self.peaks = self.peaks.merge(measure_peaks(&self.card, self.shapes, self.effort)?);
        Ok(())
    }

    /// Measures `case`.
    ///
    /// # Errors
    /// Where the operands don't fit the card's memory.
    pub fn measure(&mut self, case: &Case) -> Result<Row, Failure> {
        let sets = self.shapes.cold_bytes().div_ceil(case.operand_bytes()).max(1);
        let operands = catch(|| self.fill(case, sets))?;
        (self.card.wait)()?;
        let before = list_routes();
        let (mut engines, mut missing) = (Vec::<Box<dyn Engine>>::new(), Vec::new());
        let mut add = |name, make: &dyn Fn() -> Work, is_ours: bool| {
            // The first call compiles.
            let made = catch(|| {
                let mut work = make();
                work(0);
                (self.card.wait)().map(|()| work)
            });
            let note = is_ours.then(|| describe_routes(&before));
            match made.and_then(|made| made) {
                Ok(work) => {
                    engines.push(Box::new(Queued::new(name, work, sets, &self.card.wait).with_note(note)));
                }
                Err(failure) => missing.push((name.to_owned(), failure)),
            }
        };
        add(KILN, &|| prepare::<R, Kiln<Plain<R, BT>>>(case, &operands, &self.config), true);
        add(BURN, &|| prepare::<R, Plain<R, BT>>(case, &operands, &self.config), false);
        let (torch, absent) = self.torch.prepare_request(&case.request(sets));
        engines.extend(torch);
        missing.extend(absent);
        let ours = usize::from(engines.first().is_some_and(|engine| engine.name() == KILN));
        let samples = interleave(&mut engines, ours, self.effort);
        let outcomes = (engines.iter().zip(samples))
            .map(|(engine, samples)| Outcome { name: engine.name().into(), samples, note: engine.note() })
            .collect();
        drop::<Vec<Box<dyn Engine>>>(engines);
        drop(operands);
        self.torch.finish();
        // The next case has other sizes, and a small card no room for both.
        Plain::<R, BT>::memory_cleanup(&self.card.device);
        let Peaks { read, copy, fma, launch, .. } = self.peaks;
        Ok(Row::new(case, Limits { read, copy, fma, launch }, outcomes, missing))
    }

    /// Random operands, uniform in -1 to 1.
    fn fill(&self, case: &Case, sets: usize) -> Sets<R> {
        let fill = |(sizes, angles): (Vec<usize>, bool)| {
            let (uniform, len) = (Distribution::Uniform(-1.0, 1.0), sizes.iter().product::<usize>());
            let numbers = Tensor::<Plain<R, BT>, 1>::random([len], uniform, &self.card.device);
            let dtype = if angles { burn::tensor::DType::F32 } else { case.dtype.burn() };
            numbers.cast(dtype).into_primitive().tensor()
        };
        Arc::new((0..sets).map(|_| case.operands().into_iter().map(fill).collect()).collect())
    }
}

fn measure_peaks<R, BT>(card: &Card<R, BT>, shapes: Shapes, effort: Effort) -> Result<Peaks, Failure>
where
    R: CubeRuntime,
{
    let amount = match shapes {
        Shapes::B2 => Amount { bytes: shapes.cold_bytes(), turns: 1 << 12 },
        Shapes::Small => Amount { bytes: 1 << 20, turns: 1 << 6 },
    };
    peaks::measure(&card.client, &card.wait, amount, effort)
}

fn list_routes() -> Vec<u64> {
    Route::ALL.map(count).into()
}

/// The kernels that were reached since `before`.
fn describe_routes(before: &[u64]) -> String {
    let now = list_routes();
    let reached = Route::ALL.iter().zip(before.iter().zip(&now)).filter(|(_, (before, now))| now > before);
    let names: Vec<String> = reached.map(|(route, _)| route.to_string()).collect();
    if names.is_empty() { "a composition: no kernel took the operands".into() } else { names.join(", ") }
}
