//! Memory for each user with one connection in one channel.

use super::super::CHANNEL;
use super::Options;
use super::cluster::Cluster;
use crate::generator::backend::Backend;
use crate::generator::failure;
use crate::generator::handshake::send_connects;
use crate::generator::process::memory;
use crate::report::{SPREAD, Spread, Table, cells};
use std::io;

/// Users that connect together.
const BATCH: usize = 100;
/// Users before the measurement: the first ones allocate what all share.
const WARM_UP: usize = 100;
/// Records stay for longer than a run takes.
const PATIENT: &[&str] = &["unattached_timeout=3600000", "grace_time_ms=3600000"];

pub(super) fn run(options: &Options) -> io::Result<bool> {
    println!("\nbytes of memory for each of {} users with one connection in one channel", options.clients);
    let table = Table::new(&[("server", 8), ("node", SPREAD), ("Redis", SPREAD)]);
    for (name, nodes) in [("embedded", 0), ("node", 1)] {
        let (mut node, mut redis) = (Spread::default(), Spread::default());
        for _ in 0..options.runs {
            measure(nodes, options.clients, &mut node, &mut redis)?;
        }
        table.row(cells![name, format!("{node:.0}"), format!("{redis:.0}")]);
    }
    Ok(true)
}

fn measure(nodes: usize, clients: usize, node: &mut Spread, redis: &mut Spread) -> io::Result<()> {
    let cluster = Cluster::start(nodes, PATIENT)?;
    let first = cluster.nodes.first().ok_or_else(|| failure("no server"))?;
    let mut backend = Backend::new(first.address)?;
    let stored = || cluster.redis.as_ref().map(|redis| redis.used_memory()).transpose();
    send_connects(&mut backend, |_| CHANNEL.to_owned(), 0..WARM_UP)?;
    let (in_node, in_redis) = (memory(first.pid())?.anonymous, stored()?);
    let end = WARM_UP + clients;
    for start in (WARM_UP..end).step_by(BATCH) {
        send_connects(&mut backend, |_| CHANNEL.to_owned(), start..end.min(start + BATCH))?;
    }
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / clients as f64;
    node.add(each(memory(first.pid())?.anonymous, in_node));
    if let Some((after, before)) = stored()?.zip(in_redis) {
        redis.add(each(after, before));
    }
    Ok(())
}
