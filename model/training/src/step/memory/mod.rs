//! What a step takes in memory, planned before the first one.
//!
//! ```text
//! always     weights + gradients + moments (+ f32 copies of weights in fewer bits)
//! forward    always + what the layers so far keep + the layer at hand
//! loss       always + what all layers keep + logits of a chunk, the head's gradient
//! reverse    always + what the layers before keep + the layer at hand: its tape, and its backward's temporaries
//! step       always + temporaries of the largest parameter's update
//! ```
//! The plan's total is the largest of these. A layer that keeps its tape saves a forward pass; the plan lets as many
//! keep it as the budget allows: the decoder's from the last one back, as those are the first to be done with theirs,
//! then the tower's.
//!
//! Sizes are those of the default compositions: a backend with kernels of its own takes less. To the sum of what is
//! computed here comes an allowance for the allocator ([`ALLOWANCE`]).

mod batch;
mod cost;
mod error;
mod model;
mod table;
mod timeline;

pub use batch::BatchSize;
pub use error::PlanError;
pub use table::PlanRow;

use super::{Keep, LayerPlan};
use burn::tensor::backend::Backend;
use burn_autodiff::Autodiff;
use model::ModelSizes;
use qwen3_vl_burn::Qwen3Vl;
use timeline::Timeline;

/// What is added to activations and temporaries: size classes of Kiln's pool are up to a quarter larger than what is
/// asked for, and free blocks of one class do not serve another.
const ALLOWANCE: f64 = 0.25;

/// Positions whose logits exist at one time: the first of these that fits the budget.
const CHUNKS: [usize; 6] = [512, 256, 128, 64, 32, 16];

/// What a step is to be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanRequest {
    /// The largest batch.
    pub batch: BatchSize,
    /// Whether gradients of several batches are added up before a step.
    pub accumulates: bool,
    /// The most bytes that a step may take, weights included; without it, every layer keeps its tape.
    pub budget: Option<u64>,
}

/// What a step takes, and which layers keep their tapes.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryPlan {
    /// What each layer keeps.
    pub layers: LayerPlan,
    /// The parts of the total at its largest moment, in order.
    pub rows: Vec<PlanRow>,
    /// The most that a step takes, bytes.
    pub total: u64,
    /// What was asked for.
    pub request: PlanRequest,
    /// Layers through which a gradient goes, of the tower and of the decoder.
    recorded: [usize; 2],
}

impl MemoryPlan {
    /// Plans steps of a model whose parameters are frozen or not as they will be trained.
    ///
    /// # Errors
    /// [`PlanError::Budget`] with the least budget that would do, [`PlanError::NothingTrains`].
    pub fn new<B: Backend>(model: &Qwen3Vl<Autodiff<B>>, request: PlanRequest) -> Result<Self, PlanError> {
        let sizes = ModelSizes::measure(model, request.batch.patches > 0);
        if !sizes.trains() {
            return Err(PlanError::NothingTrains);
        }
        let plan = |keep, loss_chunk| LayerPlan { loss_chunk, ..LayerPlan::uniform(model.config(), keep) };
        let measure = |layers: &LayerPlan| Timeline::run(&sizes, &request, layers);
        let Some(budget) = request.budget else {
            let layers = plan(Keep::Tape, CHUNKS[0].min(request.batch.targets.max(1)));
            return Ok(Self::of(measure(&layers), layers, request, sizes.recorded()));
        };
        let chunks = CHUNKS.map(|chunk| chunk.min(request.batch.targets.max(1)));
        let totals = chunks.map(|chunk| measure(&plan(Keep::Input, chunk)).total());
        let Some(at) = totals.iter().position(|&total| total <= budget) else {
            let least = totals.into_iter().min().unwrap_or(u64::MAX);
            return Err(PlanError::Budget { budget, least });
        };
        let mut layers = plan(Keep::Input, chunks[at]);
        for place in sizes.order() {
            *place.keep(&mut layers) = Keep::Tape;
            if measure(&layers).total() > budget {
                *place.keep(&mut layers) = Keep::Input;
            }
        }
        Ok(Self::of(measure(&layers), layers, request, sizes.recorded()))
    }

    fn of(timeline: Timeline, layers: LayerPlan, request: PlanRequest, recorded: [usize; 2]) -> Self {
        Self { total: timeline.total(), rows: timeline.rows(), layers, request, recorded }
    }
}
