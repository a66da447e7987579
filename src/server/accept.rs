//! Accepts connections from a listener and dispatches them to the workers.

use super::core::Core;
use super::dispatcher::ConnectionPermit;
use super::listener::Listener;
use super::open_files::FdReserve;
use crate::auth::peer::is_trusted;
use crate::broker::drain::Stage;
use crate::broker::handle::address_refusal;
use crate::connection::reject::reject;
use crate::http_error::OverLimit;
use crate::limits::addresses::{AddressSlot, Charge};
use futures_util::FutureExt;
use nix::errno::Errno;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

/// The pause after an error of the listener itself.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Accepts connections until the server stops accepting, and dispatches each of them.
///
/// Runs on a worker's thread. A separate thread would have to be woken for each connection and would have to wake the
/// worker, which costs more than everything else about a new connection.
///
/// # Errors
/// The runtime cannot register the listener.
pub async fn accept(
    listener: Listener,
    core: &Core,
    mut dispatch: impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) -> io::Result<()> {
    let Listener { socket, is_shared } = listener;
    let listener = TcpListener::from_std(socket)?;
    // The listener's own permit: as long as the listener exists, another connection may arrive.
    let _own = core.http_permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    tokio::select! {
        accepting = accept_all(&listener, core, &mut dispatch) => accepting.map(|never| match never {}),
        () = core.drain.reached(Stage::Closed) => {
            if !is_shared {
                accept_pending(&listener, core, &mut dispatch);
            }
            Ok(())
        }
    }
}

async fn accept_all(
    listener: &TcpListener,
    core: &Core,
    dispatch: &mut impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) -> io::Result<Infallible> {
    let mut reserve = FdReserve::new();
    loop {
        let permit = core.http_permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((socket, peer)) => {
                reserve.refill();
                admit(core, socket, peer, permit, dispatch);
            }
            Err(error) if is_connection_error(&error) => {}
            Err(error) if is_fd_shortage(&error) => {
                core.counters.refused_no_files.add(reserve.reject_one(listener, &error).await);
            }
            Err(error) => {
                log::error!("cannot accept connections, retrying in {RETRY_DELAY:?}: {error}");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Accepts the connections that wait in the kernel's queue: the kernel resets them when the listener is closed.
fn accept_pending(
    listener: &TcpListener,
    core: &Core,
    dispatch: &mut impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) {
    while let Ok(permit) = core.http_permits.clone().try_acquire_owned()
        && let Some(Ok((socket, peer))) = listener.accept().now_or_never()
    {
        admit(core, socket, peer, permit, dispatch);
    }
}

/// Dispatches a socket if its address may have another one.
fn admit(
    core: &Core,
    socket: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    dispatch: &mut impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) {
    match address_slot(core, peer) {
        Ok(address_slot) => dispatch(socket, peer, ConnectionPermit { _permit: permit, address_slot }),
        Err(over) => refuse(core, socket, over),
    }
}

/// Counts a new socket for its address. A socket of a trusted proxy is counted later, for the address of its client.
fn address_slot(core: &Core, peer: SocketAddr) -> Result<Option<Box<AddressSlot>>, OverLimit> {
    let Some(addresses) = &core.addresses else { return Ok(None) };
    if is_trusted(peer.ip(), &core.settings.trusted_proxies) {
        return Ok(None);
    }
    addresses
        .acquire(peer.ip(), Charge::New)
        .map(Some)
        .map_err(|limit| address_refusal(limit, &core.settings))
}

fn refuse(core: &Core, socket: TcpStream, over: OverLimit) {
    core.counters.limits.count(over.limit);
    if let Ok(permit) = core.rejection_permits.clone().try_acquire_owned() {
        actix_rt::spawn(reject(socket, over, permit));
    }
}

/// Whether the error concerns one connection that has ended already, and not the listener.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset)
}

/// Whether the process or the system has no file descriptor left.
fn is_fd_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}
