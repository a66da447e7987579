//! The interface for websockets other than those of sessions. The server passes its implementations to the upgrade service.

use crate::http_error::Refusal;
use actix_http::RequestHead;
use tokio::net::TcpStream;

/// Paths, other than `/ws`, at which websockets are opened.
pub trait SocketRoutes {
    /// Whether this implementation answers a handshake to this path, possibly with a refusal.
    fn serves(&self, path: &str, head: &RequestHead) -> bool;

    /// Checks a handshake to a path for which [`SocketRoutes::serves`] is true.
    ///
    /// # Errors
    /// There is no such websocket, the check of the path refuses the handshake, or too many websockets are open.
    fn admit(&self, path: &str, head: &RequestHead) -> Result<Box<dyn AdmittedSocket>, Refusal>;
}

/// A websocket whose handshake was admitted.
pub trait AdmittedSocket {
    fn may_deflate(&self) -> bool;

    /// Takes the socket over after the handshake. `rest` are the bytes that came after it.
    fn open(self: Box<Self>, socket: TcpStream, rest: &[u8], deflate: bool);
}
