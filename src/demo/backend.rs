//! What a web application does between its browsers and this server, in its smallest form.

use super::Demo;
use crate::api::answer;
use crate::api::connect::{self, ConnectRequest};
use crate::api::invalid::Invalid;
use crate::api::limits::RequestLimits;
use crate::api::message_delete::{self, parse_deletes, write_delete_answer};
use crate::api::message_patch::{self, parse_edits, write_edit_answer};
use crate::api::message_post::{self, parse_messages, write_message_answer};
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::api::subscribe::{self, SubscribeRequest};
use crate::api::unsubscribe::{self, UnsubscribeRequest};
use crate::api::user_state::{self, UserStateRequest};
use crate::auth::body::OpenBody;
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::messages::{OfDemo, Publish};
use crate::http_error::Refusal;
use crate::protocol::message::Delivery;
use crate::protocol::schema::{self, ValueSchema};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::state::StateEntry;
use crate::protocol::time::Timestamp;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use utoipa::openapi::Ref;
use utoipa::openapi::path::HttpMethod;

/// Only channels whose names begin so are taken.
const PREFIX: &str = "demo";
/// All names of the demo's users and channels begin so. It is put in front of a name that does not: whatever a visitor
/// asks for, no user and no channel of an application has that name.
const NAMESPACE: &str = "demo:";
/// Most bytes of a body, as nothing here is signed: a message of the front page has at most 2,000 characters.
const MAX_BODY: usize = 16 << 10;
/// Requests that change something, of all visitors together, in a second.
pub const RATE: usize = 200;
/// The part of a user's state that everybody may see.
const PUBLIC_KEYS: [&str; 1] = ["color"];

type DemoBody = OpenBody<MAX_BODY>;

/// Mounts the backend's endpoints.
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

/// What the API's description says of /demo/connect.
pub fn openapi_connect(api: &mut ApiDescription<'_>) -> Operation {
    let about = "`channels` must begin with `demo`; `demo:` is put in front of names that do not begin so. The settings are the demo's, and \
        `color` is the only key of the state that is kept.";
    connect::with_schemas(
        demo(HttpMethod::Post, "/demo/connect", "demoConnect", "Make a connection", about),
        api,
    )
}

/// And of /demo/subscribe.
pub fn openapi_subscribe(api: &mut ApiDescription<'_>) -> Operation {
    let about = "`channels` must begin with `demo`; their settings are the demo's.";
    subscribe::with_schemas(
        demo(HttpMethod::Post, "/demo/subscribe", "demoSubscribe", "Join channels", about),
        api,
    )
}

/// And of /demo/unsubscribe.
pub fn openapi_unsubscribe(api: &mut ApiDescription<'_>) -> Operation {
    let about = "`channels` must begin with `demo`.";
    unsubscribe::with_schemas(
        demo(HttpMethod::Post, "/demo/unsubscribe", "demoUnsubscribe", "Leave channels", about),
        api,
    )
}

/// And of /demo/user_state.
pub fn openapi_user_state(api: &mut ApiDescription<'_>) -> Operation {
    let about = "Which keys of the state are public is the demo's.";
    user_state::with_schemas(
        demo(HttpMethod::Post, "/demo/user_state", "demoUserState", "Change a user's state", about),
        api,
    )
}

const ONE_OR_MORE: &str = "Takes one or a list. The channel must begin with `demo`.";

/// And of POST /demo/message.
pub fn openapi_post(api: &mut ApiDescription<'_>) -> Operation {
    let operation = demo(HttpMethod::Post, "/demo/message", "demoPost", "Say something", ONE_OR_MORE);
    let body = one_or_more("MessageBody", message_post::body_shape(api));
    message_post::with_schemas(operation, body, api).refuses([foreign_channel()])
}

/// And of PATCH /demo/message.
pub fn openapi_patch(api: &mut ApiDescription<'_>) -> Operation {
    let operation = demo(HttpMethod::Patch, "/demo/message", "demoPatch", "Edit what was said", ONE_OR_MORE);
    let body = one_or_more("MessageEditBody", message_patch::body_shape(api));
    message_patch::with_schemas(operation, body, api).refuses([foreign_channel()])
}

/// And of DELETE /demo/message.
pub fn openapi_delete(api: &mut ApiDescription<'_>) -> Operation {
    let operation =
        demo(HttpMethod::Delete, "/demo/message", "demoDelete", "Take back what was said", ONE_OR_MORE);
    let body = one_or_more("MessagesDeleteBody", message_delete::body_shape(api));
    message_delete::with_schemas(operation, body, api).refuses([foreign_channel()])
}

fn demo(method: HttpMethod, path: &'static str, id: &str, summary: &str, about: &str) -> Operation {
    let about = format!("Demo mode only: what an application's backend does. {about}");
    Operation::new(method, path, id, ApiGroup::Demo, Access::Open)
        .about(summary, &about)
        .of_demo()
        .open_to(MAX_BODY)
}

fn one_or_more(item: &str, list: ValueSchema) -> ValueSchema {
    schema::any_of([list, Ref::from_schema_name(item).into()])
}

fn foreign_channel() -> Refusal {
    Invalid::field("channel", "Demo channels begin with \"demo\".").into()
}

fn limits(backend: &BrokerHandle) -> RequestLimits {
    RequestLimits::from(&*backend.settings)
}

/// Refuses what is more than the demo's share, and leaves half of the room for large responses to signed requests.
fn admit(backend: &BrokerHandle, demo: &Demo) -> Result<(), Refusal> {
    let now_us = u64::try_from(backend.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if backend.in_flight.responses.is_half_full() || demo.rate.take(0, 1, now_us).is_err() {
        backend.counters.refused_busy.add(1);
        return Err(Refusal::Busy);
    }
    backend.admit()
}

fn only_demo<'a>(mut channels: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    match channels.find(|name| !name.starts_with(PREFIX)) {
        None => Ok(()),
        Some(_) => Err(Invalid::field("channels", "Demo channels begin with \"demo\".").into()),
    }
}

fn only_demo_deliveries<'a>(mut deliveries: impl Iterator<Item = &'a Delivery>) -> Result<(), Refusal> {
    let foreign =
        |delivery: &&Delivery| delivery.channel.as_ref().is_none_or(|name| !name.starts_with(PREFIX));
    match deliveries.find(foreign) {
        None => Ok(()),
        Some(_) => Err(foreign_channel()),
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

fn own(name: &mut String) {
    if !name.starts_with(NAMESPACE) {
        name.insert_str(0, NAMESPACE);
    }
}

fn own_all<'a>(names: impl IntoIterator<Item = &'a mut String>) {
    names.into_iter().for_each(own);
}

fn own_delivery(delivery: &mut Delivery) {
    own_all(&mut delivery.channel);
    own_all(&mut delivery.pm_users);
    own_all(&mut delivery.exclude_users);
}

/// What the demo keeps of a state.
fn only_public(state: &mut Vec<StateEntry>) {
    state.retain(|entry| PUBLIC_KEYS.contains(&entry.key.as_str()));
}

fn settings_of(channels: &[String]) -> Vec<(String, ChannelSettings)> {
    channels.iter().map(|name| (name.clone(), settings())).collect()
}

async fn connect(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    let mut request = ConnectRequest::parse(&body, &limits(&backend))?;
    only_demo(request.channels.iter())?;
    admit(&backend, &demo)?;
    own(&mut request.username);
    own_all(&mut request.channels);
    only_public(&mut request.user_state);
    only_public(&mut request.fresh_user_state);
    request.state_public_keys = PUBLIC_KEYS.map(str::to_owned).to_vec();
    request.channel_configs = settings_of(&request.channels);
    Ok(answer::json(connect::open(&backend, request, OfDemo).await?))
}

async fn subscribe(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    let mut request = SubscribeRequest::parse(&body, None, &limits(&backend))?;
    only_demo(request.channels.iter())?;
    admit(&backend, &demo)?;
    own_all(&mut request.channels);
    request.channel_configs = settings_of(&request.channels);
    subscribe::join(&backend, request, OfDemo).await
}

async fn unsubscribe(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    let mut request = UnsubscribeRequest::parse(&body, None, &limits(&backend))?;
    only_demo(request.channels.iter())?;
    admit(&backend, &demo)?;
    own_all(&mut request.channels);
    unsubscribe::leave(&backend, request, OfDemo).await
}

async fn user_state(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    let mut request = UserStateRequest::parse(&body, &limits(&backend))?;
    admit(&backend, &demo)?;
    own(&mut request.user);
    only_public(&mut request.user_state);
    request.state_public_keys = Some(PUBLIC_KEYS.map(str::to_owned).to_vec());
    user_state::set(&backend, request, OfDemo).await
}

/// Browsers send one message, the API takes lists.
fn as_list(body: DemoBody) -> Bytes {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return body.into_bytes();
    }
    [b"[", &body[..], b"]"].concat().into()
}

async fn post(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    admit(&backend, &demo)?;
    let mut messages = parse_messages(&as_list(body), &limits(&backend), Timestamp::now())?;
    only_demo_deliveries(messages.iter().map(|message| &message.delivery))?;
    for message in &mut messages {
        own(&mut message.user);
        own_delivery(&mut message.delivery);
    }
    let mut out = Vec::new();
    write_message_answer(&messages, &mut out);
    backend.admit_written(&out)?;
    backend.publish(Publish::Post(messages));
    Ok(answer::json(out))
}

async fn patch(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    admit(&backend, &demo)?;
    let mut edits = parse_edits(&as_list(body), &limits(&backend), Timestamp::now())?;
    only_demo_deliveries(edits.iter().map(|edit| &edit.delivery))?;
    for edit in &mut edits {
        own_all(&mut edit.user);
        own_delivery(&mut edit.delivery);
    }
    let mut out = Vec::new();
    write_edit_answer(&edits, &mut out);
    backend.admit_written(&out)?;
    backend.publish(Publish::Edit(edits));
    Ok(answer::json(out))
}

async fn delete(
    backend: web::Data<BrokerHandle>,
    demo: web::Data<Demo>,
    body: DemoBody,
) -> Result<HttpResponse, Refusal> {
    admit(&backend, &demo)?;
    let mut deletes = parse_deletes(&as_list(body), &limits(&backend))?;
    only_demo_deliveries(deletes.iter().map(|delete| &delete.delivery))?;
    for delete in &mut deletes {
        own_delivery(&mut delete.delivery);
    }
    let mut out = Vec::new();
    write_delete_answer(&deletes, &mut out);
    backend.admit_written(&out)?;
    backend.publish(Publish::Delete(deletes));
    Ok(answer::json(out))
}
