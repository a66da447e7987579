//! Several servers that act as one over a Redis of their own.

use super::TestServer;
use super::backend::Backend;
use super::redis::Redis;
use channelstream::config::Settings;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The address of a server, or those of its nodes, which are used in turn.
#[derive(Clone, Copy)]
pub enum Nodes {
    One(SocketAddr),
    /// Shared by all copies until the test program ends.
    InTurn(&'static Turns),
}

pub struct Turns {
    addresses: Vec<SocketAddr>,
    next: AtomicUsize,
}

impl Nodes {
    pub fn in_turn(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let addresses: Vec<_> = addresses.into_iter().collect();
        match addresses[..] {
            [address] => Self::One(address),
            _ => Self::InTurn(Box::leak(Box::new(Turns { addresses, next: AtomicUsize::new(0) }))),
        }
    }

    /// The address for the next request.
    pub fn next(self) -> SocketAddr {
        match self {
            Self::One(address) => address,
            Self::InTurn(Turns { addresses, next }) => {
                addresses[next.fetch_add(1, Ordering::Relaxed) % addresses.len()]
            }
        }
    }

    pub fn count(self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::InTurn(turns) => turns.addresses.len(),
        }
    }
}

impl From<SocketAddr> for Nodes {
    fn from(address: SocketAddr) -> Self {
        Self::One(address)
    }
}

/// Nodes on one Redis, which ends after them.
pub struct Cluster {
    pub servers: Vec<TestServer>,
    _redis: Redis,
}

impl Cluster {
    /// Starts this many nodes with the same settings, and waits until all are ready.
    pub fn start(nodes: usize, settings: &Settings) -> Self {
        let redis = Redis::start(&[]);
        let start = |_| TestServer::start(redis.settings(settings.clone()));
        let servers: Vec<TestServer> = (0..nodes).map(start).collect();
        servers.iter().for_each(TestServer::wait_until_ready);
        Self { servers, _redis: redis }
    }

    pub fn addresses(&self) -> Nodes {
        Nodes::in_turn(self.servers.iter().map(|server| server.address))
    }

    /// A backend that sends each request to another node.
    pub fn backend(&self) -> Backend {
        Backend::new(self.addresses())
    }
}
