//! The threads that serve connections. The first one accepts them and assigns them to all workers round-robin. Each worker has
//! the HTTP stack with its routes, and the upgrade service for websockets.

use super::accept::accept;
use super::core::Core;
use super::dispatcher::{ConnectionDispatcher, ConnectionPermit, NewConnection};
use super::listener::Listeners;
use super::threads;
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
use crate::http::{self, middleware};
use crate::telemetry::log_sums::LOST_CONNECTIONS;
use crate::transports::websocket::upgrade::Upgrade;
use actix_http::{Extensions, HttpService, KeepAlive};
use actix_rt::ArbiterHandle;
use actix_service::{Service, ServiceFactory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use futures_util::future::try_join_all;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A connection that is assigned to another worker.
struct Assigned {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    permit: ConnectionPermit,
    endpoint: Endpoint,
}

/// The server's address that a connection was accepted on.
#[derive(Clone, Copy)]
enum Endpoint {
    First,
    Internal,
}

/// The dispatchers of a worker, one for each address.
struct Dispatchers<H> {
    first: Rc<ConnectionDispatcher<H>>,
    internal: Option<Rc<ConnectionDispatcher<H>>>,
}

impl<H: Service<NewConnection, Response = ()> + 'static> Dispatchers<H> {
    fn dispatch(&self, endpoint: Endpoint, socket: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        match (endpoint, &self.internal) {
            (Endpoint::Internal, Some(internal)) => internal.dispatch(socket, peer, permit),
            _ => self.first.dispatch(socket, peer, permit),
        }
    }
}

/// The source of a worker's connections.
enum WorkerPart {
    /// Accepts connections, for itself and for the other workers.
    First(Listeners, Vec<UnboundedSender<Assigned>>),
    /// Receives its connections. The connection permits limit how many can wait.
    Other(UnboundedReceiver<Assigned>),
}

/// Starts this many workers. A worker that fails later sends its error to [`Core::ended`].
///
/// # Errors
/// The system refuses a thread or its files.
pub fn start(core: &Arc<Core>, listeners: Listeners, workers: usize) -> io::Result<Vec<ArbiterHandle>> {
    let (others, receivers): (Vec<_>, Vec<_>) = (1..workers).map(|_| unbounded_channel()).unzip();
    let parts = std::iter::once(WorkerPart::First(listeners, others))
        .chain(receivers.into_iter().map(WorkerPart::Other));
    (1..).zip(parts).map(|(number, part)| start_one(core.clone(), part, number)).collect()
}

fn start_one(core: Arc<Core>, part: WorkerPart, number: usize) -> io::Result<ArbiterHandle> {
    let thread = threads::start(format!("cs-worker-{number}"))?;
    thread.spawn_fn(move || {
        actix_rt::spawn(async move {
            if let Err(error) = work(&core, part).await {
                let _ = core.ended.send(Err(error));
            }
        });
    });
    Ok(thread)
}

async fn work(core: &Arc<Core>, part: WorkerPart) -> io::Result<()> {
    let dispatchers = start_dispatchers(core).await?;
    core.thread_health.worker_started();
    match part {
        WorkerPart::First(listeners, others) => {
            accept_and_assign(core, listeners, &others, &dispatchers).await
        }
        WorkerPart::Other(mut assigned) => {
            while let Some(Assigned { socket, peer, permit, endpoint }) = assigned.recv().await {
                match TcpStream::from_std(socket) {
                    Ok(socket) => dispatchers.dispatch(endpoint, socket, peer, permit),
                    Err(error) => log_lost(peer, &error),
                }
            }
            Ok(())
        }
    }
}

fn log_lost(peer: SocketAddr, error: &io::Error) {
    LOST_CONNECTIONS.log(Some(peer.ip()), format_args!("a new connection is lost: {error}"));
}

async fn start_dispatchers(
    core: &Arc<Core>,
) -> io::Result<Dispatchers<impl Service<NewConnection, Response = ()> + use<> + 'static>> {
    let registry = core.start_registry();
    let hub = core.start_hub(&registry);
    let broker = web::Data::new(core.broker(registry));
    let (first, internal) = match core.settings.internal_host {
        None => (Exposure::Everything, None),
        Some(_) => (Exposure::Browsers, Some(Exposure::Everything)),
    };
    let first = start_dispatcher(core, &broker, &hub, first).await?;
    let internal = match internal {
        None => None,
        Some(exposure) => Some(start_dispatcher(core, &broker, &hub, exposure).await?),
    };
    Ok(Dispatchers { first, internal })
}

async fn start_dispatcher(
    core: &Arc<Core>,
    broker: &web::Data<BrokerHandle>,
    hub: &HubHandle,
    exposure: Exposure,
) -> io::Result<Rc<ConnectionDispatcher<impl Service<NewConnection, Response = ()> + use<> + 'static>>> {
    let (http, upgrade) = http_services(core, broker, hub, exposure);
    // The service is always ready: none of its parts has a limit that would make it wait.
    let http = http.new_service(()).await.map_err(|()| io::Error::other("a worker cannot serve HTTP"))?;
    Ok(Rc::new(ConnectionDispatcher::new(http, upgrade)))
}

/// Runs until the server stops accepting.
async fn accept_and_assign<H>(
    core: &Core,
    listeners: Listeners,
    others: &[UnboundedSender<Assigned>],
    dispatchers: &Dispatchers<H>,
) -> io::Result<()>
where
    H: Service<NewConnection, Response = ()> + 'static,
{
    let next = Cell::new(0);
    let assign_round_robin = |endpoint: Endpoint, socket: TcpStream, peer, permit| {
        match others.get(next.get()) {
            None => dispatchers.dispatch(endpoint, socket, peer, permit),
            Some(other) => match socket.into_std() {
                Ok(socket) => _ = other.send(Assigned { socket, peer, permit, endpoint }),
                Err(error) => log_lost(peer, &error),
            },
        }
        next.set((next.get() + 1) % (others.len() + 1));
    };
    let Listeners { first, internal } = listeners;
    let first = first.into_iter().map(|listener| (Endpoint::First, listener));
    let internal = internal.into_iter().map(|listener| (Endpoint::Internal, listener));
    let assign = &assign_round_robin;
    let accepting = first.chain(internal).map(|(endpoint, listener)| {
        accept(listener, core, move |socket, peer, permit| assign(endpoint, socket, peer, permit))
    });
    try_join_all(accepting).await.map(drop)
}

/// The services of the current thread for an address with this exposure: one for HTTP connections, one for websocket
/// handshakes.
fn http_services(
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
            .configure(http::backends)
            .configure(http::browsers)
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
