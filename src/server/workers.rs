//! The threads that serve connections. The first one takes them from the listener, and deals them to all in turn.

use super::accept::accept;
use super::dispatcher::{ConnectionDispatcher, ConnectionPermit, NewConnection};
use super::listener::Listeners;
use super::{Core, http_service, threads};
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

/// A connection on its way to another thread.
struct Assigned {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    place: ConnectionPermit,
    door: Door,
}

/// Which of the server's addresses a connection came to.
#[derive(Clone, Copy)]
enum Door {
    First,
    Internal,
}

/// A thread's ways in.
struct Doors<H> {
    first: Rc<ConnectionDispatcher<H>>,
    internal: Option<Rc<ConnectionDispatcher<H>>>,
}

impl<H: Service<NewConnection, Response = ()> + 'static> Doors<H> {
    fn take(&self, door: Door, socket: TcpStream, peer: SocketAddr, place: ConnectionPermit) {
        match (door, &self.internal) {
            (Door::Internal, Some(internal)) => internal.take(socket, peer, place),
            _ => self.first.take(socket, peer, place),
        }
    }
}

/// What a worker does beside serving connections.
enum WorkerPart {
    /// Takes connections from the listeners, for itself and for the others.
    First(Listeners, Vec<UnboundedSender<Assigned>>),
    /// Gets its connections. How many may wait is bounded by the room that there is for connections.
    Other(UnboundedReceiver<Assigned>),
}

/// Starts so many workers. One that fails later tells [`Core::ended`].
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
    let doors = open_doors(core).await?;
    core.thread_health.worker_started();
    match part {
        WorkerPart::First(listeners, others) => take_and_deal(core, listeners, &others, &doors).await,
        WorkerPart::Other(mut dealt) => {
            while let Some(Assigned { socket, peer, place, door }) = dealt.recv().await {
                match TcpStream::from_std(socket) {
                    Ok(socket) => doors.take(door, socket, peer, place),
                    Err(error) => is_lost(peer, &error),
                }
            }
            Ok(())
        }
    }
}

/// The system has taken a connection back.
fn is_lost(peer: SocketAddr, error: &io::Error) {
    LOST_CONNECTIONS.log(Some(peer.ip()), format_args!("a new connection is lost: {error}"));
}

async fn open_doors(
    core: &Arc<Core>,
) -> io::Result<Doors<impl Service<NewConnection, Response = ()> + use<> + 'static>> {
    let registry = core.start_registry();
    let hub = core.start_hub(&registry);
    let broker = web::Data::new(core.broker(registry));
    let (first, internal) = match core.settings.internal_host {
        None => (Exposure::Everything, None),
        Some(_) => (Exposure::Browsers, Some(Exposure::Everything)),
    };
    let first = open_door(core, &broker, &hub, first).await?;
    let internal = match internal {
        None => None,
        Some(exposure) => Some(open_door(core, &broker, &hub, exposure).await?),
    };
    Ok(Doors { first, internal })
}

async fn open_door(
    core: &Arc<Core>,
    broker: &web::Data<BrokerHandle>,
    hub: &HubHandle,
    exposure: Exposure,
) -> io::Result<Rc<ConnectionDispatcher<impl Service<NewConnection, Response = ()> + use<> + 'static>>> {
    let (http, upgrade) = http_service(core, broker, hub, exposure);
    // Always ready from here on: nothing of ours has a limit of its own.
    let http = http.new_service(()).await.map_err(|()| io::Error::other("a worker cannot serve HTTP"))?;
    Ok(Rc::new(ConnectionDispatcher::new(http, upgrade)))
}

/// Until the server ends.
async fn take_and_deal<H>(
    core: &Core,
    listeners: Listeners,
    others: &[UnboundedSender<Assigned>],
    doors: &Doors<H>,
) -> io::Result<()>
where
    H: Service<NewConnection, Response = ()> + 'static,
{
    let turn = Cell::new(0);
    let deal = |door: Door, socket: TcpStream, peer, place| {
        match others.get(turn.get()) {
            None => doors.take(door, socket, peer, place),
            Some(other) => match socket.into_std() {
                Ok(socket) => _ = other.send(Assigned { socket, peer, place, door }),
                Err(error) => is_lost(peer, &error),
            },
        }
        turn.set((turn.get() + 1) % (others.len() + 1));
    };
    let Listeners { first, internal } = listeners;
    let first = first.into_iter().map(|listener| (Door::First, listener));
    let internal = internal.into_iter().map(|listener| (Door::Internal, listener));
    let deal = &deal;
    let accepting = first.chain(internal).map(|(door, listener)| {
        accept(listener, core, move |socket, peer, place| deal(door, socket, peer, place))
    });
    try_join_all(accepting).await.map(drop)
}
