//! Refusing a connection before anything of it is served, in words that a client can read.

use crate::http_error::{OverLimit, Refusal};
use actix_web::body::MessageBody;
use bytes::Bytes;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// How long a client may take to send its request, and again to hang up.
const PATIENCE: Duration = Duration::from_secs(1);
const SCRATCH_BYTES: usize = 4 << 10;
/// Bytes at most that are read of what a client goes on sending: with the rest unread it would lose its answer.
const DROPPED_BYTES: usize = 16 << 20;

/// Answers a connection with a refusal and closes it, within two seconds. `_place` bounds how many of these there are.
pub async fn reject(socket: TcpStream, over: OverLimit, _place: OwnedSemaphorePermit) {
    // Whoever is refused before it has asked may take the answer for one to nothing.
    let _ = timeout(PATIENCE, socket.readable()).await;
    let _ = skip(&socket);
    if socket.try_write(&answer(&over.into())).is_err() {
        return;
    }
    // Closed with something unread, the socket would take our answer back.
    let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
    let _ = timeout(PATIENCE, until_it_hangs_up(&socket)).await;
}

async fn until_it_hangs_up(socket: &TcpStream) -> io::Result<()> {
    let mut dropped = 0;
    while dropped < DROPPED_BYTES {
        socket.readable().await?;
        match skip(socket)? {
            0 => break,
            bytes => dropped += bytes,
        }
    }
    Ok(())
}

fn skip(socket: &TcpStream) -> io::Result<usize> {
    match socket.try_read(&mut [0; SCRATCH_BYTES]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(1),
        read => read,
    }
}

/// A refusal as the bytes of an answer after which the connection is closed.
pub fn answer(refusal: &Refusal) -> Bytes {
    let response = refusal.response(None);
    let status = response.status();
    let mut out =
        format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default())
            .into_bytes();
    for (name, value) in response.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    out.extend_from_slice(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::limits::Limit;

    #[test]
    fn an_answer_is_complete() {
        let text = String::from_utf8(answer(&OverLimit::of(Limit::ConnectRate, 5).into()).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
        for line in ["retry-after: 1", "x-channelstream-limit: connect_rate_per_address", "connection: close"]
        {
            assert!(head.lines().any(|known| known == line), "{line} in {head}");
        }
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(body).unwrap()["limit"],
            "connect_rate_per_address"
        );
    }
}
