//! Long-polls: when the server answers them, and what happens if they end in another way.

use crate::support::http::{Reply, Wire, request};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Settings with polls that wait longer than any test.
fn long_wait_settings() -> Settings {
    Settings { poll_wait_ms: 60_000, ..settings() }
}

/// Sends a poll; the answer is still to be read.
async fn start_poll(server: &TestServer, conn_id: &str) -> Wire {
    let mut wire = Wire::open(server.address).await;
    wire.write(request("GET", &format!("/listen?conn_id={conn_id}"), &[], b"")).await;
    wire
}

async fn poll(server: &TestServer, conn_id: &str) -> Reply {
    start_poll(server, conn_id).await.reply().await
}

fn texts(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let list = reply.json();
    list.as_array().expect("a list").iter().map(crate::support::listener::text).collect()
}

#[actix_web::test]
async fn poll_returns_an_empty_list_after_the_wait() {
    let server = TestServer::start(Settings { poll_wait_ms: 150, ..settings() });
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let begun = Instant::now();
    let reply = poll(&server, &conn_id).await;
    assert_eq!((reply.status, reply.json()), (200, json!([])));
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
}

#[actix_web::test]
async fn poll_returns_one_batch_window_after_the_first_message() {
    let server = TestServer::start(Settings { poll_batch_window_ms: 1_000, ..long_wait_settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let begun = Instant::now();
    let mut wire = start_poll(&server, &conn_id).await;
    backend.publish_text("c", "first").await;
    backend.publish_text("c", "second").await;
    let reply = wire.reply().await;
    assert_eq!(texts(&reply), ["first", "second"], "one answer for all messages within the window");
    assert!(begun.elapsed() >= Duration::from_millis(1_000), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn steady_flow_never_starves_a_poll() {
    let server = TestServer::start(Settings {
        poll_batch_window_ms: 50,
        channel_frames: 10_000,
        ..long_wait_settings()
    });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let (enough, published) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let publisher = actix_rt::spawn({
        let (enough, published) = (enough.clone(), published.clone());
        async move {
            while !enough.get() {
                backend.publish_text("c", &published.get().to_string()).await;
                published.set(published.get() + 1);
            }
        }
    });
    let mut received = Vec::new();
    for _ in 0..8 {
        let some = texts(&poll(&server, &conn_id).await);
        assert!(!some.is_empty(), "polls are answered because of messages, not after the wait");
        received.extend(some);
    }
    enough.set(true);
    publisher.await.unwrap();
    while received.len() < published.get() {
        received.extend(texts(&poll(&server, &conn_id).await));
    }
    assert_eq!(received, (0..published.get()).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[actix_web::test]
async fn client_that_hangs_up_while_it_waits_loses_nothing() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..long_wait_settings() });
        let backend = server.backend();
        let conn_id = backend.connect("ann", &["c"]).await;
        for round in 0..20 {
            drop(start_poll(&server, &conn_id).await);
            backend.publish_text("c", &round.to_string()).await;
        }
        let mut received = Vec::new();
        while received.len() < 20 {
            received.extend(texts(&poll(&server, &conn_id).await));
        }
        assert_eq!(received, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

/// Messages that a poll has collected and not yet returned are not lost with its client.
#[actix_web::test]
async fn client_that_hangs_up_while_it_collects_loses_nothing() {
    for workers in [1, 2] {
        let server =
            TestServer::start(Settings { workers, poll_batch_window_ms: 1_500, ..long_wait_settings() });
        let backend = server.backend();
        let conn_id = backend.connect("ann", &["c"]).await;
        let wire = start_poll(&server, &conn_id).await;
        backend.publish_text("c", "collected").await;
        backend.publish(json!({"pm_users": ["ann"]}), "private").await;
        // When the channel answers this request, it has passed the message on.
        backend.channel("c").await;
        drop(wire);
        backend.publish_text("c", "missed").await;
        let reply = poll(&server, &conn_id).await;
        assert_eq!(texts(&reply), ["collected", "missed", "private"]);
    }
}

#[actix_web::test]
async fn second_poll_takes_over() {
    let server = TestServer::start(Settings { workers: 2, ..long_wait_settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let begun = Instant::now();
    let (mut one, mut other) = (start_poll(&server, &conn_id).await, start_poll(&server, &conn_id).await);
    // The test does not determine which of them the server accepts first.
    let (first, mut rest) = within(async {
        tokio::select! { reply = one.reply() => (reply, other), reply = other.reply() => (reply, one) }
    })
    .await;
    assert_eq!((first.status, first.json()), (200, json!([])));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    backend.publish_text("c", "for the later one").await;
    assert_eq!(texts(&rest.reply().await), ["for the later one"]);
}

/// Two pages with one id, each of which polls again immediately: they take over from each other a few times a second,
/// and together they receive every message once.
#[actix_web::test]
async fn two_pages_with_one_id_do_not_poll_in_a_loop() {
    let server = TestServer::start(Settings { workers: 2, ..long_wait_settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let enough = Rc::new(Cell::new(false));
    let page = || {
        let (address, conn_id, enough) = (server.address, conn_id.clone(), enough.clone());
        actix_rt::spawn(async move {
            let (mut wire, mut polls, mut received) = (Wire::open(address).await, 0, Vec::new());
            let target = format!("/listen?conn_id={conn_id}");
            while !enough.get() {
                received.extend(texts(&wire.ask("GET", &target, &[], b"").await));
                polls += 1;
            }
            (polls, received)
        })
    };
    let pages = [page(), page()];
    let begun = Instant::now();
    for number in 0..4 {
        actix_rt::time::sleep(Duration::from_millis(500)).await;
        backend.publish_text("c", &number.to_string()).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    enough.set(true);
    // Messages for which the pages still wait arrive and end their loops.
    let [one, other] = pages;
    let last = async {
        loop {
            actix_rt::time::sleep(Duration::from_millis(100)).await;
            backend.publish_text("other", "").await;
            backend.disconnect(&conn_id).await;
        }
    };
    let ended = within(async {
        tokio::select! {
            ended = async { (one.await.unwrap(), other.await.unwrap()) } => ended,
            () = last => unreachable!(),
        }
    });
    let ((polls, mut received), (more, rest)) = ended.await;
    assert!(f64::from(polls + more) <= 8.0 + 4.0 * seconds, "{polls} and {more} polls in {seconds} s");
    received.extend(rest);
    received.sort();
    assert_eq!(received, ["0", "1", "2", "3"]);
}

/// The client of a poll that was taken over does not wait for its answer: the server frees the session immediately.
#[actix_web::test]
async fn delayed_poll_ends_with_its_client() {
    let server = TestServer::start(long_wait_settings());
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let sessions = async || {
        let debug = backend.send("GET", "/admin/debug", &[], b"").await.text();
        debug.lines().find_map(|line| line.strip_prefix("sessions: ")?.parse::<usize>().ok()).unwrap()
    };
    let first = start_poll(&server, &conn_id).await;
    within(async { while sessions().await != 1 {} }).await;
    let begun = Instant::now();
    let second = start_poll(&server, &conn_id).await;
    within(async { while sessions().await != 2 {} }).await;
    drop(first);
    within(async { while sessions().await != 1 {} }).await;
    let held = begun.elapsed();
    // If the machine is too slow to distinguish the two cases, the test proves nothing and passes.
    assert!(held < Duration::from_secs(1) || held > Duration::from_millis(1_500), "{held:?}");
    backend.publish_text("c", "for the second").await;
    let mut second = second;
    assert_eq!(texts(&second.reply().await), ["for the second"]);
}

/// The next poll waits for the acknowledgement of an answer in flight, but not forever.
#[actix_web::test]
async fn unread_answer_is_sent_again() {
    let server =
        TestServer::start(Settings { max_queued_bytes: 64 << 20, workers: 2, ..long_wait_settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let text = |number: usize| format!("{number}{}", "x".repeat(1 << 20));
    for number in 0..12 {
        backend.publish_text("c", &text(number)).await;
    }
    // More than fits into the buffers of its connection, so that the client acknowledges nothing.
    let never_read = start_poll(&server, &conn_id).await;
    actix_rt::time::sleep(Duration::from_millis(200)).await;
    let received = texts(&poll(&server, &conn_id).await);
    assert_eq!(received, (0..12).map(text).collect::<Vec<_>>());
    drop(never_read);
    backend.publish_text("c", "next").await;
    assert_eq!(texts(&poll(&server, &conn_id).await), ["next"]);
}

#[actix_web::test]
async fn disconnect_ends_a_poll_immediately() {
    let server = TestServer::start(long_wait_settings());
    let backend = server.backend();
    loop {
        let conn_id = backend.connect("ann", &["c"]).await;
        let mut wire = start_poll(&server, &conn_id).await;
        actix_rt::time::sleep(Duration::from_millis(50)).await;
        assert!(backend.disconnect(&conn_id).await);
        let reply = wire.reply().await;
        // The poll arrived too late: the server refuses it like any poll for an id that does not exist.
        if reply.status != 401 {
            assert_eq!((reply.status, reply.json()), (200, json!([])));
            break;
        }
    }
}

#[actix_web::test]
async fn jsonp_accepts_only_plain_callback_names() {
    let server = TestServer::start(Settings { poll_wait_ms: 50, ..settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    backend.publish_text("c", "a\u{2028}b</script>").await;
    let target = format!("/listen?conn_id={conn_id}&callback=window.take%5B0%5D");
    let reply = Wire::open(server.address).await.ask("GET", &target, &[], b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/javascript; charset=UTF-8"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let text = reply.text();
    assert!(text.contains("a\\u2028b"), "{text}");
    let list = text.strip_prefix("window.take[0](").and_then(|rest| rest.strip_suffix(')')).unwrap();
    assert_eq!(serde_json::from_str::<Value>(list).unwrap()[0]["message"]["text"], "a\u{2028}b</script>");
    for callback in ["alert(1)//", "%20", "a-b", "eval"] {
        let target = format!("/listen?conn_id={conn_id}&callback={callback}");
        let reply = Wire::open(server.address).await.ask("GET", &target, &[], b"").await;
        assert_eq!(reply.status, 422, "{callback}");
        assert!(reply.json()["message"].is_string());
    }
}

#[actix_web::test]
async fn server_refuses_polls_with_invalid_or_unknown_ids() {
    let server = TestServer::start(long_wait_settings());
    let ask = async |target: &str| Wire::open(server.address).await.ask("GET", target, &[], b"").await;
    assert_eq!(ask("/listen").await.status, 422);
    let unreadable = ask("/listen?conn_id=x").await;
    assert_eq!((unreadable.status, unreadable.json()), (422, json!(["Wrong UUID format"])));
    let unknown = ask("/listen?conn_id=5a8e9e0c-0000-4000-8000-000000000000").await;
    assert_eq!(unknown.status, 401);
    assert_eq!(unknown.header("x-channelstream-error"), Some("unknown-connection"));
}
