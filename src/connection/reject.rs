//! Rejects a connection before it reaches the HTTP stack, with an answer that the client can read.

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

/// How long a client may take to send its request, and how long it may then take to close the connection.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);
const SCRATCH_BYTES: usize = 4 << 10;
/// The most bytes that are read and dropped after the answer. If the client sends more, it may lose its answer.
const DROPPED_BYTES: usize = 16 << 20;

/// Answers a connection with a refusal and closes it, within two seconds. `_permit` limits the number of these.
pub async fn reject(socket: TcpStream, over: OverLimit, _permit: OwnedSemaphorePermit) {
    // A client may ignore an answer that arrives before it has sent its request.
    let _ = timeout(CLIENT_TIMEOUT, socket.readable()).await;
    let _ = skip(&socket);
    if socket.try_write(&answer(&over.into())).is_err() {
        return;
    }
    // If the socket were closed with unread bytes, the kernel would drop the answer and send a reset.
    let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
    let _ = timeout(CLIENT_TIMEOUT, skip_until_closed(&socket)).await;
}

async fn skip_until_closed(socket: &TcpStream) -> io::Result<()> {
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

/// The bytes of the answer with this refusal, which closes the connection.
pub fn answer(refusal: &Refusal) -> Bytes {
    answer_with(refusal, &[])
}

/// The same with further header lines.
pub fn answer_with(refusal: &Refusal, lines: &[u8]) -> Bytes {
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
    out.extend_from_slice(lines);
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
    fn an_answer_has_all_headers_and_a_json_body() {
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
