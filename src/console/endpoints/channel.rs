//! GET /admin/channel.json: one channel and the last messages of its history.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Console, channels, polled};
use crate::api::operation::{ApiDescription, Operation, in_query};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{ChannelRef, StoredMessage};
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::event::{openapi as events, push_history_entry};
use crate::protocol::schema::{self, ObjectSchema};
use utoipa::openapi::Required;

/// Number of messages shown, counted from the newest.
const MESSAGES: usize = 20;
/// A message longer than this, in bytes, is not shown, because its channel may store many such messages.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let entry = schema::or_null(events::history_entry(&mut api.schemas));
    let message = api.schemas.named("KeptMessage", |_| {
        ObjectSchema::new()
            .key("uuid", schema::uuid(), "The message's id.")
            .key("user", schema::text(), "Name of the author.")
            .key("bytes", schema::count(), "Size of the message.")
            .key("message", entry, "The message; null if it is longer than 4 KiB.")
            .shape()
    });
    let answer = api.schemas.named("ChannelDetails", |schemas| {
        channels::row_keys(schemas)
            .key("uuid", schema::uuid(), "The channel's id. It changes when the server restarts.")
            .key(
                "messages",
                schema::list(message),
                "At most 20 messages from the end of its history, oldest first.",
            )
            .shape()
    });
    let name = in_query("name", Required::True, schema::filled_text(), "The channel's name.")
        .example(Some("lobby".into()));
    polled("/admin/channel.json", "channel")
        .about("One channel", "Includes the newest messages of its history.")
        .parameter(name)
        .answer("The channel.", answer, EXAMPLE)
        .refuses(Query::refusal("", |query| drop(query.required("name"))))
        .refuses([Refusal::NotFound("channel lobby".into())])
        .asks_registry()
}

const EXAMPLE: &str = r#"{"name": "lobby", "connections": 2, "users": 1, "history": 1, "frames": 5,
    "frames_per_s": 0.25, "last_active": "2020-02-22T10:11:13.123456",
    "settings": {"notify_presence": true, "store_history": true, "history_size": 10,
        "broadcast_presence_with_user_lists": false, "notify_state": false, "store_frames": true},
    "uuid": "44444444-4444-4444-8444-444444444444",
    "messages": [{"uuid": "22222222-2222-4222-8222-222222222222", "user": "bob", "bytes": 328,
        "message": {"pm_users": [], "exclude_users": [], "channel": "lobby", "no_history": false,
            "uuid": "22222222-2222-4222-8222-222222222222", "timestamp": "2020-02-22T10:11:12.123456", "user": "bob",
            "message": {"text": "hi!"}, "edited": null, "catchup": false, "type": "message"}}]}"#;

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
