//! Loss and gradients of a batch.
//!
//! ```text
//! forward   tower ─ merger ─┐
//!           ids ─ embed ────┴─ layer 0 ─ layer 1 ─ .. ─ layer n-1 ─ norm ─ head ─ loss
//! reverse   each of these, last one first: its parameters' gradients go to `Gradients`, its input's to the one before
//! ```
//!
//! Each layer has a tape of its own. A layer that keeps it ([`Keep::Tape`]) is recorded in the forward pass and goes
//! back on that tape. One that does not ([`Keep::Input`]) runs without a tape, keeps its input, and is recorded when
//! its turn comes in reverse (activation checkpointing, Chen et al. 2016). So what is in memory at one time is what
//! [`LayerPlan`] says, and gradients of parameters are where they belong as soon as a layer is done. Layers before the
//! first parameter that trains are not recorded at all.
//!
//! Samples of a batch lie behind each other without padding; attention keeps them apart. Position `i` predicts label
//! `i + 1` of its own sample. The sum over all targets is divided by a count that the caller gives: with that of all
//! micro-batches of a step (HF's `num_items_in_batch`), accumulated gradients are those of the mean over all of them.

mod error;
mod evaluate;
mod forward;
mod gradients;
mod inputs;
mod layer;
mod layer_plan;
mod loss;
mod memory;
mod tape;
mod trains;
mod vision;

pub use error::StepError;
pub use evaluate::evaluate;
pub use forward::differentiate;
pub use gradients::{BatchLoss, Gradients};
pub use layer_plan::{Keep, LayerPlan};
pub use memory::{BatchSize, MemoryPlan, PlanError, PlanRequest, PlanRow};
