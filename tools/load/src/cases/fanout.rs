//! CPU for each delivery of broadcasts to one channel, beside the baseline that writes the bytes of the plain websockets.

use super::broadcast::{self, Pace, Shape, Variant};
use crate::compare::{columns, in_turn};
use crate::generator::handshake::Transport;
use crate::report::{SPREAD, Table, cells};
use clap::Args;
use std::io;

#[derive(Args)]
pub struct Options {
    /// Subscribers, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    subscribers: Vec<u32>,
    /// Bytes of a message's content, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "64,1024")]
    bytes: Vec<usize>,
    /// How broadcasts follow each other, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "one,window,list")]
    plans: Vec<Pace>,
    /// Requests in flight in `window`, messages of a request in `list`
    #[arg(long, default_value_t = 16)]
    burst: u32,
    /// Worker threads of the server, comma-separated; several share both cores with the generator
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    /// Measure several workers that share one core as well, beside a generator that has its own
    #[arg(long)]
    one_core: bool,
    /// Measure subscribers that use permessage-deflate as well
    #[arg(long)]
    deflate: bool,
    /// Measure websockets that ask for positions, and event streams, as well
    #[arg(long)]
    sse: bool,
    /// Measure sending without io_uring as well
    #[arg(long)]
    one_by_one: bool,
    /// Deliveries in each run
    #[arg(long, default_value_t = 300_000)]
    deliveries: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

impl Options {
    /// The variants that are compared within a run.
    fn variants(&self) -> Vec<Variant> {
        let mut variants = Vec::new();
        let mut transports = vec![Transport::Websocket];
        transports.extend(self.deflate.then_some(Transport::Deflated));
        transports
            .extend(self.sse.then_some([Transport::Positions, Transport::Events]).into_iter().flatten());
        let or_also = |also: bool, plain: bool| if also { vec![plain, !plain] } else { vec![plain] };
        for &workers in &self.workers {
            for one_core in or_also(self.one_core && workers > 1, false) {
                for io_uring in or_also(self.one_by_one, true) {
                    let of = |&transport: &_| Variant { workers, one_core, transport, io_uring };
                    variants.extend(transports.iter().map(of));
                }
            }
        }
        variants
    }
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "CPU of the server in µs per delivery, broadcasts to one channel: median (min-max) of {} runs",
        options.runs
    );
    let own = [
        ("subscribers", 0),
        ("bytes", 5),
        ("frame", 5),
        ("plan", 6),
        ("workers", 0),
        ("sent", 20),
        ("writes", 6),
        ("sleeps", 6),
        ("x first", SPREAD),
    ];
    let table = Table::new(&columns(&own));
    let variants = options.variants();
    let mut clean = true;
    for &subscribers in &options.subscribers {
        for &bytes in &options.bytes {
            for &pace in &options.plans {
                let shape = Shape::new(1, subscribers, bytes, pace.plan(options.burst), options.deliveries);
                clean &= lines(&table, &shape, pace, &variants, options.runs)?;
            }
        }
    }
    Ok(clean)
}

/// The lines of one shape: all variants in turn, and the baseline.
fn lines(table: &Table, shape: &Shape, pace: Pace, variants: &[Variant], runs: u32) -> io::Result<bool> {
    let compared = in_turn(
        runs,
        variants,
        |variant| broadcast::ours(shape, variant),
        |sample| broadcast::raw(shape, sample),
    )?;
    for (index, (variant, series)) in variants.iter().zip(&compared.ours).enumerate() {
        let how = if variant.io_uring { "" } else { ", one by one" };
        let workers = if variant.one_core { ", one core" } else { "" };
        let own = cells![
            shape.members,
            shape.bytes,
            series.frame,
            format!("{pace:?}").to_lowercase(),
            format!("{}{workers}", variant.workers),
            format!("{}{how}", variant.transport.name()),
            format!("{:.3}", series.writes.median()),
            format!("{:.3}", series.sleeps.times(f64::from(shape.members)).median()),
            series.x_first,
        ];
        table.row([own, compared.cells(index)].concat());
    }
    Ok(compared.is_clean())
}
