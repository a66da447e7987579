//! The services of a worker: the HTTP stack with its routes, and the upgrade service for websockets.

use super::core::Core;
use super::dispatcher::NewConnection;
use crate::auth::public_paths::Exposure;
use crate::broker::drain::Stage;
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::handle::HubHandle;
use crate::connection::body_pieces;
use crate::connection::timed_socket::TimedSocket;
use crate::console;
use crate::demo;
use crate::demo::sockets::DemoSockets;
use crate::http::fast_path::FastPath;
use crate::http::{middleware, routes};
use crate::transports::websocket::upgrade::Upgrade;
use actix_http::{Extensions, HttpService, KeepAlive};
use actix_service::{ServiceFactory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The services of the current thread for an address with this exposure: one for HTTP connections, one for websocket
/// handshakes.
pub(super) fn http_services(
    core: &Arc<Core>,
    broker: &web::Data<BrokerHandle>,
    hub: &HubHandle,
    exposure: Exposure,
) -> (
    impl ServiceFactory<
        NewConnection,
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    > + use<>,
    Upgrade,
) {
    let (broker, hub) = (broker.clone(), hub.clone());
    let gate = web::Data::from(core.gate.clone());
    let console = web::Data::from(core.console.clone());
    let demo = core.start_demo().map(web::Data::from);
    let upgrade = Upgrade {
        gate: gate.clone(),
        broker: broker.clone(),
        hub: hub.clone(),
        routes: demo.clone().map(|demo| Rc::new(DemoSockets { gate: gate.clone(), demo }) as _),
        exposure,
    };
    let fast_path = FastPath { gate: gate.clone(), broker: broker.clone(), exposure };
    let app = move || {
        App::new()
            .app_data(gate.clone())
            .app_data(broker.clone())
            .app_data(hub.clone())
            .app_data(console.clone())
            .app_data(exposure)
            .wrap(actix_web::middleware::from_fn(middleware::process))
            .configure(routes::backends)
            .configure(routes::browsers)
            .configure(console::figures)
            .configure(console::endpoints::configure)
            .configure(demo::configure(demo))
    };
    let (drain, handshakes) = (core.drain.clone(), upgrade.clone());
    let settings = &core.settings;
    let http = HttpService::build()
        .on_connect_ext(|io: &TimedSocket, data: &mut Extensions| _ = data.insert(io.deadline.clone()))
        // The deadline tracker limits the time for a head, and does so for every request, not only for the first one of
        // a connection.
        .client_request_timeout(Duration::ZERO)
        // It limits the time between two requests as well.
        .keep_alive(if settings.keep_alive_ms == 0 { KeepAlive::Disabled } else { KeepAlive::Os })
        .h1_write_buffer_size(body_pieces::WRITE_BUFFER)
        // A client that has finished sending still receives its answer. Polls detect clients that have disconnected.
        .h1_allow_half_closed(true)
        .graceful_shutdown_signal(move || drain.reached(Stage::Ending))
        .upgrade(fn_service(move |(request, framed)| upgrade.clone().handle(request, framed)))
        .finish(fast_path.wrap(map_config(app(), |_| AppConfig::default())));
    (http, handshakes)
}
