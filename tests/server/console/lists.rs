//! Lists in pages, and single items.

use super::operator::{Operator, fast_settings, server};
use crate::support::TestServer;
use crate::support::listener::{Listener, Transport};
use channelstream::config::{FileFormat, Settings, parse};
use serde_json::{Value, json};

fn column<'a>(list: &'a Value, name: &str) -> Vec<&'a Value> {
    list["rows"].as_array().unwrap().iter().map(|row| &row[name]).collect()
}

#[actix_rt::test]
async fn server_pages_sorts_and_searches_channels() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend
        .configure(&["a-news", "b-news", "c-talk"], json!({"store_history": true, "history_size": 7}))
        .await;
    backend.connect("ada", &["b-news", "c-talk"]).await;
    backend.connect("bob", &["c-talk"]).await;
    backend.publish_text("a-news", "hello").await;
    backend.channel("a-news").await;

    let all = operator.get("/admin/channels.json").await;
    assert_eq!(
        (&all["total"], &all["matching"], &all["page"], &all["per_page"]),
        (&json!(3), &json!(3), &json!(1), &json!(50))
    );
    assert_eq!(column(&all, "name"), ["a-news", "b-news", "c-talk"]);
    assert_eq!(column(&all, "connections"), [0, 1, 2]);
    assert_eq!(column(&all, "history"), [1, 0, 0]);
    assert_eq!(all["rows"][0]["settings"]["history_size"], 7);
    assert_eq!(all["rows"][0]["frames"], 1);
    assert!(all["rows"][0]["frames_per_s"].as_f64().unwrap() > 0.0);

    let page = operator.get("/admin/channels.json?sort=-connections&per_page=2&page=2").await;
    assert_eq!((column(&page, "name"), &page["matching"]), (vec![&json!("a-news")], &json!(3)));
    let found = operator.get("/admin/channels.json?search=NEWS&sort=-rate").await;
    assert_eq!(
        (column(&found, "name"), &found["matching"]),
        (vec![&json!("a-news"), &json!("b-news")], &json!(2))
    );
    assert_eq!(operator.get("/admin/channels.json?search=nowhere").await["rows"], json!([]));
}

#[actix_rt::test]
async fn server_names_the_invalid_parameter_of_a_query() {
    let server = server();
    let operator = Operator::sign_in(&server).await;
    for (target, faults) in [
        ("/admin/channels.json?page=0", json!({"page": ["Must be between 1 and 20000."]})),
        ("/admin/users.json?per_page=5000", json!({"per_page": ["Must be between 1 and 1000."]})),
        (
            "/admin/connections.json?sort=colour",
            json!({"sort": ["Must be one of: user, since, last_activity, queued_bytes, channels."]}),
        ),
        ("/admin/channel.json", json!({"name": ["Missing data for required field."]})),
        ("/admin/user.json?name=", json!({"name": ["Missing data for required field."]})),
        ("/admin/connection.json?conn_id=5", json!({"conn_id": ["Not a valid UUID."]})),
        (
            "/admin/admin.json?per_page=x&step_s=7",
            json!({"per_page": ["Not a valid integer."], "step_s": ["Must be one of: 1, 15, 120."]}),
        ),
    ] {
        let reply = operator.ask("GET", target, &[], "").await;
        assert_eq!((reply.status, reply.json()), (422, faults), "{target}");
    }
    for target in [
        "/admin/channel.json?name=nowhere",
        "/admin/user.json?name=nobody",
        "/admin/connection.json?conn_id=5b1d5a0e-4c5c-4b7e-9d5e-0c8a8f1f2a3b",
    ] {
        assert_eq!(operator.ask("GET", target, &[], "").await.status, 404, "{target}");
    }
}

#[actix_rt::test]
async fn channel_page_shows_its_last_messages() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.configure(&["news & more"], json!({"store_history": true, "history_size": 100})).await;
    for n in 0..25 {
        backend.publish_text("news & more", &format!("message {n}")).await;
    }
    backend.publish_text("news & more", &"long ".repeat(2_000)).await;
    let known = backend.channel("news & more").await;
    let channel = operator.get("/admin/channel.json?name=news+%26+more").await;
    assert_eq!((&channel["uuid"], &channel["history"]), (&known["uuid"], &json!(26)));
    let messages = channel["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 20);
    assert_eq!(messages[18]["message"]["message"]["text"], "message 24");
    assert_eq!(
        (messages[19]["message"].is_null(), messages[19]["bytes"].as_u64().unwrap() > 10_000),
        (true, true)
    );
}

#[actix_rt::test]
async fn channel_page_shows_the_rules_of_the_channel() {
    let text = "[[channels]]\nmatch = 'news*'\nfixed = ['store_history']\nframes = 7\n";
    let channels = parse(text, FileFormat::Toml, "a.toml".as_ref()).unwrap().channels;
    let server = TestServer::start(Settings { channels, ..fast_settings() });
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.configure(&["news", "other"], json!({"store_history": true})).await;
    let news = operator.get("/admin/channel.json?name=news").await;
    assert_eq!(news["settings"]["store_history"], json!(false));
    let rules = &news["rules"];
    assert_eq!((&rules["match"], &rules["frames"]), (&json!("news*"), &json!(7)));
    assert_eq!((&rules["fixed"], &rules["defaults"]), (&json!(["store_history"]), &news["settings"]));
    let other = operator.get("/admin/channel.json?name=other").await;
    assert_eq!((&other["rules"]["match"], &other["rules"]["fixed"]), (&json!(""), &json!([])));
    assert_eq!(other["settings"]["store_history"], json!(true));
}

#[actix_rt::test]
async fn server_lists_users_with_their_state() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.connect("ada", &["c"]).await;
    backend.connect("ada", &["c"]).await;
    let bob = json!({"username": "bob", "user_state": {"color": "red", "secret": 5}, "state_public_keys": ["color"]});
    backend.post("/connect", bob).await;
    let long = json!({"username": "eve", "user_state": {"text": "x".repeat(1_000)}});
    backend.post("/connect", long).await;

    let users = operator.get("/admin/users.json?sort=-connections").await;
    assert_eq!(
        (&users["total"], &users["remembered"], &users["matching"]),
        (&json!(3), &json!(3), &json!(3))
    );
    assert_eq!(
        (column(&users, "name"), column(&users, "connections")),
        (vec![&json!("ada"), &json!("bob"), &json!("eve")], vec![&json!(2), &json!(1), &json!(1)])
    );
    assert_eq!(column(&users, "state")[..2], [&json!({}), &json!({"color": "red", "secret": 5})]);
    assert_eq!((column(&users, "state")[2], column(&users, "state_bytes")[2]), (&Value::Null, &json!(1_011)));

    let bob = operator.get("/admin/user.json?name=bob").await;
    assert_eq!((&bob["total"], &bob["public_keys"]), (&json!(1), &json!(["color"])));
    assert_eq!(bob["state"], json!({"color": "red", "secret": 5}));
    assert_eq!(bob["connections"].as_array().unwrap().len(), 1);
    assert_eq!(operator.get("/admin/users.json?search=AD").await["matching"], 1);
}

#[actix_rt::test]
async fn server_lists_connections_with_their_sessions() {
    let proxied = Settings { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..fast_settings() };
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..proxied.clone() });
        let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
        let (here, there) = (backend.connect("ada", &["c", "d"]).await, backend.connect("bob", &["c"]).await);
        let poll = backend.connect("eve", &["d"]).await;
        let _here = Listener::attach(server.address, Transport::Websocket, &here).await;
        let _poll = Listener::attach(server.address, Transport::LongPoll, &poll).await;

        let attached = |list: &Value| column(list, "transport") == [&json!("websocket"), &json!("longpoll")];
        let list = operator.until("/admin/connections.json?channel=d", attached).await;
        assert_eq!((&list["total"], &list["matching"]), (&json!(3), &json!(2)));
        let ada = &list["rows"][0];
        assert_eq!(
            (&ada["user"], &ada["conn_id"], &ada["phase"]),
            (&json!("ada"), &json!(here), &json!("attached"))
        );
        assert_eq!(
            (&ada["address"], &ada["channels"], &ada["queued_bytes"]),
            (&json!("127.0.0.1"), &json!(2), &json!(0))
        );
        let since = ada["since"].as_u64().unwrap();
        assert!(ada["last_activity"].as_u64().unwrap() + 1 >= since && since > 1_700_000_000);
        let bob = operator.get("/admin/connections.json?user=bob").await;
        assert_eq!((&bob["rows"][0]["phase"], &bob["rows"][0]["address"]), (&json!("waiting"), &Value::Null));

        let details = operator.get(&format!("/admin/connection.json?conn_id={here}")).await;
        assert_eq!(
            (&details["channel_names"], &details["transport"]),
            (&json!(["c", "d"]), &json!("websocket"))
        );
        assert_eq!(
            operator.get(&format!("/admin/connections.json?search={}", &there[..13])).await["matching"],
            1
        );
        assert_eq!(operator.get("/admin/connections.json?search=127.0.0").await["matching"], 2);
        assert_eq!(operator.get("/admin/connections.json?channel=nowhere").await["matching"], 0);
    }
}

#[actix_rt::test]
async fn server_reports_the_address_of_the_client_behind_a_proxy() {
    let server = TestServer::start(Settings {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..fast_settings()
    });
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &[]).await;
    let target = format!("/ws?conn_id={id}");
    let _socket =
        crate::support::socket::open(server.address, &target, &[("x-forwarded-for", "192.0.2.7")]).await;
    let is_known = |details: &Value| details["phase"] == "attached";
    let details = operator.until(&format!("/admin/connection.json?conn_id={id}"), is_known).await;
    assert_eq!(details["address"], "192.0.2.7");
}
