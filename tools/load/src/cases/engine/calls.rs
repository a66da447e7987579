//! CPU and latency of the calls that change who is in a channel, one after the other.

use super::super::CHANNEL;
use super::Options;
use super::cluster::Cluster;
use crate::generator::backend::{Backend, request};
use crate::generator::handshake::{call, conn_id};
use crate::report::{Quantiles, SPREAD, Spread, Table, cells};
use std::io;
use std::ops::Range;
use std::time::Instant;

/// Calls before the measurement.
const WARM_UP: usize = 100;

/// A call about the connection of an index.
type Request = fn(usize) -> Vec<u8>;

const CALLS: [(&str, Request); 4] = [
    ("/connect", |index| call(index, CHANNEL)),
    ("/subscribe", |index| about("/subscribe", index, r#","channels":["other"]"#)),
    ("/unsubscribe", |index| about("/unsubscribe", index, r#","channels":["other"]"#)),
    ("/disconnect", |index| about("/disconnect", index, "")),
];

fn about(path: &str, index: usize, more: &str) -> Vec<u8> {
    request("POST", path, &format!(r#"{{"conn_id":"{}"{more}}}"#, conn_id(index)))
}

/// The results of the runs of one call, at a server that is alone or at a node.
#[derive(Default)]
struct Line {
    node: Spread,
    redis: Spread,
    latency: Quantiles,
}

pub(super) fn run(options: &Options) -> io::Result<bool> {
    println!("\nµs of CPU per call, and ms until it is answered: one channel, one call after the other");
    let table = Table::new(&[
        ("call", 12),
        ("server", 8),
        ("node", SPREAD),
        ("Redis", SPREAD),
        ("p50", SPREAD),
        ("p99", SPREAD),
    ]);
    let kinds = [("embedded", 0), ("node", 1)];
    let mut lines = kinds.map(|_| CALLS.map(|_| Line::default()));
    for _ in 0..options.runs {
        for ((_, nodes), lines) in kinds.iter().zip(&mut lines) {
            measure(*nodes, options.calls, lines)?;
        }
    }
    for (at, (name, _)) in CALLS.iter().enumerate() {
        for ((kind, _), lines) in kinds.iter().zip(&lines) {
            let Line { node, redis, latency } = &lines[at];
            table.row(cells![name, kind, node, redis, latency.p50, latency.p99]);
        }
    }
    Ok(true)
}

fn measure(nodes: usize, calls: usize, lines: &mut [Line]) -> io::Result<()> {
    let cluster = Cluster::start(nodes, &[])?;
    let mut backend = Backend::new(cluster.nodes[0].address)?;
    for (_, of) in CALLS {
        perform(&mut backend, of, 0..WARM_UP)?;
    }
    for ((_, of), line) in CALLS.iter().zip(lines) {
        let before = cluster.spent()?;
        let mut latencies = perform(&mut backend, *of, WARM_UP..WARM_UP + calls)?;
        let share = cluster.share(&before, calls as f64)?;
        line.node.add(share.first);
        if share.redis.is_finite() {
            line.redis.add(share.redis);
        }
        line.latency.add(&mut latencies);
    }
    Ok(())
}

/// Calls about connections, one after the other. Returns how long each took, in µs.
fn perform(backend: &mut Backend, of: Request, indexes: Range<usize>) -> io::Result<Vec<u32>> {
    let one = |index| {
        let (request, begin) = (of(index), Instant::now());
        backend.call(&[request])?;
        Ok(begin.elapsed().as_micros() as u32)
    };
    indexes.map(one).collect()
}
