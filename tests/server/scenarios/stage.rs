//! The environment of a scenario: a server, its backend, and the transport that its listeners use.

use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use serde_json::Value;

pub struct Stage {
    pub backend: Backend,
    pub transport: Transport,
    server: TestServer,
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
        Self { backend: server.backend(), transport, server }
    }

    pub async fn attach(&self, conn_id: &str) -> Listener {
        Listener::attach(self.server.address, self.transport, conn_id).await
    }

    /// Listens as a client that asks for positions.
    pub async fn resume(&self, conn_id: &str, since: &str) -> Listener {
        Listener::resume(self.server.address, self.transport, conn_id, since).await
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

/// Runs each scenario on every transport with one worker and with two, with the same settings for all of them.
macro_rules! on_every_transport {
    ($($name:ident),+ $(,)?) => { on_every_transport!(with crate::scenarios::stage::fast_settings(); $($name),+); };
    (with $settings:expr; $($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::scenarios::stage::Stage;
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
            async fn sse() {
                super::$name(Stage::new(Transport::Sse, 1, $settings)).await;
            }

            #[actix_web::test]
            async fn sse_two_workers() {
                super::$name(Stage::new(Transport::Sse, 2, $settings)).await;
            }

            #[actix_web::test]
            async fn jsonp_two_workers() {
                super::$name(Stage::new(Transport::Jsonp, 2, $settings)).await;
            }
        }
    )+ };
}
