//! Single scenarios of private streams.

use super::*;
use crate::broker::hub::messages::CatchUpPart;
use crate::broker::recovery::Resume;
use crate::fixtures::{ENCODER, conn, location, message};
use crate::protocol::ids::ServerEpoch;
use crate::protocol::position::{Cursor, KnownCursor, Since};
use crate::protocol::time::Timestamp;
use rand::SeedableRng;

const USER: UserId = UserId(7);
const PART: CatchUpPart = CatchUpPart { index: 0, of: 1 };

fn streams(max_frames: usize) -> PrivateMessagesState {
    PrivateMessagesState::new(ENCODER, max_frames, StdRng::seed_from_u64(1), Arc::default())
}

fn detached(user: UserId) -> Recipient {
    Recipient { user, locations: Vec::new() }
}

fn caught_up(state: &mut PrivateMessagesState, index: u32) -> Vec<Offset> {
    let mut effects = Vec::new();
    state.attach(USER, conn(index), location(0, index), Attaching { part: PART, resume: None }, &mut effects);
    match &effects[..] {
        [(_, ToHub::JoinPrivate(_, subscription))] => subscription.catchup.iter().map(|s| s.offset).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_sent_while_detached_are_caught_up_once() {
    let mut state = streams(2);
    state.open(USER, conn(1));
    let mut effects = Vec::new();
    for _ in 0..3 {
        state.post(message(1), &[detached(USER), detached(UserId(8))], &Timestamp::now(), &mut effects);
    }
    assert!(effects.is_empty(), "no session is attached");
    assert_eq!(caught_up(&mut state, 1), [2, 3], "the buffer holds two");
    state.detach(USER, conn(1), Some(2));
    assert_eq!(caught_up(&mut state, 1), [3]);
}

#[test]
fn a_new_connection_receives_no_earlier_messages() {
    let mut state = streams(5);
    state.open(USER, conn(1));
    state.post(message(1), &[detached(USER)], &Timestamp::now(), &mut Vec::new());
    state.open(USER, conn(2));
    assert_eq!(caught_up(&mut state, 2), [] as [Offset; 0]);
}

#[test]
fn a_cursor_of_an_earlier_connection_proves_nothing_about_a_new_stream() {
    let mut state = streams(5);
    let recovered = |state: &mut PrivateMessagesState, stamp| {
        let cursor = Cursor { server: ServerEpoch::new(1), stamp: Stamp(stamp), frame: None };
        let since = Since { cursor: Some(KnownCursor::Own(cursor)), ..Since::default() };
        let resume = Resume { since: Arc::new(since), born: Stamp(20), attached: Stamp(30) };
        let attaching = Attaching { part: PART, resume: Some(Arc::new(resume)) };
        let mut effects = Vec::new();
        state.attach(USER, conn(1), location(0, 1), attaching, &mut effects);
        match effects.pop() {
            Some((_, ToHub::JoinPrivate(_, subscription))) => {
                subscription.recovery.unwrap().verdict.recovered
            }
            other => panic!("{other:?}"),
        }
    };
    (0..30).for_each(|_| _ = state.beginnings.stamps.later());
    assert_eq!([recovered(&mut state, 19), recovered(&mut state, 20)], [false, true]);
    state.detach(USER, conn(1), Some(0));
    assert_eq!([recovered(&mut state, 19), recovered(&mut state, 20)], [false, true]);
}

#[test]
fn one_message_to_a_hub_covers_all_its_sessions() {
    let mut state = streams(5);
    let recipients = [
        Recipient { user: USER, locations: vec![location(0, 1), location(0, 2)] },
        Recipient { user: UserId(8), locations: vec![location(0, 3)] },
    ];
    let mut effects = Vec::new();
    state.post(message(1), &recipients, &Timestamp::now(), &mut effects);
    match &effects[..] {
        [(_, ToHub::DeliverPrivate(slots, ..))] => assert_eq!(slots.len(), 3),
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_end_with_the_last_connection() {
    let mut state = streams(5);
    state.post(message(1), &[detached(USER)], &Timestamp::now(), &mut Vec::new());
    state.close(USER, conn(1), false);
    assert_eq!(state.users.len(), 1);
    let before = state.users[&USER].position;
    state.close(USER, conn(2), true);
    assert!(state.users.is_empty());
    state.post(message(1), &[detached(USER)], &Timestamp::now(), &mut Vec::new());
    let after = state.users[&USER].position;
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before.epoch, "the stream began again");
}
