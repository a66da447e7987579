//! A link with a real Redis that fails.

use super::LinkSettings;
use super::harness_tests::{CHANNEL, Event, Node, append, numbers, read, record, set, settings};
use super::proxy_tests::{Proxy, Target};
use crate::broker::engine::call::{Call, Item};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::local_redis_tests::LocalRedis;
use crate::broker::engine::record::Record;
use crate::broker::engine::snapshot::StreamSnapshot;

/// The presence events in a log.
fn presence(snapshot: &StreamSnapshot) -> Vec<(String, bool)> {
    let event = |bytes: &Vec<u8>| match Record::decode(bytes, Some("a"))? {
        Record::Presence { user, is_joined, .. } => Some((user, is_joined)),
        _ => None,
    };
    snapshot.entries.iter().filter_map(|entry| event(&entry.record)).collect()
}

/// Waits until this many connections are counted in the channel.
async fn counted(node: &Node, connections: u32) -> StreamSnapshot {
    let started = std::time::Instant::now();
    loop {
        let reply = node.link.call(read()).await;
        let found = reply.as_ref().ok().and_then(|reply| StreamSnapshot::read(reply).flatten());
        if let Some(snapshot) = found.filter(|found| found.connections == connections) {
            return snapshot;
        }
        assert!(started.elapsed().as_secs() < 30, "{reply:?}");
        tokio::task::yield_now().await;
    }
}

/// States again what a node has: a member.
async fn restate(node: &Node, number: u64) {
    node.follow().await;
    node.ok(set("x", 1)).await;
    node.link.restated(number);
}

#[tokio::test]
async fn messages_are_published_once_and_in_order_although_the_connection_breaks() {
    const COUNT: u64 = 3_000;
    let redis = LocalRedis::start();
    drop(redis.connect());
    let proxy = Proxy::start(Target::Unix(redis.socket()));
    let mut node = Node::join(settings(&proxy.url())).await;
    node.follow().await;
    let (mut answered, mut joined) = (0, 0);
    for first in (0..COUNT).step_by(100) {
        (first + 1..=first + 100).for_each(|number| node.link.send(append(number.into()), number));
        // Cuts at different moments: after some replies of these messages.
        let enough = first + first / 100;
        while answered < enough || first % 500 == 400 && joined < first / 500 {
            match node.next().await {
                Event::Reply(ticket, Ok(_)) => {
                    answered += 1;
                    assert_eq!(ticket, answered, "replies come in order");
                }
                Event::Reply(_, other) => panic!("{other:?}"),
                Event::Joined { is_same_node, .. } => {
                    assert!(is_same_node);
                    joined += 1;
                }
                _ => {}
            }
        }
        proxy.cut();
    }
    while answered < COUNT {
        answered += u64::from(matches!(node.next().await, Event::Reply(_, Ok(_))));
    }
    assert_eq!(numbers(&counted(&node, 0).await), (1..=COUNT.into()).collect::<Vec<_>>());
    assert!(node.link.counters().reconnects.get() > 5);
}

#[tokio::test]
async fn a_silent_connection_is_replaced_and_its_late_calls_do_nothing() {
    let redis = LocalRedis::start();
    drop(redis.connect());
    let proxy = Proxy::start(Target::Unix(redis.socket()));
    let mut node = Node::join(LinkSettings { timeout_ms: 60_000, ..settings(&proxy.url()) }).await;
    node.follow().await;
    proxy.stall_until(proxy.generation());
    node.link.send(append(1), 1);
    node.link.send(set("x", 1), 2);
    let uncertain = Event::Reply(2, Err(EngineError::Timeout { was_sent: true }));
    node.until(|event| (event == uncertain).then_some(())).await;
    node.lost().await;
    assert!(node.joined().await.2, "no other node has declared it dead");
    node.until(|event| matches!(event, Event::Reply(1, Ok(_))).then_some(())).await;
    proxy.resume();
    while proxy.connections() != 1 {
        tokio::task::yield_now().await;
    }
    let snapshot = node.read().await;
    assert_eq!((numbers(&snapshot), snapshot.connections), (vec![1], 0));
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_in_time() {
    let redis = LocalRedis::start();
    drop(redis.connect());
    let proxy = Proxy::start(Target::Unix(redis.socket()));
    let mut node = Node::join(LinkSettings { timeout_ms: 200, ..settings(&proxy.url()) }).await;
    node.follow().await;
    proxy.stall();
    node.link.send(append(1), 1);
    let late = Event::Reply(1, Err(EngineError::Timeout { was_sent: true }));
    node.until(|event| (event == late).then_some(())).await;
    proxy.resume();
    assert!(node.link.call(append(2)).await.is_ok());
    assert_eq!(numbers(&node.read().await), [1, 2]);
}

#[tokio::test]
async fn a_restart_without_loss_keeps_messages_and_members() {
    let mut redis = LocalRedis::durable();
    let mut node = Node::start(settings(&redis.url()));
    let (first, term, _) = node.joined().await;
    restate(&node, first).await;
    for number in 1..=50 {
        assert!(node.link.call(append(number)).await.is_ok());
    }
    (51..=60).for_each(|number| node.link.send(append(number.into()), number));
    redis.restart();
    (61..=70).for_each(|number| node.link.send(append(number.into()), number));
    let (second, next_term, is_same_node) = node.joined().await;
    assert!(second != first && next_term == term + 1 && !is_same_node);
    restate(&node, second).await;
    let snapshot = counted(&node, 1).await;
    assert_eq!(numbers(&snapshot), (1..=70).collect::<Vec<_>>());
    assert_eq!(presence(&snapshot), [("x".into(), true)], "the member has not parted");
    assert_eq!(redis.ask::<u64>(&["EXISTS", &format!("cs:{{0}}:own:{first}")]), 0);
}

#[tokio::test]
async fn a_redis_without_data_is_filled_again() {
    let mut redis = LocalRedis::start();
    let mut node = Node::start(settings(&redis.url()));
    let (number, term, store, _) = joined_with_store(&mut node).await;
    restate(&node, number).await;
    assert!(node.link.call(append(1)).await.is_ok());
    redis.restart();
    let (number, next_term, next_store, is_same_node) = joined_with_store(&mut node).await;
    assert!(next_term > term && next_store != store && !is_same_node);
    restate(&node, number).await;
    assert!(node.link.call(append(2)).await.is_ok());
    let snapshot = counted(&node, 1).await;
    assert_eq!((numbers(&snapshot), presence(&snapshot)), (vec![2], vec![("x".into(), true)]));
}

async fn joined_with_store(node: &mut Node) -> (u64, u64, String, bool) {
    node.until(|event| match event {
        Event::Joined { node, term, store, is_same_node } => Some((node, term, store, is_same_node)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_node_that_was_declared_dead_joins_again_under_another_number() {
    let redis = LocalRedis::start();
    drop(redis.connect());
    let proxy = Proxy::start(Target::Unix(redis.socket()));
    let mut paused = Node::start(LinkSettings { timeout_ms: 60_000, ..settings(&proxy.url()) });
    let (number, ..) = paused.joined().await;
    restate(&paused, number).await;
    let mut other = Node::join(settings(&redis.url())).await;
    other.follow().await;
    proxy.stall();
    paused.link.send(append(1), 1);
    assert_eq!(other.until(|event| event.presence()).await, ("x".into(), false));
    proxy.resume();
    let (fresh, _, is_same_node) = paused.joined().await;
    assert!(fresh != number && !is_same_node);
    restate(&paused, fresh).await;
    assert_eq!(other.until(|event| event.presence()).await, ("x".into(), true));
    let snapshot = counted(&other, 1).await;
    assert_eq!(numbers(&snapshot), [1], "the message that waited is published");
}

#[tokio::test]
async fn a_refused_number_is_replaced_without_a_lost_message() {
    let redis = LocalRedis::start();
    let mut node = Node::start(settings(&redis.url()));
    let (number, ..) = node.joined().await;
    restate(&node, number).await;
    let () = redis.ask(&["HSET", "cs:{0}:nodes", &number.to_string(), "swept"]);
    assert!(node.link.call(append(1)).await.is_ok());
    let (fresh, _, is_same_node) = node.joined().await;
    assert!(fresh != number && !is_same_node);
    restate(&node, fresh).await;
    let snapshot = counted(&node, 1).await;
    assert_eq!((numbers(&snapshot), presence(&snapshot)), (vec![1], vec![("x".into(), true)]));
    assert_eq!(node.link.counters().fenced.get(), 1);
}

#[tokio::test]
async fn a_node_that_only_its_beat_shows_dead_is_replaced() {
    let redis = LocalRedis::start();
    let mut node = Node::start(settings(&redis.url()));
    let (number, ..) = node.joined().await;
    restate(&node, number).await;
    let text = number.to_string();
    let () = redis.ask(&[
        "EVAL",
        "redis.call('ZREM', 'cs:{0}:beats', ARGV[1]) redis.call('SADD', 'cs:{0}:dead', ARGV[1])",
        "0",
        &text,
    ]);
    let (fresh, _, is_same_node) = node.joined().await;
    assert!(fresh != number && !is_same_node);
    restate(&node, fresh).await;
    assert_eq!(presence(&counted(&node, 1).await), [("x".into(), true)]);
    while redis.ask::<bool>(&["SISMEMBER", "cs:{0}:dead", &text]) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_replica_is_not_used_until_it_is_a_master() {
    let redis = LocalRedis::start();
    let mut node = Node::join(LinkSettings { timeout_ms: 60_000, ..settings(&redis.url()) }).await;
    node.follow().await;
    let () = redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    node.link.send(append(1), 1);
    node.lost().await;
    let () = redis.ask(&["REPLICAOF", "NO", "ONE"]);
    node.joined().await;
    node.until(|event| matches!(event, Event::Reply(1, Ok(_))).then_some(())).await;
    assert_eq!(numbers(&node.read().await), [1]);
}

#[tokio::test]
async fn mail_that_exceeds_its_bound_ends_the_connection() {
    let redis = LocalRedis::start();
    let writer = Node::join(settings(&redis.url())).await;
    let mut reader = Node::join(LinkSettings { pending_bytes: 4_096, ..settings(&redis.url()) }).await;
    reader.follow().await;
    let long = [record(1), vec![0; 8_192]].concat();
    let item = Item { stream: CHANNEL.into(), record: long, part: None };
    assert!(writer.link.call(Call::Append { items: vec![item] }).await.is_ok());
    reader.lost().await;
    reader.joined().await;
    assert_eq!(numbers(&reader.follow().await), [1]);
    assert_eq!(reader.link.counters().overruns.get(), 1);
}
