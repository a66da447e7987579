//! Everybody gets exactly what it is meant to get, however the pieces interleave.

use super::fanout::Fanout;
use super::harness::{CHANNELS, CONNECTIONS, Harness};
use super::messages::{CatchUpPart, Stamped, Subscription, Transport};
use super::table::SessionTable;
use crate::fixtures::{ENCODER, message, payload, seen};
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, HubId, SlotKey, UserId};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{PushResult, QueueCapacity, SendQueue};
use crate::telemetry::recorder::Outcome;
use proptest::collection::vec;
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

type Action = (u8, u8, u8);

fn audience(choice: u8) -> Audience {
    let users = |bits: u8| (0..3).filter(|user| bits >> user & 1 == 1).map(UserId).collect();
    match choice % 16 {
        0..8 => Audience::all(),
        bits @ 8..12 => Audience { except: users(bits % 8), ..Audience::default() },
        bits => Audience { only: Some(users(bits % 8)), ..Audience::default() },
    }
}

async fn act(hub: &mut Harness, (what, who, how): Action, size: usize) {
    let (connection, channel) = (u32::from(who) % CONNECTIONS, u32::from(how) % CHANNELS);
    let size = size * usize::from(how % 8) / 8;
    match what {
        0..20 => hub.open(connection).await,
        20..40 => hub.subscribe(connection, channel),
        40..52 => hub.unsubscribe(connection, channel),
        52..60 => hub.vanish(connection).await,
        60..64 => hub.dismiss(connection, CloseReason::TakenOver).await,
        64..110 => hub.publish(u32::from(who) % CHANNELS, size, audience(how)),
        110..125 => {
            hub.publish_private(&[UserId(0), UserId(1 + u32::from(how) % 2)][usize::from(how > 99)..], size)
        }
        125..180 => _ = hub.deliver(who.into()).await,
        180..230 => hub.slice(1 + usize::from(how) % 9).await,
        230.. => hub.read(connection).await,
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    vec(any::<Action>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn polls_get_everything_once_and_in_order(actions in actions(), max_queued in 100usize..20_000) {
        run(async {
            let mut hub = Harness::new(false, false, max_queued);
            for action in actions {
                // What a socket's peer does when it reads, a poll's does by ending.
                match action {
                    (230.., who, _) => hub.answer(u32::from(who) % CONNECTIONS).await,
                    other => act(&mut hub, other, 400).await,
                }
                hub.ledger.check(false);
            }
            hub.quiesce().await;
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn sockets_get_everything_once_and_in_order(actions in actions(), ring: bool, max_queued in 2_000usize..40_000) {
        run(async {
            let mut hub = Harness::new(true, ring, max_queued);
            for action in actions {
                act(&mut hub, action, 12_000).await;
            }
            hub.quiesce().await;
        });
    }
}

#[test]
fn who_is_recorded_is_told_of_what_is_not_meant_for_it() {
    run(async {
        let mut hub = Harness::new(false, false, 10_000);
        for connection in 0..3 {
            hub.subscribe(connection, u32::from(connection == 2));
            hub.open(connection).await;
        }
        while hub.deliver(0).await || hub.deliver(1).await || hub.deliver(CHANNELS as usize).await {}
        // One goes to all members, the other only to the receiver's place.
        for _ in 0..2 {
            hub.publish(0, 10, Audience { only: Some([UserId(0)].as_slice().into()), ..Audience::default() });
            hub.deliver(0).await;
            hub.slice(10).await;
        }
        assert_eq!(hub.outcomes(0), [(1, Outcome::Collected), (2, Outcome::Collected)]);
        assert_eq!(hub.outcomes(1), [(1, Outcome::NotMeant), (2, Outcome::NotMeant)]);
        assert_eq!(hub.outcomes(2), [], "it listens to another channel");
        hub.quiesce().await;
    });
}

#[test]
fn only_the_peer_that_does_not_read_is_closed() {
    closes_the_peer_that_does_not_read(true);
    closes_the_peer_that_does_not_read(false);
}

fn closes_the_peer_that_does_not_read(ring: bool) {
    run(async {
        let mut hub = Harness::new(true, ring, 10_000);
        for connection in 0..3 {
            hub.subscribe(connection, 0);
            hub.open(connection).await;
        }
        for _ in 0..200 {
            hub.publish(0, 1_000, Audience::all());
            while hub.deliver(0).await || hub.deliver(CHANNELS as usize).await {}
            hub.slice(10).await;
            hub.read(0).await;
            hub.read(2).await;
        }
        assert_eq!(hub.dismissed, [(1, CloseReason::TooSlow)]);
        hub.quiesce().await;
    });
}

#[test]
fn who_breaks_the_protocol_gets_what_was_queued_once() {
    run(async {
        let mut hub = Harness::new(true, false, 100_000_000);
        hub.subscribe(0, 0);
        hub.open(0).await;
        for _ in 0..100 {
            hub.publish(0, 60_000, Audience::all());
            while hub.deliver(0).await || hub.deliver(CHANNELS as usize).await {}
            hub.slice(10).await;
        }
        assert!(!hub.session(0).unwrap().send_queue.is_empty(), "the peer is behind");
        hub.dismiss(0, CloseReason::Protocol).await;
        hub.quiesce().await;
    });
}

/// A session in very many channels, each with something that it has missed.
fn wide(channels: u32) -> (SessionTable, SlotKey, Rc<SendQueue>) {
    let mut table = SessionTable::new(HubId(0));
    let send_queue = Rc::new(SendQueue::poll(QueueCapacity::new(usize::MAX, usize::MAX), 0));
    let key = table.open(Uuid::nil(), Transport::LongPoll, send_queue.clone());
    table.allow(TURN);
    for index in 0..channels {
        let listen = Subscription {
            user: UserId(0),
            from: 0,
            through: 2,
            catchup: vec![stamped(1, index.into()), stamped(2, index.into())],
            part: Some(CatchUpPart { index, of: channels }),
        };
        assert_eq!(table.join(ChannelId(index), key, listen), PushResult::Accepted);
    }
    (table, key, send_queue)
}

const TURN: usize = 300;

fn stamped(offset: u64, number: u128) -> Stamped {
    Stamped { offset, frame: Arc::new(ENCODER.message(&message(number), None, Audience::all()).0) }
}

#[test]
fn a_catch_up_of_many_channels_goes_out_in_turns_and_what_comes_meanwhile_follows_it() {
    const CHANNELS: u32 = 1_000;
    let (mut table, key, send_queue) = wide(CHANNELS);
    let (mut fanout, mut turns) = (Fanout::default(), 1);
    while table.has_unfinished() {
        if turns == 2 {
            fanout.push(ChannelId(CHANNELS - 1), stamped(3, 7));
        }
        fanout.run(&mut table, 10);
        let before = send_queue.batch().len();
        table.allow(TURN);
        while let Some(key) = table.unfinished() {
            assert_eq!(table.go_on(key), PushResult::Accepted);
        }
        assert!(send_queue.batch().len() - before <= TURN);
        turns += 1;
    }
    // Two frames of each channel, and one for looking at it.
    assert_eq!(turns, (3 * CHANNELS as usize).div_ceil(TURN) + 1, "turns");
    let numbers: Vec<_> = send_queue.batch().iter().map(|element| seen(element).number).collect();
    let missed = (0..u128::from(CHANNELS)).flat_map(|number| [number, number]);
    assert_eq!(numbers, missed.chain([7]).collect::<Vec<_>>());
    let gone = table.detach(key).unwrap();
    assert_eq!(gone.cursors.len(), CHANNELS as usize);
}

#[test]
fn a_session_that_goes_in_the_middle_of_its_catch_up_has_got_nothing_of_the_rest() {
    let (mut table, key, send_queue) = wide(1_000);
    let handed_over = send_queue.batch().len();
    assert!(handed_over > 0 && handed_over <= TURN);
    send_queue.forget();
    let cursors = table.detach(key).unwrap().cursors;
    let got: u64 = cursors.iter().map(|(_, cursor)| cursor).sum();
    assert_eq!(got as usize, handed_over);
    table.allow(TURN);
    assert_eq!(table.unfinished().map(|key| table.go_on(key)), Some(PushResult::Accepted), "nobody is there");
    assert!(!table.has_unfinished());
}

/// Frames for many named sessions, and large ones, are served some in each turn.
#[test]
fn a_turn_of_the_fan_out_ends_whatever_it_is_for() {
    let (mut table, mut fanout) = (SessionTable::new(HubId(0)), Fanout::default());
    let send_queue = || Rc::new(SendQueue::poll(QueueCapacity::new(usize::MAX, usize::MAX), 0));
    let keys: Vec<SlotKey> = (0..100)
        .map(|_| {
            let key = table.open(Uuid::nil(), Transport::LongPoll, send_queue());
            let listen =
                || Subscription { user: UserId(0), from: 0, through: 0, catchup: Vec::new(), part: None };
            table.join(ChannelId(0), key, listen());
            table.join_inbox(key, listen());
            key
        })
        .collect();
    let mut large = message(1);
    large.message = Some(payload(&format!("{{\"x\":\"{}\"}}", "x".repeat(200 << 10))));
    let large = Arc::new(ENCODER.message(&large, None, Audience::all()).0);
    fanout.push_to(ChannelId(0), keys.clone(), stamped(1, 1));
    fanout.push_private(keys.iter().map(|key| (*key, 1)).collect(), stamped(1, 1).frame);
    let mut turns = |fanout: &mut Fanout| {
        let mut turns = Vec::new();
        while !fanout.is_idle() {
            turns.push(fanout.run(&mut table, 16).deliveries);
        }
        assert!(turns.iter().all(|deliveries| *deliveries <= 16), "{turns:?}");
        (turns.len(), turns.iter().sum::<u64>())
    };
    assert_eq!(turns(&mut fanout), (13, 200), "for named sessions");
    fanout.push(ChannelId(0), Stamped { offset: 2, frame: large });
    // Each costs as much as four others.
    assert_eq!(turns(&mut fanout), (25, 100), "large ones");
}
