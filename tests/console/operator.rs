//! Somebody who has signed in.

use crate::support::http::{Reply, Wire};
use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use serde_json::Value;
use std::net::SocketAddr;

/// A server without the pauses that only make tests wait.
pub fn server() -> TestServer {
    TestServer::start(quick())
}

pub fn quick() -> Settings {
    Settings { leave_delay: 0, ..settings() }
}

/// A request without anything that opens doors.
pub async fn stranger(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut all = vec![("connection", "close")];
    all.extend_from_slice(headers);
    Wire::open(address).await.ask(method, target, &all, body.as_bytes()).await
}

/// Fills in the form.
pub async fn sign_in(address: SocketAddr, password: &str, headers: &[(&str, &str)]) -> Reply {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    let form = format!("username=admin&password={password}");
    stranger(address, "POST", "/admin/sign_in", &all, &form).await
}

/// A signed-in admin's browser.
pub struct Operator {
    address: SocketAddr,
    pub cookie: String,
    pub token: String,
}

impl Operator {
    pub async fn sign_in(server: &TestServer) -> Self {
        let reply = sign_in(server.address, "admin_secret", &[]).await;
        let cookie = reply.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
        let page = stranger(server.address, "GET", "/admin", &[("cookie", &cookie)], "").await.text();
        let (_, rest) = page.split_once("name=\"csrf-token\" content=\"").expect("a token");
        let token = rest.split('"').next().unwrap().to_owned();
        Self { address: server.address, cookie, token }
    }

    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![("cookie", self.cookie.as_str())];
        all.extend_from_slice(headers);
        stranger(self.address, method, target, &all, body).await
    }

    /// What a GET answers, which must be a 200.
    pub async fn get(&self, target: &str) -> Value {
        let reply = self.ask("GET", target, &[], "").await;
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        reply.json()
    }

    /// A command, with its token.
    pub async fn command(&self, target: &str, body: Value) -> Reply {
        self.ask("POST", target, &[("x-csrf-token", &self.token)], &body.to_string()).await
    }

    /// Asks until the answer is as it shall be.
    pub async fn until(&self, target: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        crate::support::within(async {
            loop {
                let answer = self.get(target).await;
                if is_right(&answer) {
                    return answer;
                }
            }
        })
        .await
    }
}
