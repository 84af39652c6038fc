//! The orchestrators of node 0.

use super::{DistributedError, HostPort};
use std::net::TcpListener;
use std::thread;

/// Refuses a port that is taken: burn-collective would only log it.
pub(super) fn check_port(port: u16) -> Result<(), DistributedError> {
    match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => Ok(()),
        Err(source) => Err(DistributedError::Port { port, source }),
    }
}

/// Runs both in a thread of their own, until the process ends.
pub(super) fn start(address: &HostPort) -> Result<(), DistributedError> {
    let ports = [address.port_of(0), address.port_of(1)];
    ports.into_iter().try_for_each(check_port)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DistributedError::Thread)?;
    let serve = move || {
        runtime.block_on(async {
            let [even, odd] = ports.map(burn_collective::start_global_orchestrator);
            tokio::join!(even, odd);
        })
    };
    thread::Builder::new().name("orchestrator".into()).spawn(serve).map_err(DistributedError::Thread)?;
    Ok(())
}
