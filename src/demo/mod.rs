//! What newcomers see first: the front page and the tutorial; and demo mode: the front page's live demo with the little
//! backend that a real application would have, and small websocket programs to read and to try ([`echo`],
//! [`chat`], [`guarded`], [`board`]).
//!
//! Nothing here is signed, so all of it is mounted in demo mode only, and [`Gate::serves_demo`] judges each request. The
//! live demo touches nothing but users and channels whose names begin with `demo:`, and has a small share of its own of
//! what the server keeps: a real backend decides by its own rules who a request comes from; here the body says it.
//! The websocket programs touch nothing of the server's at all. Their handshakes come from the upgrade service through
//! [`entrance`]; a [`connection`] serves each socket and hands its messages to what the demo is about.

mod backend;
mod first_application;
mod state;
pub mod sockets;
mod connection;
mod heartbeat;
mod memory_share;
mod actor_adapter;
mod subscribers;
mod echo;
mod guarded;
mod chat;
mod board;
mod pages;

use crate::api::operation::{Description, Operation};
use crate::auth::Gate;
use crate::auth::signing::Keys;
use crate::config::Settings;
use crate::console::read;
use crate::http_error::Refusal;
use crate::limits::rate::PublishRates;
use crate::telemetry::in_flight::{BoundedCounter, InFlight};
use crate::web::pages::FRONT;
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use actix_web::guard::{GuardContext, fn_guard};
use actix_web::{HttpRequest, HttpResponse, web};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Most websockets of the demo at a time; more are refused with 503.
const MAX_SOCKETS: usize = 1_000;
/// Bytes that the demo's sockets may hold together; over it, one that holds much is closed with 1013.
const MAX_MEMORY: usize = 256 << 20;
/// Most requests to the demo's actors at a time; more are refused with 503.
const MAX_REQUESTS: usize = 1_024;

/// What the demo's websocket programs share, over all threads.
pub struct Demo {
    settings: Arc<Settings>,
    in_flight: Arc<InFlight>,
    board: Addr<board::Board>,
    room: Addr<chat::Room>,
    tokens: Keys,
    sockets: Arc<BoundedCounter>,
    memory: Arc<BoundedCounter>,
    requests: BoundedCounter,
    rate: PublishRates,
    stopping: CancellationToken,
}

impl Demo {
    /// Starts the demo's actors on this thread.
    pub fn start(settings: Arc<Settings>, in_flight: Arc<InFlight>) -> Self {
        Self {
            settings,
            in_flight,
            board: board::Board::default().start(),
            room: chat::Room::default().start(),
            tokens: guarded::keys(),
            sockets: Arc::new(BoundedCounter::new(MAX_SOCKETS)),
            memory: Arc::new(BoundedCounter::new(MAX_MEMORY)),
            requests: BoundedCounter::new(MAX_REQUESTS),
            rate: PublishRates::new(backend::RATE),
            stopping: CancellationToken::new(),
        }
    }

    /// Says goodbye to all sockets: the server stops.
    pub fn close(&self) {
        self.stopping.cancel();
    }

    /// Asks an actor and waits for its answer.
    async fn ask<A, M>(&self, actor: &Addr<A>, message: M) -> Result<M::Result, Refusal>
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if self.requests.is_full() {
            return Err(Refusal::Busy);
        }
        let _counted = self.requests.count_in();
        actor.send(message).await.map_err(|_| Refusal::Draining)
    }
}

/// What the API's description says of the demos, as far as programs call them.
pub const DESCRIBED: &[fn(&mut Description<'_>) -> Operation] = &[
    state::described,
    backend::described_connect,
    backend::described_subscribe,
    backend::described_unsubscribe,
    backend::described_user_state,
    backend::described_post,
    backend::described_patch,
    backend::described_delete,
    guarded::described,
    board::routes::described_new_channel,
    board::routes::described_del_channel,
    board::routes::described_push,
];

/// Mounts the front page and the tutorial, and in demo mode the live demo's backend and all that the other demos have
/// over HTTP.
pub fn configure(demo: Option<web::Data<Demo>>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.service(web::resource("/").route(read().to(front_page)))
            .service(web::resource("/docs/first-application").route(read().to(first_application::page)));
        if let Some(demo) = demo {
            // It has paths of all kinds, so it comes last. A request that may not see the demo finds nothing here.
            cfg.app_data(demo).service(
                web::scope("")
                    .guard(fn_guard(is_served))
                    .service(web::resource("/demo/state").route(read().to(state::state)))
                    .configure(backend::configure)
                    .configure(board::routes::configure)
                    .configure(programs),
            );
        }
    }
}

fn is_served(request: &GuardContext<'_>) -> bool {
    request.app_data::<web::Data<Gate>>().is_some_and(|gate| gate.serves_demo(request.head()))
}

/// Pages of the websocket programs. A handshake to one of these addresses never comes here.
fn programs(cfg: &mut web::ServiceConfig) {
    let upgrade_required = || async { Err::<&str, _>(Refusal::UpgradeRequired) };
    cfg.service(web::resource("/demo/").route(read().to(pages::index)))
        .service(web::resource("/demo/echo").route(read().to(pages::echo)))
        .service(web::resource("/demo/chat").route(read().to(pages::chat)))
        .service(web::resource("/demo/guarded/").route(read().to(pages::guarded)))
        .service(web::resource("/demo/guarded/token").route(web::post().to(guarded::give_token)))
        .service(web::resource("/demo/guarded/echo").to(upgrade_required))
        .service(web::resource(["/demo", "/demo/guarded"]).route(read().to(pages::with_slash)))
        .service(web::resource(["/demo/echo/", "/demo/chat/"]).route(read().to(pages::without_slash)));
}

/// GET /.
async fn front_page(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let demo = if gate.serves_demo(req.head()) { "true" } else { "false" };
    FRONT.serve(&gate.base_url(req.head()), &[("demo", demo), ("version", env!("CARGO_PKG_VERSION"))])
}
