//! Takes connections from the listener.

use super::Core;
use super::dispatcher::ConnectionPermit;
use super::fd_reserve::FdReserve;
use super::listener::Listener;
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

/// How long nobody is let in after the system had no room for another connection.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes connections until the server takes none any more, and hands them on.
///
/// Runs on a worker's thread: a thread of its own would have to be woken for each connection, and to wake the worker,
/// which costs more than all else about a new connection.
///
/// # Errors
/// The listener cannot be waited for.
pub async fn accept(
    listener: Listener,
    core: &Core,
    mut hand_on: impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) -> io::Result<()> {
    let Listener { socket, is_shared } = listener;
    let listener = TcpListener::from_std(socket)?;
    // A place for itself: as long as it is there, somebody may come.
    let _own = core.room.clone().acquire_owned().await.map_err(io::Error::other)?;
    tokio::select! {
        accepting = accept_all(&listener, core, &mut hand_on) => accepting.map(|never| match never {}),
        () = core.drain.reached(Stage::Closed) => {
            if !is_shared {
                take_the_last(&listener, core, &mut hand_on);
            }
            Ok(())
        }
    }
}

async fn accept_all(
    listener: &TcpListener,
    core: &Core,
    hand_on: &mut impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) -> io::Result<Infallible> {
    let mut reserve = FdReserve::new();
    loop {
        let permit = core.room.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((socket, peer)) => {
                reserve.refill();
                admit(core, socket, peer, permit, hand_on);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) if is_of_the_files(&error) => {
                core.counters.refused_no_files.add(reserve.turn_one_away(listener, &error).await);
            }
            Err(error) => {
                log::error!("cannot accept connections, trying again in a moment: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Those whom the kernel has let in already: it would cut them off with the listener.
fn take_the_last(
    listener: &TcpListener,
    core: &Core,
    hand_on: &mut impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) {
    while let Ok(permit) = core.room.clone().try_acquire_owned()
        && let Some(Ok((socket, peer))) = listener.accept().now_or_never()
    {
        admit(core, socket, peer, permit, hand_on);
    }
}

/// Hands a socket on if its address may have another one.
fn admit(
    core: &Core,
    socket: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    hand_on: &mut impl FnMut(TcpStream, SocketAddr, ConnectionPermit),
) {
    match seat(core, peer) {
        Ok(seat) => hand_on(socket, peer, ConnectionPermit { permit, seat }),
        Err(over) => refuse(core, socket, over),
    }
}

/// A seat for a new socket; none for those of our own proxies, whose clients are counted when they are known.
fn seat(core: &Core, peer: SocketAddr) -> Result<Option<Box<AddressSlot>>, OverLimit> {
    let Some(addresses) = &core.addresses else { return Ok(None) };
    if is_trusted(peer.ip(), &core.settings.trusted_proxies) {
        return Ok(None);
    }
    addresses.enter(peer.ip(), Charge::New).map(Some).map_err(|limit| address_refusal(limit, &core.settings))
}

fn refuse(core: &Core, socket: TcpStream, over: OverLimit) {
    core.counters.limits.count(over.limit);
    if let Ok(place) = core.turning_away.clone().try_acquire_owned() {
        actix_rt::spawn(reject(socket, over, place));
    }
}

/// Whether the error is that of one connection, which is gone again; the next one may be good.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset)
}

/// Whether the process, or the system, has no file descriptor left.
fn is_of_the_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}
