//! The environment of a scenario: a server or the nodes of one, its backend, and the transport that its listeners use.

use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::nodes::{Cluster, Nodes};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::Value;

pub struct Stage {
    pub backend: Backend,
    pub transport: Transport,
    pub nodes: Nodes,
    servers: Servers,
}

/// Kept until the scenario ends.
enum Servers {
    Embedded { _server: TestServer },
    Redis(Cluster),
}

/// Settings with which scenarios end soon: polls return quickly, and buffers cover the time between them.
pub fn fast_settings() -> Settings {
    Settings {
        poll_wait_ms: 300,
        poll_batch_window_ms: 10,
        leave_delay: 200,
        sse_retry_ms: 100,
        channel_frames: 1_000,
        user_frames: 1_000,
        ..settings()
    }
}

impl Stage {
    pub fn new(transport: Transport, workers: usize, settings: Settings) -> Self {
        let server = TestServer::start(Settings { workers, ..settings });
        let nodes = server.address.into();
        Self { backend: server.backend(), transport, nodes, servers: Servers::Embedded { _server: server } }
    }

    /// Nodes on one Redis. Each request, each attachment and each poll goes to the next one.
    pub fn with_nodes(transport: Transport, nodes: usize, settings: Settings) -> Self {
        let cluster = Cluster::start(nodes, &settings);
        let nodes = cluster.addresses();
        Self { backend: Backend::new(nodes), transport, nodes, servers: Servers::Redis(cluster) }
    }

    pub async fn attach(&self, conn_id: &str) -> Listener {
        self.until_received().await;
        Listener::attach(self.nodes, self.transport, conn_id).await
    }

    /// Listens as a client that asks for positions.
    pub async fn resume(&self, conn_id: &str, since: &str) -> Listener {
        self.until_received().await;
        Listener::resume(self.nodes, self.transport, conn_id, since).await
    }

    /// Waits until each node has received what was published before: when one node has answered, it may be on its way to the
    /// others.
    async fn until_received(&self) {
        if let Servers::Redis(cluster) = &self.servers {
            for server in &cluster.servers {
                server.backend().channel("any").await;
            }
        }
    }

    /// Checks the number of connections in a channel. While a connection moves, both nodes count it.
    pub async fn expect_connections(&self, channel: &str, count: u64) {
        let number = async || self.backend.channel(channel).await["total_connections"].clone();
        if matches!(self.nodes, Nodes::One(_)) {
            assert_eq!(number().await, count);
        }
        within(async { while number().await != count {} }).await;
    }

    /// Connects a user and listens.
    pub async fn enter(&self, user: &str, channels: &[&str]) -> (String, Listener) {
        let conn_id = self.backend.connect(user, channels).await;
        let listener = self.attach(&conn_id).await;
        (conn_id, listener)
    }
}

/// The named members of an event, in this order; an absent member is null.
pub fn pick(event: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| event[*name].clone()).collect()
}

/// Runs a scenario on nodes over each transport, at the same time, because scenarios mostly wait.
pub async fn on_nodes<F: Future<Output = ()> + 'static>(
    nodes: usize,
    settings: Settings,
    scenario: impl Fn(Stage) -> F,
) {
    let run = |transport| {
        let stage = Stage::with_nodes(transport, nodes, settings.clone());
        (transport, actix_rt::spawn(scenario(stage)))
    };
    for (transport, task) in [Transport::Websocket, Transport::LongPoll, Transport::Sse].map(run) {
        assert!(task.await.is_ok(), "over {transport:?}");
    }
}

/// Runs each scenario on every transport: with one worker, with two, with one node on Redis, and with three; with the
/// same settings for all of them.
macro_rules! on_every_transport {
    ($($name:ident),+ $(,)?) => { on_every_transport!(with crate::scenarios::stage::fast_settings(); $($name),+); };
    (with $settings:expr; $($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::scenarios::stage::{Stage, on_nodes};
            use crate::support::listener::Transport;

            #[actix_web::test]
            async fn websocket() {
                super::$name(Stage::new(Transport::Websocket, 1, $settings)).await;
            }

            #[actix_web::test]
            async fn websocket_two_workers() {
                super::$name(Stage::new(Transport::Websocket, 2, $settings)).await;
            }

            #[actix_web::test]
            async fn long_poll() {
                super::$name(Stage::new(Transport::LongPoll, 1, $settings)).await;
            }

            #[actix_web::test]
            async fn long_poll_two_workers() {
                super::$name(Stage::new(Transport::LongPoll, 2, $settings)).await;
            }

            #[actix_web::test]
            async fn jsonp() {
                super::$name(Stage::new(Transport::Jsonp, 1, $settings)).await;
            }

            #[actix_web::test]
            async fn jsonp_two_workers() {
                super::$name(Stage::new(Transport::Jsonp, 2, $settings)).await;
            }

            #[actix_web::test]
            async fn sse() {
                super::$name(Stage::new(Transport::Sse, 1, $settings)).await;
            }

            #[actix_web::test]
            async fn sse_two_workers() {
                super::$name(Stage::new(Transport::Sse, 2, $settings)).await;
            }

            #[actix_web::test]
            async fn one_node_on_redis() {
                on_nodes(1, $settings, super::$name).await;
            }

            #[actix_web::test]
            async fn three_nodes_on_redis() {
                on_nodes(3, $settings, super::$name).await;
            }
        }
    )+ };
}
