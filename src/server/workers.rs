//! The threads that serve connections. The first one accepts them and assigns them to all workers round-robin.

use super::accept::accept;
use super::core::Core;
use super::dispatcher::{ConnectionDispatcher, ConnectionPermit, NewConnection};
use super::http_services::http_services;
use super::listener::Listeners;
use super::threads;
use crate::auth::public_paths::Exposure;
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::handle::HubHandle;
use crate::telemetry::log_sums::LOST_CONNECTIONS;
use actix_rt::ArbiterHandle;
use actix_service::{Service, ServiceFactory};
use actix_web::web;
use futures_util::future::try_join_all;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
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
