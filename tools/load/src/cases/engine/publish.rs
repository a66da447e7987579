//! CPU for each publish, with a listener at each node.

use super::super::CHANNEL;
use super::Options;
use super::cluster::Cluster;
use crate::generator::arrivals::Arrivals;
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::publisher::Publisher;
use crate::report::{SPREAD, Spread, Table, cells, verdict};
use std::io;
use std::time::{Duration, Instant};

/// Longest wait for the last answers and deliveries.
const PATIENCE: Duration = Duration::from_secs(10);

/// The results of the runs with one number of nodes and of requests in flight.
#[derive(Default)]
struct Line {
    nodes: usize,
    in_flight: usize,
    first: Spread,
    other: Spread,
    redis: Spread,
    per_second: Spread,
    faults: Vec<String>,
}

pub(super) fn run(options: &Options) -> io::Result<bool> {
    println!(
        "\nµs of CPU per publish of {} bytes in one channel with a listener at each node",
        options.bytes
    );
    let table = Table::new(&[
        ("nodes", 8),
        ("in flight", 0),
        ("publishing node", SPREAD),
        ("receiving node", SPREAD),
        ("Redis", SPREAD),
        ("publishes/s", 0),
        ("runs", 5),
    ]);
    let nodes = [&[0], &options.nodes[..]].concat();
    let pairs = nodes.iter().flat_map(|nodes| options.in_flight.iter().map(move |flight| (*nodes, *flight)));
    let mut lines: Vec<Line> =
        pairs.map(|(nodes, in_flight)| Line { nodes, in_flight, ..Line::default() }).collect();
    for _ in 0..options.runs {
        lines.iter_mut().try_for_each(|line| line.measure(options))?;
    }
    for line in &lines {
        let nodes = if line.nodes == 0 { "embedded".to_owned() } else { line.nodes.to_string() };
        let per_second = format!("{:.0}", line.per_second.median());
        let Line { in_flight, first, other, redis, faults, .. } = line;
        table.row(cells![nodes, in_flight, first, other, redis, per_second, verdict(faults)]);
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

impl Line {
    fn measure(&mut self, options: &Options) -> io::Result<()> {
        let cluster = Cluster::start(self.nodes, &[])?;
        let mut crowd = Crowd::new()?;
        for node in &cluster.nodes {
            crowd.subscribe(node.address, CHANNEL, 1)?;
        }
        crowd.read_until_quiet(Duration::from_millis(300), &mut [], |_, _| {})?;
        let first = cluster.nodes[0].address;
        let publisher = |_| Publisher::rest(first, CHANNEL, options.bytes);
        let publishers = (0..self.in_flight).map(publisher).collect::<io::Result<Vec<_>>>()?;
        let arrivals = || Arrivals::new(self.in_flight);
        let arrivals = cluster.nodes.iter().map(|_| arrivals()).collect();
        let mut load = Load { crowd, publishers, arrivals, sent: 0 };
        load.register()?;
        let warm_up = options.messages / 10;
        load.publish(warm_up)?;
        let (before, begin) = (cluster.spent()?, Instant::now());
        load.publish(warm_up + options.messages)?;
        self.per_second.add(f64::from(options.messages) / begin.elapsed().as_secs_f64());
        let share = cluster.share(&before, f64::from(options.messages))?;
        for (spread, us) in
            [(&mut self.first, share.first), (&mut self.other, share.other), (&mut self.redis, share.redis)]
        {
            if us.is_finite() {
                spread.add(us);
            }
        }
        self.faults.extend(load.faults());
        Ok(())
    }
}

/// Publishers with one request in flight each, and listeners that check what arrives.
struct Load {
    crowd: Crowd,
    publishers: Vec<Publisher>,
    /// Of each listener.
    arrivals: Vec<Arrivals>,
    sent: u32,
}

impl Load {
    fn register(&mut self) -> io::Result<()> {
        let Self { crowd, publishers, .. } = self;
        let mut all = publishers.iter_mut().enumerate();
        all.try_for_each(|(index, publisher)| crowd.add_publisher(index, publisher))
    }

    /// Publishes until this many messages are sent, answered and delivered.
    fn publish(&mut self, upto: u32) -> io::Result<()> {
        let Self { crowd, publishers, arrivals, sent } = self;
        loop {
            for (connection, publisher) in publishers.iter_mut().enumerate() {
                if publisher.unanswered == 0 && *sent < upto {
                    publisher.queue(*sent, 1)?;
                    arrivals.iter_mut().for_each(|arrivals| arrivals.expect(connection));
                    *sent += 1;
                }
                publisher.flush()?;
            }
            let is_answered = publishers.iter().all(|publisher| publisher.unanswered == 0);
            let is_delivered = arrivals.iter().all(|arrivals| arrivals.count >= u64::from(upto));
            if *sent >= upto && is_answered && is_delivered {
                return Ok(());
            }
            if !crowd.turn(PATIENCE, publishers, |listener, number| arrivals[listener].note(number))? {
                return Err(failure(format!("stalled after {sent} messages")));
            }
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = self.crowd.faults();
        faults.extend(self.arrivals.iter().flat_map(|arrivals| arrivals.faults(u64::from(self.sent))));
        let refused: u64 = self.publishers.iter().map(|publisher| publisher.refused).sum();
        faults.extend((refused > 0).then(|| format!("{refused} requests refused")));
        faults
    }
}
