//! A minimal version of what a web application does between its browsers and this server.

use super::Demo;
use crate::api::answer::{self, Invalid};
use crate::api::batch;
use crate::api::body::RequestLimits;
use crate::api::channel_config::ChannelConfigs;
use crate::api::connect::{self, ConnectRequest};
use crate::api::message_delete::{parse_deletes, write_delete_answer};
use crate::api::message_patch::{parse_edits, write_edit_answer};
use crate::api::message_post::{parse_messages, write_message_answer};
use crate::api::subscribe::{self, SubscribeRequest};
use crate::api::user_state::{self, parse_user_state};
use crate::auth::body::OpenBody;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::Requester;
use crate::http_error::Refusal;
use crate::protocol::message::Delivery;
use crate::protocol::settings::ChannelSettings;
use crate::protocol::state::StateEntry;
use crate::protocol::time::Timestamp;
use actix_web::{HttpResponse, web};
use bytes::Bytes;

/// Required prefix of the channels in requests.
const PREFIX: &str = "demo";
/// The prefix of all names of the demo's users and channels. The server adds it to other names, so that no request
/// affects a user or a channel of an application.
const NAMESPACE: &str = "demo:";
/// Maximum size of a body in bytes, because requests are not signed. A message of the front page has at most 2,000
/// characters.
pub const MAX_BODY: usize = 16 << 10;
/// Maximum number of changing requests per second, for all visitors together.
pub const RATE: usize = 200;
/// The public keys of a user's state.
const PUBLIC_KEYS: [&str; 1] = ["color"];

type DemoBody = OpenBody<MAX_BODY>;

pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/demo/connect").route(web::post().to(connect)))
        .service(web::resource("/demo/subscribe").route(web::post().to(subscribe)))
        .service(web::resource("/demo/unsubscribe").route(web::post().to(unsubscribe)))
        .service(web::resource("/demo/user_state").route(web::post().to(user_state)))
        .service(
            web::resource("/demo/message")
                .route(web::post().to(post))
                .route(web::patch().to(patch))
                .route(web::delete().to(delete)),
        );
}

fn foreign_channel(field: &str) -> Refusal {
    Invalid::field(field, "Demo channels begin with \"demo\".").into()
}

fn limits(broker: &BrokerHandle) -> RequestLimits {
    RequestLimits::from(&*broker.settings)
}

/// Refuses requests above the demo's share, and leaves half of the room for large responses to signed requests.
fn admit(broker: &BrokerHandle, demo: &Demo) -> Result<(), Refusal> {
    let now_us = u64::try_from(broker.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if broker.in_flight.responses.is_half_full() || demo.rate.take(0, 1, now_us).is_err() {
        broker.counters.refused_busy.add(1);
        return Err(Refusal::Busy);
    }
    broker.admit()
}

fn check_channels<'a>(mut channels: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    match channels.find(|name| !name.starts_with(PREFIX)) {
        None => Ok(()),
        Some(_) => Err(foreign_channel("channels")),
    }
}

fn settings() -> ChannelSettings {
    ChannelSettings {
        notify_presence: true,
        store_history: true,
        history_size: 50,
        broadcast_presence_with_user_lists: true,
        notify_state: true,
        store_frames: true,
    }
}

fn add_prefix(name: &mut String) {
    if !name.starts_with(NAMESPACE) {
        name.insert_str(0, NAMESPACE);
    }
}

fn add_prefixes<'a>(names: impl IntoIterator<Item = &'a mut String>) {
    names.into_iter().for_each(add_prefix);
}

/// Removes all keys that the demo does not use.
fn keep_public(state: &mut Vec<StateEntry>) {
    state.retain(|entry| PUBLIC_KEYS.contains(&entry.key.as_str()));
}

async fn connect(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    let mut request = ConnectRequest::parse(&body, &limits(&broker))?;
    let command = &mut request.command;
    add_channels(&broker, &demo, &mut command.channels, &mut command.channel_configs)?;
    add_prefix(&mut command.username);
    keep_public(&mut command.user_state);
    keep_public(&mut command.fresh_user_state);
    command.state_public_keys = Some(PUBLIC_KEYS.map(str::to_owned).to_vec());
    Ok(answer::json(connect::open(&broker, request, Requester::Demo).await?))
}

async fn subscribe(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    subscribe::join(&broker, channels_request(&broker, &demo, &body)?, Requester::Demo).await
}

async fn unsubscribe(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    subscribe::leave(&broker, channels_request(&broker, &demo, &body)?, Requester::Demo).await
}

/// The body of /subscribe and /unsubscribe.
fn channels_request(broker: &BrokerHandle, demo: &Demo, body: &[u8]) -> Result<SubscribeRequest, Refusal> {
    let mut request = SubscribeRequest::parse(body, None, &limits(broker))?;
    let command = &mut request.command;
    add_channels(broker, demo, &mut command.channels, &mut command.channel_configs)?;
    Ok(request)
}

/// Admits a request about channels, and gives them the prefix and settings of the demo.
fn add_channels(
    broker: &BrokerHandle,
    demo: &Demo,
    channels: &mut [String],
    configs: &mut ChannelConfigs,
) -> Result<(), Refusal> {
    check_channels(channels.iter())?;
    admit(broker, demo)?;
    add_prefixes(channels.iter_mut());
    *configs = channels.iter().map(|name| (name.clone(), settings().into())).collect();
    Ok(())
}

async fn user_state(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    let mut request = parse_user_state(&body, &limits(&broker))?;
    admit(&broker, &demo)?;
    add_prefix(&mut request.user);
    keep_public(&mut request.user_state);
    request.state_public_keys = Some(PUBLIC_KEYS.map(str::to_owned).to_vec());
    user_state::set(&broker, request, Requester::Demo).await
}

/// Browsers send one message, but the API takes lists.
fn as_list(body: DemoBody) -> Bytes {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return body.into_bytes();
    }
    [b"[", &body[..], b"]"].concat().into()
}

/// Adds the prefix to the recipients of messages, edits or deletions, and writes the answer.
fn prefixed<T>(
    broker: &BrokerHandle,
    items: &mut [T],
    delivery: fn(&mut T) -> &mut Delivery,
    write: impl FnOnce(&[T], &mut Vec<u8>),
) -> Result<HttpResponse, Refusal> {
    for Delivery { channel, pm_users, exclude_users, .. } in items.iter_mut().map(delivery) {
        if channel.as_ref().is_none_or(|name| !name.starts_with(PREFIX)) {
            return Err(foreign_channel("channel"));
        }
        add_prefixes(channel);
        add_prefixes(pm_users);
        add_prefixes(exclude_users);
    }
    batch::written(broker, 0, items, write)
}

async fn post(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    admit(&broker, &demo)?;
    let mut messages = parse_messages(&as_list(body), &limits(&broker), Timestamp::now())?;
    messages.iter_mut().for_each(|message| add_prefix(&mut message.user));
    let answer = prefixed(&broker, &mut messages, |message| &mut message.delivery, write_message_answer)?;
    broker.publish(messages, Vec::new(), None).await?;
    Ok(answer)
}

async fn patch(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    admit(&broker, &demo)?;
    let mut edits = parse_edits(&as_list(body), &limits(&broker), Timestamp::now())?;
    edits.iter_mut().for_each(|edit| add_prefixes(&mut edit.user));
    let answer = prefixed(&broker, &mut edits, |edit| &mut edit.delivery, write_edit_answer)?;
    broker.edit(edits, Vec::new(), None).await?;
    Ok(answer)
}

async fn delete(
    broker: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    admit(&broker, &demo)?;
    let mut deletes = parse_deletes(&as_list(body), &limits(&broker))?;
    let answer = prefixed(&broker, &mut deletes, |delete| &mut delete.delivery, write_delete_answer)?;
    broker.delete(deletes, Vec::new(), None).await?;
    Ok(answer)
}
