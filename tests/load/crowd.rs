//! Ten thousand websockets. Server and clients are separate processes: each has this many sockets open.

use crate::ALONE;
use channelstream_load::generator::crowd::Crowd;
use channelstream_load::generator::drive::{Plan, closed_loop};
use channelstream_load::generator::ledger::Ledger;
use channelstream_load::generator::process::memory;
use channelstream_load::generator::publisher::Publisher;
use channelstream_load::generator::server::Server;
use std::io;
use std::time::Duration;

/// Sockets of the crowd, or as many as the limit of open files allows.
const SUBSCRIBERS: usize = 10_000;
const BROADCASTS: u32 = 100;
/// Files that are open beside the crowd's sockets.
const OTHER_FILES: u64 = 200;

fn crowd_receives_everything() -> io::Result<()> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let subscribers = SUBSCRIBERS.min(limit.saturating_sub(OTHER_FILES) as usize);
    let server = Server::channelstream(env!("CARGO_BIN_EXE_channelstream"), &[], None)?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, "crowd", subscribers)?;
    let mut publisher = Publisher::rest(server.address, "crowd", 64)?;
    crowd.add_publisher(0, &mut publisher)?;
    let before = memory(server.pid())?;

    let mut ledger = Ledger::new(subscribers);
    closed_loop(&mut crowd, &mut publisher, &mut ledger, BROADCASTS, Plan::Window(4))?;
    // Repeated deliveries arrive late.
    for _ in 0..10 {
        let publishers = std::slice::from_mut(&mut publisher);
        crowd.turn(Duration::from_millis(50), publishers, |subscriber, number| {
            ledger.note(subscriber, number);
        })?;
    }
    assert!(ledger.is_clean(BROADCASTS), "{}", ledger.describe(BROADCASTS));
    assert_eq!((publisher.refused, publisher.unanswered), (0, 0), "requests refused, unanswered");
    assert_eq!((crowd.seen.closed, crowd.seen.unexpected), (0, 0), "sockets closed, unexpected frames");

    let after = memory(server.pid())?;
    let (before, after) = (before.anonymous >> 20, after.anonymous >> 20);
    println!("{subscribers} subscribers: {before} MiB before the broadcasts, {after} MiB afterwards");
    assert!(after <= before + 32, "{before} MiB before the broadcasts, {after} MiB afterwards");
    Ok(())
}

#[test]
fn ten_thousand_clients_receive_a_hundred_broadcasts_once_and_in_order() {
    let _alone = ALONE.blocking_lock();
    crowd_receives_everything().expect("server and crowd run");
}
