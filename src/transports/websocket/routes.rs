//! Websockets beside those of sessions: a table that the server fills in.

use crate::http_error::Refusal;
use actix_http::RequestHead;
use tokio::net::TcpStream;

/// Paths, other than `/ws`, at which websockets are opened.
pub trait SocketRoutes {
    /// Whether this path, or a refusal of its own, is served to this request.
    fn serves(&self, path: &str, head: &RequestHead) -> bool;

    /// Judges a handshake to a path that is served.
    ///
    /// # Errors
    /// There is no such websocket, the path's own check refuses it, or too many are open.
    fn admit(&self, path: &str, head: &RequestHead) -> Result<Box<dyn AdmittedSocket>, Refusal>;
}

/// A handshake that such a path has admitted.
pub trait AdmittedSocket {
    /// Whether messages may be compressed.
    fn may_deflate(&self) -> bool;

    /// Takes the socket over after the handshake, with what came behind it.
    fn open(self: Box<Self>, socket: TcpStream, rest: &[u8], deflate: bool);
}
