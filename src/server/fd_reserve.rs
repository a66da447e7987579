//! A file descriptor that is kept for when there is no other: with it clients are told that there is no room, instead
//! of waiting in the kernel's queue until they give up.

use futures_util::FutureExt;
use socket2::SockRef;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// How long nobody is let in when even the reserve does not help.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client that is turned away may take to send its request: closed before that, it would miss the answer.
const REQUEST: Duration = Duration::from_millis(20);
/// After so long without a refusal there are descriptors again: at the bound they come and go.
const CALM: Duration = Duration::from_secs(1);
/// What is read of the request.
const SCRATCH_BYTES: usize = 8 << 10;

/// What a client is told; it is the form of every refusal.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    x-channelstream-error: no-room\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 123\r\n\r\n\
    {\"message\":\"The server has no room for another connection.\",\
    \"code\":\"503 Service Unavailable\",\"title\":\"Service Unavailable\"}";

/// See the module's description.
pub struct FdReserve {
    file: Option<File>,
    want: Option<Shortage>,
}

/// A time without descriptors.
struct Shortage {
    begun: Instant,
    /// When a client was told last, and how many were.
    last: Instant,
    told: u64,
}

impl FdReserve {
    /// Takes a descriptor in.
    pub fn new() -> Self {
        Self { file: open(), want: None }
    }

    /// A connection has been taken in the usual way.
    pub fn refill(&mut self) {
        if self.file.is_none() {
            self.file = open();
        }
        if let Some(Shortage { begun, last, told }) = &self.want
            && last.elapsed() > CALM
        {
            let ms = (*last - *begun).as_millis();
            log::warn!(
                "there are file descriptors again; within {ms} ms {told} clients were told to come later"
            );
            self.want = None;
        }
    }

    /// Takes the next connection with the reserved descriptor, and tells its client that there is no room. Returns how
    /// many were told: one, or none if nobody waits or the reserve does not help; in that case there was a pause.
    pub async fn turn_one_away(&mut self, listener: &TcpListener, error: &io::Error) -> u64 {
        // Closed, its number is free for the connection.
        self.file = None;
        // Not waited for: the system looks for a descriptor first, and then whether there is a connection.
        let told = match listener.accept().now_or_never() {
            None => 0,
            Some(Ok((socket, _))) => {
                self.note(error);
                reject(socket).await;
                1
            }
            Some(Err(_)) => {
                sleep(PAUSE).await;
                0
            }
        };
        self.file = open();
        told
    }

    fn note(&mut self, error: &io::Error) {
        let now = Instant::now();
        let want = self.want.get_or_insert_with(|| {
            log::warn!("no file descriptor is left ({error}); clients are told to come later");
            Shortage { begun: now, last: now, told: 0 }
        });
        (want.last, want.told) = (now, want.told + 1);
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

/// What goes wrong here is the client's affair.
async fn reject(socket: TcpStream) {
    if timeout(REQUEST, socket.readable()).await.is_ok() {
        let _ = socket.try_read(&mut [0; SCRATCH_BYTES]);
    }
    // A new connection's buffer has room for it.
    let _ = socket.try_write(ANSWER);
    let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_whole() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "503 Service Unavailable");
    }
}
