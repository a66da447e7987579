//! What nodes must agree on: those that differ are shown, and a sign-in at one node is valid at all.

use super::{figures, spawn_node, start_named_node};
use crate::support::backend::Backend;
use crate::support::http::ask;
use crate::support::proxy::{Proxy, Target};
use crate::support::redis::Redis;
use crate::support::{wait_until_ready, within};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Waits until a node lists these nodes, with what differs.
async fn until_listed(address: SocketAddr, expected: Value) {
    let listed = async || -> Value {
        let shown = figures(&Backend::new(address)).await;
        let shown =
            shown["nodes"].as_array().unwrap().iter().map(|node| json!([node["name"], node["differs"]]));
        shown.collect()
    };
    within(async { while listed().await != expected {} }).await;
}

#[actix_rt::test]
async fn nodes_that_differ_are_listed_and_logged_once() {
    let redis = Redis::start(&[]);
    let same = "cookie_secret=one for all";
    let [north, south] = ["north", "south"].map(|name| start_named_node(&redis, name, &[same]));
    until_listed(south.address, json!([["north", []], ["south", []]])).await;
    let mut west = start_named_node(&redis, "west", &["cookie_secret=xyzzy-17", "max_blocks=77"]);
    let expected = json!([["north", []], ["south", []], ["west", ["cookie_secret", "max_blocks"]]]);
    for node in [&north, &south, &west] {
        until_listed(node.address, expected.clone()).await;
        let line = "nodes differ in secrets or settings: west: cookie_secret, max_blocks";
        node.log().wait_for(line).await;
        assert_eq!(node.log().text().matches("nodes differ").count(), 1, "{}", node.log().text());
        assert!(!node.log().text().contains("xyzzy-17"), "no secret is logged");
    }
    west.signal("-TERM");
    assert_eq!(west.ended().await, Some(0));
    north.log().wait_for("all nodes have the same secrets and shared settings again").await;
}

/// Signs in; returns the cookie.
async fn sign_in(address: SocketAddr) -> String {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let reply =
        ask(address, "POST", "/admin/sign_in", &headers, "username=admin&password=admin_secret").await;
    reply.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned()
}

async fn is_signed_in(address: SocketAddr, cookie: &str) -> bool {
    ask(address, "GET", "/admin/limits.json", &[("cookie", cookie)], "").await.status == 200
}

#[actix_rt::test]
async fn a_sign_in_without_a_cookie_secret_is_valid_at_all_nodes() {
    let redis = Redis::start(&[]);
    let [one, two] = ["one", "two"].map(|name| start_named_node(&redis, name, &[]));
    let signed_in_at = async |at: SocketAddr| {
        // Within a second of its start a node takes the secret of the others.
        within(async {
            loop {
                let cookie = sign_in(at).await;
                if is_signed_in(one.address, &cookie).await && is_signed_in(two.address, &cookie).await {
                    return cookie;
                }
            }
        })
        .await
    };
    let cookies = [signed_in_at(one.address).await, signed_in_at(two.address).await];
    let three = start_named_node(&redis, "three", &[]);
    for cookie in &cookies {
        within(async { while !is_signed_in(three.address, cookie).await {} }).await;
    }
}

/// Ends the sign-in of a cookie.
async fn sign_out(address: SocketAddr, cookie: &str) {
    let reply = ask(address, "GET", "/admin/sign_out", &[("cookie", cookie)], "").await;
    assert_eq!(reply.status, 302, "{reply:?}");
}

#[actix_rt::test]
async fn a_sign_out_is_valid_at_all_nodes_also_at_those_that_were_cut_off() {
    let redis = Redis::start(&[]);
    let secret = "cookie_secret=one for all";
    let [one, two] = ["one", "two"].map(|name| start_named_node(&redis, name, &[secret]));
    let proxy = Proxy::start(Target::Unix(redis.socket()));
    let url = format!("engine_url={}", proxy.url());
    let apart = spawn_node(&[&url, "node_name=apart", secret]);
    wait_until_ready(apart.address);
    let nodes = [one.address, two.address, apart.address];
    let (first, second) = (sign_in(one.address).await, sign_in(two.address).await);
    let other = sign_in(one.address).await;
    for (cookie, node) in
        [&first, &second, &other].into_iter().flat_map(|cookie| nodes.map(|node| (cookie, node)))
    {
        assert!(is_signed_in(node, cookie).await);
    }
    sign_out(one.address, &first).await;
    for node in nodes {
        within(async { while is_signed_in(node, &first).await {} }).await;
    }
    proxy.stall();
    sign_out(two.address, &second).await;
    within(async { while is_signed_in(one.address, &second).await {} }).await;
    assert!(is_signed_in(apart.address, &second).await, "it cannot know");
    proxy.resume();
    within(async { while is_signed_in(apart.address, &second).await {} }).await;
    let late = start_named_node(&redis, "late", &[secret]);
    within(async {
        while is_signed_in(late.address, &first).await || is_signed_in(late.address, &second).await {}
    })
    .await;
    for node in nodes {
        assert!(is_signed_in(node, &other).await, "other sign-ins go on");
    }
}
