//! The data that dashboards poll: complete for old ones, in parts on request, and only if it has changed.

use super::operator::{Operator, server};
use serde_json::{Value, json};

#[actix_rt::test]
async fn admin_json_without_parameters_has_the_original_keys() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.configure(&["news"], json!({"store_history": true})).await;
    let id = backend.connect("ada", &["news", "talk"]).await;
    backend.publish_text("news", "hello").await;
    backend.channel("news").await;
    for method in ["GET", "POST"] {
        let reply = operator.ask(method, "/admin/admin.json", &[], "").await;
        let figures = reply.json();
        let keys: Vec<&str> = figures.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "remembered_user_count",
                "unique_user_count",
                "total_connections",
                "total_channels",
                "total_messages",
                "total_unique_messages",
                "channels",
                "users",
                "uptime",
                "version"
            ]
        );
        let news = &figures["channels"]["news"];
        assert_eq!((&news["users"], &news["total_connections"]), (&json!(["ada"]), &json!(1)));
        assert_eq!(news["history"][0]["message"]["text"], "hello");
        assert_eq!(figures["users"][0]["connections"], json!([id]));
    }
}

#[actix_rt::test]
async fn admin_json_returns_pages_and_filters_by_name() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    for n in 0..5 {
        backend.connect(&format!("user {n}"), &[&format!("channel {n}")]).await;
    }
    let names = |figures: &Value| {
        let channels: Vec<String> = figures["channels"].as_object().unwrap().keys().cloned().collect();
        let users =
            figures["users"].as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap().to_owned());
        (channels, users.collect::<Vec<_>>())
    };
    let page = operator.get("/admin/admin.json?page=2&per_page=2").await;
    assert_eq!(names(&page).0, ["channel 2", "channel 3"]);
    assert_eq!(names(&page).1.len(), 2);
    assert_eq!(
        (&page["total_channels"], &page["matching_channels"], &page["matching_users"]),
        (&json!(5), &json!(5), &json!(5))
    );
    let found = operator.get("/admin/admin.json?search=%203").await;
    assert_eq!(names(&found), (vec!["channel 3".to_owned()], vec!["user 3".to_owned()]));
    let none = operator.get("/admin/admin.json?per_page=0").await;
    assert_eq!((names(&none), &none["total_connections"]), ((vec![], vec![]), &json!(5)));
    let bare = operator.get("/admin/admin.json?include_users=false&search=channel+1").await;
    assert_eq!(bare["channels"]["channel 1"]["users"], json!([]));
    assert_eq!(operator.get("/admin/admin.json?page=99").await["channels"], json!({}));
}

#[actix_rt::test]
async fn server_answers_304_if_the_list_is_unchanged() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.connect("ada", &["c"]).await;
    for target in
        ["/admin/admin.json", "/admin/channels.json", "/admin/users.json", "/admin/connections.json"]
    {
        let first = operator.ask("GET", target, &[], "").await;
        let tag = first.header("etag").unwrap();
        assert_eq!(first.header("cache-control"), Some("no-store"));
        let again = operator.ask("GET", target, &[("if-none-match", tag)], "").await;
        assert_eq!((again.status, again.header("etag"), again.body.len()), (304, Some(tag), 0), "{target}");
        backend.connect("bob", &["d"]).await;
        let changed = operator.ask("GET", target, &[("if-none-match", tag)], "").await;
        assert_eq!(changed.status, 200, "{target}");
        assert_ne!(changed.header("etag"), Some(tag));
    }
}

#[actix_rt::test]
async fn admin_json_returns_past_samples() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.connect("ada", &["c"]).await;
    let has_ada = |figures: &Value| {
        let series = &figures["series"];
        let last = series["samples"].as_array().unwrap().last();
        last.is_some_and(|sample| sample[0] == 1 && sample[8].as_f64().unwrap() > 1e6)
    };
    let figures = operator.until("/admin/admin.json?per_page=0&since=0", has_ada).await;
    let series = &figures["series"];
    assert_eq!((&series["step_s"], &series["first"]), (&json!(1), &json!(1)));
    assert_eq!(series["names"][0], "connections");
    let last = series["last"].as_u64().unwrap();
    assert_eq!(series["samples"].as_array().unwrap().len() as u64, last);
    let target = format!("/admin/admin.json?per_page=0&since={last}");
    let is_newer = |figures: &Value| figures["series"]["last"].as_u64().unwrap() > last;
    let next = operator.until(&target, is_newer).await;
    assert_eq!(next["series"]["first"], last + 1);
    assert_eq!(operator.get("/admin/admin.json?per_page=0").await["series"], Value::Null);
}

/// Like the original, the server counts each message once for each connection to which it is queued, with or without
/// a session. It does not count edits and deletions.
#[actix_rt::test]
async fn server_counts_messages_once_for_each_recipient_connection() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    for (user, channels) in [("a", &["c"][..]), ("b", &["c"]), ("b", &["c", "d"])] {
        backend.connect(user, channels).await;
    }
    let counts = async || {
        // When the channels answer this request, they have handled everything before it.
        backend.post("/info", json!({"info": {}})).await;
        let figures = operator.get("/admin/admin.json").await;
        [&figures["total_messages"], &figures["total_unique_messages"]].map(|count| count.as_u64().unwrap())
    };
    // The number of messages, and the number of connections to which they are queued.
    let mut expected = [0, 0];
    for (delivery, connections) in [
        (json!({"channel": "c"}), 3),
        (json!({"channel": "d"}), 1),
        (json!({"channel": "void"}), 0),
        (json!({"channel": "c", "exclude_users": ["b"]}), 1),
        (json!({"channel": "c", "exclude_users": ["a", "nobody"]}), 2),
        (json!({"channel": "c", "pm_users": ["b"]}), 2),
        (json!({"channel": "c", "pm_users": ["a", "b"], "exclude_users": ["b"]}), 1),
        (json!({"channel": "d", "pm_users": ["a"]}), 0),
        (json!({"pm_users": ["b", "nobody"]}), 2),
        (json!({"pm_users": ["a", "b"]}), 3),
    ] {
        let uuid = backend.publish(delivery.clone(), "hi").await;
        expected = [expected[0] + connections, expected[1] + 1];
        assert_eq!(counts().await, expected, "{delivery}");
        let mut edit = delivery.clone();
        (edit["uuid"], edit["message"]) = (json!(uuid), json!({"text": "ho"}));
        backend.call("PATCH", "/message", json!([edit])).await;
        assert_eq!(counts().await, expected, "an edit, {delivery}");
    }
}
