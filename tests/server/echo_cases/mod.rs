//! The cases of the Autobahn suite for echo servers, with their numbers there, run against `/demo/echo`: the results
//! also hold for `/ws`, which shares the websocket code of the echo.
//!
//! The suite itself runs on Python 2.7; `docs/reports/robustness.md` describes how it was run, and its result. Where
//! the suite waits a second to check that nothing happens, these cases send a ping and wait for its pong.

mod script;
mod framing;
mod utf8;
mod closing;
mod limits;
mod deflate;

use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use std::collections::BTreeSet;

/// The number of cases that the suite (0.8.2) has in each group: 517 in total.
#[rustfmt::skip]
const GROUPS: [(&str, usize); 57] = [
    ("1.1", 8), ("1.2", 8), ("2", 11), ("3", 7), ("4.1", 5), ("4.2", 5), ("5", 20), ("6.1", 3), ("6.2", 4),
    ("6.3", 2), ("6.4", 4), ("6.5", 5), ("6.6", 11), ("6.7", 4), ("6.8", 2), ("6.9", 4), ("6.10", 3),
    ("6.11", 5), ("6.12", 8), ("6.13", 5), ("6.14", 10), ("6.15", 1), ("6.16", 3), ("6.17", 5), ("6.18", 5),
    ("6.19", 5), ("6.20", 7), ("6.21", 8), ("6.22", 34), ("6.23", 7), ("7.1", 6), ("7.3", 6), ("7.5", 1),
    ("7.7", 13), ("7.9", 9), ("7.13", 2), ("9.1", 6), ("9.2", 6), ("9.3", 9), ("9.4", 9), ("9.5", 6),
    ("9.6", 6), ("9.7", 6), ("9.8", 6), ("10.1", 1), ("12.1", 18), ("12.2", 18), ("12.3", 18), ("12.4", 18),
    ("12.5", 18), ("13.1", 18), ("13.2", 18), ("13.3", 18), ("13.4", 18), ("13.5", 18), ("13.6", 18),
    ("13.7", 18),
];

fn server() -> TestServer {
    TestServer::start(Settings { heartbeat_interval_ms: 0, ..settings() })
}

/// A test for each group of cases.
macro_rules! run {
    ($($name:ident: $cases:expr,)*) => { $(
        #[actix_web::test]
        async fn $name() {
            let server = server();
            script::run(server.address, $cases).await;
        }
    )* };
}

run! {
    case_1_framing: framing::framing(),
    case_2_pings_and_pongs: framing::pings(),
    case_3_reserved_bits: framing::reserved_bits(),
    case_4_opcodes: framing::opcodes(),
    case_5_fragmentation: framing::fragmentation(),
    case_6_utf8: utf8::cases(),
    case_9_1_and_9_2_lengths: limits::lengths(),
    case_9_3_and_9_4_fragments: limits::fragment_lengths(),
    case_9_5_and_9_6_chops: limits::chops(),
    case_9_7_and_9_8_round_trips: limits::round_trips(),
    case_10_automatic_fragmentation: limits::automatic_fragmentation(),
}

#[actix_web::test]
async fn case_12_compressed_contents() {
    let server = server();
    deflate::run(server.address, deflate::contents()).await;
}

#[actix_web::test]
async fn case_13_negotiation_of_compression() {
    let server = server();
    deflate::run(server.address, deflate::negotiations()).await;
}

/// After an invalid close frame the server does not wait for the client.
#[actix_web::test]
async fn case_7_closing() {
    let server = server();
    let begun = std::time::Instant::now();
    let cases = closing::cases();
    let refused = cases.iter().filter(|case| matches!(case.end, script::End::Refused(..))).count();
    script::run(server.address, cases).await;
    // To wait would take two seconds for each case.
    let limit = std::time::Duration::from_secs(refused as u64);
    assert!(refused >= 14 && begun.elapsed() < limit, "{refused} in {:?}", begun.elapsed());
}

/// The cases are numbered without a gap, and there are as many as in the suite.
#[test]
fn no_case_is_missing() {
    let played = [
        framing::framing(),
        framing::pings(),
        framing::reserved_bits(),
        framing::opcodes(),
        framing::fragmentation(),
        utf8::cases(),
        closing::cases(),
        limits::lengths(),
        limits::fragment_lengths(),
        limits::chops(),
        limits::round_trips(),
        limits::automatic_fragmentation(),
    ];
    let compressed = deflate::contents().into_iter().chain(deflate::negotiations()).map(|case| case.id);
    let played: BTreeSet<String> =
        played.into_iter().flatten().map(|case| case.id).chain(compressed).collect();
    let wanted =
        GROUPS.iter().flat_map(|(group, count)| (1..=*count).map(move |number| format!("{group}.{number}")));
    assert_eq!(played, wanted.collect());
}
