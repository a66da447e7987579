//! Server-sent events: the two ways in, ids, heartbeats, ends and refusals. The scenarios run over them as well.

use crate::support::backend::Backend;
use crate::support::events::{self, Block, EventReader, EventWriter};
use crate::support::http::{Reply, Wire};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

/// How a request reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// As the first request of a connection: the session takes the socket.
    First,
    /// On a kept-alive connection: the HTTP stack sends the stream.
    Later,
}

const BOTH: [Entry; 2] = [Entry::First, Entry::Later];

type Opened = Result<(Reply, EventReader, EventWriter), Reply>;

impl Entry {
    async fn open(self, at: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Opened {
        let mut wire = Wire::open(at).await;
        if self == Self::Later {
            assert_eq!(wire.ask("GET", "/health/live", &[], b"").await.status, 200);
        }
        events::open(wire, &format!("/sse?{query}"), headers).await
    }

    /// Opens a stream and reads it up to and including the cursor behind the catch-up.
    async fn begin(self, at: SocketAddr, query: &str, headers: &[(&str, &str)]) -> (Stream, Vec<Block>) {
        let (_, mut reader, writer) = self.open(at, query, headers).await.expect("a stream");
        let mut blocks = vec![reader.expect().await];
        while !blocks.last().is_some_and(Block::is_cursor) {
            blocks.push(reader.expect().await);
        }
        (Stream { reader, writer }, blocks)
    }

    async fn refusal(self, at: SocketAddr, query: &str) -> Reply {
        self.open(at, query, &[]).await.err().unwrap_or_else(|| panic!("{query} is accepted"))
    }
}

struct Stream {
    reader: EventReader,
    /// The socket stays open as long as both halves exist.
    writer: EventWriter,
}

impl Stream {
    /// The event at the end of the stream. Nothing follows it.
    async fn end(mut self) -> Block {
        let mut last = None;
        while let Some(block) = within(self.reader.next()).await {
            last = Some(block);
        }
        last.expect("a block")
    }
}

fn texts(blocks: &[Block]) -> Vec<&str> {
    let frames = blocks.iter().filter(|block| block.event.is_none() && block.data.is_some());
    frames.map(|block| block.element()["message"]["text"].as_str().expect("a text")).collect()
}

/// The parts of an id: server, stamp, epoch, offset.
fn parts(id: &Option<String>) -> Vec<String> {
    id.as_ref().expect("an id").split('.').map(str::to_owned).collect()
}

fn stamp(block: &Block) -> u64 {
    u64::from_str_radix(&parts(&block.id)[1], 36).expect("a number")
}

#[actix_web::test]
async fn both_entries_lead_to_the_same_stream() {
    let server = TestServer::start(Settings { sse_retry_ms: 300, ..settings() });
    let backend = server.backend();
    let mut heads = Vec::new();
    for entry in BOTH {
        let conn_id = backend.connect("ann", &["c"]).await;
        backend.publish_text("c", "missed").await;
        let query = format!("conn_id={conn_id}");
        let (mut head, reader, writer) = entry.open(server.address, &query, &[]).await.expect("a stream");
        head.headers.retain(|(name, _)| name != "date");
        head.headers.sort();
        let mut stream = Stream { reader, writer };
        let first = stream.reader.expect().await;
        assert!(first.has_comment && (300..=600).contains(&first.retry.unwrap()), "{first:?}");
        let attached = stream.reader.expect().await;
        assert_eq!((attached.event.as_deref(), &attached.id), (Some("attached"), &None));
        let epoch = attached.element()["streams"]["c"]["epoch"].as_str().unwrap().to_owned();
        let missed = stream.reader.expect().await;
        assert_eq!((texts(std::slice::from_ref(&missed)), &missed.id), (vec!["missed"], &None));
        assert_eq!(missed.element()["catchup"], true);
        let cursor = stream.reader.expect().await;
        assert!(cursor.is_cursor(), "{cursor:?}");
        backend.publish_text("c", "live").await;
        let live = stream.reader.expect_content().await;
        assert_eq!(texts(std::slice::from_ref(&live)), ["live"]);
        let offset = live.element()["offset"].as_u64().unwrap();
        assert_eq!(parts(&live.id)[2..], [epoch, offset.to_string()], "base 36 and base 10 agree below ten");
        assert!(stamp(&live) >= stamp(&cursor));
        backend.publish(json!({"pm_users": ["ann"]}), "private").await;
        let private = stream.reader.expect_content().await;
        assert_eq!(parts(&private.id)[2..], [attached.element()["private"]["epoch"].as_str().unwrap(), "1"]);
        backend.post("/subscribe", json!({"conn_id": conn_id, "channels": [format!("{entry:?}")]})).await;
        let subscribed = stream.reader.expect_content().await;
        assert_eq!((subscribed.event.as_deref(), &subscribed.id), (Some("subscribed"), &None));
        assert_eq!(backend.debug_value("sessions, event streams").await, 1);
        assert!(backend.disconnect(&conn_id).await);
        let end = stream.end().await;
        assert_eq!((end.event.as_deref(), end.retry), (Some("end"), Some(86_400_000)));
        assert_eq!(end.data, Some(json!({"code": 1000, "reason": "", "reconnect": false})));
        within(async { while backend.debug_value("sessions, event streams").await > 0 {} }).await;
        // The next one has its own private stream and its own channel.
        heads.push(head.headers);
    }
    assert_eq!(heads[0], heads[1]);
    let header =
        |name: &str| heads[0].iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!((header("x-accel-buffering"), header("connection")), (Some("no"), Some("close")));
    assert_eq!(header("access-control-allow-origin"), Some("*"));
    assert!(header("access-control-allow-headers").unwrap().ends_with(", Last-Event-ID"));
}

#[actix_web::test]
async fn heartbeats_are_cursors_or_comments() {
    let server = TestServer::start(Settings { heartbeat_interval_ms: 200, ..settings() });
    let backend = server.backend();
    for entry in BOTH {
        let conn_id = backend.connect("ann", &["c"]).await;
        let (mut stream, blocks) = entry.begin(server.address, &format!("conn_id={conn_id}"), &[]).await;
        let idle = stream.reader.expect().await;
        assert_eq!(idle, Block { has_comment: true, ..Block::default() }, "nothing was sent meanwhile");
        backend.publish_text("c", "live").await;
        let live = stream.reader.expect_content().await;
        let cursor = stream.reader.expect_content().await;
        assert!(cursor.is_cursor() && stamp(&cursor) > stamp(&live), "{cursor:?}");
        assert!(stamp(&live) >= stamp(blocks.last().unwrap()));
        assert!(stream.reader.expect().await.has_comment);
    }
}

/// Publishes numbered messages to both channels in turn, in one request.
async fn burst(backend: &Backend, count: usize) {
    let message = |number: usize| json!({"user": "p", "channel": if number.is_multiple_of(2) { "a" } else { "b" }, "message": {"text": number.to_string()}});
    backend.post("/message", (0..count).map(message).collect()).await;
}

/// The positions of the frames of a stream, by channel.
fn received(blocks: &[Block]) -> BTreeMap<String, BTreeSet<u64>> {
    let mut received: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.event.is_none() && block.data.is_some()) {
        let (frame, channel) = (block.element(), block.element()["channel"].as_str().unwrap());
        let is_new = received.entry(channel.into()).or_default().insert(frame["offset"].as_u64().unwrap());
        assert!(is_new, "{frame} arrived twice in one session");
    }
    received
}

/// Wherever a burst is cut, the last id leads to the rest of it. Only frames of other streams of the same round repeat.
#[actix_web::test]
async fn client_that_returns_in_the_middle_of_a_burst_loses_nothing() {
    const COUNT: usize = 24;
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..settings() });
        let backend = server.backend();
        for entry in BOTH {
            let conn_id = backend.connect("ann", &["a", "b"]).await;
            let (mut stream, mut blocks) =
                entry.begin(server.address, &format!("conn_id={conn_id}"), &[]).await;
            burst(&backend, COUNT).await;
            while texts(&blocks).len() < COUNT {
                blocks.push(stream.reader.expect_content().await);
            }
            let all = received(&blocks);
            for cut in 0..blocks.len() {
                let (had, last) =
                    (received(&blocks[..=cut]), blocks[..=cut].iter().rposition(|block| block.id.is_some()));
                let Some(last) = last else { continue };
                let id = blocks[last].id.clone().unwrap();
                let query = format!("conn_id={conn_id}");
                let (_, again) = entry.begin(server.address, &query, &[("last-event-id", &id)]).await;
                let again = received(&again);
                for (channel, offsets) in &all {
                    let of = |some: &BTreeMap<String, BTreeSet<u64>>| {
                        some.get(channel).cloned().unwrap_or_default()
                    };
                    assert_eq!(&of(&had) | &of(&again), *offsets, "{entry:?}: {id}, block {cut}");
                    let is_own =
                        blocks[last].data.as_ref().is_some_and(|data| data[0]["channel"] == channel.as_str());
                    assert!(!is_own || of(&had).is_disjoint(&of(&again)), "{entry:?}: {id}, block {cut}");
                }
            }
            backend.disconnect(&conn_id).await;
        }
    }
}

#[actix_web::test]
async fn last_event_id_is_read_from_header_and_query() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    for entry in BOTH {
        let (mut stream, _) = entry.begin(server.address, &format!("conn_id={conn_id}"), &[]).await;
        backend.publish_text("c", "first").await;
        let id = stream.reader.expect_content().await.id.unwrap();
        backend.publish_text("c", "second").await;
        assert_eq!(texts(&[stream.reader.expect_content().await]), ["second"]);
        let none = format!("conn_id={conn_id}");
        let foreign = "1zzzzzz.1";
        for (more, header, is_own) in [
            (format!("&since={id}"), None, true),
            (format!("&lastEventId={id}"), None, true),
            (format!("&lastEventID={id}"), None, true),
            (format!("&Last-Event-ID={id}"), None, true),
            (format!("&since={foreign}"), Some(id.as_str()), true),
            (format!("&since={id}"), Some(foreign), false),
            // An EventSource would give up after a refusal.
            (format!("&since={id}"), Some("not a cursor"), false),
            (String::new(), Some(foreign), false),
        ] {
            let headers: Vec<_> = header.map(|header| ("last-event-id", header)).into_iter().collect();
            let (_, blocks) = entry.begin(server.address, &format!("{none}{more}"), &headers).await;
            let verdict = &blocks[1].element()["streams"]["c"];
            match is_own {
                true => {
                    assert_eq!(verdict["recovered"], true, "{more} {header:?}");
                    assert_eq!(texts(&blocks), ["second"], "{more} {header:?}");
                }
                false => assert_eq!(verdict["reason"], "epoch", "{more} {header:?}"),
            }
        }
    }
}

#[actix_web::test]
async fn permanent_refusals_have_their_status() {
    let server = TestServer::start(settings());
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let unknown = "11111111-1111-4111-8111-111111111111";
    for entry in BOTH {
        for (query, status, code) in [
            (format!("conn_id={unknown}"), 401, "unknown-connection"),
            (String::new(), 422, "invalid"),
            ("conn_id=x".into(), 422, "invalid"),
            (format!("conn_id={conn_id}&conn_id={conn_id}"), 422, "invalid"),
            (format!("conn_id={conn_id}&since=x"), 422, "invalid"),
            (format!("conn_id={conn_id}&lastEventId=x"), 422, "invalid"),
            (format!("conn_id={conn_id}&positions=x"), 422, "invalid"),
        ] {
            let refused = entry.refusal(server.address, &query).await;
            assert_eq!(
                (refused.status, refused.header("x-channelstream-error")),
                (status, Some(code)),
                "{query}"
            );
            assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "{query}");
        }
    }
    let named = |query: &str| format!("/sse?conn_id={conn_id}&{query}");
    for (query, field) in [("lastEventId=x", "lastEventId"), ("positions=[]", "positions")] {
        let mut wire = Wire::open(server.address).await;
        let errors = wire.ask("GET", &named(query), &[], b"").await.json();
        assert!(errors[field].is_array(), "{errors}");
    }
    let mut wire = Wire::open(server.address).await;
    assert_eq!(wire.ask("POST", &named(""), &[], b"").await.status, 404);
    let preflight = wire.ask("OPTIONS", &named(""), &[("origin", "http://a")], b"").await;
    assert!(preflight.header("access-control-allow-headers").unwrap().ends_with(", Last-Event-ID"));
    let other = wire.ask("OPTIONS", "/listen", &[("origin", "http://a")], b"").await;
    assert!(!other.header("access-control-allow-headers").unwrap().contains("Last-Event-ID"));
}

#[actix_web::test]
async fn origins_are_checked_as_for_polls() {
    let allowed_origins = channelstream::config::AllowedOrigins(vec!["https://app.example".parse().unwrap()]);
    let server = TestServer::start(Settings { allowed_origins, ..settings() });
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let query = format!("conn_id={conn_id}");
    for entry in BOTH {
        let status = async |headers: &[(&str, &str)]| match entry.open(server.address, &query, headers).await
        {
            Ok(_) => 200,
            Err(reply) => reply.status,
        };
        assert_eq!(status(&[("origin", "https://app.example")]).await, 200);
        assert_eq!(status(&[("origin", "https://evil.example")]).await, 403);
        assert_eq!(status(&[("sec-fetch-site", "cross-site")]).await, 403);
        assert_eq!(status(&[("sec-fetch-site", "same-origin")]).await, 200);
    }
}

/// An EventSource gives up after any other status.
#[actix_web::test]
async fn temporary_refusals_are_streams_that_end() {
    let server = TestServer::start(Settings { max_sessions: 1, ..settings() });
    let backend = server.backend();
    let query = format!("conn_id={}", backend.connect("ann", &["c"]).await);
    let _open = Entry::First.begin(server.address, &query, &[]).await;
    for (count, entry) in (1..).zip(BOTH) {
        let (head, mut reader, _writer) = entry.open(server.address, &query, &[]).await.expect("a stream");
        assert_eq!(head.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reader.expect().await, Block { retry: Some(5_000), ..Block::default() });
        assert_eq!(within(reader.next()).await, None);
        assert_eq!(backend.hits("max_sessions").await, count);
    }
}

#[actix_web::test]
async fn stop_ends_streams_and_sends_new_ones_away() {
    for entry in BOTH {
        let server =
            TestServer::start(Settings { shutdown_timeout_ms: 10_000, sse_retry_ms: 700, ..settings() });
        let (address, backend) = (server.address, server.backend());
        let query = format!("conn_id={}", backend.connect("ann", &["c"]).await);
        // Two streams, so that the server still waits for the second one when the first has ended.
        let (stream, _) = entry.begin(address, &query, &[]).await;
        let other = format!("conn_id={}", backend.connect("bob", &["c"]).await);
        let (second, _) = entry.begin(address, &other, &[]).await;
        let mut late = Wire::open(address).await;
        assert_eq!(late.ask("GET", "/health/live", &[], b"").await.status, 200);
        backend.publish_text("c", "before").await;
        let ended = server.stop_in_background();
        let Stream { mut reader, writer } = stream;
        assert_eq!(texts(&[reader.expect_content().await]), ["before"]);
        let end = reader.expect_content().await;
        let data =
            json!({"code": 1012, "reason": "server is restarting; retry after 2000 ms", "reconnect": true});
        assert_eq!((end.event.as_deref(), end.data), (Some("end"), Some(data)));
        assert_eq!(end.retry, Some(2_000));
        let (_, mut refused, _late) =
            events::open(late, &format!("/sse?{query}"), &[]).await.expect("a stream that ends");
        assert_eq!(refused.expect().await, Block { retry: Some(2_000), ..Block::default() });
        assert_eq!(within(refused.next()).await, None);
        assert_eq!(second.end().await.event.as_deref(), Some("end"));
        drop((reader, writer, refused, _late));
        within(ended).await.unwrap();
    }
}

#[actix_web::test]
async fn later_session_takes_over() {
    let server = TestServer::start(settings());
    let query = format!("conn_id={}", server.backend().connect("ann", &["c"]).await);
    for (first, second) in [(Entry::First, Entry::Later), (Entry::Later, Entry::First)] {
        let (stream, _) = first.begin(server.address, &query, &[]).await;
        let _second = second.begin(server.address, &query, &[]).await;
        let end = stream.end().await;
        assert_eq!((end.data.unwrap()["code"].as_u64(), end.retry), (Some(4001), Some(86_400_000)));
    }
}

#[actix_web::test]
async fn client_that_sends_too_much_is_disconnected() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let query = format!("conn_id={}", backend.connect("ann", &["c"]).await);
    let (mut stream, _) = Entry::First.begin(server.address, &query, &[]).await;
    stream.writer.write_all(&[b'x'; 4 << 10]).await.unwrap();
    backend.publish_text("c", "still there").await;
    assert_eq!(texts(&[stream.reader.expect_content().await]), ["still there"]);
    stream.writer.write_all(b"x").await.unwrap();
    while let Some(block) = within(stream.reader.next()).await {
        assert_eq!(block.event, None, "no end");
    }
    within(async { while backend.debug_value("sessions, event streams").await > 0 {} }).await;
}

#[actix_web::test]
async fn client_that_does_not_read_is_disconnected() {
    for entry in BOTH {
        let server = TestServer::start(Settings { max_queued_bytes: 65_536, ..settings() });
        let backend = server.backend();
        let query = format!("conn_id={}", backend.connect("ann", &["c"]).await);
        let silent = entry.begin(server.address, &query, &[]).await;
        let large = "x".repeat(32 << 10);
        within(async {
            while backend.hits("max_queued_bytes").await == 0 {
                for _ in 0..8 {
                    backend.publish_text("c", &large).await;
                }
            }
        })
        .await;
        within(async { while backend.debug_value("bytes queued for slow peers").await > 0 {} }).await;
        assert_eq!(backend.hits("max_queued_bytes").await, 1);
        drop(silent);
        within(async { while backend.debug_value("sessions, event streams").await > 0 {} }).await;
    }
}

#[actix_web::test]
async fn client_that_leaves_parts_after_its_reconnect_delay() {
    let server = TestServer::start(Settings { leave_delay: 100, sse_retry_ms: 400, ..settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    for entry in BOTH {
        let (stream, _) = entry.begin(server.address, &format!("conn_id={conn_id}"), &[]).await;
        let is_listed =
            async || backend.channel("c").await["users"].as_array().is_some_and(|users| !users.is_empty());
        assert!(is_listed().await);
        let left = std::time::Instant::now();
        drop(stream);
        within(async { while is_listed().await {} }).await;
        assert!(left.elapsed().as_millis() >= 890, "{:?}", left.elapsed());
    }
}

#[actix_web::test]
async fn console_names_the_transport() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    for entry in BOTH {
        let conn_id = backend.connect("ann", &["c"]).await;
        let _stream = entry.begin(server.address, &format!("conn_id={conn_id}"), &[]).await;
        let target = format!("/admin/connection.json?conn_id={conn_id}");
        let answer: Value = backend.send("GET", &target, &[], b"").await.json();
        assert_eq!(answer["transport"], "sse", "{answer}");
        backend.disconnect(&conn_id).await;
    }
}
