//! What a web application does between its browsers and this server, in its smallest form.

use crate::api::answer;
use crate::api::connect::{self, ConnectRequest};
use crate::api::invalid::Invalid;
use crate::api::limits::Limits;
use crate::api::message_delete::{parse_deletes, write_delete_answer};
use crate::api::message_patch::{parse_edits, write_edit_answer};
use crate::api::message_post::{parse_messages, write_message_answer};
use crate::api::subscribe::{self, SubscribeRequest};
use crate::api::unsubscribe::{self, UnsubscribeRequest};
use crate::api::user_state::{self, UserStateRequest};
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::registry::messages::Publish;
use crate::wire::message::Delivery;
use crate::wire::settings::ChannelSettings;
use crate::wire::time::Timestamp;
use actix_web::{HttpResponse, web};
use bytes::Bytes;

/// Only these channels belong to the demo.
const PREFIX: &str = "demo";
/// The part of a user's state that everybody may see.
const PUBLIC_KEYS: [&str; 1] = ["color"];

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

fn limits(backend: &Backend) -> Limits {
    Limits::from(&*backend.settings)
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
        Some(_) => Err(Invalid::field("channel", "Demo channels begin with \"demo\".").into()),
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

async fn connect(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let mut request = ConnectRequest::parse(&body, &limits(&backend))?;
    only_demo(request.channels.iter())?;
    backend.admit()?;
    request.state_public_keys = PUBLIC_KEYS.map(str::to_owned).to_vec();
    request.channel_configs = request.channels.iter().map(|name| (name.clone(), settings())).collect();
    Ok(answer::json(connect::open(&backend, request).await?))
}

async fn subscribe(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let mut request = SubscribeRequest::parse(&body, None, &limits(&backend))?;
    only_demo(request.channels.iter())?;
    backend.admit()?;
    request.channel_configs = request.channels.iter().map(|name| (name.clone(), settings())).collect();
    subscribe::join(&backend, request).await
}

async fn unsubscribe(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = UnsubscribeRequest::parse(&body, None, &limits(&backend))?;
    only_demo(request.channels.iter())?;
    backend.admit()?;
    unsubscribe::leave(&backend, request).await
}

async fn user_state(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let mut request = UserStateRequest::parse(&body, &limits(&backend))?;
    backend.admit()?;
    request.state_public_keys = Some(PUBLIC_KEYS.map(str::to_owned).to_vec());
    user_state::set(&backend, request).await
}

/// Browsers send one message, the API takes lists.
fn as_list(body: Body) -> Bytes {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return body.0;
    }
    [b"[", &body[..], b"]"].concat().into()
}

async fn post(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let messages = parse_messages(&as_list(body), &limits(&backend), Timestamp::now())?;
    only_demo_deliveries(messages.iter().map(|message| &message.delivery))?;
    backend.admit()?;
    let mut out = Vec::new();
    write_message_answer(&messages, &mut out);
    backend.publish(Publish::Post(messages));
    Ok(answer::json(out))
}

async fn patch(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let edits = parse_edits(&as_list(body), &limits(&backend), Timestamp::now())?;
    only_demo_deliveries(edits.iter().map(|edit| &edit.delivery))?;
    backend.admit()?;
    let mut out = Vec::new();
    write_edit_answer(&edits, &mut out);
    backend.publish(Publish::Edit(edits));
    Ok(answer::json(out))
}

async fn delete(backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let deletes = parse_deletes(&as_list(body), &limits(&backend))?;
    only_demo_deliveries(deletes.iter().map(|delete| &delete.delivery))?;
    backend.admit()?;
    let mut out = Vec::new();
    write_delete_answer(&deletes, &mut out);
    backend.publish(Publish::Delete(deletes));
    Ok(answer::json(out))
}
