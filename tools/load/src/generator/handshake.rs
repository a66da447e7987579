//! How a client connects: its backend announces it by /connect, then it attaches by a websocket handshake.

use super::backend::{Backend, request};
use std::io;
use std::ops::Range;

/// The end of the answer to a handshake, once it is complete and successful.
pub fn welcome(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    answer.starts_with(b"HTTP/1.1 101").then_some(end)
}

/// The id of the connection of this index.
pub(super) fn conn_id(index: usize) -> String {
    format!("c0ffee00-0000-4000-8000-{index:012x}")
}

/// The /connect call for the connection of this index.
pub fn call(index: usize, channel: &str) -> Vec<u8> {
    let id = conn_id(index);
    // Without the last line of the body, the answers to the connects of a crowd would grow with the crowd.
    let body = format!(
        r#"{{"username":"u{index}","conn_id":"{id}","channels":["{channel}"],
        "info":{{"include_users":false,"include_history":false}}}}"#
    );
    request("POST", "/connect", &body)
}

/// A call that succeeds only while the server has the connection of this index.
pub fn leave(index: usize) -> Vec<u8> {
    let body = format!(r#"{{"conn_id":"{}","channels":["nowhere"]}}"#, conn_id(index));
    request("POST", "/unsubscribe", &body)
}

/// The handshake that attaches to the connection of this index.
pub fn handshake(index: usize, deflate: bool) -> Vec<u8> {
    let id = conn_id(index);
    let extension = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET /ws?conn_id={id} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         {extension}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Sends the /connect calls of connections.
pub(super) fn send_connects(
    backend: &mut Backend,
    channel_of: impl Fn(usize) -> String,
    indexes: Range<usize>,
) -> io::Result<()> {
    let calls: Vec<_> = indexes.map(|index| call(index, &channel_of(index))).collect();
    backend.call(&calls).map(drop)
}

/// Sends the /connect calls of connections, and returns the handshakes that attach to them.
pub fn connect(
    backend: &mut Backend,
    channel_of: impl Fn(usize) -> String,
    indexes: Range<usize>,
    deflate: bool,
) -> io::Result<Vec<Vec<u8>>> {
    send_connects(backend, channel_of, indexes.clone())?;
    Ok(indexes.map(|index| handshake(index, deflate)).collect())
}
