//! HTTP requests: the routes, the middleware in front of them, and the fast path for the most frequent backend calls.

pub(crate) mod middleware;
pub(crate) mod cors;
pub(crate) mod fast_path;
pub(crate) mod health;
pub(crate) mod polled;
pub mod openapi;

use crate::api::{
    block, channel_config, connect, disconnect, end, info, message_delete, message_patch, message_post,
    subscribe, token, user_state,
};
use crate::console;
use crate::http_error::Refusal;
use crate::transports::long_poll::listen;
use actix_web::web;

/// The signed API for backends.
pub fn backends(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/connect").route(web::post().to(connect::connect)))
        .service(web::resource("/subscribe").route(web::post().to(subscribe::subscribe)))
        .service(web::resource("/unsubscribe").route(web::post().to(subscribe::unsubscribe)))
        .service(web::resource("/user_state").route(web::post().to(user_state::user_state)))
        .service(web::resource("/channel_config").route(web::post().to(channel_config::channel_config)))
        .service(web::resource("/end").route(web::post().to(end::end)))
        .service(
            web::resource("/block")
                .route(web::post().to(block::block))
                .route(web::get().to(block::list))
                .route(web::delete().to(block::unblock)),
        )
        .service(web::resource("/info").to(info::info_of_channels))
        .service(
            web::resource("/message")
                .route(web::post().to(message_post::post))
                .route(web::patch().to(message_patch::patch))
                .route(web::delete().to(message_delete::delete)),
        );
}

/// The endpoints for browsers.
pub fn browsers(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/listen").route(web::get().to(listen::listen)))
        .service(
            web::resource("/disconnect")
                .route(web::post().to(disconnect::disconnect_by_body))
                .route(web::route().to(disconnect::disconnect_by_query)),
        )
        .service(web::resource("/token").route(web::post().to(token::refresh)))
        // Handshakes never reach this route: the upgrade service handles them.
        .service(web::resource("/ws").to(|| async { Err::<&str, _>(Refusal::UpgradeRequired) }))
        .configure(health::configure)
        .configure(console::configure);
}
