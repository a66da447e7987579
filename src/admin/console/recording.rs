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
use crate::admin::answers::done;
use crate::admin::query::Query;
use crate::admin::session::AdminOrRefused;
use crate::api::conn_id;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::ids::{ChannelId, Stream};
use crate::observe::recorder::reel::{Entry, Excerpt};
use crate::observe::recorder::{ConnectionEvent, FrameHead, Outcome, Published};
use crate::registry::messages::NameChannels;

/// Longest time that an answer waits for something to tell, in seconds.
const MAX_WAIT_S: usize = 25;
/// How often a server that stops is noticed meanwhile.
const NOTICE: Duration = Duration::from_millis(500);
/// An answer holds no more than this, in bytes of texts; the rest comes with the next.
const MAX_TEXT_BYTES: usize = 64 << 10;

enum Subject {
    Connection(Uuid),
    /// By its uuid.
    Channel(Uuid),
}

/// GET /admin/recording.json?conn_id=|channel=&after=&wait_s=: what is newer than event number `after`. Without
/// anything new the answer waits so many seconds for it.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn recording(
    _: AdminOrRefused,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let after = query.number("after", 0..=usize::MAX, 0) as u64;
    let wait_s = query.number("wait_s", 0..=MAX_WAIT_S, 0) as u64;
    let name = query.filled("channel").map(str::to_owned);
    let id = if name.is_none() { query.required("conn_id") } else { String::new() };
    let conn_id = conn_id::parse(&id);
    if conn_id.is_none() && !id.is_empty() {
        query.fault("conn_id", "Not a valid UUID.");
    }
    let until = Instant::now() + Duration::from_secs(wait_s);
    let subject = match query.checked(name)? {
        Some(name) => Subject::Channel(named(&backend, &name).await?.uuid),
        None => Subject::Connection(conn_id.unwrap_or_default()),
    };
    let mut written = console.recorder.subscribe();
    loop {
        written.mark_unchanged();
        let found = read(&backend, &console, &subject, after).await?;
        let left = until.saturating_duration_since(Instant::now());
        if found["events"] != json!([])
            || found["recording"] == false
            || left.is_zero()
            || backend.is_draining()
        {
            return Ok(done(&found));
        }
        let _ = timeout(left.min(NOTICE), written.changed()).await;
    }
}

async fn read(backend: &Backend, console: &Console, subject: &Subject, after: u64) -> Result<Value, Refusal> {
    match subject {
        Subject::Channel(uuid) => Ok(answer(console.recorder.read_channel(*uuid, after), published)),
        Subject::Connection(id) => {
            let excerpt = console.recorder.read_connection(*id, after);
            let names = names(backend, excerpt.as_ref()).await?;
            Ok(answer(excerpt, |event| happened(event, &names)))
        }
    }
}

fn answer<E>(excerpt: Option<Excerpt<E>>, show: impl Fn(&E) -> Value) -> Value {
    let Some(excerpt) = excerpt else { return json!({ "recording": false, "events": [] }) };
    let mut events: Vec<Value> = Vec::new();
    let mut bytes = 0;
    for Entry { number, at_ms, event } in &excerpt.entries {
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

type Names = HashMap<ChannelId, Arc<str>>;

/// The names of the channels that some events are about.
async fn names(backend: &Backend, excerpt: Option<&Excerpt<ConnectionEvent>>) -> Result<Names, Refusal> {
    let events = excerpt.into_iter().flat_map(|excerpt| &excerpt.entries).map(|entry| &entry.event);
    let mut ids: Vec<ChannelId> = events.filter_map(channel_of).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Names::new());
    }
    let names = backend.ask(NameChannels(ids.clone())).await?;
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

fn happened(event: &ConnectionEvent, names: &Names) -> Value {
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
