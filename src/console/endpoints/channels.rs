//! GET /admin/channels.json: one page of the list of channels. GET /admin/channel.json: one channel and the last messages of
//! its history.

use super::Console;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{ChannelFigures, ChannelRef, StoredMessage};
use crate::console::lists::{self, ListPage, Ranked, by};
use crate::console::query::{Listing, Query};
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::event::push_history_entry;
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const SORTS: [&str; 6] = ["name", "connections", "users", "history", "rate", "last_active"];

/// A channel in the form that the console receives.
#[derive(Serialize)]
struct ShownChannel<'a> {
    name: &'a str,
    connections: u32,
    users: u32,
    history: u32,
    frames: u64,
    /// `null` if this node does not receive the channel.
    frames_per_s: Option<f64>,
    last_active: String,
    settings: &'a ChannelSettings,
}

/// GET /admin/channels.json?page=&per_page=&search=&sort=.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn channels(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let listing = Listing::of(&req, &SORTS)?;
    console.answers.serve(&req, list(&broker, &listing)).await
}

async fn list(broker: &BrokerHandle, listing: &Listing) -> Result<Built, Refusal> {
    let mut ranked = Ranked::new(listing, |a: &ChannelFigures, b: &ChannelFigures| {
        let keys = |row: &ChannelFigures| match listing.sort {
            "connections" => u64::from(row.connections),
            "users" => u64::from(row.users),
            "history" => u64::from(row.history),
            "rate" => row.frames_per_1000_s.unwrap_or(0),
            "last_active" => row.last_active.unix_ms(),
            // Equal values are sorted by name.
            _ => 0,
        };
        match listing.sort {
            "name" => by(listing.descending, (&a.name, ""), (&b.name, "")),
            _ => by(listing.descending, (keys(a), &a.name), (keys(b), &b.name)),
        }
    });
    let walked = lists::channels(broker, |channel| {
        if listing.finds(&channel.name) {
            ranked.push(channel);
        }
    })
    .await?;
    let page = ranked.page(listing);
    let rows = page.rows.iter().map(shown).collect();
    let answer = ListPage::new(listing, walked.found, page.matching, rows).with_missing(walked.is_partial);
    Built::of(&answer, walked.found)
}

fn shown(row: &ChannelFigures) -> ShownChannel<'_> {
    ShownChannel {
        name: &row.name,
        connections: row.connections,
        users: row.users,
        history: row.history,
        frames: row.frames,
        frames_per_s: row.frames_per_1000_s.map(|frames| frames as f64 / 1_000.0),
        last_active: row.last_active.frame().to_string(),
        settings: &row.settings,
    }
}

/// Number of messages shown, counted from the newest.
const MESSAGES: usize = 20;
/// A message longer than this, in bytes, is not shown, because its channel may store many such messages.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// GET /admin/channel.json?name=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn channel(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let name = Query::name_of(&req)?;
    let channel = named(&broker, &name).await?;
    console.answers.serve(&req, describe(&broker, channel)).await
}

/// A channel by its name.
///
/// # Errors
/// Not found, `Busy`.
pub async fn named(broker: &BrokerHandle, name: &str) -> Result<ChannelRef, Refusal> {
    let found = broker.channels(Some(vec![name.to_owned()]), Vec::new()).await?;
    found.into_iter().next().ok_or_else(|| Refusal::NotFound(format!("channel {name}")))
}

async fn describe(broker: &BrokerHandle, channel: ChannelRef) -> Result<Built, Refusal> {
    let snapshot = channel.inspect(false, true).await?;
    let last = snapshot.history.len().saturating_sub(MESSAGES);
    let history: Vec<Value> = snapshot.history.iter().skip(last).map(|kept| message(kept)).collect();
    let uuid = channel.uuid;
    let rules = broker.settings.channels.rules(&channel.name).resolved(broker.settings.channel_frames);
    let row = channel.figures(&Timestamp::now());
    let mut answer = serde_json::to_value(shown(&row)).map_err(|_| Refusal::Internal)?;
    if let Value::Object(members) = &mut answer {
        members.insert("uuid".into(), json!(uuid));
        members.insert("rules".into(), json!(rules));
        members.insert("messages".into(), Value::Array(history));
    }
    Built::of(&answer, 0)
}

/// A stored message in the form that clients receive. Of a message that is too long, only the size is shown.
fn message(kept: &StoredMessage) -> Value {
    let mut text = Vec::new();
    push_history_entry(&mut text, &kept.message, kept.edited.as_ref());
    let bytes = text.len();
    let parsed =
        (bytes <= MAX_MESSAGE_BYTES).then(|| serde_json::from_slice::<Box<RawValue>>(&text).ok()).flatten();
    json!({ "uuid": kept.message.uuid, "user": kept.message.user, "bytes": bytes, "message": parsed })
}
