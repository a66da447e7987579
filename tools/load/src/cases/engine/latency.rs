//! The latency of deliveries: from the moment a message is due until a client has it, at another node than the one that
//! published, and at a server that is alone.

use super::super::CHANNEL;
use super::Options;
use super::cluster::Cluster;
use crate::compare::faults;
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop, paced};
use crate::generator::ledger::Ledger;
use crate::generator::publisher::Publisher;
use crate::report::{Quantiles, SPREAD, Table, cells, verdict};
use std::io;
use std::time::Duration;

/// Seconds of messages in each run.
const SECONDS: u32 = 5;
/// Messages before the measurement.
const WARM_UP: u32 = 200;

#[derive(Default)]
struct Line {
    latency: Quantiles,
    faults: Vec<String>,
}

pub(super) fn run(options: &Options) -> io::Result<bool> {
    let Options { rate, bytes, .. } = options;
    println!("\nms from due to delivered, {rate} messages per second of {bytes} bytes to one listener");
    let table = Table::new(&[
        ("", 16),
        ("p50", SPREAD),
        ("p90", SPREAD),
        ("p99", SPREAD),
        ("max", SPREAD),
        ("runs", 5),
    ]);
    let kinds = [("embedded", 0), ("from node to node", 2)];
    let mut lines = kinds.map(|_| Line::default());
    for _ in 0..options.runs {
        for ((_, nodes), line) in kinds.iter().zip(&mut lines) {
            line.measure(*nodes, options)?;
        }
    }
    for ((name, _), line) in kinds.iter().zip(&lines) {
        let Quantiles { p50, p90, p99, max } = &line.latency;
        table.row(cells![name, p50, p90, p99, max, verdict(&line.faults)]);
    }
    let [alone, nodes] = &lines;
    let added = |of: fn(&Quantiles) -> f64| format!("{:.2}", of(&nodes.latency) - of(&alone.latency));
    let (p50, p90) = (added(|all| all.p50.median()), added(|all| all.p90.median()));
    let (p99, max) = (added(|all| all.p99.median()), added(|all| all.max.median()));
    table.row(cells!["added", p50, p90, p99, max, ""]);
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

impl Line {
    fn measure(&mut self, nodes: usize, options: &Options) -> io::Result<()> {
        let cluster = Cluster::start(nodes, &[])?;
        let (first, last) = (&cluster.nodes[0], &cluster.nodes[cluster.nodes.len() - 1]);
        let mut crowd = Crowd::new()?;
        crowd.subscribe(last.address, CHANNEL, 1)?;
        let mut publisher = Publisher::rest(first.address, CHANNEL, options.bytes)?;
        crowd.add_publisher(0, &mut publisher)?;
        let mut ledger = Ledger::new(1);
        closed_loop(&mut crowd, &mut publisher, &mut ledger, WARM_UP, Plan::Window(1))?;
        let (count, interval) = (options.rate * SECONDS, Duration::from_secs(1) / options.rate.max(1));
        let mut latencies = paced(&mut crowd, &mut publisher, &mut ledger, count, interval)?;
        self.latency.add(&mut latencies);
        self.faults.extend(faults(&ledger, WARM_UP + count, &crowd, publisher.refused));
        Ok(())
    }
}
