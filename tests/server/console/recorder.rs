//! The recorder: why a connection received a message or did not, and what the server sends in a channel.

use super::operator::{Operator, fast_settings, server};
use crate::support::TestServer;
use crate::support::http::ask;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::socket;
use channelstream::config::Settings;
use serde_json::{Value, json};

pub async fn start_recording(operator: &Operator, target: Value) {
    let mut body = target;
    body["on"] = json!(true);
    let reply = operator.command("/admin/record", body).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"recording": true})));
}

/// The events of a connection as summaries, once there are at least this many.
pub async fn recorded_events(operator: &Operator, id: &str, events: usize) -> Vec<String> {
    let target = format!("/admin/recording.json?conn_id={id}");
    let found = operator.until(&target, |found| found["events"].as_array().unwrap().len() >= events).await;
    assert_eq!((&found["recording"], &found["missed"]), (&json!(true), &json!(0)));
    found["events"].as_array().unwrap().iter().map(summary).collect()
}

fn summary(event: &Value) -> String {
    let words = ["event", "outcome", "channel", "type", "transport", "code", "missed", "reason", "expires"];
    let texts = words.iter().filter_map(|word| match &event[*word] {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        other => Some(other.to_string()),
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[actix_rt::test]
async fn recording_shows_which_messages_a_websocket_receives() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..fast_settings() });
        let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
        backend.connect("bob", &["c"]).await;
        let id = backend.connect("ada", &["c"]).await;
        let mut ada = Listener::attach(server.address, Transport::Websocket, &id).await;
        let other = backend.connect("eve", &["c"]).await;
        let _eve = Listener::attach(server.address, Transport::Websocket, &other).await;
        start_recording(&operator, json!({"conn_id": id})).await;

        let first = backend.publish_text("c", "for all").await;
        assert!(matches!(ada.next().await, ListenResult::Event(_)));
        backend.publish(json!({"channel": "c", "pm_users": ["bob"]}), "for bob").await;
        backend.publish(json!({"channel": "c", "exclude_users": ["ada"]}), "not for ada").await;
        backend.channel("c").await;
        backend.publish(json!({"pm_users": ["ada"]}), "between us").await;
        assert!(matches!(ada.next().await, ListenResult::Event(_)));
        backend.post("/subscribe", json!({"conn_id": id, "channels": ["d"]})).await;
        backend.post("/unsubscribe", json!({"conn_id": id, "channels": ["c"]})).await;
        backend.disconnect(&id).await;

        let recorded = recorded_events(&operator, &id, 9).await;
        assert_eq!(recorded[0], "attached websocket");
        // Streams have no order among each other; the private message may precede those of the channel.
        let of = |part: &str| recorded.iter().filter(|line| line.contains(part)).cloned().collect::<Vec<_>>();
        assert_eq!(
            of("frame").iter().filter(|line| line.contains(" c ")).collect::<Vec<_>>(),
            ["frame sent c message", "frame not_meant c message", "frame not_meant c message"]
        );
        assert_eq!(recorded.iter().filter(|line| **line == "frame sent message").count(), 1, "{recorded:?}");
        assert_eq!(recorded[5..], ["listening d 0", "left c", "closed 1000", "detached"]);

        let events = operator.get(&format!("/admin/recording.json?conn_id={id}")).await;
        assert_eq!(
            (&events["events"][1]["uuid"], &events["events"][1]["number"]),
            (&json!(first), &json!(2))
        );
        assert!(events["events"][1]["bytes"].as_u64().unwrap() > 100);
        assert_eq!(events["events"][0]["address"], "127.0.0.1");
        let rest = operator.get(&format!("/admin/recording.json?conn_id={id}&after=8")).await;
        assert_eq!(rest["events"].as_array().unwrap().len(), 1);
    }
}

#[actix_rt::test]
async fn recording_shows_catch_up_and_take_over() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    start_recording(&operator, json!({"conn_id": id})).await;
    backend.publish_text("c", "missed").await;
    backend.channel("c").await;
    let mut first = Listener::attach(server.address, Transport::Websocket, &id).await;
    assert!(matches!(first.next().await, ListenResult::Event(_)));
    let mut second = Listener::attach(server.address, Transport::Websocket, &id).await;
    assert_eq!(first.next().await, ListenResult::Closed(Some(4001)));
    backend.publish_text("c", "live").await;
    assert!(matches!(second.next().await, ListenResult::Event(_)));
    let recorded = recorded_events(&operator, &id, 10).await;
    assert_eq!(
        recorded,
        [
            "attached websocket",
            "listening c 1",
            "listening 0",
            "frame caught_up c message",
            "attached websocket",
            "closed 4001 taken over by another socket",
            "detached",
            "listening c 0",
            "listening 0",
            "frame sent c message",
        ]
    );
}

#[actix_rt::test]
async fn recording_shows_what_a_poll_receives() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    start_recording(&operator, json!({"conn_id": id})).await;
    let mut ada = Listener::attach(server.address, Transport::LongPoll, &id).await;
    recorded_events(&operator, &id, 3).await;
    backend.publish_text("c", "hello").await;
    assert!(matches!(ada.next().await, ListenResult::Event(_)));
    let recorded = recorded_events(&operator, &id, 7).await;
    assert_eq!(
        recorded[..7],
        [
            "attached longpoll",
            "listening c 0",
            "listening 0",
            "frame collected c message",
            "answered",
            "taken",
            "detached"
        ]
    );
}

#[actix_rt::test]
async fn recording_shows_a_client_that_does_not_read() {
    let server = TestServer::start(Settings { max_queued_bytes: 64 << 10, ..fast_settings() });
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    // The socket is open, and the client never reads from it.
    let _socket = socket::open(server.address, &format!("/ws?conn_id={id}"), &[]).await.ok().unwrap();
    let is_attached = |details: &Value| details["phase"] == "attached";
    operator.until(&format!("/admin/connection.json?conn_id={id}"), is_attached).await;
    start_recording(&operator, json!({"conn_id": id})).await;
    let text = "x".repeat(60_000);
    let ended = loop {
        backend.publish_text("c", &text).await;
        backend.channel("c").await;
        let found = operator.get(&format!("/admin/recording.json?conn_id={id}&after=1")).await;
        let events: Vec<Value> = found["events"].as_array().unwrap().clone();
        if events.last().is_some_and(|event| event["event"] == "detached") {
            break events;
        }
    };
    let recorded: Vec<String> = ended.iter().map(summary).collect();
    let first_queued = recorded.iter().position(|line| line == "frame queued c message").unwrap();
    assert!(recorded[..first_queued].iter().all(|line| line == "frame sent c message"), "{recorded:?}");
    assert!(ended[first_queued]["queued_bytes"].as_u64().unwrap() > 0);
    assert_eq!(
        recorded[recorded.len() - 3..],
        ["frame too_slow c message", "closed 4002 too slow", "detached"]
    );
    let figures = operator.until("/admin/admin.json?per_page=0&since=0", |figures| {
        let samples = figures["series"]["samples"].as_array().unwrap();
        samples.iter().map(|sample| sample[6].as_f64().unwrap()).sum::<f64>() == 1.0
    });
    figures.await;
}

#[actix_rt::test]
async fn recording_shows_the_messages_of_a_channel() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.configure(&["c"], json!({"notify_presence": true})).await;
    let not_yet = operator.get("/admin/recording.json?channel=c&wait_s=20").await;
    assert_eq!(not_yet, json!({"recording": false, "events": []}));
    start_recording(&operator, json!({"channel": "c"})).await;
    // No client listens; the recording still shows the messages of the channel. The request waits for them.
    let waiting = operator.get("/admin/recording.json?channel=c&wait_s=20");
    let published = async {
        let id = backend.publish_text("c", "hello").await;
        backend.connect("ada", &["c"]).await;
        id
    };
    let (found, published) = futures_util::future::join(waiting, published).await;
    let first = &found["events"][0];
    assert_eq!(
        (&first["uuid"], &first["type"], &first["user"]),
        (&json!(published), &json!("message"), &json!("publisher"))
    );
    assert_eq!(
        (&first["frame"]["message"]["text"], &first["only"], &first["connections"]),
        (&json!("hello"), &Value::Null, &json!(0))
    );
    let next = operator.get("/admin/recording.json?channel=c&after=1&wait_s=20").await;
    let joined = &next["events"][0];
    assert_eq!(
        (&joined["type"], &joined["frame"]["message"]["action"], &joined["number"]),
        (&json!("presence"), &json!("joined"), &json!(2))
    );
    backend
        .publish(json!({"channel": "c", "pm_users": ["ada"], "exclude_users": ["ada"]}), &"y".repeat(9_000))
        .await;
    let long = operator.get("/admin/recording.json?channel=c&after=2&wait_s=20").await;
    let long = &long["events"][0];
    assert_eq!((&long["only"], &long["except"], &long["frame"]), (&json!(1), &json!(1), &Value::Null));
    let off = operator.command("/admin/record", json!({"channel": "c", "on": false})).await;
    assert_eq!(off.json(), json!({"recording": false}));
    backend.publish_text("c", "unseen").await;
    assert_eq!(operator.get("/admin/recording.json?channel=c").await["recording"], false);
}

#[actix_rt::test]
async fn server_validates_requests_for_a_recording() {
    let server = TestServer::start(Settings { recorder_bytes: 0, ..fast_settings() });
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    let off = operator.command("/admin/record", json!({"conn_id": id, "on": true})).await;
    assert_eq!(
        (off.status, off.json()),
        (422, json!({"_schema": ["Recording is disabled: recorder_bytes is 0."]}))
    );

    let server = self::server();
    let operator = Operator::sign_in(&server).await;
    for (body, status) in [
        (json!({"on": true}), 422),
        (json!({"conn_id": id, "channel": "c", "on": true}), 422),
        (json!({"conn_id": "x", "on": true}), 422),
        (json!({"conn_id": id}), 422),
        (json!({"conn_id": id, "on": true}), 404),
        (json!({"conn_id": id, "on": false}), 200),
        (json!({"channel": "nowhere", "on": true}), 404),
    ] {
        assert_eq!(operator.command("/admin/record", body.clone()).await.status, status, "{body}");
    }
    for (query, status) in
        [("", 422), ("conn_id=5", 422), ("channel=nowhere", 404), ("channel=x&wait_s=99", 422)]
    {
        let reply = operator.ask("GET", &format!("/admin/recording.json?{query}"), &[], "").await;
        assert_eq!(reply.status, status, "{query}");
    }
    assert_eq!(ask(server.address, "POST", "/admin/record", &[], "{}").await.status, 403);
    assert_eq!(ask(server.address, "GET", "/admin/recording.json", &[], "").await.status, 403);
}
