//! A proxy between a link and Redis, which a test can cut and stall.

use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What the proxy does with connections, by the generation in which they began.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    generation: u64,
    /// Earlier ones end.
    ended_before: u64,
    /// Of earlier ones, nothing is passed on.
    stalled_before: u64,
}

pub struct Proxy {
    path: PathBuf,
    orders: watch::Sender<Orders>,
}

impl Proxy {
    /// Begins to pass on connections to this socket.
    pub fn start(server: PathBuf) -> Self {
        let path = server.with_file_name(format!("proxy-{}", uuid::Uuid::new_v4().as_simple()));
        let (orders, listened) = watch::channel(Orders::default());
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), listened.clone()));
            }
        });
        Self { path, orders }
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.path.display())
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
        self.orders.send_modify(|orders| orders.stalled_before = u64::MAX);
    }

    /// Passes nothing on, except of connections that begin from now on.
    pub fn strand(&self) {
        self.orders.send_modify(|orders| {
            orders.generation += 1;
            orders.stalled_before = orders.generation;
        });
    }

    /// Passes everything on again.
    pub fn resume(&self) {
        self.orders.send_modify(|orders| orders.stalled_before = 0);
    }

    /// Waits until this many connections are open.
    pub async fn until_open(&self, count: usize) {
        // One receiver belongs to the listener.
        while self.orders.receiver_count() != count + 1 {
            tokio::task::yield_now().await;
        }
    }
}

async fn pass(mut client: UnixStream, server: PathBuf, mut orders: watch::Receiver<Orders>) {
    let Ok(mut server) = UnixStream::connect(server).await else { return };
    let generation = orders.borrow_and_update().generation;
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let now = *orders.borrow_and_update();
        if generation < now.ended_before {
            return;
        }
        if generation < now.stalled_before {
            if orders.changed().await.is_err() {
                return;
            }
            continue;
        }
        let passed = tokio::select! {
            // What a client has sent arrives even if the client is gone.
            biased;
            changed = orders.changed() => changed.is_ok(),
            read = client.read(&mut up) => match read {
                Ok(0) | Err(_) => false,
                Ok(length) => server.write_all(&up[..length]).await.is_ok(),
            },
            read = server.read(&mut down) => match read {
                Ok(0) | Err(_) => false,
                Ok(length) => client.write_all(&down[..length]).await.is_ok(),
            },
        };
        if !passed {
            return;
        }
    }
}
