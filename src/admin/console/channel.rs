//! GET /admin/channel.json: one channel and the last messages of its history.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Console, channels};
use crate::admin::answers::Built;
use crate::admin::query::Query;
use crate::admin::session::AdminOrRefused;
use crate::channel::messages::{Inspect, Kept};
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::registry::messages::{ChannelRef, ListChannels};
use crate::wire::event::push_history_entry;

/// Messages shown, the last ones.
const MESSAGES: usize = 20;
/// A message longer than this is not shown, in bytes: its channel may keep many of them.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// GET /admin/channel.json?name=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn channel(
    _: AdminOrRefused,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let name = query.required("name");
    let name = query.checked(name)?;
    let channel = named(&backend, &name).await?;
    console.answers.serve(&req, describe(channel)).await
}

/// A channel by its name.
///
/// # Errors
/// Not found, `Busy`.
pub async fn named(backend: &Backend, name: &str) -> Result<ChannelRef, Refusal> {
    let found = backend.ask(ListChannels { names: Some(vec![name.to_owned()]), exclude: Vec::new() }).await?;
    found.into_iter().next().ok_or_else(|| Refusal::NotFound(format!("channel {name}")))
}

async fn describe(channel: ChannelRef) -> Result<Built, Refusal> {
    let inspect = Inspect { users: false, history: true };
    let snapshot = channel.addr.send(inspect).await.map_err(|_| Refusal::Draining)?;
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

/// A kept message as clients get it; one that is too long only with its size.
fn message(kept: &Kept) -> Value {
    let mut text = Vec::new();
    push_history_entry(&mut text, &kept.message, kept.edited.as_ref());
    let bytes = text.len();
    let parsed =
        (bytes <= MAX_MESSAGE_BYTES).then(|| serde_json::from_slice::<Box<RawValue>>(&text).ok()).flatten();
    json!({ "uuid": kept.message.uuid, "user": kept.message.user, "bytes": bytes, "message": parsed })
}
