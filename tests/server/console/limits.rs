//! The page of limits lists every limit with its value, when and how often it was reached, and why sockets were closed.

use super::operator::{Operator, fast_settings, server};
use crate::support::TestServer;
use crate::support::backend::now_unix;
use crate::support::listener::{Listener, Transport};
use channelstream::config::Settings;
use serde_json::{Value, json};

const TARGET: &str = "/admin/limits.json";
const PAGE: &str = include_str!("../../../docs/limits.md");

/// The row of a list whose `key` has this value.
fn row<'a>(answer: &'a Value, list: &str, key: &str, value: &str) -> &'a Value {
    let rows = answer[list].as_array().unwrap();
    rows.iter().find(|row| row[key] == value).unwrap_or_else(|| panic!("no {value} in {answer}"))
}

#[actix_rt::test]
async fn limits_page_reports_a_reached_limit_with_its_value_and_time() {
    let server = TestServer::start(Settings { max_channels_per_connection: 2, ..fast_settings() });
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let before = operator.get(TARGET).await;
    let never = row(&before, "limits", "counter", "max_channels_per_connection");
    assert_eq!(
        (&never["count"], &never["last"], &never["settings"][0]["bound"]),
        (&json!(0), &json!(null), &json!(2))
    );
    let body = json!({"username": "ada", "channels": ["a", "b", "c"]}).to_string();
    let begun = now_unix();
    for _ in 0..3 {
        assert_eq!(backend.send("POST", "/connect", &[], body.as_bytes()).await.status, 422);
    }
    let after = operator.get(TARGET).await;
    let reached = row(&after, "limits", "counter", "max_channels_per_connection");
    assert_eq!(reached["count"], 3);
    assert!((begun..=now_unix()).contains(&reached["last"].as_u64().unwrap()), "{reached}");
    assert_eq!(row(&after, "limits", "counter", "max_sessions")["settings"][0]["bound"], json!(null));
}

#[actix_rt::test]
async fn limits_page_counts_closed_websockets_by_reason_and_code() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    let listener = Listener::attach(server.address, Transport::Websocket, &id).await;
    assert!(backend.disconnect(&id).await);
    drop(listener);
    let is_counted = |answer: &Value| row(answer, "closed", "reason", "ended")["count"] == 1;
    let answer = operator.until(TARGET, is_counted).await;
    let ended = row(&answer, "closed", "reason", "ended");
    assert_eq!(ended["code"], 1000);
    assert!(ended["last"].as_u64().is_some(), "{ended}");
    assert_eq!(row(&answer, "closed", "reason", "gone")["code"], json!(null));
}

#[actix_rt::test]
async fn server_answers_304_until_a_limit_is_reached() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let first = operator.ask("GET", TARGET, &[], "").await;
    assert!(first.body.len() < 13_000, "a poll of {} bytes", first.body.len());
    let tag = first.header("etag").unwrap();
    backend.connect("ada", &["c"]).await;
    assert_eq!(operator.ask("GET", TARGET, &[("if-none-match", tag)], "").await.status, 304);
    assert_eq!(backend.send("POST", "/message", &[], b"nonsense").await.status, 422);
    let changed = operator.ask("GET", TARGET, &[("if-none-match", tag)], "").await;
    assert_eq!(row(&changed.json(), "limits", "counter", "fields")["count"], 1);
}

/// Each setting with the first counter in the last cell of its row. "the same" repeats the counter of the row before;
/// "none" stands for no counter.
fn documented() -> Vec<(&'static str, Option<&'static str>)> {
    let mut counters: Vec<(&str, Option<&str>)> = Vec::new();
    for row in PAGE.lines().filter_map(|line| line.strip_prefix("| `")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [setting, .., last] = cells[..] else { continue };
        let counter = match last {
            "the same" => counters.last().unwrap().1,
            none if none.starts_with("none") => None,
            named => named.split('`').nth(1),
        };
        counters.push((setting.trim_end_matches('`'), counter));
    }
    counters
}

#[actix_rt::test]
async fn documentation_of_limits_names_the_same_counters() {
    let server = server();
    let answer = Operator::sign_in(&server).await.get(TARGET).await;
    let mut reported = Vec::new();
    for group in answer["limits"].as_array().unwrap() {
        for setting in group["settings"].as_array().unwrap() {
            reported.push((setting["setting"].as_str().unwrap(), group["counter"].as_str()));
        }
    }
    let mut documented = documented();
    reported.sort_unstable();
    documented.sort_unstable();
    assert_eq!(reported, documented);
}
