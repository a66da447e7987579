//! Limits that count what all nodes do together.

use crate::support::backend::{Backend, now_unix};
use crate::support::http::{Reply, ask};
use crate::support::nodes::Cluster;
use crate::support::redis::Redis;
use crate::support::{TestServer, settings, within};
use channelstream::auth::signing::Keys;
use channelstream::auth::signing::request_signature::BoundTo;
use channelstream::config::{Secret, Settings};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

const BODY: &str = r#"{"info": {}}"#;

/// Sends a request whose signature is bound to it.
async fn send_bound(server: &TestServer, nonce: &str) -> Reply {
    let bound = BoundTo { method: "POST", target: "/info", body: BODY.as_bytes() };
    let signature = Keys::new(&[Secret::new("secret")]).sign_bound(&bound, now_unix() / 60 * 60, nonce);
    ask(server.address, "POST", "/info", &[("x-channelstream-signature", &signature)], BODY).await
}

#[actix_rt::test]
async fn a_bound_signature_is_valid_once_on_all_nodes() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let node = || TestServer::start(redis.settings(Settings { engine_timeout_ms: 1_000, ..settings() }));
    let (one, two) = (node(), node());
    [&one, &two].into_iter().for_each(TestServer::wait_until_ready);
    assert_eq!(send_bound(&one, "a").await.status, 200);
    for server in [&two, &one] {
        let refused = send_bound(server, "a").await;
        assert_eq!((refused.status, refused.header("x-channelstream-error")), (401, Some("bad-signature")));
    }
    assert_eq!(send_bound(&two, "b").await.status, 200);
    redis.kill();
    let refused = send_bound(&one, "c").await;
    assert_eq!((refused.status, refused.header("x-channelstream-error")), (503, Some("engine-unavailable")));
    redis.start_again(&["--appendonly", "yes", "--appendfsync", "always"]);
    within(async {
        // The refused request has used up nothing, and may be sent again.
        loop {
            match send_bound(&one, "c").await.status {
                503 => actix_rt::time::sleep(std::time::Duration::from_millis(10)).await,
                status => return assert_eq!(status, 200),
            }
        }
    })
    .await;
    for nonce in ["a", "c"] {
        assert_eq!(send_bound(&two, nonce).await.status, 401, "Redis has kept {nonce}");
    }
}

#[actix_rt::test]
async fn a_user_has_the_same_limit_at_all_nodes_together() {
    let cluster = Cluster::start(2, &Settings { max_connections_per_user: 3, ..settings() });
    let backends = cluster.servers.iter().map(|server| Backend::new(server.address)).collect::<Vec<_>>();
    let backends = &backends;
    let connect = |node: usize| {
        let body = json!({"username": "ann", "channels": ["c"]}).to_string();
        async move { backends[node].send("POST", "/connect", &[], body.as_bytes()).await }
    };
    let replies = join_all((0..10).map(|number| connect(number % 2))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(accepted.len(), 3, "{replies:?}");
    for reply in refused {
        let code = reply.header("x-channelstream-error");
        assert_eq!((reply.status, code), (429, Some("over-limit")), "{reply:?}");
        assert!(reply.text().contains("3 connections of one user"), "{}", reply.text());
    }
    let conn_id = accepted[0].json()["conn_id"].as_str().unwrap().to_owned();
    assert_eq!(connect(0).await.status, 429);
    let again = json!({"username": "ann", "conn_id": conn_id}).to_string();
    for backend in backends {
        let again = backend.send("POST", "/connect", &[], again.as_bytes()).await;
        assert_eq!(again.status, 200, "an existing connection may be connected again: {again:?}");
    }
    assert!(backends[1].disconnect(&conn_id).await);
    assert_eq!([connect(1).await.status, connect(0).await.status], [200, 429]);
    backends[0].connect("bob", &["c"]).await;
}

/// The user of a connection that Redis refuses must not have got the state of the request, and no channel.
#[actix_rt::test]
async fn a_refused_connection_changes_nothing() {
    let limits = Settings {
        max_channels: 2,
        max_connections_per_user: 1,
        max_channels_per_connection: 1,
        ..settings()
    };
    let cluster = Cluster::start(2, &limits);
    let backends = cluster.servers.iter().map(|server| Backend::new(server.address)).collect::<Vec<_>>();
    let connect = async |node: usize, mut body: Value| {
        body["user_state"] = json!({"refused": 1});
        backends[node].send("POST", "/connect", &[], body.to_string().as_bytes()).await
    };
    let ann = backends[0].connect("ann", &["one"]).await;
    let over_users = json!({"username": "ann", "channels": ["two"]});
    let foreign = json!({"username": "bob", "conn_id": ann, "channels": ["two"]});
    let over_own = json!({"username": "ann", "conn_id": ann, "channels": ["two"]});
    for node in [1, 0] {
        let refused = connect(node, over_users.clone()).await;
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.text().contains("(max_connections_per_user)"), "{}", refused.text());
        let refused = connect(node, foreign.clone()).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(refused.text().contains("belongs to another user"), "{}", refused.text());
    }
    for node in [1, 0] {
        let refused = connect(node, over_own.clone()).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(refused.text().contains("(max_channels_per_connection)"), "{}", refused.text());
        let body = json!({"conn_id": ann, "channels": ["two"]}).to_string();
        let refused = backends[node].send("POST", "/subscribe", &[], body.as_bytes()).await;
        assert!(refused.text().contains("(max_channels_per_connection)"), "{}", refused.text());
        let all = backends[node].post("/info", json!({"info": {}})).await;
        assert!(all["channels"].get("one").is_some() && all["channels"].get("two").is_none(), "{all}");
    }
    for node in [1, 0] {
        let body = json!({"conn_id": Uuid::new_v4(), "channels": ["two"]}).to_string();
        let refused = backends[node].send("POST", "/subscribe", &[], body.as_bytes()).await;
        assert_eq!(refused.status, 422, "the connection does not exist: {refused:?}");
        let all = backends[node].post("/info", json!({"info": {}})).await;
        assert!(all["channels"].get("two").is_none(), "{all}");
    }
    backends[0].connect("carl", &["two"]).await;
    for node in [1, 0] {
        let refused = connect(node, json!({"username": "x", "channels": ["new"]})).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(refused.text().contains("(max_channels)"), "{}", refused.text());
    }
    for (user, is_known) in [("ann", true), ("bob", false), ("x", false)] {
        let body = json!({"user": user}).to_string();
        for backend in &backends {
            let reply = backend.send("POST", "/user_state", &[], body.as_bytes()).await;
            assert_eq!(reply.status == 200, is_known, "{user}: {reply:?}");
            assert!(!is_known || reply.json()["user_state"] == json!({}), "{reply:?}");
        }
    }
}

#[actix_rt::test]
async fn nodes_share_the_publish_rate_of_a_secret() {
    let cluster = Cluster::start(2, &Settings { publish_rate_per_secret: 10, ..settings() });
    for server in &cluster.servers {
        let backend = Backend::new(server.address);
        within(async { while backend.debug_value("engine, nodes").await != 2 {} }).await;
        // A request may take more than is left. Its messages would need 30 s at the whole rate.
        let batch = vec![json!({"user": "p", "channel": "c", "message": {"text": "x"}}); 300];
        backend.post("/message", json!(batch)).await;
        let one = json!([batch[0]]).to_string();
        let refused = backend.send("POST", "/message", &[], one.as_bytes()).await;
        assert_eq!(refused.status, 429);
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((35..=60).contains(&seconds), "{seconds}");
    }
}
