//! What can go wrong between nodes.

use std::time::Duration;

/// Training over several nodes that cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DistributedError {
    /// An address of another form.
    #[error("`{found}` is not an address: expected HOST:PORT, with a port from 1 to 65534")]
    Address {
        /// What was given.
        found: String,
    },
    /// A number of nodes, or a node's number, that cannot be.
    #[error("node {index} of {nodes}: expected 2 nodes or more, and a number from 0 to one less than them")]
    Index {
        /// The node's number.
        index: u32,
        /// How many there are.
        nodes: u32,
    },
    /// A port that something else listens at.
    #[error("cannot listen at port {port}: {source}; each node needs two free ports, and node 0 two more")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// An orchestrator's host that leads nowhere.
    #[error("no way to the orchestrator {address}: {source}")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing came back in time.
    #[error(
        "node {index} waited {} s for the others in round {round}: one of {nodes} nodes is gone or hangs, or the \
         orchestrator {address} is not running",
        timeout.as_secs()
    )]
    Silent {
        /// The node that waited.
        index: u32,
        /// How many there are.
        nodes: u32,
        /// The orchestrator's address.
        address: String,
        /// The round, from 0.
        round: u64,
        /// How long it waited.
        timeout: Duration,
    },
    /// A node that has gone away, or that disagrees.
    #[error("node {index} lost the others in round {round}: {reason}")]
    Lost {
        /// The node that noticed.
        index: u32,
        /// The round, from 0.
        round: u64,
        /// What burn-collective says.
        reason: String,
    },
    /// Nodes that were started with other settings or data.
    #[error("node {other} differs from node {index} in {what}: start all nodes with the same options and data")]
    Disagreement {
        /// The node that noticed.
        index: u32,
        /// The first one that differs.
        other: u32,
        /// What of.
        what: &'static str,
    },
    /// A system that has no threads left.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}
