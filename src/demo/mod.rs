//! What newcomers see first: the front page and the tutorial; and demo mode: the front page's live demo with the little
//! backend that a real application would have, and small websocket programs to read and to try ([`echo`],
//! [`chat`], [`guarded`]).
//!
//! Nothing here is signed, so all of it is mounted in demo mode only. The live demo touches nothing but channels whose
//! names begin with `demo`: a real backend decides by its own rules who a request comes from; here the body says it.
//! The websocket programs touch nothing of the server's at all. Their handshakes come from the upgrade service through
//! [`entrance`]; a [`connection`] serves each socket and hands its messages to what the demo is about.

mod backend;
mod first_application;
mod state;
pub mod entrance;
mod connection;
mod pulse;
mod share;
mod bridge;
mod audience;
mod echo;
mod guarded;
mod chat;

use crate::admin::pages::FRONT;
use crate::admin::read;
use crate::error::Refusal;
use crate::gate::Gate;
use crate::gate::backend::Backend;
use crate::observe::pressure::{Gauge, Pressure};
use crate::settings::Settings;
use crate::signing::Keys;
use actix::{Actor, Addr};
use actix_web::{HttpRequest, HttpResponse, web};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Most websockets of the demo at a time; more are refused with 503.
const MAX_SOCKETS: usize = 1_000;
/// Bytes that the demo's sockets may hold together; over it, one that holds much is closed with 1013.
const MAX_MEMORY: usize = 256 << 20;

/// What the demo's websocket programs share, over all threads.
pub struct Demo {
    settings: Arc<Settings>,
    pressure: Arc<Pressure>,
    room: Addr<chat::Room>,
    tokens: Keys,
    sockets: Arc<Gauge>,
    memory: Arc<Gauge>,
    stopping: CancellationToken,
}

impl Demo {
    /// Starts the demo's actors on this thread.
    pub fn start(settings: Arc<Settings>, pressure: Arc<Pressure>) -> Self {
        Self {
            settings,
            pressure,
            room: chat::Room::default().start(),
            tokens: guarded::keys(),
            sockets: Arc::new(Gauge::new(MAX_SOCKETS)),
            memory: Arc::new(Gauge::new(MAX_MEMORY)),
            stopping: CancellationToken::new(),
        }
    }

    /// Says goodbye to all sockets: the server stops.
    pub fn close(&self) {
        self.stopping.cancel();
    }
}

/// Mounts the front page and the tutorial, and in demo mode the live demo's backend and all that the other demos have over HTTP.
pub fn configure(demo: Option<web::Data<Demo>>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.service(web::resource("/").route(read().to(front_page)))
            .service(web::resource("/docs/first-application").route(read().to(first_application::page)));
        if let Some(demo) = demo {
            cfg.service(web::resource("/demo/state").route(read().to(state::state)));
            cfg.app_data(demo).configure(backend::configure);
            programs(cfg);
        }
    }
}

/// What the websocket programs have over HTTP. A handshake to one of these addresses never comes here.
fn programs(cfg: &mut web::ServiceConfig) {
    let upgrade_required = || async { Err::<&str, _>(Refusal::UpgradeRequired) };
    cfg.service(web::resource(["/demo/echo", "/demo/guarded/echo", "/demo/chat"]).to(upgrade_required))
        .service(web::resource("/demo/guarded/token").route(web::post().to(guarded::give_token)));
}

/// GET /.
async fn front_page(gate: web::Data<Gate>, backend: web::Data<Backend>, req: HttpRequest) -> HttpResponse {
    let demo = if backend.settings.demo_enabled() { "true" } else { "false" };
    FRONT.serve(&gate.base_url(req.headers()), &[("demo", demo), ("version", env!("CARGO_PKG_VERSION"))])
}
