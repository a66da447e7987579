//! How a client connects: its backend announces it by /connect, or its token does; then it attaches by a websocket
//! handshake or a request for an event stream.

use super::backend::{Backend, request};
use super::frames::first_event;
use super::server::TOKEN_SECRET;
use channelstream_signing::hs256;
use std::io;
use std::ops::Range;
use std::time::SystemTime;

/// How a client receives its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Websocket,
    /// A websocket with permessage-deflate.
    Deflated,
    /// A websocket that asks for positions.
    Positions,
    /// Server-sent events, always with positions.
    Events,
}

impl Transport {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Websocket => "plain",
            Self::Deflated => "deflated",
            Self::Positions => "positions",
            Self::Events => "event stream",
        }
    }

    /// Whether sessions receive the elements of clients that ask for positions.
    pub fn is_positioned(self) -> bool {
        matches!(self, Self::Positions | Self::Events)
    }

    /// The request that attaches to the connection of this index. `query` is appended to the target.
    pub fn hello(self, index: usize, query: &str) -> Vec<u8> {
        let id = conn_id(index);
        let (target, headers) = match self {
            Self::Websocket => ("/ws", UPGRADE.to_owned()),
            Self::Deflated => ("/ws", format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n")),
            Self::Positions => ("/ws", UPGRADE.to_owned()),
            Self::Events => ("/sse", "Accept: text/event-stream\r\n".to_owned()),
        };
        let resume = if self == Self::Positions { "&resume=1" } else { "" };
        format!("GET {target}?conn_id={id}{resume}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n")
            .into_bytes()
    }

    /// The end of the answer to [`Transport::hello`], once it is complete and successful.
    pub fn welcome(self, answer: &[u8]) -> Option<usize> {
        match self {
            Self::Events => {
                let head = end_of_head(answer).filter(|_| answer.starts_with(b"HTTP/1.1 200"))?;
                // The first block has the client's reconnect delay.
                Some(head + first_event(&answer[head..])?.end)
            }
            Self::Websocket | Self::Deflated | Self::Positions => welcome(answer),
        }
    }
}

/// The headers of a websocket handshake.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The end of the answer to a websocket handshake, once it is complete and successful.
pub fn welcome(answer: &[u8]) -> Option<usize> {
    end_of_head(answer).filter(|_| answer.starts_with(b"HTTP/1.1 101"))
}

/// A token of the user of this index for a channel, valid for this many seconds.
pub fn token(index: usize, channel: &str, seconds: u64) -> String {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since_1970.map_or(0, |elapsed| elapsed.as_secs());
    let expires = now + seconds;
    let claims = format!(r#"{{"sub":"u{index}","channels":["{channel}"],"iat":{now},"exp":{expires}}}"#);
    hs256(TOKEN_SECRET, &claims)
}

/// The id of the connection of this index.
pub fn conn_id(index: usize) -> String {
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

/// The websocket handshake that attaches to the connection of this index.
pub fn handshake(index: usize) -> Vec<u8> {
    Transport::Websocket.hello(index, "")
}

/// Sends the /connect calls of connections.
pub fn send_connects(
    backend: &mut Backend,
    channel_of: impl Fn(usize) -> String,
    indexes: Range<usize>,
) -> io::Result<()> {
    let calls: Vec<_> = indexes.map(|index| call(index, &channel_of(index))).collect();
    backend.call(&calls).map(drop)
}

/// Sends the /connect calls of connections, and returns the requests that attach to them.
pub fn connect(
    backend: &mut Backend,
    channel_of: impl Fn(usize) -> String,
    indexes: Range<usize>,
    transport: Transport,
) -> io::Result<Vec<Vec<u8>>> {
    send_connects(backend, channel_of, indexes.clone())?;
    Ok(indexes.map(|index| transport.hello(index, "")).collect())
}
