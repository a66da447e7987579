//! A node is killed: how long it takes until all its clients are back at another node, and, if they do not return, until
//! all have parted.

use super::super::CHANNEL;
use super::Options;
use super::cluster::{Cluster, connections};
use crate::generator::backend::Backend;
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::handshake::{handshake, welcome};
use crate::generator::socket::Dialer;
use crate::report::{SPREAD, Spread, Table, cells};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Clients that return together.
const BATCH: usize = 1_000;
/// The longest wait for all of them.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the numbers of the channel.
const PAUSE: Duration = Duration::from_millis(20);
const SETTINGS: &[&str] = &["grace_time_ms=600000", "unattached_timeout=600000"];

pub(super) fn run(options: &Options) -> io::Result<bool> {
    println!("\ns from kill -9 of a node with {} websockets, engine_dead_ms at its default", options.clients);
    let (mut returned, mut refused, mut parted) = (Spread::default(), Spread::default(), Spread::default());
    for _ in 0..options.runs {
        let cluster = Stage::start(options.clients)?;
        let (seconds, attempts) = cluster.all_return()?;
        returned.add(seconds);
        refused.add(attempts as f64);
        parted.add(Stage::start(options.clients)?.all_part()?);
    }
    let table =
        Table::new(&[("all are back", SPREAD), ("refused before", SPREAD), ("all have parted", SPREAD)]);
    table.row(cells![returned, format!("{refused:.0}"), parted]);
    Ok(true)
}

/// Two nodes; the first one has the clients.
struct Stage {
    cluster: Cluster,
    clients: usize,
    /// Asks the second node.
    backend: Backend,
    /// Their sockets.
    crowd: Crowd,
}

impl Stage {
    fn start(clients: usize) -> io::Result<Self> {
        let cluster = Cluster::start(2, SETTINGS)?;
        let (first, second) = (cluster.nodes[0].address, cluster.nodes[1].address);
        let mut crowd = Crowd::new()?;
        crowd.subscribe(first, CHANNEL, clients)?;
        let mut stage = Self { cluster, clients, backend: Backend::new(second)?, crowd };
        stage.wait_for(clients as u64)?;
        Ok(stage)
    }

    /// Waits until the second node counts this many connections in the channel.
    fn wait_for(&mut self, expected: u64) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let found = connections(&mut self.backend, CHANNEL)?;
            if found == expected {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(failure(format!("{found} connections instead of {expected}")));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Kills the first node, and frees the descriptors of its clients.
    fn kill(&mut self) -> Instant {
        drop(self.cluster.nodes.remove(0));
        let killed = Instant::now();
        self.crowd.break_all();
        killed
    }

    fn all_part(mut self) -> io::Result<f64> {
        let begin = self.kill();
        self.wait_for(0)?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// All clients return to the other node at once. A client that is refused comes again. Returns the seconds until all
    /// have their sockets and are counted, and how often one was refused.
    fn all_return(mut self) -> io::Result<(f64, usize)> {
        let begin = self.kill();
        let (node, mut dialer) = (self.cluster.nodes[0].address, Dialer::default());
        let (mut waiting, mut attached, mut refused): (Vec<usize>, _, _) =
            ((0..self.clients).collect(), Vec::new(), 0);
        while !waiting.is_empty() {
            if begin.elapsed() > PATIENCE {
                return Err(failure(format!("{} clients could not return", waiting.len())));
            }
            let again = waiting.split_off(waiting.len().saturating_sub(BATCH));
            let before = attached.len();
            waiting.extend(attach(&mut dialer, node, &again, &mut attached)?);
            let missing = again.len() - (attached.len() - before);
            refused += missing;
            if missing > 0 {
                thread::sleep(PAUSE);
            }
        }
        self.wait_for(self.clients as u64)?;
        Ok((begin.elapsed().as_secs_f64(), refused))
    }
}

/// Attaches clients together. Returns those that were refused.
fn attach(
    dialer: &mut Dialer,
    node: SocketAddr,
    clients: &[usize],
    attached: &mut Vec<TcpStream>,
) -> io::Result<Vec<usize>> {
    let mut opened = Vec::with_capacity(clients.len());
    for client in clients {
        let mut stream = dialer.dial(node)?;
        stream.write_all(&handshake(*client))?;
        opened.push((*client, stream));
    }
    let mut refused = Vec::new();
    for (client, mut stream) in opened {
        if is_welcome(&mut stream)? { attached.push(stream) } else { refused.push(client) }
    }
    Ok(refused)
}

/// Whether the answer to a handshake is a success.
fn is_welcome(stream: &mut TcpStream) -> io::Result<bool> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while welcome(&answer).is_none() {
        let count = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..count]);
        let is_refused = answer.len() >= 12 && !answer.starts_with(b"HTTP/1.1 101");
        if count == 0 || is_refused {
            return Ok(false);
        }
    }
    Ok(true)
}
