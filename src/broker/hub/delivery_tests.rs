//! Each client receives exactly the frames meant for it, in every interleaving of the actors.

use super::fanout::Fanout;
use super::harness::{CHANNELS, CONNECTIONS, Harness, joined};
use super::messages::{CatchUpPart, Stamped, Subscription};
use super::table::SessionTable;
use crate::broker::marking::Laggards;
use crate::fixtures::{ENCODER, message, payload, seen};
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, HubId, ServerEpoch, SlotKey, Stamp, Stream, UserId};
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

async fn act(hub: &mut Harness, (action, first, second): Action, size: usize) {
    let (connection, channel) = (u32::from(first) % CONNECTIONS, u32::from(second) % CHANNELS);
    let size = size * usize::from(second % 8) / 8;
    match action {
        0..20 => hub.open(connection).await,
        20..40 => hub.subscribe(connection, channel),
        40..52 => hub.unsubscribe(connection, channel),
        52..60 => hub.detach(connection).await,
        60..64 => hub.close(connection, CloseReason::TakenOver).await,
        64..110 => hub.publish(u32::from(first) % CHANNELS, size, audience(second)),
        110..125 => hub.publish_private(
            &[UserId(0), UserId(1 + u32::from(second) % 2)][usize::from(second > 99)..],
            size,
        ),
        125..180 => _ = hub.deliver(first.into()).await,
        180..230 => hub.slice(1 + usize::from(second) % 9).await,
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
    fn polls_receive_each_frame_once_and_in_order(actions in actions(), max_queued in 100usize..20_000) {
        run(async {
            let mut hub = Harness::new(false, false, max_queued);
            for action in actions {
                // The client of a socket reads; the client of a poll ends it.
                match action {
                    (230.., first, _) => hub.answer_poll(u32::from(first) % CONNECTIONS).await,
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
    fn sockets_receive_each_frame_once_and_in_order(actions in actions(), ring: bool, max_queued in 2_000usize..40_000) {
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
fn recordings_contain_frames_for_other_users() {
    run(async {
        let mut hub = Harness::new(false, false, 10_000);
        for connection in 0..3 {
            hub.subscribe(connection, u32::from(connection == 2));
            hub.open(connection).await;
        }
        while hub.deliver(0).await || hub.deliver(1).await || hub.deliver(CHANNELS as usize).await {}
        // One goes to all members, the other only to the receiver's session.
        for _ in 0..2 {
            hub.publish(0, 10, Audience { only: Some([UserId(0)].as_slice().into()), ..Audience::default() });
            hub.deliver(0).await;
            hub.slice(10).await;
        }
        assert_eq!(hub.outcomes(0), [(1, Outcome::Collected), (2, Outcome::Collected)]);
        assert_eq!(hub.outcomes(1), [(1, Outcome::NotMeant), (2, Outcome::NotMeant)]);
        assert_eq!(hub.outcomes(2), [], "the connection subscribes to another channel");
        hub.quiesce().await;
    });
}

#[test]
fn only_the_client_that_does_not_read_is_closed() {
    closes_the_client_that_does_not_read(true);
    closes_the_client_that_does_not_read(false);
}

fn closes_the_client_that_does_not_read(ring: bool) {
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
        assert_eq!(hub.closed, [(1, CloseReason::TooSlow)]);
        hub.quiesce().await;
    });
}

#[test]
fn queued_frames_are_not_resent_after_a_protocol_error() {
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
        hub.close(0, CloseReason::Protocol).await;
        hub.quiesce().await;
    });
}

/// A session in many channels that has missed frames in each of them.
fn session_in_many_channels(channels: u32) -> (SessionTable, SlotKey, Rc<SendQueue>) {
    let mut table = SessionTable::new(HubId(0), ServerEpoch::new(1));
    let send_queue = Rc::new(SendQueue::poll(QueueCapacity::new(usize::MAX, usize::MAX), 0));
    let key = table.open(Uuid::nil(), send_queue.clone());
    table.set_allowance(TURN);
    for index in 0..channels {
        let subscription = Subscription {
            user: UserId(0),
            from: 0,
            through: 2,
            catchup: vec![stamped(1, index.into()), stamped(2, index.into())],
            part: Some(CatchUpPart { index, of: channels }),
            recovery: None,
        };
        assert_eq!(table.join(joined(index), key, subscription), PushResult::Accepted);
    }
    (table, key, send_queue)
}

const TURN: usize = 300;

fn stamped(offset: u64, number: u128) -> Stamped {
    Stamped {
        offset,
        stamp: Stamp(offset),
        frame: Arc::new(ENCODER.message(&message(number), None, Audience::all()).0),
    }
}

#[test]
fn laggards_are_the_sessions_that_have_not_received_everything() {
    let laggards = |table: &SessionTable| {
        let mut laggards = Laggards::default();
        table.add_laggards(&mut laggards);
        laggards.sessions.pop().map(|session| session.behind)
    };
    let name = |channel| Some(joined(channel).name);
    let (mut table, key, send_queue) = session_in_many_channels(1);
    assert_eq!(laggards(&table), Some(vec![(name(0), 0)]), "the answer of the poll was not sent");
    send_queue.clear();
    assert_eq!(laggards(&table), None);
    table.push_one(key, Stream::Channel(ChannelId(0)), &stamped(3, 1));
    assert_eq!(laggards(&table), Some(vec![(name(0), 2)]));
    send_queue.clear();
    send_queue.seal();
    let mut fanout = Fanout::default();
    fanout.push(ChannelId(0), stamped(4, 1));
    fanout.run(&mut table, 10);
    assert_eq!(laggards(&table), Some(vec![(name(0), 3)]), "the response does not contain the last frame");
    drop((table, send_queue));

    let (table, _, _) = session_in_many_channels(1_000);
    assert!(table.has_unfinished());
    let behind = laggards(&table).unwrap();
    assert_eq!(behind.len(), 1_000, "of a catch-up that is not complete, each stream counts");
    assert!(behind.iter().all(|(_, received)| *received == 0));
}

#[test]
fn a_catch_up_of_many_channels_takes_several_turns_and_live_frames_follow_it() {
    const CHANNELS: u32 = 1_000;
    let (mut table, key, send_queue) = session_in_many_channels(CHANNELS);
    let (mut fanout, mut turns) = (Fanout::default(), 1);
    while table.has_unfinished() {
        if turns == 2 {
            fanout.push(ChannelId(CHANNELS - 1), stamped(3, 7));
        }
        fanout.run(&mut table, 10);
        let before = send_queue.batch().len();
        table.set_allowance(TURN);
        while let Some(key) = table.unfinished() {
            assert_eq!(table.continue_catch_up(key), PushResult::Accepted);
        }
        assert!(send_queue.batch().len() - before <= TURN);
        turns += 1;
    }
    // Each channel costs two frames, and one for its part of the catch-up.
    assert_eq!(turns, (3 * CHANNELS as usize).div_ceil(TURN) + 1, "turns");
    let numbers: Vec<_> = send_queue.batch().iter().map(|element| seen(element).number).collect();
    let missed = (0..u128::from(CHANNELS)).flat_map(|number| [number, number]);
    assert_eq!(numbers, missed.chain([7]).collect::<Vec<_>>());
    let detached = table.detach(key).unwrap();
    assert_eq!(detached.cursors.len(), CHANNELS as usize);
}

#[test]
fn a_session_that_ends_during_its_catch_up_reports_only_what_was_enqueued() {
    let (mut table, key, send_queue) = session_in_many_channels(1_000);
    let enqueued = send_queue.batch().len();
    assert!(enqueued > 0 && enqueued <= TURN);
    send_queue.clear();
    let cursors = table.detach(key).unwrap().cursors;
    let got: u64 = cursors.iter().map(|(_, cursor)| cursor).sum();
    assert_eq!(got as usize, enqueued);
    table.set_allowance(TURN);
    assert_eq!(
        table.unfinished().map(|key| table.continue_catch_up(key)),
        Some(PushResult::Accepted),
        "the session has ended"
    );
    assert!(!table.has_unfinished());
}

/// Frames for many named sessions, and large frames, are delivered in several turns.
#[test]
fn each_turn_of_the_fan_out_stays_within_its_budget() {
    let (mut table, mut fanout) = (SessionTable::new(HubId(0), ServerEpoch::new(1)), Fanout::default());
    let send_queue = || Rc::new(SendQueue::poll(QueueCapacity::new(usize::MAX, usize::MAX), 0));
    let keys: Vec<SlotKey> = (0..100)
        .map(|_| {
            let key = table.open(Uuid::nil(), send_queue());
            let subscription = || Subscription {
                user: UserId(0),
                from: 0,
                through: 0,
                catchup: Vec::new(),
                part: None,
                recovery: None,
            };
            table.join(joined(0), key, subscription());
            table.join_private(key, subscription());
            key
        })
        .collect();
    let mut large = message(1);
    large.message = Some(payload(&format!("{{\"x\":\"{}\"}}", "x".repeat(200 << 10))));
    let large = Arc::new(ENCODER.message(&large, None, Audience::all()).0);
    fanout.push_to(ChannelId(0), keys.clone(), stamped(1, 1));
    fanout.push_private(keys.iter().map(|key| (*key, 1)).collect(), Stamp(1), stamped(1, 1).frame);
    let mut turns = |fanout: &mut Fanout| {
        let mut turns = Vec::new();
        while !fanout.is_idle() {
            turns.push(fanout.run(&mut table, 16).deliveries);
        }
        assert!(turns.iter().all(|deliveries| *deliveries <= 16), "{turns:?}");
        (turns.len(), turns.iter().sum::<u64>())
    };
    assert_eq!(turns(&mut fanout), (13, 200), "for named sessions");
    fanout.push(ChannelId(0), Stamped { offset: 2, stamp: Stamp(2), frame: large });
    // Each costs as much as four small ones.
    assert_eq!(turns(&mut fanout), (25, 100), "large ones");
}
