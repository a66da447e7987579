//! A proxy between a node and Redis, or between two servers, which a test can cut, stall and delay.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The most pieces that are on their way in one direction.
const PIECES: usize = 16;

/// What the proxy does, with connections by the generation in which they began.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    generation: u64,
    /// Earlier ones end.
    ended_before: u64,
    /// Of earlier ones, nothing is passed on to the server, and to the client.
    stalled_before: [u64; 2],
    /// For how long everything is on its way.
    delay: Duration,
}

/// Where the proxy connects to.
#[derive(Clone, Debug)]
pub enum Target {
    Unix(PathBuf),
    Tcp(u16),
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    ToServer,
    ToClient,
}

pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    /// Each connection has a copy.
    open: Arc<()>,
}

impl Proxy {
    /// Begins to pass on connections to this server, on a thread of its own, until it is dropped.
    pub fn start(target: Target) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it is bound");
        let (orders, followed) = watch::channel(Orders::default());
        let open = Arc::new(());
        let connections = open.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(accept(listener, target, followed, connections));
        });
        Self { address, orders, open }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| {
            orders.generation += 1;
            orders.ended_before = orders.generation;
        });
    }

    /// Passes nothing on.
    pub fn stall(&self) {
        self.orders.send_modify(|orders| orders.stalled_before = [u64::MAX; 2]);
    }

    /// Passes nothing on in one direction.
    pub fn stall_one(&self, direction: Direction) {
        self.orders.send_modify(|orders| orders.stalled_before[direction as usize] = u64::MAX);
    }

    /// A point in time: connections that began before it can be stalled.
    pub fn generation(&self) -> u64 {
        self.orders.send_modify(|orders| orders.generation += 1);
        self.orders.borrow().generation
    }

    /// Passes nothing on of connections that began before this generation.
    pub fn stall_until(&self, generation: u64) {
        self.orders.send_modify(|orders| orders.stalled_before = [generation; 2]);
    }

    /// Passes everything on again.
    pub fn resume(&self) {
        self.orders.send_modify(|orders| orders.stalled_before = [0; 2]);
    }

    /// Passes everything on after this time.
    pub fn delay(&self, delay: Duration) {
        self.orders.send_modify(|orders| orders.delay = delay);
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        // One copy belongs to the proxy, one to its listener.
        Arc::strong_count(&self.open) - 2
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: Target,
    mut orders: watch::Receiver<Orders>,
    open: Arc<()>,
) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The proxy is gone.
            _ = orders.wait_for(|_| false) => return,
        };
        if let Ok((client, _)) = accepted {
            tokio::spawn(pass(client, target.clone(), orders.clone(), open.clone()));
        }
    }
}

/// Passes a connection on until it ends.
async fn pass(client: TcpStream, target: Target, orders: watch::Receiver<Orders>, _open: Arc<()>) {
    let _ = client.set_nodelay(true);
    match target {
        Target::Unix(path) => {
            let Ok(server) = UnixStream::connect(path).await else { return };
            run(client, server, orders).await;
        }
        Target::Tcp(port) => {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = server.set_nodelay(true);
            run(client, server, orders).await;
        }
    }
}

async fn run(client: TcpStream, server: impl AsyncRead + AsyncWrite, mut orders: watch::Receiver<Orders>) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let generation = orders.borrow_and_update().generation;
    let up = copy(from_client, to_server, Direction::ToServer, generation, orders.clone());
    let down = copy(from_server, to_client, Direction::ToClient, generation, orders.clone());
    let down = async {
        // What a client has sent arrives even if the client is gone.
        if down.await == Ended::Writing {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = orders.wait_for(|orders| generation < orders.ended_before) => {}
        _ = up => {}
        () = down => {}
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Reading,
    Writing,
}

/// Passes on one direction, later by the delay.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    generation: u64,
    orders: watch::Receiver<Orders>,
) -> Ended {
    let (pieces, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let (reading, mut writing) = (orders.clone(), orders);
    let read = async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + reading.borrow().delay;
            if pieces.send((due, buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = queued.recv().await {
            sleep_until(due).await;
            let is_free = |orders: &Orders| generation >= orders.stalled_before[direction as usize];
            if writing.wait_for(is_free).await.is_err() || to.write_all(&piece).await.is_err() {
                return Ended::Writing;
            }
        }
        Ended::Reading
    };
    let read_and_wait = async move {
        read.await;
        // What was read is written first.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = write => ended,
        () = read_and_wait => Ended::Reading,
    }
}
