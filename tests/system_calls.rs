//! What a delivery costs in system calls, counted one by one.
#![allow(clippy::expect_used, reason = "a test that cannot go on shall say so")]

#[path = "../benches/load/generator/mod.rs"]
mod generator;

use generator::crowd::Crowd;
use generator::drive::{Plan, closed_loop};
use generator::ledger::Ledger;
use generator::meter::Meter;
use generator::publisher::Publisher;
use generator::server::Server;
use generator::trace::{Calls, Trace};
use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};

/// So many that what a message costs beside its deliveries is less than the bounds below leave.
const SUBSCRIBERS: usize = 1_000;
/// Nothing but broadcasts.
const QUIET: [&str; 3] = ["heartbeat_interval_ms=0", "ping_interval_ms=0", "pong_timeout=0"];

/// Timers add calls by the second, which a busy machine makes many; and where segments are all there is to count, others'
/// traffic is among them.
const TRIES: u32 = 5;

/// Segments are counted for all of this machine: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// What the server did while it broadcast.
struct Count {
    /// Its system calls; none where this process may not trace its own child.
    calls: Option<Calls>,
    /// Segments of TCP in this network namespace.
    segments: u64,
}

fn count(setting: &str, plan: Plan, messages: u32) -> io::Result<Count> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let settings = [&QUIET[..], &[setting]].concat();
    let server = Server::channelstream(env!("CARGO_BIN_EXE_channelstream"), &settings, None)?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, "crowd", SUBSCRIBERS)?;
    let mut publisher = Publisher::rest(server.address, "crowd", 64)?;
    crowd.add_publisher(0, &mut publisher)?;
    let mut ledger = Ledger::new(SUBSCRIBERS);
    closed_loop(&mut crowd, &mut publisher, &mut ledger, plan.burst(), plan)?;

    let trace = match Trace::start(server.pid()) {
        Ok(trace) => Some(trace),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        Err(error) => return Err(error),
    };
    let before = trace.as_ref().map(Trace::calls);
    let meter = Meter::start(server.pid())?;
    let total = plan.burst() + messages;
    closed_loop(&mut crowd, &mut publisher, &mut ledger, total, plan)?;
    let segments = meter.stop()?.segments;
    let calls = trace.zip(before).map(|(trace, before)| trace.calls().since(&before));
    assert!(ledger.is_clean(total), "{}", ledger.describe(total));
    Ok(Count { calls, segments })
}

fn described(count: &Count) -> String {
    match &count.calls {
        Some(calls) => format!("{} calls, {:?}", calls.total(), calls.by_frequency()),
        None => format!("{} segments, and no right to trace a child", count.segments),
    }
}

fn bounded(setting: &str, plan: Plan, messages: u32, sends: f64, most: f64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let each = |count: u64| count as f64 / f64::from(messages) / SUBSCRIBERS as f64;
    // Without the right to trace, only what reached the sockets is known: whether messages were joined.
    let joined = |segments: u64| (sends..sends * 2.0).contains(&each(segments));
    let few = |count: &Count| match &count.calls {
        Some(calls) => each(calls.total()) <= most,
        None => joined(count.segments),
    };
    let run = || count(setting, plan, messages).expect("the server runs");
    let mut count = run();
    for _ in 1..TRIES {
        if few(&count) {
            break;
        }
        count = run();
    }
    assert!(few(&count), "more than {most} for each delivery: {}", described(&count));
    let Some(calls) = count.calls else {
        let segments = each(count.segments);
        println!("{setting}, {plan:?}: {segments:.4} segments per delivery; ptrace is not allowed here");
        return;
    };
    let (all, of_sends) = (each(calls.total()), each(calls.sends));
    println!(
        "{setting}, {plan:?}: {all:.4} calls and {of_sends:.4} sends per delivery: {:?}",
        calls.by_frequency()
    );
    // Answers to the publisher come on top, one for each request.
    let answers = 1.0 / f64::from(plan.burst()) / SUBSCRIBERS as f64;
    assert!((sends..=sends + 2.0 * answers).contains(&of_sends), "{of_sends} sends per delivery");
    // Where the kernel does not allow io_uring, there is nothing more to expect.
    if calls.by_frequency().iter().any(|(name, _)| name == "io_uring_enter") {
        assert!(all <= sends / 20.0, "{all} calls per delivery with io_uring: {:?}", calls.by_frequency());
    }
}

#[test]
fn a_delivery_is_one_system_call() {
    bounded("io_uring=off", Plan::Window(1), 20, 1.0, 1.02);
}

#[test]
fn a_list_of_ten_is_one_system_call_for_each_socket() {
    bounded("io_uring=off", Plan::List(10), 100, 0.1, 0.11);
}

#[test]
fn many_deliveries_are_one_system_call_where_the_kernel_has_io_uring() {
    bounded("io_uring=on", Plan::Window(1), 20, 1.0, 1.02);
    bounded("io_uring=on", Plan::List(10), 100, 0.1, 0.11);
}
