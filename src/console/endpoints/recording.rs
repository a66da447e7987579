//! GET /admin/recording.json: what the flight recorder has written down, or will in a moment.

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
use crate::broker::registry::messages::NameChannels;
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

/// Longest time that an answer waits for something to tell, in seconds.
const MAX_WAIT_S: usize = 25;
/// How often a server that stops is noticed meanwhile.
const NOTICE: Duration = Duration::from_millis(500);
/// An answer holds no more than this, in bytes of texts; the rest comes with the next.
const MAX_TEXT_BYTES: usize = 64 << 10;

enum RecordingSubject {
    Connection(Uuid),
    /// By its uuid.
    Channel(Uuid),
}

/// What the API's description says of it.
pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let frame = schema::or_null(event(&mut api.schemas));
    let published = api.schemas.named("PublishedFrame", |_| published_shape(frame));
    let happened = api.schemas.named("RecordedEvent", |_| happened_shape());
    let answer = api.schemas.named("Recorded", |_| {
        ObjectSchema::new()
            .key("recording", schema::flag(), "Whether it is recorded.")
            .may("since_ms", schema::count(), "Since when, in Unix milliseconds, if it is recorded.")
            .may("missed", schema::count(), "Events after `after` that have been forgotten already.")
            .key("events", schema::list(schema::any_of([published, happened])), "What is new, oldest first.")
            .shape()
    });
    let number = |name, max, text: &str| {
        let shape = schema::by_default(schema::whole(0..=max), 0.into());
        in_query(name, Required::False, shape, text)
    };
    let wait = "Seconds that the answer waits for something new.";
    let id =
        in_query("conn_id", Required::False, schema::uuid(), "The connection; either this or `channel`.");
    let name = in_query("channel", Required::False, schema::text(), "The channel; goes before `conn_id`.");
    let path = "/admin/recording.json";
    Operation::new(HttpMethod::Get, path, "recording", ApiGroup::Console, Access::SignedOrAdmin)
        .about(
            "What was recorded",
            "Of a connection what became of each frame for it, of a channel what went out, as far as it was recorded \
             since `/admin/record`, and is newer than event number `after`. The rest of a long answer comes with the next.",
        )
        .parameter(id)
        .parameter(name.example(Some("lobby".into())))
        .parameter(number("after", usize::MAX, "The number of the last event that is known."))
        .parameter(number("wait_s", MAX_WAIT_S, wait))
        .answer("What is new.", answer, EXAMPLE)
        .refuses(Query::refusal("", |query| drop(query.required("conn_id"))))
        .refuses([Refusal::SignatureMissing, Refusal::NotFound("channel lobby".into())])
        .asks_registry()
}

fn numbered(keys: ObjectSchema) -> ObjectSchema {
    keys.key("number", schema::count(), "Its number; the last one is the next question's `after`.").key(
        "at_ms",
        schema::count(),
        "When, in Unix milliseconds.",
    )
}

fn published_shape(frame: ValueSchema) -> ValueSchema {
    let keys = ObjectSchema::new()
        .key("uuid", schema::uuid(), "The event's id.")
        .key("type", schema::text(), "The event's type.")
        .key("user", schema::or_null(schema::text()), "Who sent it, or whom it is about.")
        .key("bytes", schema::count(), "How long the frame is.")
        .key("only", schema::or_null(schema::count()), "How many users it is for; null for all.")
        .key("except", schema::count(), "How many users it is not for.")
        .key("connections", schema::count(), "Connections that were there to get it.")
        .key("frame", frame, "The event; null where it was too long to be kept.");
    numbered(keys).shape()
}

/// All kinds of events in one: which keys there are depends on `event`.
fn happened_shape() -> ValueSchema {
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
        .key("event", schema::one_value_of(events), "What happened.")
        .may("transport", schema::text(), "Of `attached`: over what.")
        .may("address", or_null(), "Of `attached`: from where, as far as it is known.")
        .may("channel", or_null(), "Of `listening`, `left` and `frame`: the channel; null for private ones.")
        .may("missed", schema::count(), "Of `listening`: frames that were missed and are brought now.")
        .may("uuid", schema::uuid(), "Of `frame`: the event's id.")
        .may("type", schema::text(), "Of `frame`: the event's type.")
        .may("user", or_null(), "Of `frame`: who sent it, or whom it is about.")
        .may("bytes", schema::count(), "Of `frame` and `answered`: how long.")
        .may("outcome", schema::one_value_of(outcomes), "Of `frame`: what became of it.")
        .may("queued_bytes", schema::or_null(schema::count()), "Of `frame`: bytes that waited then.")
        .may("frames", schema::count(), "Of `answered`: how many frames the poll got.")
        .may("code", schema::or_null(schema::count()), "Of `closed`: the close code.")
        .may("reason", schema::text(), "Of `closed`: why.");
    numbered(keys).shape()
}

const EXAMPLE: &str = r#"{"recording": true, "since_ms": 1582366272123, "missed": 0, "events": [{"number": 1,
    "at_ms": 1582366273000, "uuid": "33333333-3333-4333-8333-333333333333", "type": "message:delete", "user": null,
    "bytes": 118, "only": null, "except": 0, "connections": 2,
    "frame": {"channel": "lobby", "uuid": "33333333-3333-4333-8333-333333333333", "type": "message:delete"}}]}"#;

/// GET /admin/recording.json?conn_id=|channel=&after=&wait_s=: what is newer than event number `after`. Without
/// anything new the answer waits so many seconds for it.
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
        let _ = timeout(left.min(NOTICE), written.changed()).await;
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
            let excerpt = console.recorder.read_connection(*id, after);
            let names = names(broker, excerpt.as_ref()).await?;
            Ok(answer(excerpt, |event| happened(event, &names)))
        }
    }
}

fn answer<E>(excerpt: Option<RecordingPage<E>>, show: impl Fn(&E) -> Value) -> Value {
    let Some(excerpt) = excerpt else { return json!({ "recording": false, "events": [] }) };
    let mut events: Vec<Value> = Vec::new();
    let mut bytes = 0;
    for RecordedEntry { number, at_ms, event } in &excerpt.entries {
        let mut shown = show(event);
        shown["number"] = json!(number);
        shown["at_ms"] = json!(at_ms);
        bytes += shown.to_string().len();
        events.push(shown);
        if bytes > MAX_TEXT_BYTES {
            break;
        }
    }
    json!({ "recording": true, "since_ms": excerpt.since_ms, "missed": excerpt.missed, "events": events })
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

/// The names of the channels that some events are about.
async fn names(
    broker: &BrokerHandle,
    excerpt: Option<&RecordingPage<ConnectionEvent>>,
) -> Result<StreamNames, Refusal> {
    let events = excerpt.into_iter().flat_map(|excerpt| &excerpt.entries).map(|entry| &entry.event);
    let mut ids: Vec<ChannelId> = events.filter_map(channel_of).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(StreamNames::new());
    }
    let names = broker.ask(NameChannels(ids.clone())).await?;
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

fn happened(event: &ConnectionEvent, names: &StreamNames) -> Value {
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

/// A frame, with its outcome and the bytes that wait where that is the reason.
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
