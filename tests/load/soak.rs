//! The short soak. The long one is `cargo bench --bench load -- soak`. See docs/reports/robustness.md.

use crate::ALONE;
use channelstream_load::generator::soak::{Plan, run};
use std::time::Duration;

#[test]
fn a_server_holds_no_more_after_clients_have_left_than_before() {
    let _alone = ALONE.blocking_lock();
    let (warm_up, span) = (Duration::from_secs(3), Duration::from_secs(10));
    let plan = Plan { members: 50, churners: 3, warm_up, span, cores: &[] };
    let outcome = run(env!("CARGO_BIN_EXE_channelstream"), &plan, |_, _| ()).expect("server and clients run");
    let (before, peak, after) = (outcome.before, outcome.peak, outcome.after);
    println!("before {before:?}\n  peak {peak:?}\n after {after:?}\nclients {:?}", outcome.clients);
    println!("{} deliveries, {} closed as too slow", outcome.deliveries, outcome.too_slow);
    assert_eq!(outcome.faults, [""; 0], "clients that stayed received everything once and in order");
    assert!(peak.users > before.users && peak.sessions > before.sessions, "there were records to remove");
    assert!(outcome.too_slow > 0, "peers that do not read were closed");
    assert!(after.is_as(&before), "before {before:?}, after {after:?}");
}
