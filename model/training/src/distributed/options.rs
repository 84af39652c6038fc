//! Who a node is and where the others are.

use super::DistributedError;
use std::fmt;
use std::net::UdpSocket;
use std::str::FromStr;
use std::time::Duration;

/// A host's name or address and a port; the port after it is used too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an address; IPv6 in brackets.
    pub host: String,
    /// The first of two.
    pub port: u16,
}

impl HostPort {
    /// The address of the first or the second port, as burn-collective takes it.
    pub(super) fn url(&self, parity: u64) -> String {
        format!("ws://{}:{}", self.host, self.port_of(parity))
    }

    pub(super) fn port_of(&self, parity: u64) -> u16 {
        self.port + (parity % 2) as u16
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for HostPort {
    type Err = DistributedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DistributedError::Address { found: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        if host.is_empty() || !host.chars().all(is_host) || port == 0 || port == u16::MAX {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// One of several nodes.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The node's number, from 0. Node 0 runs the orchestrators.
    pub index: u32,
    /// How many there are.
    pub nodes: u32,
    /// Where node 0 runs the orchestrators, as every node reaches it.
    pub orchestrator: HostPort,
    /// Where the other nodes reach this one. `None`: the address from which this machine reaches the orchestrator, and
    /// a port above the orchestrator's: `port + 2 + 2 · index`.
    pub listen: Option<HostPort>,
    /// How long a node waits for the others: longer than the slowest node's step.
    pub timeout: Duration,
}

impl NodeOptions {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`DistributedError::Index`].
    pub fn validate(&self) -> Result<(), DistributedError> {
        if self.nodes < 2 || self.index >= self.nodes {
            return Err(DistributedError::Index { index: self.index, nodes: self.nodes });
        }
        Ok(())
    }

    /// Where the other nodes reach this one.
    pub(super) fn resolve_listen(&self) -> Result<HostPort, DistributedError> {
        if let Some(listen) = &self.listen {
            return Ok(listen.clone());
        }
        let unreachable = |source| DistributedError::Unreachable { address: self.orchestrator.to_string(), source };
        // Nothing is sent: connecting a datagram socket only looks up the way, and with it the own address.
        let own = |bind: &str| {
            let socket = UdpSocket::bind((bind, 0))?;
            socket.connect((self.orchestrator.host.trim_matches(['[', ']']), self.orchestrator.port))?;
            socket.local_addr()
        };
        let own = own("0.0.0.0").or_else(|_| own("::")).map_err(unreachable)?.ip();
        let host = if own.is_ipv6() { format!("[{own}]") } else { own.to_string() };
        let port = u32::from(self.orchestrator.port) + 2 + 2 * self.index;
        let text = format!("{host}:{port}");
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let at: HostPort = "10.0.0.1:4000".parse().unwrap();
        assert_eq!((at.url(0), at.url(3)), ("ws://10.0.0.1:4000".into(), "ws://10.0.0.1:4001".into()));
        assert_eq!("[::1]:80".parse::<HostPort>().unwrap().host, "[::1]");
        for bad in
            ["", "host", ":80", "host:", "host:0", "host:65535", "host:70000", "ho st:80", "ws://host:80", "a/b:1"]
        {
            let error = bad.parse::<HostPort>().unwrap_err();
            assert!(matches!(&error, DistributedError::Address { found } if found == bad), "{bad}: {error}");
        }
    }

    fn node(index: u32, nodes: u32) -> NodeOptions {
        let orchestrator = "127.0.0.1:5000".parse().unwrap();
        NodeOptions { index, nodes, orchestrator, listen: None, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn numbers() {
        assert!(node(1, 2).validate().is_ok());
        for (index, nodes) in [(0, 0), (0, 1), (2, 2), (7, 3)] {
            assert!(matches!(node(index, nodes).validate(), Err(DistributedError::Index { .. })), "{index} of {nodes}");
        }
        assert_eq!(node(1, 2).resolve_listen().unwrap(), "127.0.0.1:5004".parse().unwrap());
        assert!(matches!(node(40_000, 50_000).resolve_listen(), Err(DistributedError::Address { .. })));
    }
}
