//! Data-parallel training over several processes or machines.
//!
//! Every node holds the whole model and takes its share of each batch; gradients are summed over all nodes before the
//! optimiser's step, so that all take the same step. The network is burn-collective's: node 0 runs its global
//! orchestrator, tensors go from node to node.
//!
//! ```text
//! node 0: orchestrators at PORT and PORT + 1     node I: tensors at LISTEN and LISTEN + 1
//!
//! round r:  register with orchestrator r mod 2 ─ all-reduce ─ finish
//! ```
//!
//! # What burn-collective 0.21 lacks, and what is done about it
//!
//! - Between nodes it reduces **once a session**: the list of nodes that have arrived at the barrier after a reduction
//!   is never emptied, and a second one waits for ever. So each reduction is a session of its own.
//! - Its orchestrator gives a node that registers while others still finish a number that is **taken**. So there are
//!   two orchestrators, used in turn: a node is done with one when another node can be at it again. A node listens at
//!   two ports in turn, since the old one is closed behind its back.
//! - `reduce` and `broadcast` between nodes are `unimplemented!`. Neither is used: what all must know is gathered by
//!   summing vectors that are 0 outside of each node's own place ([`Group::gather`]).
//! - It waits **without limit** for a peer or an orchestrator that is gone, and may miss a wake-up. So a round runs in
//!   a thread that is left behind when its time is up ([`DistributedError::Silent`]).
//! - A message has 512 MiB at most: longer vectors go in pieces of 2²⁶ elements.
//! - It prints a line on standard output for each connection to an orchestrator.
//! - Nothing is encrypted and nobody is authenticated: for networks that you trust.

mod error;
mod exchange;
mod group;
mod options;
mod orchestrator;

pub use error::DistributedError;
pub use exchange::{StepNews, sum_gradients};
pub use group::Group;
pub use options::{HostPort, NodeOptions};
