//! What `check-config` reports about the Redis of a node.

use crate::support::certificates::Authority;
use crate::support::redis::{Redis, Sentinel};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::slice::from_ref;
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

#[test]
fn problems_of_tls_are_stated_plainly() {
    let (authority, other) = (Authority::new(), Authority::new());
    let expect = |redis: &Redis, settings: &[String], reason: &str| {
        let url = format!("rediss://127.0.0.1:{}", redis.port());
        let checked = check(&[&[at(&url)], settings].concat());
        let expected = format!("error: engine_url: {url}: {reason}");
        assert!(checked.status.code() == Some(78) && err(&checked).contains(&expected), "{checked:?}");
    };
    let trusting = format!("engine_ca_file={}", authority.file());
    let redis = Redis::with_tls(&authority.sign("127.0.0.1"), &authority, true);
    let wrong = format!("engine_ca_file={}", other.file());
    expect(&redis, &[wrong], "the certificate of the server was not signed by an authority");
    expect(&redis, from_ref(&trusting), "the server requires a certificate");
    let identity = authority.sign("node");
    let shown = [format!("engine_cert_file={}", identity.cert), format!("engine_key_file={}", identity.key)];
    let url = format!("rediss://127.0.0.1:{}", redis.port());
    let right = check(&[&[at(&url), trusting.clone()], &shown[..]].concat());
    assert!(right.status.success() && out(&right).contains(&format!("# {url}: Redis ")), "{right:?}");
    let named = Redis::with_tls(&authority.sign("redis.example.org"), &authority, false);
    expect(&named, from_ref(&trusting), "the certificate of the server is for another name");
    let late = Redis::with_tls(&authority.sign_expired("127.0.0.1"), &authority, false);
    expect(&late, from_ref(&trusting), "the certificate of the server has expired");
}

#[test]
fn files_without_certificates_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (identity, stranger) = (authority.sign("node"), other.sign("node"));
    let refused = |files: [(&str, &str); 2], reason: &str| {
        let files = files.map(|(key, name)| format!("{key}={name}"));
        let checked = check(&[&[at("rediss://127.0.0.1:1")], &files[..]].concat());
        assert!(checked.status.code() == Some(78) && err(&checked).contains(reason), "{checked:?}");
    };
    let cert = ("engine_cert_file", identity.cert.as_str());
    refused([cert, ("engine_key_file", &stranger.key)], "has no usable key for engine_cert_file");
    refused([cert, ("engine_key_file", &identity.cert)], "has no usable private key");
    refused(
        [("engine_cert_file", &identity.key), ("engine_key_file", &identity.key)],
        "has no usable certificate",
    );
    refused([("engine_ca_file", &identity.key), ("engine_prefix", "cs:")], "contains no certificate");
    refused([("engine_ca_file", "/nowhere"), ("engine_prefix", "cs:")], "/nowhere: cannot be read");
}

#[test]
fn sentinels_are_asked_for_the_master() {
    let redis = Redis::on_port(&["--appendonly", "yes"]);
    let sentinel = Sentinel::start_one(redis.port(), 1, "");
    let gone = "redis+sentinel://127.0.0.1:1/main";
    let checked = check(&[at(&format!("{gone},{}", sentinel.url()))]);
    let (master, url) = (format!("127.0.0.1:{}", redis.port()), sentinel.url());
    assert!(checked.status.success(), "{checked:?}");
    assert!(out(&checked).contains(&format!("# {url}: the master is {master}\n")), "{}", out(&checked));
    assert!(out(&checked).contains(&format!("# {url}: {master}: Redis ")), "{}", out(&checked));
    assert!(err(&checked).contains(&format!("warning: engine_url: {gone}: ")), "{}", err(&checked));
    let unknown = check(&[at(&url.replace("main", "other"))]);
    assert!(unknown.status.code() == Some(1) && err(&unknown).contains("No such master"), "{unknown:?}");
}

#[test]
fn the_settings_of_the_documentation_are_valid() {
    let page = include_str!("../../docs/cluster.md");
    let blocks: Vec<_> = page.split("```").filter_map(|block| block.strip_prefix("text\n")).collect();
    let blocks: Vec<_> = blocks.iter().filter(|block| block.starts_with("engine_url")).collect();
    assert_eq!(blocks.len(), 2);
    for (number, block) in blocks.into_iter().enumerate() {
        let file =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("documented-{number}.toml"));
        std::fs::write(&file, block).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream"));
        // The engine stays embedded, so that nothing connects.
        let checked = command.env_clear().arg("-c").arg(&file).arg("check-config").output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}
