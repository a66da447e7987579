//! The system calls for each delivery, counted one by one.

use crate::ALONE;
use channelstream_load::generator::crowd::Crowd;
use channelstream_load::generator::drive::{Plan, closed_loop};
use channelstream_load::generator::ledger::Ledger;
use channelstream_load::generator::meter::Meter;
use channelstream_load::generator::publisher::Publisher;
use channelstream_load::generator::server::Server;
use channelstream_load::generator::trace::{Calls, Trace};
use std::io::{self, ErrorKind};

/// Enough that the other cost of a message is less than the tolerance of the bounds below.
const SUBSCRIBERS: usize = 1_000;
/// Only broadcasts.
const QUIET: [&str; 3] = ["heartbeat_interval_ms=0", "ping_interval_ms=0", "pong_timeout=0"];

/// Timers add calls each second, and a busy machine needs many seconds. If only segments are counted, they include the
/// traffic of other programs.
const TRIES: u32 = 5;

/// The work of the server during the broadcasts.
struct Count {
    /// Its system calls, or none if this process may not trace its own child.
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
    let _alone = ALONE.blocking_lock();
    let each = |count: u64| count as f64 / f64::from(messages) / SUBSCRIBERS as f64;
    // Without the right to trace, only the writes to sockets are known, which show whether messages were joined.
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
    // Answers to the publisher are additional, one for each request.
    let answers = 1.0 / f64::from(plan.burst()) / SUBSCRIBERS as f64;
    assert!((sends..=sends + 2.0 * answers).contains(&of_sends), "{of_sends} sends per delivery");
    // This holds only if the kernel allows io_uring.
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
