//! Takes connections from the listener.

use super::Core;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

/// How long nobody is let in after the system had no room for another connection.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes connections as long as there is room, and hands them on.
///
/// Runs on a worker's thread: a thread of its own would have to be woken for each connection, and to wake the worker,
/// which costs more than all else about a new connection.
///
/// # Errors
/// The listener cannot be waited for.
pub async fn accept(
    listener: std::net::TcpListener,
    core: &Core,
    mut hand_on: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let place = core.room.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((socket, peer)) => hand_on(socket, peer, place),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                log::error!("cannot accept connections, trying again in a moment: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the error is that of one connection, which is gone again; the next one may be good.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset)
}
