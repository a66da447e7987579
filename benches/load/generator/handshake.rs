//! How a client comes in: announced by its backend, then taken up by a websocket handshake.

use super::backend::{Backend, request};
use std::fmt::Write as _;
use std::io;
use std::ops::Range;

/// Where the answer to a handshake ends, once it is there and is a good one.
pub(super) fn welcome(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    answer.starts_with(b"HTTP/1.1 101").then_some(end)
}

/// Announces connections to the server, and gives the handshakes that take them up.
pub(super) fn connect(
    backend: &mut Backend,
    channel_of: impl Fn(usize) -> String,
    indexes: Range<usize>,
    deflate: bool,
) -> io::Result<Vec<Vec<u8>>> {
    let (mut calls, mut handshakes) = (Vec::new(), Vec::new());
    let extension = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    for index in indexes {
        let channel = channel_of(index);
        let id = format!("c0ffee00-0000-4000-8000-{index:012x}");
        let mut body = format!(r#"{{"username":"u{index}","conn_id":"{id}","channels":["{channel}"],"#);
        // Without this, the answers of a crowd's connects would grow with the crowd.
        let _ = write!(body, r#""info":{{"include_users":false,"include_history":false}}}}"#);
        calls.push(request("POST", "/connect", &body));
        let handshake = format!(
            "GET /ws?conn_id={id} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             {extension}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        handshakes.push(handshake.into_bytes());
    }
    backend.call(&calls)?;
    Ok(handshakes)
}
