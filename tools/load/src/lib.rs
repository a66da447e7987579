//! Load on the release binary, with a bare baseline beside it. See docs/reports/benchmarks.md.

mod cases;
mod compare;
pub mod generator;
mod machine;
mod raw;
pub mod report;

use clap::{CommandFactory, Parser, Subcommand};
use std::io;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

/// The core that servers run on, and the generator's.
const SERVER_CORE: usize = 0;
const GENERATOR_CORE: usize = 1;
/// The path of the server that is measured.
static CHANNELSTREAM: OnceLock<&str> = OnceLock::new();

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    case: Option<Case>,
    /// The argument that `cargo bench` adds
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Case {
    /// All cases below but engine and soak, one after the other; fails if one does
    All(cases::all::Options),
    /// CPU for each delivery of broadcasts to one channel
    Fanout(cases::fanout::Options),
    /// How cost grows with connections and with channels
    Growth(cases::growth::Options),
    /// CPU for each delivery with many channels
    Channels(cases::channels::Options),
    /// System calls for each delivery
    Syscalls(cases::syscalls::Options),
    /// CPU for each publish, with no listener or one
    Publish(cases::publish::Options),
    /// Memory of idle connections, and the CPU that keeps them alive
    Idle(cases::idle::Options),
    /// A large crowd receives broadcasts; the server's memory afterwards
    Crowd(cases::crowd::Options),
    /// Clients that never read among others that do
    Slow(cases::slow::Options),
    /// Memory around one large broadcast
    Large(cases::large::Options),
    /// Latency of a small request while a large fan-out goes on
    Rest(cases::rest::Options),
    /// CPU for each client that connects and leaves
    Churn(cases::churn::Options),
    /// All clients lose their sockets and return, with tokens and with /connect
    Reconnects(cases::reconnects::Options),
    /// Many users join a channel within a second
    Joins(cases::joins::Options),
    /// CPU for calls about a channel of few and of many members
    Members(cases::members::Options),
    /// CPU for messages to only some of the members of a channel
    Receivers(cases::receivers::Options),
    /// CPU for each delivery by long-poll
    Poll(cases::poll::Options),
    /// What several nodes over one Redis cost; needs redis-server on the PATH
    Engine(cases::engine::Options),
    /// Steady load while clients connect and leave: what the server holds before and after
    Soak(cases::soak::Options),
    /// The baseline itself, started by the other cases
    #[command(hide = true)]
    RawServer,
}

/// Runs the case of the command line against this server.
pub fn main(channelstream: &'static str) -> ExitCode {
    CHANNELSTREAM.get_or_init(|| channelstream);
    let Some(case) = Arguments::parse().case else {
        println!("{}", Arguments::command().render_help());
        return ExitCode::SUCCESS;
    };
    match run(case) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: not clean, see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn channelstream() -> io::Result<&'static str> {
    CHANNELSTREAM.get().copied().ok_or_else(|| generator::failure("no server was named"))
}

/// Runs one case or all. Returns false if a delivery was lost, repeated or out of order, or memory was not released.
fn run(case: Case) -> io::Result<bool> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    if matches!(case, Case::RawServer) {
        return raw::serve().map(|()| true);
    }
    println!("{}", machine::describe(limit));
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    println!("`cargo bench --bench load -- {}`", arguments.join(" "));
    if std::thread::available_parallelism()?.get() > GENERATOR_CORE {
        generator::server::pin(GENERATOR_CORE)?;
    }
    match case {
        Case::All(options) => all(&options),
        case => one(&case),
    }
}

/// Runs the case of a command line without the program's name, against this server. The baseline must not be part of
/// it: only the program of the load generator can be started as one. Returns whether the case was clean.
pub fn run_line(channelstream: &'static str, line: &str) -> io::Result<bool> {
    CHANNELSTREAM.get_or_init(|| channelstream);
    one(&parse(line)?)
}

fn parse(line: &str) -> io::Result<Case> {
    let words = std::iter::once("load").chain(line.split(' '));
    let arguments = Arguments::try_parse_from(words).map_err(io::Error::other)?;
    arguments.case.ok_or_else(|| generator::failure(format!("no case in {line}")))
}

/// Runs all cases, also after one that was not clean. A case that cannot run ends the series.
fn all(options: &cases::all::Options) -> io::Result<bool> {
    let parse = |line: String| Ok((parse(&line)?, line));
    let cases: Vec<_> = options.lines().map(parse).collect::<io::Result<_>>()?;
    let mut unclean = Vec::new();
    for (case, line) in &cases {
        println!("\n## `{line}`\n");
        let begin = Instant::now();
        if !one(case)? {
            unclean.push(line.as_str());
        }
        eprintln!("{line}: {:.0} s", begin.elapsed().as_secs_f64());
    }
    println!();
    for line in &unclean {
        println!("NOT CLEAN: {line}");
    }
    println!("{} of {} cases clean", cases.len() - unclean.len(), cases.len());
    Ok(unclean.is_empty())
}

fn one(case: &Case) -> io::Result<bool> {
    match case {
        Case::Fanout(options) => cases::fanout::run(options),
        Case::Growth(options) => cases::growth::run(options),
        Case::Channels(options) => cases::channels::run(options),
        Case::Syscalls(options) => cases::syscalls::run(options),
        Case::Publish(options) => cases::publish::run(options),
        Case::Idle(options) => cases::idle::run(options),
        Case::Crowd(options) => cases::crowd::run(options),
        Case::Slow(options) => cases::slow::run(options),
        Case::Large(options) => cases::large::run(options),
        Case::Rest(options) => cases::rest::run(options),
        Case::Churn(options) => cases::churn::run(options),
        Case::Reconnects(options) => cases::reconnects::run(options),
        Case::Joins(options) => cases::joins::run(options),
        Case::Members(options) => cases::members::run(options),
        Case::Receivers(options) => cases::receivers::run(options),
        Case::Poll(options) => cases::poll::run(options),
        Case::Engine(options) => cases::engine::run(options),
        Case::Soak(options) => cases::soak::run(options),
        Case::All(_) | Case::RawServer => Ok(true),
    }
}
