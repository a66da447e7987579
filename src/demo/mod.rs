//! The pages for newcomers (the front page and the tutorial) and demo mode: the front page's live demo with the small
//! backend that a real application would have, and small websocket programs to read and try ([`echo`], [`chat`],
//! [`guarded`], [`board`]).
//!
//! Requests are not signed, so everything is mounted in demo mode only, and [`Gate::serves_demo`] checks each request.
//! The live demo affects only users and channels whose names begin with `demo:`, and uses a small separate share of the
//! server's limits. A real backend determines by its own rules which user sends a request; here the body names the
//! user. The websocket programs do not use the server's data at all. The upgrade service passes their handshakes
//! through [`sockets`]; a [`connection`] serves each socket and passes its messages to the handler of the demo.

mod backend;
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

pub use backend::MAX_BODY;
pub use board::routes::MAX_PUSH;
pub use board::state::{MAX_CHANNELS, MAX_NAME};

use crate::api::answer;
use crate::auth::Gate;
use crate::auth::signing::Keys;
use crate::broker::handle::BrokerHandle;
use crate::config::Settings;
use crate::console::{read, uptime};
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

/// Maximum number of the demo's websockets; more are refused with 503.
const MAX_SOCKETS: usize = 1_000;
/// Bytes that the demo's sockets may hold together. Above it, a socket that holds much is closed with 1013.
const MAX_MEMORY: usize = 256 << 20;
/// Maximum number of concurrent requests to the demo's actors; more are refused with 503.
const MAX_REQUESTS: usize = 1_024;

/// State shared by the demo's websocket programs, over all threads.
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

    /// Closes all sockets, because the server stops.
    pub fn close(&self) {
        self.stopping.cancel();
    }

    /// Sends an actor a message and waits for its response.
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

/// Mounts the front page and the tutorial, and in demo mode the backend of the live demo and the HTTP endpoints of the
/// other demos.
pub fn configure(demo: Option<web::Data<Demo>>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.service(web::resource("/").route(read().to(front_page)))
            .service(web::resource("/docs/first-application").route(read().to(pages::first_application)));
        if let Some(demo) = demo {
            // The scope matches all paths, so it comes last. A request without access to the demo gets 404 here.
            cfg.app_data(demo).service(
                web::scope("")
                    .guard(fn_guard(is_served))
                    .service(web::resource("/demo/state").route(read().to(state)))
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

/// Pages of the websocket programs. Handshakes to these paths go to the upgrade service instead.
fn programs(cfg: &mut web::ServiceConfig) {
    let upgrade_required = || async { Err::<&str, _>(Refusal::UpgradeRequired) };
    cfg.service(web::resource("/demo/").route(read().to(pages::index)))
        .service(web::resource("/demo/echo").route(read().to(pages::echo)))
        .service(web::resource("/demo/chat").route(read().to(pages::chat)))
        .service(web::resource("/demo/guarded/").route(read().to(pages::guarded)))
        .service(web::resource("/demo/guarded/token").route(web::post().to(guarded::issue_token)))
        .service(web::resource("/demo/guarded/echo").to(upgrade_required))
        .service(web::resource(["/demo", "/demo/guarded"]).route(read().to(pages::with_slash)))
        .service(web::resource(["/demo/echo/", "/demo/chat/"]).route(read().to(pages::without_slash)));
}

/// GET /.
async fn front_page(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let demo = if gate.serves_demo(req.head()) { "true" } else { "false" };
    FRONT.serve(&gate.base_url(req.head()), &[("demo", demo), ("version", env!("CARGO_PKG_VERSION"))])
}

/// GET /demo/state: the figures that the front page shows. Visitors do not need to know how busy a production server is,
/// so there are none without demo mode. It reads only counters and sends no request to an actor.
async fn state(broker: web::Data<BrokerHandle>) -> HttpResponse {
    let (counters, in_flight) = (&broker.counters, &broker.in_flight);
    let text = format!(
        r#"{{"version":"{}","uptime":"{}","sessions":{},"messages":{},"deliveries":{},"draining":{}}}"#,
        env!("CARGO_PKG_VERSION"),
        uptime(broker.started.elapsed().as_secs()),
        in_flight.sessions.get(),
        counters.messages.get(),
        counters.deliveries.get(),
        broker.is_draining(),
    );
    answer::json(text.into_bytes())
}
