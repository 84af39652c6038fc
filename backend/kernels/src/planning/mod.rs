//! Plans: how each op of each shape runs on this machine.
//!
//! ```text
//! (op, shape class, dtypes, tier, threads) ── cached? ──▶ plan
//!                    │ no                                    ▲
//!                    ├─ analytic: caches, tile, work a thread┤
//!                    └─ tune: candidates measured ───────────┴─▶ kept on disk
//! ```
//!
//! The analytic plan chooses algorithm, blocks and split by a model of the product's time (analytic.rs, cost.rs), where
//! the model says that another algorithm than the fixed one is faster by more than it errs. Without planning a product
//! takes the constants of [`Variant::choose`](crate::gemm::Variant::choose), the sizes of
//! [`Blocking::derive`](crate::gemm::Blocking::derive), and threads and parts by its multiply-adds.
//!
//! A plan is kept in memory. Products below 2¹⁹ multiply-adds (3 to 8 µs) have no plan, as looking one up takes 40 ns:
//! they run as without planning. With `planning.tune` the first use of a shape measures the analytic plan against its
//! neighbours (other variants, block sizes, fewer threads) on operands of its own, for some tens of milliseconds, and
//! what is faster by more than the noise is kept, in memory and in a file for this machine and version. So a plan is
//! never worse than the analytic one.
//!
//! Plans differ in speed alone, except that algorithm and depth of a block order the sums of f32; with `deterministic`
//! every plan is analytic, and both follow from shape class, tier and caches, whatever the number of threads.

mod analytic;
mod choice;
mod cost;
mod explain;
mod hasher;
mod key;
mod machine;
pub mod plan_cache;
mod planner;
pub mod store;
mod tune;

pub use crate::gemm::{Layout, ProductShape};
pub use choice::Choice;
pub use explain::{Explained, explain_plan, explain_product};
pub use key::PlanKey;
pub use machine::plan_file;
pub use planner::{PlannerStats, forget_plans, plan_product, stats};
pub use store::StoreError;
