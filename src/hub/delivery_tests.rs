//! Everybody gets exactly what it is meant to get, however the pieces interleave.

use super::harness::{CHANNELS, CONNECTIONS, Harness};
use crate::ids::UserId;
use crate::observe::recorder::Outcome;
use crate::wire::frame::Audience;
use crate::wire::websocket::close::CloseReason;
use proptest::collection::vec;
use proptest::prelude::*;

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
        assert!(!hub.session(0).unwrap().outbox.is_empty(), "the peer is behind");
        hub.dismiss(0, CloseReason::Protocol).await;
        hub.quiesce().await;
    });
}
