//! CPU for each delivery with many channels, beside the baseline, which does one write for each.

use super::broadcast::{self, PLAIN, Shape};
use crate::compare::{columns, in_turn};
use crate::generator::drive::Plan;
use crate::report::{Table, cells};
use clap::Args;
use std::io;

#[derive(Args)]
pub struct Options {
    /// Channels and the subscribers of each, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1x10000,1000x10,10000x1", value_parser = parse)]
    shapes: Vec<(u32, u32)>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Requests in flight
    #[arg(long, default_value_t = 64)]
    window: u32,
    /// Deliveries in each run
    #[arg(long, default_value_t = 300_000)]
    deliveries: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// Parses channels and the subscribers of each, as in `1000x10`.
pub fn parse(text: &str) -> Result<(u32, u32), String> {
    let (channels, members) = text.split_once('x').ok_or("channels x subscribers, as in 1000x10")?;
    let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    let (channels, members) = (number(channels)?, number(members)?);
    let subscribers = channels.checked_mul(members).filter(|count| *count > 0);
    subscribers.map(|_| (channels, members)).ok_or_else(|| "none, or too many".to_owned())
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "CPU of the server in µs per delivery, {} requests in flight: median (min-max) of {} runs",
        options.window, options.runs
    );
    let table = Table::new(&columns(&[("channels", 0), ("members", 0), ("writes", 6)]));
    let mut clean = true;
    for &(channels, members) in &options.shapes {
        let plan = Plan::Window(options.window);
        let shape = Shape::new(channels, members, options.bytes, plan, options.deliveries);
        let ours = |variant: &_| broadcast::ours(&shape, variant);
        let compared = in_turn(options.runs, &[PLAIN], ours, |sample| broadcast::raw(&shape, sample))?;
        let writes = format!("{:.3}", compared.ours[0].writes.median());
        table.row([cells![channels, members, writes], compared.cells(0)].concat());
        clean &= compared.is_clean();
    }
    Ok(clean)
}
