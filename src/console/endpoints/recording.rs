//! GET /admin/recording.json: the events in the flight recorder, immediately or as soon as there are some.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Console;
use super::channel::named;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation, in_query};
use crate::broker::handle::BrokerHandle;
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::done;
use crate::http_error::Refusal;
use crate::protocol::event::openapi::event;
use crate::protocol::ids::{ChannelId, Stream};
use crate::protocol::schema::{self, ObjectSchema, ValueSchema};
use crate::telemetry::recorder::buffer::{RecordedEntry, RecordingPage};
use crate::telemetry::recorder::{ConnectionEvent, FrameHead, Outcome, Published};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

/// Maximum time in seconds that a request waits for events.
const MAX_WAIT_S: usize = 25;
/// How often a waiting request checks whether the server is stopping.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum size of the texts in a response, in bytes. The rest comes with the next response.
const MAX_TEXT_BYTES: usize = 64 << 10;

enum RecordingSubject {
    Connection(Uuid),
    /// The channel's uuid.
    Channel(Uuid),
}

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let frame = schema::or_null(event(&mut api.schemas));
    let published = api.schemas.named("PublishedFrame", |_| published_schema(frame));
    let connection_event = api.schemas.named("RecordedEvent", |_| connection_event_schema());
    let answer = api.schemas.named("Recorded", |_| {
        ObjectSchema::new()
            .key("recording", schema::flag(), "Whether it is being recorded.")
            .may(
                "since_ms",
                schema::count(),
                "Start of the recording in Unix milliseconds, if it is being recorded.",
            )
            .may("missed", schema::count(), "Number of events after `after` that are no longer available.")
            .key(
                "events",
                schema::list(schema::any_of([published, connection_event])),
                "The new events, oldest first.",
            )
            .shape()
    });
    let number = |name, max, text: &str| {
        let shape = schema::by_default(schema::whole(0..=max), 0.into());
        in_query(name, Required::False, shape, text)
    };
    let wait = "How many seconds the request waits for new events.";
    let id =
        in_query("conn_id", Required::False, schema::uuid(), "The connection; either this or `channel`.");
    let name = in_query("channel", Required::False, schema::text(), "The channel; overrides `conn_id`.");
    let path = "/admin/recording.json";
    Operation::new(HttpMethod::Get, path, "recording", ApiGroup::Console, Access::SignedOrAdmin)
        .about(
            "Read a recording",
            "Returns recorded events after number `after`: of a connection the result of each frame for it, of a \
             channel the published frames. `/admin/record` starts the recording. The rest of a long answer comes with \
             the next one.",
        )
        .parameter(id)
        .parameter(name.example(Some("lobby".into())))
        .parameter(number("after", usize::MAX, "The number of the last event that the client has received."))
        .parameter(number("wait_s", MAX_WAIT_S, wait))
        .answer("The new events.", answer, EXAMPLE)
        .refuses(Query::refusal("", |query| drop(query.required("conn_id"))))
        .refuses([Refusal::SignatureMissing, Refusal::NotFound("channel lobby".into())])
        .asks_registry()
}

fn numbered(keys: ObjectSchema) -> ObjectSchema {
    keys.key(
        "number",
        schema::count(),
        "The event's number; use the last one as `after` of the next request.",
    )
    .key("at_ms", schema::count(), "Time of the event in Unix milliseconds.")
}

fn published_schema(frame: ValueSchema) -> ValueSchema {
    let keys = ObjectSchema::new()
        .key("uuid", schema::uuid(), "The event's id.")
        .key("type", schema::text(), "The event's type.")
        .key("user", schema::or_null(schema::text()), "The sender, or the user whom the event concerns.")
        .key("bytes", schema::count(), "Size of the frame.")
        .key("only", schema::or_null(schema::count()), "Number of users it is addressed to; null for all.")
        .key("except", schema::count(), "Number of users that it excludes.")
        .key("connections", schema::count(), "Connections in the channel at that moment.")
        .key("frame", frame, "The event; null if it was too long to be recorded.");
    numbered(keys).shape()
}

/// One schema for all kinds of events. The value of `event` determines the keys.
fn connection_event_schema() -> ValueSchema {
    let events =
        ["attached", "listening", "left", "frame", "answered", "taken", "not_taken", "closed", "detached"];
    let outcomes = [
        "sent",
        "queued",
        "collected",
        "caught_up",
        "held",
        "had_it",
        "not_meant",
        "sealed",
        "too_slow",
        "broken",
    ];
    let or_null = || schema::or_null(schema::text());
    let keys = ObjectSchema::new()
        .key("event", schema::one_value_of(events), "The kind of event.")
        .may("transport", schema::text(), "Of `attached`: the transport.")
        .may("address", or_null(), "Of `attached`: the client's address, if known.")
        .may("channel", or_null(), "Of `listening`, `left` and `frame`: the channel; null for private ones.")
        .may("missed", schema::count(), "Of `listening`: number of missed frames that are sent as catch-up.")
        .may("uuid", schema::uuid(), "Of `frame`: the event's id.")
        .may("type", schema::text(), "Of `frame`: the event's type.")
        .may("user", or_null(), "Of `frame`: the sender, or the user whom the event concerns.")
        .may("bytes", schema::count(), "Of `frame` and `answered`: the size.")
        .may("outcome", schema::one_value_of(outcomes), "Of `frame`: the result for this connection.")
        .may("queued_bytes", schema::or_null(schema::count()), "Of `frame`: bytes queued at that moment.")
        .may("frames", schema::count(), "Of `answered`: number of frames that the poll received.")
        .may("code", schema::or_null(schema::count()), "Of `closed`: the close code.")
        .may("reason", schema::text(), "Of `closed`: the reason.");
    numbered(keys).shape()
}

const EXAMPLE: &str = r#"{"recording": true, "since_ms": 1582366272123, "missed": 0, "events": [{"number": 1,
    "at_ms": 1582366273000, "uuid": "33333333-3333-4333-8333-333333333333", "type": "message:delete", "user": null,
    "bytes": 118, "only": null, "except": 0, "connections": 2,
    "frame": {"channel": "lobby", "uuid": "33333333-3333-4333-8333-333333333333", "type": "message:delete"}}]}"#;

/// GET /admin/recording.json?conn_id=|channel=&after=&wait_s=: the events after number `after`. If there are none, the
/// request waits this many seconds for new ones.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn recording(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let after = query.number("after", 0..=usize::MAX, 0) as u64;
    let wait_s = query.number("wait_s", 0..=MAX_WAIT_S, 0) as u64;
    let name = query.filled("channel").map(str::to_owned);
    let conn_id = if name.is_none() { query.required_conn_id("conn_id") } else { query.conn_id("conn_id") };
    let until = Instant::now() + Duration::from_secs(wait_s);
    let subject = match query.checked(name)? {
        Some(name) => RecordingSubject::Channel(named(&broker, &name).await?.uuid),
        None => RecordingSubject::Connection(conn_id.unwrap_or_default()),
    };
    let mut written = console.recorder.subscribe();
    loop {
        written.mark_unchanged();
        let found = read(&broker, &console, &subject, after).await?;
        let left = until.saturating_duration_since(Instant::now());
        if found["events"] != json!([])
            || found["recording"] == false
            || left.is_zero()
            || broker.is_draining()
        {
            return Ok(done(&found));
        }
        let _ = timeout(left.min(DRAIN_CHECK_INTERVAL), written.changed()).await;
    }
}

async fn read(
    broker: &BrokerHandle,
    console: &Console,
    subject: &RecordingSubject,
    after: u64,
) -> Result<Value, Refusal> {
    match subject {
        RecordingSubject::Channel(uuid) => Ok(answer(console.recorder.read_channel(*uuid, after), published)),
        RecordingSubject::Connection(id) => {
            let page = console.recorder.read_connection(*id, after);
            let names = names(broker, page.as_ref()).await?;
            Ok(answer(page, |event| connection_event(event, &names)))
        }
    }
}

fn answer<E>(page: Option<RecordingPage<E>>, show: impl Fn(&E) -> Value) -> Value {
    let Some(page) = page else { return json!({ "recording": false, "events": [] }) };
    let mut events: Vec<Value> = Vec::new();
    let mut bytes = 0;
    for RecordedEntry { number, at_ms, event } in &page.entries {
        let mut shown = show(event);
        shown["number"] = json!(number);
        shown["at_ms"] = json!(at_ms);
        bytes += shown.to_string().len();
        events.push(shown);
        if bytes > MAX_TEXT_BYTES {
            break;
        }
    }
    json!({ "recording": true, "since_ms": page.since_ms, "missed": page.missed, "events": events })
}

fn published(frame: &Published) -> Value {
    let text: Option<&RawValue> = frame.text.as_deref().and_then(|text| serde_json::from_str(text).ok());
    json!({
        "uuid": frame.head.uuid,
        "type": &*frame.head.kind,
        "user": frame.head.user.as_deref(),
        "bytes": frame.bytes,
        "only": frame.only,
        "except": frame.except,
        "connections": frame.connections,
        "frame": text,
    })
}

type StreamNames = HashMap<ChannelId, Arc<str>>;

/// The names of the channels in these events.
async fn names(
    broker: &BrokerHandle,
    page: Option<&RecordingPage<ConnectionEvent>>,
) -> Result<StreamNames, Refusal> {
    let events = page.into_iter().flat_map(|page| &page.entries).map(|entry| &entry.event);
    let mut ids: Vec<ChannelId> = events.filter_map(channel_of).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(StreamNames::new());
    }
    let names = broker.name_channels(ids.clone()).await?;
    Ok(ids.into_iter().zip(names).filter_map(|(id, name)| Some((id, name?))).collect())
}

fn channel_of(event: &ConnectionEvent) -> Option<ChannelId> {
    match event {
        ConnectionEvent::Left(channel)
        | ConnectionEvent::Listening(Stream::Channel(channel), _)
        | ConnectionEvent::Frame { stream: Stream::Channel(channel), .. } => Some(*channel),
        _ => None,
    }
}

fn connection_event(event: &ConnectionEvent, names: &StreamNames) -> Value {
    let channel = channel_of(event).and_then(|id| names.get(&id)).map(|name| &**name);
    match event {
        ConnectionEvent::Attached { transport, address } => {
            json!({ "event": "attached", "transport": transport, "address": address })
        }
        ConnectionEvent::Listening(_, missed) => {
            json!({ "event": "listening", "channel": channel, "missed": missed })
        }
        ConnectionEvent::Left(_) => json!({ "event": "left", "channel": channel }),
        ConnectionEvent::Frame { head, bytes, outcome, .. } => frame(channel, head, *bytes, *outcome),
        ConnectionEvent::Answered(frames, bytes) => {
            json!({ "event": "answered", "frames": frames, "bytes": bytes })
        }
        ConnectionEvent::Taken(taken) => json!({ "event": if *taken { "taken" } else { "not_taken" } }),
        ConnectionEvent::Closed(reason) => {
            json!({ "event": "closed", "code": reason.code(), "reason": reason.text() })
        }
        ConnectionEvent::Detached => json!({ "event": "detached" }),
    }
}

/// A frame with its outcome, and with the number of queued bytes if that is the reason.
fn frame(channel: Option<&str>, head: &FrameHead, bytes: usize, outcome: Outcome) -> Value {
    let (name, queued) = match outcome {
        Outcome::Sent => ("sent", None),
        Outcome::Queued(queued) => ("queued", Some(queued)),
        Outcome::Collected => ("collected", None),
        Outcome::CaughtUp => ("caught_up", None),
        Outcome::Held => ("held", None),
        Outcome::HadIt => ("had_it", None),
        Outcome::NotMeant => ("not_meant", None),
        Outcome::Sealed => ("sealed", None),
        Outcome::TooSlow(queued) => ("too_slow", Some(queued)),
        Outcome::Broken => ("broken", None),
    };
    json!({
        "event": "frame",
        "channel": channel,
        "uuid": head.uuid,
        "type": &*head.kind,
        "user": head.user.as_deref(),
        "bytes": bytes,
        "outcome": name,
        "queued_bytes": queued,
    })
}
