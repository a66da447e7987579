//! Sends signed requests, as a web application does.

use super::http::{Reply, Wire};
use super::nodes::Nodes;
use channelstream::auth::signing::Keys;
use channelstream::config::Secret;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Calls the API of a server, or of several nodes in turn.
#[derive(Clone, Copy)]
pub struct Backend {
    nodes: Nodes,
}

pub fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// A valid signature, as a header.
pub fn signature() -> (&'static str, String) {
    ("x-channelstream-secret", Keys::new(&[Secret::new("secret")]).sign("channelstream", now_unix()))
}

impl Backend {
    pub fn new(nodes: impl Into<Nodes>) -> Self {
        Self { nodes: nodes.into() }
    }

    /// The address for the next request.
    pub fn address(&self) -> SocketAddr {
        self.nodes.next()
    }

    /// Sends any signed request, on a connection of its own.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let (name, token) = signature();
        let mut all = vec![(name, token.as_str()), ("connection", "close")];
        all.extend_from_slice(headers);
        Wire::open(self.address()).await.ask(method, target, &all, body).await
    }

    /// Sends a signed request with a JSON body; the answer must be a 200.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let reply = self.send(method, path, &[], body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 200, "{method} {path} {body}: {reply:?}");
        reply.json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.call("POST", path, body).await
    }

    /// Connects a user; returns the connection's id.
    pub async fn connect(&self, user: &str, channels: &[&str]) -> String {
        let answer = self.post("/connect", json!({"username": user, "channels": channels})).await;
        answer["conn_id"].as_str().expect("an id").to_owned()
    }

    /// Creates channels with these settings, or changes them.
    pub async fn configure(&self, channels: &[&str], settings: Value) {
        let body: serde_json::Map<_, _> =
            channels.iter().map(|name| ((*name).to_owned(), settings.clone())).collect();
        self.post("/channel_config", body.into()).await;
    }

    /// Publishes a text in a channel; returns the message's id.
    pub async fn publish_text(&self, channel: &str, text: &str) -> String {
        self.publish(json!({"channel": channel}), text).await
    }

    /// Publishes a text with these delivery fields; returns the message's id.
    pub async fn publish(&self, mut delivery: Value, text: &str) -> String {
        delivery["user"] = "publisher".into();
        delivery["message"] = json!({"text": text});
        let answer = self.post("/message", json!([delivery])).await;
        answer[0]["uuid"].as_str().expect("an id").to_owned()
    }

    /// Returns the information about one channel. The server answers after it handled everything published before.
    pub async fn channel(&self, name: &str) -> Value {
        let mut answer = self.post("/info", json!({"info": {"channels": [name]}})).await;
        answer["channels"][name].take()
    }

    /// How many times a limit was reached, from admin.json.
    pub async fn hits(&self, limit: &str) -> u64 {
        let answer = self.send("GET", "/admin/admin.json?limits=true&per_page=0", &[], b"").await.json();
        answer["limits"][limit].as_u64().unwrap_or_else(|| panic!("no {limit} in {answer}"))
    }

    /// A value of /admin/debug.
    pub async fn debug_value(&self, name: &str) -> usize {
        let text = self.send("GET", "/admin/debug", &[], b"").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// Ends a connection; returns whether the server knew it.
    pub async fn disconnect(&self, conn_id: &str) -> bool {
        self.post("/disconnect", json!({"conn_id": conn_id})).await == json!(true)
    }
}
