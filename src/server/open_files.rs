//! The limit of open files, and one file descriptor in reserve.
//!
//! Every connection is one open file. The usual soft limit of 1,024 is meant for programs that call `select`; the hard limit
//! is the one that the operator chose. When no descriptor is left, the server uses the reserve to answer clients that there
//! is no room; otherwise they would wait in the kernel's queue until they give up.

use crate::config::Settings;
use futures_util::FutureExt;
use socket2::SockRef;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// A lower limit causes a warning: it is the default of many containers and shells, and probably not intended.
const LOW_LIMIT: u64 = 4_096;
/// Files of a thread that runs actors: two of its event loop, one for signals, its ring.
const PER_THREAD: usize = 4;
/// Files that exist once: those of the main thread and its signals.
const PER_PROCESS: usize = 6;
/// Files of an address: the listening socket and the reserve, for IPv4 and IPv6.
const PER_ADDRESS: usize = 4;
/// The server does not start without room for this many clients.
const MIN_CLIENTS: usize = 16;

/// Raises the soft limit to the hard one, and logs the resulting limit.
pub fn raise_limit() {
    match raise_soft_limit() {
        Ok(limit) if limit < LOW_LIMIT => log::warn!(
            "at most {limit} open files, connections included; raise the limit (ulimit -n, LimitNOFILE) for more than a \
             few clients"
        ),
        Ok(limit) => log::info!("at most {limit} open files, connections included"),
        Err(error) => log::warn!("cannot raise the limit of open files: {error}"),
    }
}

fn raise_soft_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Opens as many files as the server and a few clients need, and closes them again: a runtime that cannot open its files
/// panics.
///
/// # Errors
/// The system refuses one of the files.
pub fn check_available(settings: &Settings, workers: usize) -> io::Result<()> {
    let addresses = 1 + usize::from(settings.internal_host.is_some());
    // One more thread for the registry.
    let count = PER_PROCESS + (workers + 1) * PER_THREAD + addresses * PER_ADDRESS + MIN_CLIENTS;
    // Each pipe is two open files, and needs no disk.
    let opened: io::Result<Vec<_>> = (0..count.div_ceil(2)).map(|_| io::pipe()).collect();
    // The files are closed before the error is reported.
    opened.map(drop).map_err(|error| {
        let text = format!(
            "cannot open {count} files, which {workers} workers and {MIN_CLIENTS} clients need (limit of open files, ulimit -n, \
             LimitNOFILE; setting workers): {error}"
        );
        io::Error::new(error.kind(), text)
    })
}

/// The pause when even the reserve does not help.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a rejected client may take to send its request. If the server closes earlier, the client misses the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(20);
/// A shortage is over after this long without a rejection: near the limit, single descriptors become free and are used
/// again all the time.
const CALM: Duration = Duration::from_secs(1);
/// The most bytes that are read of the request.
const SCRATCH_BYTES: usize = 8 << 10;

/// The answer to a rejected client, in the form of every refusal.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    x-channelstream-error: no-room\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 123\r\n\r\n\
    {\"message\":\"The server has no room for another connection.\",\
    \"code\":\"503 Service Unavailable\",\"title\":\"Service Unavailable\"}";

/// The reserved descriptor, and the current shortage if there is one.
pub struct FdReserve {
    file: Option<File>,
    shortage: Option<Shortage>,
}

/// A period without free descriptors.
struct Shortage {
    started: Instant,
    last_rejection: Instant,
    rejected: u64,
}

impl FdReserve {
    pub fn new() -> Self {
        Self { file: open(), shortage: None }
    }

    /// Reserves a descriptor again after a connection was accepted in the usual way.
    pub fn refill(&mut self) {
        if self.file.is_none() {
            self.file = open();
        }
        if let Some(Shortage { started, last_rejection, rejected }) = &self.shortage
            && last_rejection.elapsed() > CALM
        {
            let ms = (*last_rejection - *started).as_millis();
            log::warn!(
                "file descriptors are available again; {rejected} clients were rejected within {ms} ms"
            );
            self.shortage = None;
        }
    }

    /// Accepts the next connection with the reserved descriptor and answers its client that there is no room. Returns
    /// the number of rejected clients: 1, or 0 if no client waits or the reserve does not help. In the latter case it
    /// has paused.
    pub async fn reject_one(&mut self, listener: &TcpListener, error: &io::Error) -> u64 {
        // Frees the descriptor for the connection.
        self.file = None;
        // Does not wait: the system looks for a free descriptor first, and then for a connection.
        let rejected = match listener.accept().now_or_never() {
            None => 0,
            Some(Ok((socket, _))) => {
                self.note(error);
                reject(socket).await;
                1
            }
            Some(Err(_)) => {
                sleep(RETRY_DELAY).await;
                0
            }
        };
        self.file = open();
        rejected
    }

    fn note(&mut self, error: &io::Error) {
        let now = Instant::now();
        let shortage = self.shortage.get_or_insert_with(|| {
            log::warn!("no file descriptor is left ({error}); new clients are rejected with 503");
            Shortage { started: now, last_rejection: now, rejected: 0 }
        });
        shortage.last_rejection = now;
        shortage.rejected += 1;
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Answers and closes a connection. Errors are ignored, since the connection ends in any case.
async fn reject(socket: TcpStream) {
    if timeout(REQUEST_TIMEOUT, socket.readable()).await.is_ok() {
        let _ = socket.try_read(&mut [0; SCRATCH_BYTES]);
    }
    // The send buffer of a new connection has room for the answer.
    let _ = socket.try_write(ANSWER);
    let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_a_correct_length_and_a_json_body() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "503 Service Unavailable");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = super::raise_soft_limit().unwrap();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, soft), (limit, hard));
    }
}
