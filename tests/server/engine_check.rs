//! What `check-config` reports about the Redis of a node.

use crate::support::redis::Redis;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn check(settings: &[String]) -> Output {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream"));
    command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR")).args([
        "check-config",
        "--set",
        "engine=redis",
    ]);
    command.args(set).output().unwrap()
}

fn at(url: &str) -> String {
    format!("engine_url={url}")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_server_is_described_with_its_risks() {
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]);
    let checked = check(&[at(&redis.url())]);
    assert!(checked.status.success(), "{checked:?}");
    let line = format!("# {}: Redis ", redis.url());
    assert!(out(&checked).contains(&line) && out(&checked).contains(", master, "), "{}", out(&checked));
    let default = "max_frame_bytes = 262144  # the default with engine = \"redis\"";
    assert!(out(&checked).contains(default), "{}", out(&checked));
    for text in
        ["warning: engine_url: ", "allkeys-lru", "neither appendonly nor save", "client-output-buffer-limit"]
    {
        assert!(err(&checked).contains(text), "{text}: {}", err(&checked));
    }
    let good = Redis::start(&["--appendonly", "yes", "--client-output-buffer-limit", "pubsub 256mb 64mb 60"]);
    let checked = check(&[at(&good.url())]);
    assert!(checked.status.success() && err(&checked).is_empty(), "{checked:?}");
}

#[test]
fn a_password_is_needed_and_never_printed() {
    let redis = Redis::start(&["--requirepass", "hush-hush"]);
    let refused = check(&[at(&redis.url())]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(err(&refused).contains("the server refuses the node: "), "{}", err(&refused));
    let wrong = check(&[at(&format!("{}?pass=hush-wrong", redis.url()))]);
    assert_eq!(wrong.status.code(), Some(78));
    let right = check(&[at(&format!("{}?pass=hush-hush", redis.url()))]);
    assert!(right.status.success() && out(&right).contains("?pass=********: Redis "), "{right:?}");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-password");
    std::fs::write(&file, "hush-hush\n").unwrap();
    let by_file = check(&[at(&redis.url()), format!("engine_password_file={}", file.display())]);
    assert!(by_file.status.success(), "{by_file:?}");
    for output in [refused, wrong, right, by_file] {
        assert!(!(out(&output) + &err(&output)).contains("hush-"), "{output:?}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_a_failure_within_the_time() {
    let redis = Redis::start(&["--appendonly", "yes"]);
    // The kernel accepts the connection, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    let started = Instant::now();
    let checked = check(&[at(&silent), "engine_timeout_ms=300".into()]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(err(&checked).contains(&format!("error: engine_url: {silent}: ")), "{}", err(&checked));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let both = check(&[at(&format!("{silent},{}", redis.url())), "engine_timeout_ms=300".into()]);
    assert!(
        both.status.success() && err(&both).contains(&format!("warning: engine_url: {silent}: ")),
        "{both:?}"
    );
}

#[test]
fn one_server_must_be_a_master() {
    // The master does not exist, so the replica never receives data.
    let replica = Redis::start(&["--replicaof", "127.0.0.1", "1"]);
    let checked = check(&[at(&replica.url())]);
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
    assert!(out(&checked).contains(", replica, ") && err(&checked).contains("no server there is a master"));
}
