//! The threads that serve connections. The first one takes them from the listener, and deals them to all in turn.

use super::accept::accept;
use super::listener::Listener;
use super::{Core, http_service};
use crate::edge::arrival::{Arrival, Arrivals, Place};
use actix_rt::{Arbiter, ArbiterHandle};
use actix_service::{Service, ServiceFactory};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A connection on its way to another thread.
struct Dealt {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// What a worker does beside serving connections.
enum Part {
    /// Takes connections from the listener, for itself and for the others.
    First(Listener, Vec<UnboundedSender<Dealt>>),
    /// Gets its connections. How many may wait is bounded by the room that there is for connections.
    Other(UnboundedReceiver<Dealt>),
}

/// Starts so many workers. One that fails tells [`Core::ended`].
pub fn start(core: &Arc<Core>, listener: Listener, workers: usize) -> Vec<ArbiterHandle> {
    let (others, receivers): (Vec<_>, Vec<_>) = (1..workers).map(|_| unbounded_channel()).unzip();
    let parts = std::iter::once(Part::First(listener, others)).chain(receivers.into_iter().map(Part::Other));
    parts.map(|part| start_one(core.clone(), part)).collect()
}

fn start_one(core: Arc<Core>, part: Part) -> ArbiterHandle {
    let thread = Arbiter::new().handle();
    thread.spawn_fn(move || {
        actix_rt::spawn(async move {
            if let Err(error) = work(&core, part).await {
                let _ = core.ended.send(Err(error));
            }
        });
    });
    thread
}

async fn work(core: &Arc<Core>, part: Part) -> io::Result<()> {
    let (http, upgrade) = http_service(core);
    // Always ready from here on: nothing of ours has a limit of its own.
    let http = http.new_service(()).await.map_err(|()| io::Error::other("a worker cannot serve HTTP"))?;
    let arrivals = Rc::new(Arrivals::new(http, upgrade));
    core.vitals.worker_started();
    match part {
        Part::First(listener, others) => take_and_deal(core, listener, &others, &arrivals).await,
        Part::Other(mut dealt) => {
            while let Some(Dealt { socket, peer, place }) = dealt.recv().await {
                match TcpStream::from_std(socket) {
                    Ok(socket) => arrivals.take(socket, peer, place),
                    Err(error) => log::warn!("a new connection is lost: {error}"),
                }
            }
            Ok(())
        }
    }
}

/// Until the server ends.
async fn take_and_deal<H>(
    core: &Core,
    listener: Listener,
    others: &[UnboundedSender<Dealt>],
    arrivals: &Rc<Arrivals<H>>,
) -> io::Result<()>
where
    H: Service<Arrival, Response = ()> + 'static,
{
    let mut turn = 0;
    let deal = |socket: TcpStream, peer, place| {
        match others.get(turn) {
            None => arrivals.take(socket, peer, place),
            Some(other) => match socket.into_std() {
                Ok(socket) => _ = other.send(Dealt { socket, peer, place }),
                Err(error) => log::warn!("a new connection is lost: {error}"),
            },
        }
        turn = (turn + 1) % (others.len() + 1);
    };
    accept(listener, core, deal).await
}
