//! GET /admin/recording.json: the events in the flight recorder, immediately or as soon as there are some.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Console;
use super::channels::named;
use crate::broker::handle::BrokerHandle;
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::done;
use crate::http_error::Refusal;
use crate::protocol::ids::{ChannelId, Stream};
use crate::telemetry::recorder::buffer::{RecordedEntry, RecordingPage};
use crate::telemetry::recorder::{ConnectionEvent, FrameHead, Outcome, Published, RecoveryAnswer};

/// Maximum time in seconds that a request waits for events.
pub const MAX_WAIT_S: usize = 25;
/// How often a waiting request checks whether the server is stopping.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum size of the texts in a response, in bytes. The rest comes with the next response.
const MAX_TEXT_BYTES: usize = 64 << 10;

enum RecordingSubject {
    Connection(Uuid),
    /// The channel's uuid.
    Channel(Uuid),
}

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
        | ConnectionEvent::Listening(Stream::Channel(channel), ..)
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
        ConnectionEvent::Listening(_, missed, answer) => {
            let recovery = answer.map(|RecoveryAnswer { from, offset, reason }| {
                json!({ "from": from, "offset": offset, "reason": reason })
            });
            json!({ "event": "listening", "channel": channel, "missed": missed, "recovery": recovery })
        }
        ConnectionEvent::Left(_) => json!({ "event": "left", "channel": channel }),
        ConnectionEvent::Frame { head, bytes, outcome, .. } => frame(channel, head, *bytes, *outcome),
        ConnectionEvent::Answered(frames, bytes) => {
            json!({ "event": "answered", "frames": frames, "bytes": bytes })
        }
        ConnectionEvent::Taken(taken) => json!({ "event": if *taken { "taken" } else { "not_taken" } }),
        ConnectionEvent::Closed(reason, text) => {
            let text = text.as_deref().map_or_else(|| reason.text(), Cow::Borrowed);
            json!({ "event": "closed", "code": reason.code(), "reason": text })
        }
        ConnectionEvent::Detached => json!({ "event": "detached" }),
        ConnectionEvent::TokenAccepted { expires_unix } => {
            json!({ "event": "token_accepted", "expires": expires_unix })
        }
        ConnectionEvent::TokenRefused(cause) => {
            json!({ "event": "token_refused", "reason": cause.name() })
        }
        ConnectionEvent::TokenExpired => json!({ "event": "token_expired" }),
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
