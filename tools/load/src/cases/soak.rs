//! Steady load while clients of every kind connect and leave: afterwards the server holds as much memory and as many
//! descriptors and actors as before.

use crate::generator::churner::ALL;
use crate::generator::held::Held;
use crate::generator::soak::{Outcome, Plan, run as soak};
use crate::{GENERATOR_CORE, SERVER_CORE};
use clap::Args;
use std::io;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    /// Minutes between the first and the last measurement of what the server holds
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Websockets that stay for the whole time
    #[arg(long, default_value_t = 200)]
    members: usize,
    /// Clients that connect and leave at the same time
    #[arg(long, default_value_t = 4)]
    churners: usize,
}

/// The time until all bounded buffers are full.
const WARM_UP: Duration = Duration::from_secs(60);

pub fn run(options: &Options) -> io::Result<bool> {
    let Options { minutes, members, churners } = *options;
    let (span, cores) = (Duration::from_secs(minutes * 60), &[SERVER_CORE, GENERATOR_CORE]);
    let plan = Plan { members, churners, warm_up: WARM_UP, span, cores };
    println!("What the server holds, by the second of the run: memory of its own in MiB, queued in bytes");
    println!("| | {} |", HEADINGS.join(" | "));
    println!("| --- |{}", " ---: |".repeat(HEADINGS.len()));
    let outcome = soak(crate::channelstream()?, &plan, |at, held| row(&at.as_secs().to_string(), held))?;
    row("before", &outcome.before);
    row("peak", &outcome.peak);
    row("after", &outcome.after);
    println!();
    print(&outcome);
    Ok(outcome.faults.is_empty() && outcome.after.is_as(&outcome.before))
}

fn print(outcome: &Outcome) {
    for (kind, count) in ALL.iter().zip(outcome.clients) {
        println!("* {count} {}", kind.name);
    }
    println!("* {} sessions closed with 4002, too slow", outcome.too_slow);
    let faults = if outcome.faults.is_empty() { "clean".to_owned() } else { outcome.faults.join(", ") };
    println!(
        "* {} deliveries to clients that stayed, 99 % of them within {:.1} ms: {faults}",
        outcome.deliveries,
        f64::from(outcome.p99_us) / 1000.0
    );
    if !outcome.after.is_as(&outcome.before) {
        println!("* NOT AS BEFORE");
    }
}

const HEADINGS: [&str; 8] =
    ["memory", "descriptors", "threads", "users", "connections", "channels", "sessions", "queued"];

fn row(name: &str, held: &Held) {
    let Held { memory, descriptors, threads, users, connections, channels, sessions, queued } = *held;
    let counts = [descriptors, threads, users, connections, channels, sessions, queued];
    let counts = counts.map(|count| count.to_string()).join(" | ");
    println!("| {name} | {:.1} | {counts} |", memory as f64 / 1_048_576.0);
}
