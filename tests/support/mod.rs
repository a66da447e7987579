//! Runs a server for one test, on its own port.

pub mod http;
pub mod backend;
pub mod socket;
pub mod events;
pub mod listener;
pub mod process;
pub mod certificates;
pub mod proxy;
pub mod redis;
pub mod nodes;
pub mod page;

use channelstream::config::{Secret, Settings};
use channelstream::server;
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No wait of a test takes longer, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits for a future, which must finish in time.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what).await.expect("it happens in time")
}

/// How long a server on a busy machine may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running server. Dropping it stops the server.
pub struct TestServer {
    pub address: SocketAddr,
    /// Where it listens for backends and operators, if that address is separate.
    pub internal_address: Option<SocketAddr>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// A Redis of its own, which ends with it.
    redis: Option<redis::Redis>,
}

/// Settings for tests: a port that the system chooses, and one worker unless a test sets another number. The default
/// secrets sign, from any client address.
pub fn settings() -> Settings {
    Settings {
        port: 0,
        workers: 1,
        cookie_secret: Secret::new("for tests"),
        allow_default_secrets: true,
        ..Settings::default()
    }
}

/// Waits until the server at this address is ready for requests.
pub fn wait_until_ready(address: SocketAddr) {
    let until = Instant::now() + READY_LIMIT;
    while !is_ready(address) {
        assert!(Instant::now() < until, "the server is not ready");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let mut answer = [0; 12];
    let mut stream = std::net::TcpStream::connect(address).expect("the server listens");
    let request = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
}

impl TestServer {
    /// Starts a server with these settings on its own thread.
    pub fn start(settings: Settings) -> Self {
        // Tests that run at the same time, their servers and their clients share one limit of open files.
        rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit may be raised to the hard limit");
        let (started, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let running = server::start(settings).expect("the server starts");
                let stopper = running.stopper();
                actix_rt::spawn(async move {
                    let _ = stopped.await;
                    stopper.stop().await;
                });
                started.send((running.address, running.internal_address)).expect("the test waits");
                running.wait().await.expect("the server ends well");
            });
        });
        let (address, internal_address) = address.recv().expect("the server starts");
        Self { address, internal_address, stop: Some(stop), thread: Some(thread), redis: None }
    }

    /// Starts a server with a Redis of its own, and waits until it is ready.
    pub fn start_with_redis(settings: Settings) -> Self {
        let redis = redis::Redis::start(&[]);
        let mut server = Self::start(redis.settings(settings));
        server.wait_until_ready();
        server.redis = Some(redis);
        server
    }

    /// Waits until the server is ready for requests.
    pub fn wait_until_ready(&self) {
        wait_until_ready(self.address);
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A backend that calls this server.
    pub fn backend(&self) -> backend::Backend {
        backend::Backend::new(self.internal_address.unwrap_or(self.address))
    }

    /// Begins to stop the server; the receiver resolves when the server has ended.
    pub fn stop_in_background(mut self) -> tokio::sync::oneshot::Receiver<()> {
        let (ended, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            self.stop();
            let _ = ended.send(());
        });
        receiver
    }

    /// Stops the server and waits until it has ended.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends well");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Do not wait: the server would also wait for connections that the test still holds open.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
