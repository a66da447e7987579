//! How cost grows with connections, and with channels: with one crowd divided among more and more channels, and with
//! more and more equal channels.

use super::broadcast::{self, PLAIN, Pace, Shape};
use crate::compare::{columns, in_turn};
use crate::generator::drive::Plan;
use crate::report::{Table, cells};
use clap::Args;
use std::io;

#[derive(Args)]
pub struct Options {
    /// Subscribers of one channel, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,5000,10000,15000")]
    subscribers: Vec<u32>,
    /// How broadcasts to one channel follow each other, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "one,list")]
    plans: Vec<Pace>,
    /// Messages of a request in `list`
    #[arg(long, default_value_t = 16)]
    burst: u32,
    /// Channels, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000")]
    channels: Vec<u32>,
    /// Subscribers that are divided among all channels
    #[arg(long, default_value_t = 10_000)]
    total: u32,
    /// Subscribers of each channel, however many channels there are
    #[arg(long, default_value_t = 1)]
    members: u32,
    /// Requests in flight to several channels
    #[arg(long, default_value_t = 64)]
    window: u32,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Deliveries in each run
    #[arg(long, default_value_t = 200_000)]
    deliveries: u32,
    /// Most publishes in each run
    #[arg(long, default_value_t = 50_000)]
    publishes: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

impl Options {
    fn shape(&self, channels: u32, members: u32, plan: Plan) -> Shape {
        let most = u64::from(self.publishes) * u64::from(members);
        let deliveries = u64::from(self.deliveries).min(most) as u32;
        Shape::new(channels, members, self.bytes, plan, deliveries)
    }

    /// Every line of the table: its plan's name, and its shape.
    fn shapes(&self) -> Vec<(String, Shape)> {
        let mut shapes = Vec::new();
        for &pace in &self.plans {
            let plan = pace.plan(self.burst);
            let name = format!("{pace:?}").to_lowercase();
            shapes
                .extend(self.subscribers.iter().map(|&members| (name.clone(), self.shape(1, members, plan))));
        }
        let window = Plan::Window(self.window);
        let divided = |&channels: &u32| (channels, (self.total / channels).max(1));
        let alike = |&channels: &u32| (channels, self.members);
        for (channels, members) in self.channels.iter().map(divided).chain(self.channels.iter().map(alike)) {
            shapes.push((format!("{} in flight", self.window), self.shape(channels, members, window)));
        }
        shapes.dedup_by_key(|(name, shape)| (name.clone(), shape.channels, shape.members));
        shapes
    }
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "CPU of the server in µs per delivery and per publish, bytes of memory: median (min-max) of {} runs",
        options.runs
    );
    let own = [
        ("connections", 0),
        ("channels", 0),
        ("plan", 12),
        ("per publish", 26),
        ("bytes per connection", 22),
        ("bytes per channel", 22),
        ("writes", 6),
    ];
    let table = Table::new(&columns(&own));
    let mut clean = true;
    for (name, shape) in options.shapes() {
        let ours = |variant: &_| broadcast::ours(&shape, variant);
        let compared = in_turn(options.runs, &[PLAIN], ours, |sample| broadcast::raw(&shape, sample))?;
        let series = &compared.ours[0];
        let own = cells![
            shape.subscribers(),
            shape.channels,
            name,
            format!("{:.1}", series.cpu.times(f64::from(shape.members))),
            format!("{:.0}", series.per_connection),
            format!("{:.0}", series.per_channel),
            format!("{:.3}", series.writes.median()),
        ];
        table.row([own, compared.cells(0)].concat());
        clean &= compared.is_clean();
    }
    Ok(clean)
}
