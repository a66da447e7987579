//! The servers that are measured: one that is alone, or nodes over a Redis.

use super::super::QUIET;
use crate::generator::backend::{Backend, request};
use crate::generator::failure;
use crate::generator::process::cpu_ns;
use crate::generator::redis::Redis;
use crate::generator::server::Server;
use crate::{GENERATOR_CORE, SERVER_CORE};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Nodes and Redis run on all cores of a small machine, also on the generator's.
pub const CORES: [usize; 2] = [SERVER_CORE, GENERATOR_CORE];
/// The longest wait for a node to join.
const PATIENCE: Duration = Duration::from_secs(20);

/// Dropping it ends all its processes.
pub struct Cluster {
    pub nodes: Vec<Server>,
    /// None for a server that is alone.
    pub redis: Option<Redis>,
}

/// CPU for each unit of work, in µs.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Of the first node.
    pub first: f64,
    /// Of one of the other nodes; NaN if there is none.
    pub other: f64,
    /// NaN without Redis.
    pub redis: f64,
}

/// CPU so far, in ns.
pub struct Spent {
    nodes: Vec<u64>,
    redis: Option<u64>,
}

impl Cluster {
    /// Starts this many nodes over a Redis, or one server without it if the number is 0, and waits until they are ready.
    pub fn start(nodes: usize, settings: &[&str]) -> io::Result<Self> {
        let redis = (nodes > 0).then(|| Redis::start(&CORES)).transpose()?;
        let url = redis.as_ref().map(|redis| format!("engine_url={}", redis.url()));
        let engine: Vec<&str> = url.iter().flat_map(|url| ["engine=redis", url]).collect();
        let settings = [QUIET, settings, &engine].concat();
        let program = crate::channelstream()?;
        let start = |_| Server::with_workers(program, &settings, 1, &CORES);
        let nodes = (0..nodes.max(1)).map(start).collect::<io::Result<Vec<_>>>()?;
        nodes.iter().try_for_each(|node| wait_until_ready(node.address))?;
        Ok(Self { nodes, redis })
    }

    pub fn spent(&self) -> io::Result<Spent> {
        let nodes = self.nodes.iter().map(|node| cpu_ns(node.pid())).collect::<io::Result<_>>()?;
        Ok(Spent { nodes, redis: self.redis.as_ref().map(|redis| cpu_ns(redis.pid())).transpose()? })
    }

    /// The CPU since an earlier moment, for each of these units.
    pub fn share(&self, before: &Spent, units: f64) -> io::Result<Share> {
        let now = self.spent()?;
        let us = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1000.0 / units;
        let mut nodes = now.nodes.iter().zip(&before.nodes).map(|(now, before)| us(*now, *before));
        let (first, others) = (nodes.next().unwrap_or(f64::NAN), nodes.collect::<Vec<_>>());
        // Without others this is 0 / 0.
        let other = others.iter().sum::<f64>() / others.len() as f64;
        let redis = now.redis.zip(before.redis).map_or(f64::NAN, |(now, before)| us(now, before));
        Ok(Share { first, other, redis })
    }
}

fn wait_until_ready(node: SocketAddr) -> io::Result<()> {
    let begin = Instant::now();
    while Backend::new(node)?.call(&[request("GET", "/health/ready", "")]).is_err() {
        if begin.elapsed() > PATIENCE {
            return Err(failure("a node did not become ready"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How many connections a channel has, as a node knows it.
pub fn connections(backend: &mut Backend, channel: &str) -> io::Result<u64> {
    let body =
        format!(r#"{{"info":{{"channels":["{channel}"],"include_users":false,"include_history":false}}}}"#);
    let text = backend.call(&[request("POST", "/info", &body)])?.concat();
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    let count = answer["channels"][channel]["total_connections"].as_u64();
    count.ok_or_else(|| failure(format!("no connections in {text}")))
}
