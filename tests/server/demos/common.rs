//! Helpers that the tests of the demos share.

use crate::support::http::{self, Reply};
use crate::support::socket::{self, FIN, Frame, Incoming, Outgoing, PING, PONG};
use crate::support::{TestServer, settings, within};
use channelstream::config::{DemoSetting, Settings};

/// Settings without pings or timeouts. Demo mode is on for all clients, also behind a proxy.
pub fn quiet() -> Settings {
    Settings { demo: DemoSetting::On, ping_interval_ms: 0, pong_timeout: 0, ..settings() }
}

/// Like `quiet`, behind a proxy.
pub fn behind_a_proxy() -> Settings {
    let trusted_proxies = vec!["127.0.0.1/32".parse().expect("an address")];
    Settings { trusted_proxies, ..quiet() }
}

pub async fn open(server: &TestServer, target: &str) -> (Incoming, Outgoing) {
    let opened = socket::open(server.address, target, &[]).await;
    opened.unwrap_or_else(|reply| panic!("{target}: {reply:?}"))
}

/// Opens a handshake that the server must refuse; returns the answer.
pub async fn refused(server: &TestServer, target: &str) -> Reply {
    socket::refused(server.address, target, &[]).await
}

/// Sends any request, on its own connection.
pub async fn ask(server: &TestServer, method: &str, target: &str, body: &str) -> Reply {
    http::ask(server.address, method, target, &[], body).await
}

/// Waits until the server has read everything that was sent on this socket; returns the frames that arrived meanwhile.
pub async fn frames_until_pong(incoming: &mut Incoming, outgoing: &mut Outgoing) -> Vec<Frame> {
    outgoing.frame(FIN | PING, b"").await;
    incoming.until_pong().await
}

/// The server closes the socket of a client that sends no pongs, and keeps that of a client that does.
pub async fn assert_closes_without_pongs(target: &str) {
    let server = TestServer::start(Settings { ping_interval_ms: 50, pong_timeout: 1_500, ..quiet() });
    let (mut vanished, _keep) = open(&server, target).await;
    let (mut there, mut outgoing) = open(&server, target).await;
    let answering = async {
        loop {
            assert_eq!(there.expect().await.opcode, PING);
            outgoing.frame(FIN | PONG, b"").await;
        }
    };
    let closing =
        tokio::select! { closing = vanished.closing() => closing, () = answering => unreachable!() };
    assert_eq!(closing.code(), Some(4003));
    outgoing.text("still there").await;
    while there.expect().await.payload != b"still there" {}
}

/// A server that stops closes this socket, and then ends.
pub async fn assert_closes_at_stop(server: TestServer, (mut incoming, mut outgoing): (Incoming, Outgoing)) {
    let stopped = server.stop_in_background();
    assert_eq!(incoming.closing().await.code(), Some(1001));
    outgoing.close().await;
    within(stopped).await.expect("the server stops");
}
