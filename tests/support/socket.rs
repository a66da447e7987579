//! A websocket client that can also send what a client must not send.

use super::http::{Reply, Wire};
use super::within;
use std::net::SocketAddr;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split,
};
use tokio::net::TcpStream;

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
/// Set in a frame that ends a message.
pub const FIN: u8 = 0x80;

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The status code of a close frame.
    pub fn code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// The half that reads.
pub struct Incoming(BufReader<ReadHalf<BufReader<TcpStream>>>);
/// The half that writes.
pub struct Outgoing(WriteHalf<BufReader<TcpStream>>);

/// The headers of a handshake.
pub const HANDSHAKE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Opens a websocket, or returns the answer that the server sent instead.
pub async fn open(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<(Incoming, Outgoing), Reply> {
    open_with_reply(address, target, headers).await.map(|(_, incoming, outgoing)| (incoming, outgoing))
}

/// Opens a handshake that the server must refuse; returns the answer.
pub async fn refused(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Reply {
    match open(address, target, headers).await {
        Ok(_) => panic!("{target} is accepted"),
        Err(reply) => reply,
    }
}

/// Like `open`, and also returns the server's answer to the handshake.
pub async fn open_with_reply(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<(Reply, Incoming, Outgoing), Reply> {
    let mut wire = Wire::open(address).await;
    let reply = wire.ask("GET", target, &[&HANDSHAKE, headers].concat(), b"").await;
    if reply.status != 101 {
        return Err(reply);
    }
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let (incoming, outgoing) = halves(wire);
    Ok((reply, incoming, outgoing))
}

/// Splits a connection whose handshake is answered.
pub fn halves(wire: Wire) -> (Incoming, Outgoing) {
    let (read, write) = split(wire.into_stream());
    (Incoming(BufReader::new(read)), Outgoing(write))
}

impl Incoming {
    /// The next frame; `None` when the server has closed the socket.
    pub async fn frame(&mut self) -> Option<Frame> {
        let (first, payload) = self.raw_frame().await?;
        assert_eq!(
            first & 0xf0,
            FIN,
            "a server sends unfragmented messages, and no extension bits unless negotiated"
        );
        Some(Frame { opcode: first & 0xf, payload })
    }

    /// The next frame as its first byte and its payload; `None` when the server has closed the socket.
    pub async fn raw_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        read_frame(&mut self.0).await.ok()
    }

    /// Waits until bytes have arrived.
    pub async fn ready(&mut self) {
        // This also returns when the socket was closed; the next call of `frame` reports that.
        let _ = self.0.fill_buf().await;
    }

    /// The next frame, which must arrive.
    pub async fn expect(&mut self) -> Frame {
        within(self.frame()).await.expect("the socket is open")
    }

    /// The next frame that is neither a ping nor a heartbeat.
    pub async fn expect_message(&mut self) -> Frame {
        loop {
            let frame = self.expect().await;
            if frame.opcode != PING && frame.payload != b"[]" {
                return frame;
            }
        }
    }

    /// The frames before the next pong. Ends with the close frame if the server closes instead.
    pub async fn until_pong(&mut self) -> Vec<Frame> {
        let mut before = Vec::new();
        loop {
            let frame = self.expect().await;
            let last = frame.opcode == CLOSE;
            if frame.opcode == PONG {
                return before;
            }
            before.push(frame);
            if last {
                return before;
            }
        }
    }

    /// The close frame; skips all frames before it.
    pub async fn closing(&mut self) -> Frame {
        loop {
            let frame = self.expect().await;
            if frame.opcode == CLOSE {
                return frame;
            }
        }
    }
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let [first, second] = [stream.read_u8().await?, stream.read_u8().await?];
    let length = match second {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).expect("a length that fits")];
    stream.read_exact(&mut payload).await?;
    Ok((first, payload))
}

impl Outgoing {
    /// Sends a masked frame. A server that has closed its socket does not receive it.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.raw(&frame(first, payload)).await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        let _ = within(self.0.write_all(bytes)).await;
        let _ = within(self.0.flush()).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.frame(FIN | TEXT, text.as_bytes()).await;
    }

    /// Sends a close frame.
    pub async fn close(&mut self) {
        self.frame(FIN | CLOSE, &1000_u16.to_be_bytes()).await;
    }
}

/// Encodes a client's frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![first];
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        medium @ ..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
