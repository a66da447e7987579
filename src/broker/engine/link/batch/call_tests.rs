//! Calls on their way through a [`Batch`], step by step.

use super::Batch;
use crate::broker::engine::call::{Call, Item};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::Outcome;
use crate::broker::engine::link::counters::EngineCounters;
use crate::broker::engine::link::seen::Seen;
use crate::broker::engine::link::verdict::{Failure, Loss, Need};
use crate::broker::engine::reply::Reply;
use crate::protocol::ids::Stamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const TIMEOUT: Duration = Duration::from_millis(2_000);
const SETTLING_LIMIT: Duration = Duration::from_secs(5);
pub const TRIP: Duration = Duration::from_millis(1);

fn message(id: u64) -> Item {
    Item { stream: "ca".into(), record: id.to_le_bytes().to_vec(), part: None }
}

pub fn append(ids: impl IntoIterator<Item = u64>) -> Call {
    Call::Append { items: ids.into_iter().map(message).collect() }
}

pub fn change(id: u64) -> Call {
    Call::Change { stream: "ca".into(), record: id.to_le_bytes().to_vec(), part: None }
}

pub fn set() -> Call {
    Call::Set { is_quiet: false, counts: Vec::new() }
}

pub fn read() -> Call {
    Call::ReadUser { user: "x".into() }
}

fn id_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(record.try_into().unwrap())
}

pub fn ids_of(call: &Call) -> Vec<u64> {
    match call {
        Call::Append { items } => items.iter().map(|item| id_of(&item.record)).collect(),
        Call::Change { record, .. } => vec![id_of(record)],
        _ => Vec::new(),
    }
}

/// The answer about an item, with its id in the place of offset and stamp.
pub fn answer_of(id: u64) -> Vec<u8> {
    [&[0, 1][..], b"00000001", &id.to_le_bytes(), &id.to_le_bytes(), &[0; 12]].concat()
}

fn ok(call: &Call) -> Result<Reply, Failure> {
    let ids = ids_of(call);
    Ok(if ids.is_empty() {
        Reply::Status("OK".into())
    } else {
        Reply::Bytes(ids.into_iter().flat_map(answer_of).collect())
    })
}

pub fn failure(code: &str) -> Result<Reply, Failure> {
    Err(Failure { code: code.into(), text: format!("{code} text") })
}

/// The answer of a Redis that has lost the scripts.
pub fn no_function() -> Result<Reply, Failure> {
    Err(Failure { code: "ERR".into(), text: "ERR Function not found".into() })
}

pub fn status(text: &str) -> Result<Reply, Failure> {
    Ok(Reply::Status(text.into()))
}

pub fn batch() -> (Batch<u64>, Arc<Seen>, Arc<EngineCounters>) {
    let (seen, counters) = <(Arc<Seen>, Arc<EngineCounters>)>::default();
    let mut batch = Batch::new(TIMEOUT, SETTLING_LIMIT, seen.clone(), counters.clone());
    batch.connected();
    (batch, seen, counters)
}

/// Lets Redis accept a change, after which pipelines are long.
fn settle(batch: &mut Batch<u64>, now: Instant) {
    batch.push(set(), 0, None, now);
    assert_eq!(batch.next_pipeline(now).len(), 1);
    assert_eq!(batch.answered(vec![status("OK")], TRIP, now).outcomes.len(), 1);
}

fn sent(batch: &mut Batch<u64>, now: Instant) -> Vec<(u64, Vec<u64>)> {
    batch.next_pipeline(now).iter().map(|unit| (unit.number, ids_of(&unit.call))).collect()
}

#[test]
fn adjacent_messages_become_one_call_and_each_requester_gets_its_answers() {
    let (mut batch, seen, _) = batch();
    let now = Instant::now();
    settle(&mut batch, now);
    batch.push(append([1, 2]), 10, None, now);
    batch.push(append([3]), 11, None, now);
    batch.push(change(4), 12, None, now);
    batch.push(append([5]), 13, None, now);
    batch.push(set(), 14, None, now);
    let units = [(1, vec![1, 2, 3]), (2, vec![4]), (3, vec![5]), (0, vec![])];
    assert_eq!(sent(&mut batch, now), units);
    assert!(batch.next_pipeline(now).is_empty(), "one pipeline is unanswered");
    let answers = [append([1, 2, 3]), change(4), append([5]), set()].iter().map(ok).collect();
    let answered = batch.answered(answers, TRIP, now);
    let bytes = |ids: &[u64]| Reply::Bytes(ids.iter().copied().flat_map(answer_of).collect());
    let replies = [bytes(&[1, 2]), bytes(&[3]), bytes(&[4]), bytes(&[5]), Reply::Status("OK".into())];
    let expected: Vec<Outcome<u64>> = (10..).zip(replies.map(Ok)).collect();
    assert_eq!(answered.outcomes, expected);
    let streams: Vec<_> = seen.streams_after(Stamp(4)).into_iter().map(|(stream, _)| stream).collect();
    assert_eq!((seen.greatest(), streams), (Stamp(5), vec!["ca".to_owned()]));
}

#[test]
fn a_call_has_at_most_64_items_and_a_pipeline_256_calls_or_256_kib() {
    let (mut batch, _, counters) = batch();
    let now = Instant::now();
    settle(&mut batch, now);
    (0..100).for_each(|id| batch.push(append([id]), id, None, now));
    let lengths = |sent: Vec<(u64, Vec<u64>)>| sent.into_iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>();
    assert_eq!(lengths(sent(&mut batch, now)), [64, 36]);
    let mut batch = self::batch().0;
    settle(&mut batch, now);
    (0..300).for_each(|id| batch.push(change(id), id, None, now));
    assert_eq!(sent(&mut batch, now).len(), 256);
    let mut batch = self::batch().0;
    settle(&mut batch, now);
    for id in 0..3 {
        let record = vec![0; 200 * 1024];
        batch.push(Call::Change { stream: "ca".into(), record, part: None }, id, None, now);
    }
    assert_eq!(batch.next_pipeline(now).len(), 1);
    assert_eq!(counters.batch_calls.sum(), 3);
}

#[test]
fn unanswered_messages_are_sent_again_with_their_numbers_and_other_calls_fail() {
    let (mut batch, ..) = batch();
    let now = Instant::now();
    settle(&mut batch, now);
    batch.push(append([1]), 1, None, now);
    batch.push(set(), 2, None, now);
    batch.push(change(3), 3, None, now);
    let before = sent(&mut batch, now);
    batch.push(append([4]), 4, None, now);
    batch.push(set(), 5, None, now);
    let outcomes = batch.lost();
    let uncertain = Err(EngineError::Timeout { was_sent: true });
    assert_eq!(outcomes, [(2, uncertain), (5, Err(EngineError::Unavailable))]);
    assert!(batch.next_pipeline(now).is_empty(), "there is no connection");
    batch.connected();
    assert_eq!(sent(&mut batch, now), before[..1], "one call, until Redis accepts a change");
    let _ = batch.answered(vec![ok(&append([1]))], TRIP, now);
    assert_eq!(sent(&mut batch, now), [before[2].clone(), (3, vec![4])]);
}

#[test]
fn a_connection_that_is_given_up_is_given_up_again_after_a_loss() {
    let release = |generation| Call::Release { conn: "id".into(), generation, data: vec![1] };
    let (mut batch, ..) = batch();
    let now = Instant::now();
    settle(&mut batch, now);
    batch.push(release(Some(7)), 1, None, now);
    assert_eq!(batch.next_pipeline(now).len(), 1);
    batch.push(release(None), 2, None, now);
    batch.push(release(Some(9)), 3, None, now);
    let failed = Err(EngineError::Unavailable);
    assert_eq!(batch.lost(), [(2, failed)], "this node may own it again when that runs");
    batch.connected();
    let mut generations = Vec::new();
    while let [unit] = batch.next_pipeline(now) {
        let Call::Release { generation, .. } = unit.call else { panic!("{:?}", unit.call) };
        generations.extend(generation);
        let _ = batch.answered(vec![Ok(Reply::Number(1))], TRIP, now);
    }
    assert_eq!(generations, [7, 9]);
    assert!(batch.is_idle());
}

#[test]
fn a_lost_call_is_uncertain_if_it_changes_something_and_redis_may_have_run_it() {
    let (unavailable, uncertain) = (EngineError::Unavailable, EngineError::Timeout { was_sent: true });
    let now = Instant::now();
    let lost = |call: Call, answers: Option<Vec<Result<Reply, Failure>>>| {
        let (mut batch, ..) = batch();
        batch.push(call, 1, None, now);
        while batch.next_urgent().is_some() {}
        let _ = batch.next_pipeline(now).len();
        let _ = answers.map(|answers| batch.answered(answers, TRIP, now));
        batch.lost().pop().map(|(_, result)| result)
    };
    assert_eq!(lost(set(), None), Some(Err(uncertain.clone())));
    assert_eq!(lost(set(), Some(Vec::new())), Some(Err(uncertain)), "a pipeline without all answers");
    assert_eq!(lost(set(), Some(vec![status("FENCED")])), Some(Err(unavailable.clone())), "it did not run");
    assert_eq!(lost(read(), None), Some(Err(unavailable)), "nothing can have changed");
}

#[test]
fn calls_wait_in_order_until_all_nodes_have_reported() {
    let (mut batch, _, counters) = batch();
    let now = Instant::now();
    batch.push(append([1]), 1, None, now);
    batch.push(append([2]), 2, None, now);
    batch.push(set(), 3, None, now);
    batch.push(read(), 4, None, now);
    assert_eq!(sent(&mut batch, now), [(1, vec![1, 2])]);
    let answered = batch.answered(vec![status("SETTLING")], TRIP, now);
    assert_eq!((answered.outcomes.len(), answered.needs), (0, None));
    assert!(batch.next_pipeline(now).is_empty(), "held");
    let later = batch.next_deadline().unwrap();
    assert_eq!(later, now + Duration::from_millis(50));
    assert_eq!(sent(&mut batch, later), [(2, vec![1, 2])]);
    let _ = batch.answered(vec![ok(&append([1, 2]))], TRIP, later);
    assert_eq!(counters.settling.get(), 50_000);
    assert_eq!(batch.next_pipeline(later).len(), 2);
}

#[test]
fn a_node_connects_again_if_changes_wait_for_too_long() {
    let (mut batch, ..) = batch();
    let now = Instant::now();
    batch.push_own(set(), 1);
    for (at, needs) in [(now, None), (now + SETTLING_LIMIT, Some(Need::Connection(Loss::Unsettled)))] {
        assert_eq!(batch.next_pipeline(at).len(), 1);
        assert_eq!(batch.answered(vec![status("SETTLING")], TRIP, at).needs, needs);
    }
}

#[test]
fn errors_of_redis_end_or_repeat_a_call() {
    let now = Instant::now();
    let needs = |answer: Result<Reply, Failure>| {
        let (mut batch, ..) = batch();
        batch.push(append([1]), 1, None, now);
        assert_eq!(batch.next_pipeline(now).len(), 1);
        let answered = batch.answered(vec![answer], TRIP, now);
        (answered.outcomes.into_iter().next().map(|(_, result)| result), answered.needs)
    };
    let lost = |loss| (None, Some(Need::Connection(loss)));
    assert_eq!(needs(no_function()), (None, Some(Need::Scripts)));
    assert_eq!(needs(failure("OOM")), (Some(Err(EngineError::Full)), None));
    for code in ["READONLY", "LOADING", "MASTERDOWN"] {
        assert_eq!(needs(failure(code)), lost(Loss::NotReady));
    }
    assert_eq!(needs(status("FENCED")), lost(Loss::Fenced));
    assert_eq!(needs(failure("ERR")), (Some(Err(EngineError::Refused("ERR text".into()))), None));
    let (mut batch, ..) = batch();
    batch.push(append([1]), 1, None, now);
    assert_eq!(batch.next_pipeline(now).len(), 1);
    assert_eq!(batch.answered(Vec::new(), TRIP, now).needs, Some(Need::Connection(Loss::Disordered)));
}

#[test]
fn a_change_that_passes_a_refused_one_ends_the_connection() {
    let (mut batch, ..) = batch();
    let now = Instant::now();
    settle(&mut batch, now);
    batch.push(set(), 1, None, now);
    batch.push(set(), 2, None, now);
    assert_eq!(batch.next_pipeline(now).len(), 2);
    let answered = batch.answered(vec![no_function(), status("OK")], TRIP, now);
    assert_eq!(answered.needs, Some(Need::Connection(Loss::Disordered)));
    assert_eq!(batch.lost(), [(1, Err(EngineError::Unavailable))]);
}

#[test]
fn a_call_that_reads_waits_for_queued_calls_only() {
    let (mut batch, ..) = batch();
    let now = Instant::now();
    batch.push(set(), 1, None, now);
    assert_eq!(batch.next_pipeline(now).len(), 1);
    batch.push(read(), 2, None, now);
    assert!(batch.next_urgent().is_some_and(|unit| matches!(unit.call, Call::ReadUser { .. })));
    batch.push(set(), 3, None, now);
    batch.push(read(), 4, None, now);
    assert!(batch.next_urgent().is_none());
    assert_eq!(batch.urgent_answered(Ok(Reply::Nil), TRIP).outcomes, [(2, Ok(Reply::Nil))]);
    let repeated = batch.answered(vec![status("OK")], TRIP, now);
    assert_eq!(repeated.outcomes.len(), 1);
    assert_eq!(batch.next_pipeline(now).len(), 2);
}

#[test]
fn urgent_calls_pass_held_ones_and_are_repeated_when_scripts_are_missing() {
    let (mut batch, ..) = batch();
    let now = Instant::now();
    batch.push(set(), 1, None, now);
    assert_eq!(batch.next_pipeline(now).len(), 1);
    let _ = batch.answered(vec![status("SETTLING")], TRIP, now);
    batch.push_urgent(Call::Beat { info: None }, 2);
    assert!(batch.next_urgent().is_some());
    assert_eq!(batch.urgent_answered(no_function(), TRIP).needs, Some(Need::Scripts));
    assert!(batch.next_urgent().is_some());
    let answered = batch.urgent_answered(status("SETTLING"), TRIP);
    assert_eq!(answered.outcomes, [(2, Ok(Reply::Status("SETTLING".into())))]);
}

#[test]
fn deadlines_end_the_waiting_and_remove_what_was_not_sent() {
    let (mut batch, ..) = batch();
    let now = Instant::now();
    let late = now + TIMEOUT;
    batch.push(append([1]), 1, None, now);
    batch.push(set(), 2, None, now);
    assert_eq!(sent(&mut batch, now), [(1, vec![1])]);
    batch.push(append([3]), 3, None, now + Duration::from_millis(1));
    assert_eq!(batch.next_deadline(), Some(late));
    let timeout = |was_sent| Err(EngineError::Timeout { was_sent });
    assert_eq!(batch.expire(late), [(1, timeout(true)), (2, timeout(false))]);
    assert!(batch.answered(vec![ok(&append([1]))], TRIP, late).outcomes.is_empty(), "the reply is late");
    assert_eq!(sent(&mut batch, late), [(2, vec![3])]);
    assert_eq!(batch.close(), [(3, timeout(true))]);
    assert!(batch.is_idle());
}

#[test]
fn a_change_that_too_few_replicas_have_is_uncertain() {
    let (batch, seen, counters) = batch();
    let mut batch = batch.waiting_for_replicas(2);
    let (now, longest) = (Instant::now(), Duration::from_secs(1));
    settle(&mut batch, now);
    assert_eq!(batch.replicas_to_wait_for(longest, now), None, "nodes state counts again");
    for (replicas, is_kept) in
        [(Ok(Reply::Number(2)), true), (Ok(Reply::Number(1)), false), (failure("ERR"), false)]
    {
        batch.push(set(), 1, None, now);
        batch.push(append([7]), 2, None, now);
        assert_eq!(batch.next_pipeline(now).len(), 2);
        assert_eq!(batch.replicas_to_wait_for(longest, now), Some((2, longest)));
        let late = now + TIMEOUT - TRIP;
        assert_eq!(batch.replicas_to_wait_for(longest, late), Some((2, TRIP)));
        let outcomes = batch.answered(vec![ok(&set()), ok(&append([7])), replicas], TRIP, now).outcomes;
        let uncertain = Err(EngineError::Timeout { was_sent: true });
        let expected = if is_kept { Ok(Reply::Bytes(answer_of(7))) } else { uncertain };
        assert_eq!(outcomes, [(1, Ok(Reply::Status("OK".into()))), (2, expected)]);
    }
    assert_eq!((seen.greatest(), counters.unreplicated.get()), (Stamp(7), 2));
}
