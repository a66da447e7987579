//! Cases of the load generator with small numbers: each checks its own deliveries and counts.

use crate::ALONE;
use channelstream_load::generator::crowd::Crowd;
use channelstream_load::generator::drive::{Plan, closed_loop};
use channelstream_load::generator::handshake::Transport;
use channelstream_load::generator::ledger::Ledger;
use channelstream_load::generator::publisher::Publisher;
use channelstream_load::generator::server::Server;
use channelstream_load::run_line;
use std::io;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_channelstream");

#[test]
fn clients_return_with_tokens_and_without_a_request() {
    let _alone = ALONE.blocking_lock();
    assert!(run_line(PROGRAM, "reconnects --clients 100 --runs 1").expect("the case runs"));
}

#[test]
fn nodes_over_redis_are_measured() {
    let _alone = ALONE.blocking_lock();
    let sizes = "--nodes 1,2 --in-flight 1,8 --messages 200 --rate 50 --calls 20 --clients 50";
    assert!(run_line(PROGRAM, &format!("engine {sizes} --runs 1")).expect("the case runs"));
}

#[test]
fn members_receive_few_reports_of_many_joins() {
    let _alone = ALONE.blocking_lock();
    assert!(run_line(PROGRAM, "joins --members 20 --joins 400 --runs 1").expect("the case runs"));
}

fn subscribers_receive_everything(transport: Transport) -> io::Result<()> {
    let server = Server::channelstream(PROGRAM, &[], None)?;
    let (mut crowd, mut ledger) = (Crowd::new()?, Ledger::new(50));
    crowd.use_transport(transport);
    crowd.subscribe(server.address, "crowd", 50)?;
    let mut publisher = Publisher::rest(server.address, "crowd", 64)?;
    crowd.add_publisher(0, &mut publisher)?;
    closed_loop(&mut crowd, &mut publisher, &mut ledger, 40, Plan::List(8))?;
    closed_loop(&mut crowd, &mut publisher, &mut ledger, 48, Plan::Window(4))?;
    crowd.read_until_quiet(Duration::from_millis(300), &mut [publisher], |index, number| {
        ledger.note(index, number);
    })?;
    assert!(ledger.is_clean(48), "{transport:?}: {}", ledger.describe(48));
    assert_eq!(crowd.faults(), Vec::<String>::new(), "{transport:?}");
    Ok(())
}

#[test]
fn subscribers_of_every_transport_receive_everything() {
    let _alone = ALONE.blocking_lock();
    for transport in [Transport::Websocket, Transport::Deflated, Transport::Positions, Transport::Events] {
        subscribers_receive_everything(transport).expect("server and crowd run");
    }
}
