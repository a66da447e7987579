use super::liveness::{Adopted, Attempt, Beaten, Chore, Liveness};
use crate::broker::engine::call::Call;
use crate::broker::engine::reply::Reply;
use crate::protocol::ids::Stamp;
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(500);

fn adopted(term: u64, is_known: bool) -> Adopted {
    Adopted { term, base: Stamp(0), store: "store".into(), is_known }
}

/// Joins as Redis replies; returns the attempt, and whether the node has kept its number.
fn join(liveness: &mut Liveness, fresh: u64, adopted: &Adopted, now: Instant) -> (Attempt, bool) {
    let attempt = liveness.attempt(fresh);
    let is_same = liveness.joined(&attempt, adopted, now);
    (attempt, is_same)
}

/// A node with the number 7 in term 1, which has stated everything.
fn node(now: Instant) -> Liveness {
    let mut liveness = Liveness::new(BEAT, now);
    let (attempt, is_same) = join(&mut liveness, 7, &adopted(1, false), now);
    assert!(!attempt.must_report(&adopted(1, false)), "a new process has seen nothing");
    assert_eq!((liveness.node(), is_same), (7, false));
    liveness.restated(7);
    liveness
}

fn beaten(dead: &[i64]) -> Reply {
    let dead = dead.iter().map(|node| Reply::Number(*node));
    Reply::List([Reply::Number(99), Reply::Bytes(b"000017".to_vec())].into_iter().chain(dead).collect())
}

#[test]
fn the_reply_to_adopt_is_read() {
    let reply = |state: Reply| {
        let bytes = |text: &str| Reply::Bytes(text.into());
        Reply::List(vec![bytes("3"), bytes("17"), bytes("0000000e"), state])
    };
    let read = Adopted::read(&reply(Reply::Bytes(b"3".to_vec()))).unwrap();
    assert_eq!(read, Adopted { term: 3, base: Stamp(17), store: "0000000e".into(), is_known: true });
    for state in [Reply::Nil, Reply::Bytes(b"old".to_vec()), Reply::Bytes(b"swept".to_vec())] {
        assert!(!Adopted::read(&reply(state)).unwrap().is_known);
    }
    assert_eq!(Adopted::read(&Reply::Status("OK".into())), None);
}

#[test]
fn a_node_keeps_its_number_in_the_same_term() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.lost(false);
    let (attempt, is_same) = join(&mut liveness, 8, &adopted(1, true), now);
    assert!(!attempt.must_report(&adopted(1, true)));
    assert_eq!((liveness.node(), is_same), (7, true));
}

#[test]
fn a_node_that_was_declared_dead_takes_a_number_and_removes_the_old_one_with_events() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.lost(false);
    let (_, is_same) = join(&mut liveness, 8, &adopted(1, false), now);
    assert_eq!((liveness.node(), is_same), (8, false));
    assert!(!liveness.due(now).contains(&Chore::SweepOwn(7)), "the members are not stated yet");
    liveness.restated(7);
    assert!(!liveness.due(now).contains(&Chore::SweepOwn(7)), "that was stated under the old number");
    liveness.restated(8);
    let sweep = Chore::SweepOwn(7);
    assert_eq!(liveness.due(now), [sweep]);
    assert!(!sweep.is_urgent());
    assert!(matches!(liveness.call(sweep, None), Call::Sweep { node: 7, is_quiet: false }));
    assert_eq!(liveness.done(sweep, Some(&Reply::Number(3)), now), None);
    assert_eq!(liveness.due(now), [sweep], "there is more");
    assert_eq!(liveness.done(sweep, None, now), None);
    assert!(liveness.due(now).is_empty(), "not at once after an error");
    assert_eq!(liveness.due(now + BEAT), [sweep]);
    assert_eq!(liveness.done(sweep, Some(&Reply::Number(0)), now), None);
    assert!(liveness.due(now + BEAT).is_empty());
}

#[test]
fn a_number_that_was_refused_is_replaced_although_redis_knows_it() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.lost(true);
    assert!(!join(&mut liveness, 8, &adopted(1, true), now).1);
    liveness.due(now).into_iter().for_each(|chore| assert!(!matches!(chore, Chore::Sweep(_))));
    assert!(liveness.done(Chore::Beat, Some(&beaten(&[7, 5])), now).is_some());
    assert_eq!(liveness.due(now), [Chore::Sweep(5)], "the members of 7 are not stated yet");
    liveness.restated(8);
    assert_eq!(liveness.done(Chore::SweepOwn(7), Some(&Reply::Number(0)), now), None);
    liveness.lost(false);
    assert!(join(&mut liveness, 9, &adopted(1, true), now).1);
}

#[test]
fn a_node_reports_in_a_new_term_and_removes_the_old_number_without_events() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.lost(false);
    let (attempt, is_same) = join(&mut liveness, 8, &adopted(2, true), now);
    assert!(attempt.must_report(&adopted(2, true)));
    assert_eq!((liveness.node(), is_same), (8, false));
    assert!(matches!(liveness.call(Chore::SweepOwn(7), None), Call::Sweep { node: 7, is_quiet: true }));
}

#[test]
fn a_node_takes_another_number_if_it_had_not_stated_everything() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.lost(false);
    join(&mut liveness, 8, &adopted(1, false), now);
    liveness.lost(false);
    let (attempt, is_same) = join(&mut liveness, 9, &adopted(1, true), now);
    assert_eq!((attempt.node, liveness.node(), is_same), (8, 9, false));
    liveness.restated(9);
    for old in [8, 7] {
        assert!(liveness.due(now).contains(&Chore::SweepOwn(old)));
        assert_eq!(liveness.done(Chore::SweepOwn(old), Some(&Reply::Number(0)), now), None);
    }
    liveness.lost(false);
    assert!(join(&mut liveness, 10, &adopted(1, true), now).1, "nothing of the old numbers is left");
}

#[test]
fn a_number_that_redis_may_have_learned_is_removed() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.lost(false);
    let failed = liveness.attempt(8);
    liveness.may_be_enlisted(&failed);
    assert!(!join(&mut liveness, 9, &adopted(1, true), now).1);
    liveness.restated(9);
    for old in [7, 8] {
        assert!(liveness.due(now).contains(&Chore::SweepOwn(old)));
        assert_eq!(liveness.done(Chore::SweepOwn(old), Some(&Reply::Number(0)), now), None);
    }
}

#[test]
fn forgotten_numbers_are_bounded() {
    let now = Instant::now();
    let mut liveness = node(now);
    for random in 0..1_000 {
        let attempt = liveness.attempt(random);
        liveness.may_be_enlisted(&attempt);
    }
    liveness.restated(7);
    let own = |due: Vec<Chore>| due.into_iter().find(|chore| !chore.is_urgent());
    let mut removed = 0;
    while let Some(chore) = own(liveness.due(now)) {
        assert_eq!(liveness.done(chore, Some(&Reply::Number(0)), now), None);
        removed += 1;
    }
    assert_eq!(removed, 64);
}

#[test]
fn numbers_are_exact_in_scripts() {
    let liveness = Liveness::new(BEAT, Instant::now());
    assert_eq!(liveness.attempt(u64::MAX).fresh, (1 << 53) - 1);
    assert_eq!(liveness.attempt(1 << 53).fresh, 1, "0 stands for no number");
}

#[test]
fn beats_and_removals_are_due_once_in_an_interval() {
    let now = Instant::now();
    let mut liveness = node(now);
    assert_eq!(liveness.next_due(), Some(now));
    assert_eq!(liveness.due(now), [Chore::Beat, Chore::Expire]);
    assert!(liveness.due(now + 9 * BEAT).is_empty(), "they are unanswered");
    assert_eq!(liveness.next_due(), None);
    assert_eq!(
        liveness.done(Chore::Beat, Some(&beaten(&[])), now),
        Some(Beaten { stamp: Stamp(99), store: "000017".into() })
    );
    assert_eq!(liveness.done(Chore::Expire, Some(&Reply::Number(5)), now), None);
    assert_eq!(liveness.next_due(), Some(now + BEAT));
    assert_eq!(liveness.due(now + BEAT), [Chore::Beat]);
    assert_eq!(liveness.due(now + 2 * BEAT), [Chore::Expire]);
    assert_eq!(liveness.done(Chore::Expire, Some(&Reply::Number(100)), now), None);
    assert_eq!(liveness.due(now), [Chore::Expire], "there is more to remove");
    liveness.lost(false);
    assert!(liveness.due(now + 9 * BEAT).is_empty());
    assert_eq!(liveness.next_due(), None);
}

#[test]
fn dead_nodes_are_removed_until_nothing_is_left() {
    let now = Instant::now();
    let mut liveness = node(now);
    assert_eq!(liveness.due(now).len(), 2);
    assert!(liveness.done(Chore::Beat, Some(&beaten(&[3, 5])), now).is_some());
    let (first, second) = (Chore::Sweep(3), Chore::Sweep(5));
    assert!(first.is_urgent(), "calls that wait until it has reported are behind it");
    assert_eq!(liveness.due(now), [first, second]);
    assert_eq!(liveness.done(first, Some(&Reply::Number(200)), now), None);
    assert_eq!(liveness.due(now), [first]);
    assert_eq!(liveness.done(first, Some(&Reply::Number(0)), now), None);
    assert_eq!(liveness.done(second, None, now), None);
    assert!(liveness.due(now).is_empty());
    assert!(liveness.done(Chore::Beat, Some(&beaten(&[5])), now).is_some());
    assert_eq!(liveness.due(now), [second], "the next beat names it again");
}

#[test]
fn a_node_that_leaves_does_so_once_and_nothing_else() {
    let now = Instant::now();
    let mut liveness = node(now);
    liveness.leave(70);
    assert!(!Chore::Leave.is_urgent(), "it is behind all that the node has stated");
    assert_eq!((liveness.due(now), liveness.due(now)), (vec![Chore::Leave], vec![]));
    assert!(matches!(liveness.call(Chore::Leave, None), Call::Leave { stay_ms: 70 }));
    assert_eq!(liveness.done(Chore::Leave, None, now), None);
    assert!(!liveness.has_left(), "the call was not answered");
    assert_eq!(liveness.next_due(), Some(now + BEAT));
    assert_eq!(liveness.due(now + BEAT), [Chore::Leave]);
    assert_eq!(liveness.done(Chore::Leave, Some(&Reply::Status("OK".into())), now), None);
    assert_eq!((liveness.has_left(), liveness.next_due()), (true, None));
}
