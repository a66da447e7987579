//! Helpers that the tests of the demos share.

use crate::support::http::{Reply, Wire};
use crate::support::socket::{self, FIN, Frame, Incoming, Outgoing, PING};
use crate::support::{TestServer, settings};
use channelstream::config::{DemoSetting, Settings};

/// Settings without pings or timeouts. Demo mode is on for all clients, also behind a proxy.
pub fn quiet() -> Settings {
    Settings { demo: DemoSetting::On, ping_interval_ms: 0, pong_timeout: 0, ..settings() }
}

/// Like `quiet`, behind a proxy.
pub fn behind_a_proxy() -> Settings {
    let trusted_proxies = vec!["127.0.0.1/32".parse().expect("an address")];
    Settings { trusted_proxies, demo: DemoSetting::On, allow_default_secrets: true, ..quiet() }
}

pub async fn open(server: &TestServer, target: &str) -> (Incoming, Outgoing) {
    let opened = socket::open(server.address, target, &[]).await;
    opened.unwrap_or_else(|reply| panic!("{target}: {reply:?}"))
}

/// Opens a handshake that the server must refuse; returns the answer.
pub async fn refused(server: &TestServer, target: &str) -> Reply {
    match socket::open(server.address, target, &[]).await {
        Ok(_) => panic!("{target} is accepted"),
        Err(reply) => reply,
    }
}

/// Sends any request, on its own connection.
pub async fn ask(server: &TestServer, method: &str, target: &str, body: &str) -> Reply {
    let headers = [("connection", "close")];
    Wire::open(server.address).await.ask(method, target, &headers, body.as_bytes()).await
}

/// Waits until the server has read everything that was sent on this socket; returns the frames that arrived meanwhile.
pub async fn frames_until_pong(incoming: &mut Incoming, outgoing: &mut Outgoing) -> Vec<Frame> {
    outgoing.frame(FIN | PING, b"").await;
    incoming.until_pong().await
}
