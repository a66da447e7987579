//! GET /admin/channel.json: one channel and the last messages of its history.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Console, channels};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{ChannelRef, StoredMessage};
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::event::push_history_entry;

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
    console.answers.serve(&req, describe(channel)).await
}

/// A channel by its name.
///
/// # Errors
/// Not found, `Busy`.
pub async fn named(broker: &BrokerHandle, name: &str) -> Result<ChannelRef, Refusal> {
    let found = broker.channels(Some(vec![name.to_owned()]), Vec::new()).await?;
    found.into_iter().next().ok_or_else(|| Refusal::NotFound(format!("channel {name}")))
}

async fn describe(channel: ChannelRef) -> Result<Built, Refusal> {
    let snapshot = channel.inspect(false, true).await?;
    let last = snapshot.history.len().saturating_sub(MESSAGES);
    let history: Vec<Value> = snapshot.history.iter().skip(last).map(|kept| message(kept)).collect();
    let uuid = channel.uuid;
    let mut answer = channels::shown_alone(channel)?;
    if let Value::Object(members) = &mut answer {
        members.insert("uuid".into(), json!(uuid));
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
