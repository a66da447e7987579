//! The short form of the soak test; the long one is `cargo bench --bench load -- soak`. See docs/reports/robustness.md.
#![allow(clippy::expect_used, reason = "a test that cannot continue must fail with a message")]

#[path = "../benches/load/generator/mod.rs"]
mod generator;

use generator::soak::{Plan, run};
use std::time::Duration;

#[test]
fn server_frees_everything_after_its_clients_have_gone() {
    let (warm_up, span) = (Duration::from_secs(3), Duration::from_secs(10));
    let plan = Plan { members: 50, churners: 3, warm_up, span, cores: &[] };
    let outcome = run(env!("CARGO_BIN_EXE_channelstream"), &plan, |_, _| ()).expect("server and clients run");
    let (before, peak, after) = (outcome.before, outcome.peak, outcome.after);
    println!("before {before:?}\n  peak {peak:?}\n after {after:?}\nclients {:?}", outcome.clients);
    println!("{} deliveries, {} closed as too slow", outcome.deliveries, outcome.too_slow);
    assert_eq!(outcome.faults, [""; 0], "the clients that stayed received everything once and in order");
    assert!(
        peak.users > before.users && peak.sessions > before.sessions,
        "the run had users and sessions to remove"
    );
    assert!(outcome.too_slow > 0, "the server closed clients that do not read");
    assert!(after.is_as(&before), "before {before:?}, after {after:?}");
}
