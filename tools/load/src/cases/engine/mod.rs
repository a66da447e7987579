//! What several nodes over one Redis cost, compared with a single server in the same run: publishes, added latency, calls,
//! memory, and the death of a node.

mod calls;
mod cluster;
mod death;
mod latency;
mod memory;
mod publish;

use crate::generator::redis::Redis;
use clap::{Args, ValueEnum};
use std::io;

#[derive(Args)]
pub struct Options {
    /// Parts, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_value = "publish,latency,calls,memory,death")]
    parts: Vec<Part>,
    /// Numbers of nodes whose publishes are measured, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    nodes: Vec<usize>,
    /// Requests in flight, each on a connection of its own, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    in_flight: Vec<usize>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Publishes in each run
    #[arg(long, default_value_t = 20_000)]
    messages: u32,
    /// Messages per second while the latency is measured
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Calls of each kind
    #[arg(long, default_value_t = 2_000)]
    calls: usize,
    /// Clients whose memory is measured, and clients of the node that dies
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    /// CPU of the publishing node, of a receiving node, and of Redis, for each publish
    Publish,
    /// Latency from the moment a message is due to its arrival at a client of another node
    Latency,
    /// CPU and latency of /connect, /subscribe, /unsubscribe and /disconnect
    Calls,
    /// Memory for each user with one connection in one channel
    Memory,
    /// A node is killed: when all clients are back at another one, and when all have parted if they do not return
    Death,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("{}, median (min-max) of {} runs", Redis::start(&cluster::CORES)?.version()?, options.runs);
    let mut is_clean = true;
    for part in &options.parts {
        is_clean &= match part {
            Part::Publish => publish::run(options)?,
            Part::Latency => latency::run(options)?,
            Part::Calls => calls::run(options)?,
            Part::Memory => memory::run(options)?,
            Part::Death => death::run(options)?,
        };
    }
    Ok(is_clean)
}
