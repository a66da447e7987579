//! A link with a real Redis that answers.

use super::LinkSettings;
use super::access::Access;
use super::harness_tests::{Event, Node, append, numbers, record, set, settings};
use crate::broker::engine::call::Call;
use crate::broker::engine::entry::{Answer, Published, read_answers};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::local_redis_tests::LocalRedis;
use crate::broker::engine::reply::Reply;
use std::time::{Duration, Instant};

fn read_user() -> Call {
    Call::ReadUser { user: "x".into() }
}

/// The place of an event that must have come.
fn place(events: &[Event], event: &Event) -> usize {
    events.iter().position(|other| other == event).unwrap_or_else(|| panic!("{event:?} is missing"))
}

#[tokio::test]
async fn messages_arrive_in_order_and_each_requester_gets_its_answer() {
    const COUNT: u64 = 2_000;
    let redis = LocalRedis::start();
    let mut node = Node::join(settings(&redis.url())).await;
    node.follow().await;
    (1..=COUNT).for_each(|number| node.link.send(append(number.into()), number));
    let mut replies = 0;
    let events = node
        .all_until(|event| {
            replies += u64::from(matches!(event, Event::Reply(..)));
            replies == COUNT
        })
        .await;
    let mut expected = 1..;
    for event in events {
        match event {
            Event::Reply(ticket, Ok(Reply::Bytes(bytes))) => {
                let answers = read_answers(&bytes).unwrap();
                assert!(
                    matches!(answers[..], [Answer { published: Published::At(item), .. }] if item.position.offset == ticket)
                );
            }
            Event::Entry(offset, bytes) => {
                let number = expected.next().unwrap();
                assert_eq!((offset, bytes), (number, record(number.into())));
            }
            Event::Stamp => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(node.link.pending_bytes(), 0);
    assert!(node.link.counters().batch_calls.sum() < COUNT, "messages share calls");
    let seen = node.link.seen().streams_after(Default::default());
    assert!(matches!(&seen[..], [(stream, offset)] if stream == "ca" && *offset == COUNT), "{seen:?}");
}

#[tokio::test]
async fn a_reply_comes_after_the_mail_that_preceded_it() {
    const COUNT: u64 = 300;
    let redis = LocalRedis::start();
    let writer = Node::join(settings(&redis.url())).await;
    let mut reader = Node::join(settings(&redis.url())).await;
    reader.follow().await;
    for number in 1..=COUNT {
        writer.link.call(append(number.into())).await.unwrap();
        reader.link.send(read_user(), number);
    }
    let last = Event::Reply(COUNT, Ok(Reply::Nil));
    let events = reader.all_until(|event| *event == last).await;
    for number in 1..=COUNT {
        let entry = place(&events, &Event::Entry(number, record(number.into())));
        assert!(entry < place(&events, &Event::Reply(number, Ok(Reply::Nil))));
    }
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_loaded_again() {
    let redis = LocalRedis::start();
    let node = Node::join(settings(&redis.url())).await;
    node.follow().await;
    for number in 1..5 {
        let () = redis.ask(&["FUNCTION", "FLUSH", "SYNC"]);
        let (appended, read) = tokio::join!(node.link.call(append(number)), node.link.call(read_user()));
        assert!(appended.is_ok() && read == Ok(Reply::Nil), "{appended:?} {read:?}");
    }
    assert_eq!(numbers(&node.read().await), [1, 2, 3, 4]);
    assert_eq!(node.link.counters().reconnects.get(), 0);
}

#[tokio::test]
async fn a_node_removes_the_scripts_of_other_releases_only() {
    let redis = LocalRedis::start();
    for library in ["channelstream_older", "application"] {
        let source = format!("#!lua name={library}\nredis.register_function('{library}', function() end)");
        let _: String = redis.ask(&["FUNCTION", "LOAD", &source]);
    }
    let node = Node::join(settings(&redis.url())).await;
    assert!(node.link.call(read_user()).await.is_ok());
    let of = |name: &str| redis.ask::<Vec<redis::Value>>(&["FUNCTION", "LIST", "LIBRARYNAME", name]);
    assert_eq!((of("channelstream_*").len(), of("application").len()), (1, 1));
}

#[tokio::test]
async fn without_memory_nothing_is_done() {
    let redis = LocalRedis::start();
    let node = Node::join(settings(&redis.url())).await;
    node.follow().await;
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(node.link.call(append(1)).await, Err(EngineError::Full));
    let mut late = Node::join(settings(&redis.url())).await;
    assert_eq!(late.link.call(append(2)).await, Err(EngineError::Full), "a node can join nevertheless");
    late.until(|event| (event == Event::Stamp).then_some(())).await;
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(node.link.call(append(2)).await.is_ok());
    assert_eq!(numbers(&node.read().await), [2]);
}

#[tokio::test]
async fn without_redis_calls_end_in_time_and_within_their_bound() {
    const PENDING: usize = 2_000;
    let nowhere =
        LinkSettings { timeout_ms: 300, pending_bytes: PENDING, ..settings("redis+unix:///nowhere") };
    let mut node = Node::start(nowhere);
    for ticket in 0..100 {
        node.link.send(append(1), ticket);
        assert!(node.link.pending_bytes() <= PENDING as u64);
    }
    let (mut refused, mut late) = (0, 0);
    while refused + late < 100 {
        match node.next().await {
            Event::Reply(_, Err(EngineError::Unavailable)) => refused += 1,
            Event::Reply(_, Err(EngineError::Timeout { was_sent: false })) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 80 && late > 0, "{refused} refused, {late} late");
    assert_eq!(node.link.pending_bytes(), 0);
    let started = Instant::now();
    while node.link.call(append(1)).await != Err(EngineError::Unavailable) {}
    assert!(started.elapsed() >= Duration::from_millis(300), "a short outage is not noticed");
}

#[tokio::test]
async fn a_node_that_leaves_answers_what_was_queued_and_its_members_stay_for_a_while() {
    let redis = LocalRedis::start();
    let leaver = Node::join(settings(&redis.url())).await;
    let mut other = Node::join(settings(&redis.url())).await;
    other.follow().await;
    leaver.follow().await;
    leaver.ok(set("x", 2)).await;
    assert_eq!(other.until(|event| event.presence()).await, ("x".into(), true));
    let (appended, ()) = tokio::join!(leaver.link.call(append(1)), leaver.link.leave());
    assert!(appended.is_ok(), "{appended:?}");
    let left = Instant::now();
    assert_eq!(other.read().await.connections, 2);
    assert_eq!(other.until(|event| event.presence()).await, ("x".into(), false));
    assert!(left.elapsed() >= Duration::from_secs(1), "{:?}", left.elapsed());
    assert_eq!(other.read().await.connections, 0);
    assert_eq!(leaver.link.call(append(2)).await, Err(EngineError::Unavailable));
    leaver.link.leave().await;
}

#[tokio::test]
async fn a_post_arrives_at_its_node_at_once() {
    let redis = LocalRedis::start();
    let mut seldom = settings(&redis.url());
    (seldom.constants.beat_ms, seldom.constants.dead_ms) = (60_000, 180_000);
    let sender = Node::join(seldom.clone()).await;
    let mut receiver = Node::start(seldom);
    let (to, ..) = receiver.joined().await;
    let send = |to| sender.link.call(Call::Send { to, bytes: b"hello".to_vec() });
    assert_eq!(send(to + 1).await, Ok(Reply::Number(0)));
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(send(to).await, Ok(Reply::Number(1)));
        receiver.until(|event| (event == Event::Post(b"hello".to_vec())).then_some(())).await;
    }
    assert!(started.elapsed() < Duration::from_secs(10), "mail waits for something else");
}

#[tokio::test]
async fn a_node_signs_in_with_its_password() {
    let redis = LocalRedis::start();
    let () = redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let mut wrong = Node::start(LinkSettings {
        access: Access::to(&redis.url()).with_password("wrong"),
        timeout_ms: 300,
        ..settings(&redis.url())
    });
    let mut right = Node::start(LinkSettings {
        access: Access::to(&redis.url()).with_password("secret"),
        ..settings(&redis.url())
    });
    right.joined().await;
    wrong.link.send(append(1), 1);
    let refused = wrong.next().await;
    assert!(matches!(
        refused,
        Event::Reply(1, Err(EngineError::Timeout { was_sent: false } | EngineError::Unavailable))
    ));
}
