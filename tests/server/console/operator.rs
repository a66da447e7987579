//! An operator who has signed in.

use crate::support::http::{Reply, ask};
use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use serde_json::Value;
use std::net::SocketAddr;

/// A server without the delays that only slow tests down.
pub fn server() -> TestServer {
    TestServer::start(fast_settings())
}

pub fn fast_settings() -> Settings {
    Settings { leave_delay: 0, ..settings() }
}

/// Submits the sign-in form.
pub async fn sign_in(address: SocketAddr, password: &str, headers: &[(&str, &str)]) -> Reply {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    let form = format!("username=admin&password={password}");
    ask(address, "POST", "/admin/sign_in", &all, &form).await
}

/// The browser of a signed-in operator.
pub struct Operator {
    address: SocketAddr,
    pub cookie: String,
    pub token: String,
}

impl Operator {
    pub async fn sign_in(server: &TestServer) -> Self {
        let reply = sign_in(server.address, "admin_secret", &[]).await;
        let cookie = reply.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
        let page = ask(server.address, "GET", "/admin", &[("cookie", &cookie)], "").await.text();
        let (_, rest) = page.split_once("name=\"csrf-token\" content=\"").expect("a token");
        let token = rest.split('"').next().unwrap().to_owned();
        Self { address: server.address, cookie, token }
    }

    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![("cookie", self.cookie.as_str())];
        all.extend_from_slice(headers);
        ask(self.address, method, target, &all, body).await
    }

    /// Returns the answer to a GET, which must be a 200.
    pub async fn get(&self, target: &str) -> Value {
        let reply = self.ask("GET", target, &[], "").await;
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        reply.json()
    }

    /// Sends a command with its token.
    pub async fn command(&self, target: &str, body: Value) -> Reply {
        self.ask("POST", target, &[("x-csrf-token", &self.token)], &body.to_string()).await
    }

    /// Requests the target until the answer is right.
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
