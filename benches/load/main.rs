//! Load on the release binary, with a bare baseline beside it. See docs/benchmarks.md.

mod cases;
mod generator;
mod raw;
mod report;

use clap::{CommandFactory, Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// The core that servers run on, and the generator's.
const SERVER_CORE: usize = 0;
const GENERATOR_CORE: usize = 1;
/// The server that is measured.
const CHANNELSTREAM: &str = env!("CARGO_BIN_EXE_channelstream");

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    case: Option<Case>,
    /// What `cargo bench` says by itself
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Case {
    /// CPU for each delivery of broadcasts to one channel
    Fanout(cases::fanout::Options),
    /// Memory of idle connections, and the CPU that keeps them alive
    Idle(cases::idle::Options),
    /// A large crowd gets broadcasts; the server's memory afterwards
    Crowd(cases::crowd::Options),
    /// Clients that never read among others that do
    Slow(cases::slow::Options),
    /// CPU for each publish, with nobody or one listening
    Publish(cases::publish::Options),
    /// CPU for each delivery with many channels
    Channels(cases::channels::Options),
    /// Memory around one large broadcast
    Large(cases::large::Options),
    /// Latency of a small request while a large fan-out goes on
    Rest(cases::rest::Options),
    /// CPU for each client that comes and goes
    Churn(cases::churn::Options),
    /// CPU for each delivery by long-poll
    Poll(cases::poll::Options),
    /// The baseline itself, started by the other cases
    #[command(hide = true)]
    RawServer,
}

fn main() -> ExitCode {
    let Some(case) = Arguments::parse().case else {
        println!("{}", Arguments::command().render_help());
        return ExitCode::SUCCESS;
    };
    match run(case) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a case; false when something was lost, repeated or out of order.
fn run(case: Case) -> io::Result<bool> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    if matches!(case, Case::RawServer) {
        return raw::serve().map(|()| true);
    }
    println!("{}; at most {limit} open files", report::machine());
    if std::thread::available_parallelism()?.get() > GENERATOR_CORE {
        generator::server::pin(GENERATOR_CORE)?;
    }
    match case {
        Case::Fanout(options) => cases::fanout::run(&options),
        Case::Idle(options) => cases::idle::run(&options),
        Case::Crowd(options) => cases::crowd::run(&options),
        Case::Slow(options) => cases::slow::run(&options),
        Case::Publish(options) => cases::publish::run(&options),
        Case::Channels(options) => cases::channels::run(&options),
        Case::Large(options) => cases::large::run(&options),
        Case::Rest(options) => cases::rest::run(&options),
        Case::Churn(options) => cases::churn::run(&options),
        Case::Poll(options) => cases::poll::run(&options),
        Case::RawServer => Ok(true),
    }
}
