//! Plans: how each op of each shape runs on this machine.
//!
//! ```text
//! (op, shape class, dtypes, tier, threads) ── at hand? ──▶ plan
//!                    │ no                                    ▲
//!                    ├─ analytic: caches, tile, work a thread┤
//!                    └─ tune: candidates measured ───────────┴─▶ kept on disk
//! ```
//!
//! The analytic plan chooses the depth and height of blocks by a model of the product's time (analytic.rs): fewer turns
//! of the depth where C is large beside what reading B again costs. Without planning every product takes the fixed
//! sizes of [`Blocking::derive`](crate::gemm::Blocking::derive).
//!
//! A plan is kept in memory. Products below 2¹⁹ multiply-adds (3 to 8 µs) have no plan, as looking one up takes 40 ns:
//! they run as without planning. With `planning.tune` the first use of a shape measures the analytic plan against its
//! neighbours (other variants, block sizes, fewer threads) on operands of its own, for some tens of milliseconds, and
//! what is faster by more than the noise is kept, in memory and in a file for this machine and version. So a plan is
//! never worse than the analytic one.
//!
//! Plans differ in speed alone, except that the depth of a block orders the sums of f32; with `deterministic` every
//! plan is analytic, and the depth of its blocks follows from shape class and caches, whatever the number of threads.

mod analytic;
mod choice;
mod explain;
mod hasher;
pub mod kept;
mod key;
mod machine;
mod planner;
pub mod store;
mod tune;

pub use choice::Choice;
pub use explain::{Explained, explain_plan, explain_product};
pub use key::{Layout, PlanKey, ProductShape};
pub use machine::plan_file;
pub use planner::{PlannerStats, forget_plans, plan_product, stats};
pub use store::StoreError;
