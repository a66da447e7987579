//! What the server does when the system fails it: no file descriptors, no threads, a socket that it must not serve.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod support;

use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::backend::{Backend, signature};
use support::http::Wire;
use support::process::{Process, command};
use support::{TestServer, settings, within};

/// A start that fails with this exit code.
fn failed(code: i32, setup: &str, args: &[&str], socket: Option<&TcpListener>) -> Output {
    let mut command = command(setup, args);
    if let Some(socket) = socket {
        command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a new connection is served.
async fn is_served(address: SocketAddr) -> Option<Wire> {
    let mut wire = Wire::open(address).await;
    wire.write(support::http::request("GET", "/nowhere", &[], b"")).await;
    match wire.try_reply().await?.status {
        404 => Some(wire),
        503 => None,
        other => panic!("status {other}"),
    }
}

#[actix_web::test]
async fn without_file_descriptors_clients_are_told_and_it_recovers() {
    let process = Process::run(command("ulimit -n 64", &["--port", "0", "--set", "workers=1"]));
    let address = process.address;
    let mut kept = Vec::new();
    while let Some(wire) = is_served(address).await {
        kept.push(wire);
        assert!(kept.len() < 64, "there must be an end");
    }
    assert!(kept.len() > 10, "only {} were let in", kept.len());
    for _ in 0..20 {
        let reply = Wire::open(address).await.ask("GET", "/ws?conn_id=x", &[], b"").await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        assert_eq!(reply.header("x-channelstream-error"), Some("no-room"));
        assert_eq!(reply.json()["code"], "503 Service Unavailable");
    }
    // Who is inside is served.
    let (name, token) = signature();
    let debug = kept[0].ask("GET", "/admin/debug", &[(name, &token)], b"").await.text();
    let line =
        debug.lines().find(|line| line.starts_with("connections refused, no file descriptors: ")).unwrap();
    let refused: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(refused >= 20, "{line}");
    kept.clear();
    // At its next turn the server sees that they are gone.
    within(async { while is_served(address).await.is_none() {} }).await;
    assert!(process.log().at("no file descriptor is left").is_some(), "{}", process.log().text());
    within(async {
        while process.log().at("file descriptors are available again").is_none() {
            assert!(is_served(address).await.is_some(), "who comes when there is room is served");
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // The reserve is there again: the second time is as the first.
    while let Some(wire) = is_served(address).await {
        kept.push(wire);
    }
    drop(kept);
    within(async { while is_served(address).await.is_none() {} }).await;
}

#[test]
fn a_start_that_fails_for_want_of_threads_says_so() {
    // Each thread has 2 MiB of stack. Under some limits all stacks fit, and nothing is left for what a thread needs else.
    let limits = ["-v 300000", "-v 350000", "-v 400000", "-v 500000", "-v 700000"];
    for limit in limits.into_iter().chain(["-d 100000", "-d 150000", "-d 200000", "-d 300000", "-d 700000"]) {
        let output = failed(1, &format!("ulimit {limit}"), &["--port", "0", "--set", "workers=300"], None);
        assert!(
            said(&output).contains("cannot start 302 threads (setting workers, limits on tasks and memory)"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_start_on_a_port_that_is_taken_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = failed(1, "", &["--port", &address.port().to_string()], None);
    assert!(said(&output).contains(&format!("cannot listen on {address}: ")), "{}", said(&output));
}

/// Whoever has chosen the address: secrets that everybody knows are refused where others come by.
#[test]
fn a_socket_that_was_handed_over_is_judged_as_one_of_our_own() {
    let setup = "exec 3<&0 </dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$";
    let open_to_all = TcpListener::bind("0.0.0.0:0").unwrap();
    let output = failed(78, setup, &[], Some(&open_to_all));
    assert!(
        said(&output).contains("secrets: the well-known default is refused on 0.0.0.0"),
        "{}",
        said(&output)
    );
    let output = failed(1, "exec 3</dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$", &[], None);
    assert!(said(&output).contains("(LISTEN_FDS)"), "{}", said(&output));
}

#[test]
fn a_start_that_fails_for_want_of_files_says_so() {
    for files in [8, 12, 16, 20, 24, 28] {
        let output = failed(1, &format!("ulimit -n {files}"), &["--port", "0"], None);
        let (text, named) = (said(&output), "clients need (limit of open files, ulimit -n, LimitNOFILE;");
        assert!(text.contains(named) && !text.contains("panicked"), "{files}: {text}");
    }
}

/// The least limit with which the server starts is one with which it serves.
#[actix_web::test]
async fn a_start_with_few_files_serves_a_few_clients() {
    let args =
        ["--port", "0", "--set", "workers=2", "--set", "internal_host=127.0.0.1", "--set", "internal_port=0"];
    let start = |files: u32| Process::try_run(command(&format!("ulimit -n {files}"), &args)).ok();
    let process = (30..80).find_map(start).expect("some limit is enough");
    let mut kept = Vec::new();
    while let Some(wire) = is_served(process.address).await {
        kept.push(wire);
        assert!(kept.len() < 80, "there must be an end");
    }
    assert!(kept.len() >= 8, "only {} were let in", kept.len());
}

#[actix_web::test]
async fn signals_of_other_servers_do_not_end_the_process() {
    let process = Process::start();
    let mut wire = Wire::open(process.address).await;
    for name in ["USR1", "USR2"] {
        process.signal(&format!("-{name}"));
        process.log().wait_for(&format!("SIG{name} has no effect")).await;
    }
    for name in ["XFSZ", "PIPE", "HUP"] {
        process.signal(&format!("-{name}"));
    }
    process.log().wait_for("SIGHUP: no secret has changed").await;
    assert_eq!(wire.ask("GET", "/health/live", &[], b"").await.status, 200);
}

/// The names of a process' threads, without those that the allocator starts.
fn thread_names(process: &Process) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    let names = names.map(|name| name.trim_end().to_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("jemalloc")).collect();
    names.sort();
    names
}

#[actix_web::test]
async fn every_thread_has_a_name_of_its_own() {
    let process = Process::run(command("", &["--port", "0", "--set", "workers=3"]));
    // The first thread has the name by which the process is found.
    let expected = [
        "channelstream",
        "cs-log",
        "cs-registry",
        "cs-watchdog",
        "cs-worker-1",
        "cs-worker-2",
        "cs-worker-3",
    ];
    // A thread names itself after it was started.
    let names = async {
        while thread_names(&process) != expected {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let named = tokio::time::timeout(Duration::from_secs(10), names).await;
    assert!(named.is_ok(), "{:?}", thread_names(&process));
}

#[test]
fn a_low_limit_of_files_is_a_warning() {
    for (files, level) in [(1_024, "WARN "), (4_096, "INFO ")] {
        let process = Process::run(command(&format!("ulimit -n {files}"), &["--port", "0"]));
        let text = process.log().text();
        let line = text.lines().find(|line| line.contains(&format!("at most {files} open files"))).unwrap();
        assert!(line.contains(level), "{line}");
    }
}

/// Words of shell in front of a server that finds this file in the place of the hosts file. None where the system does
/// not let us.
fn with_hosts(path: &str) -> Option<String> {
    let mount = format!("mount --bind {path} /etc/hosts");
    ["-m", "-r -m"].into_iter().find_map(|flags| {
        let tried =
            Command::new("sh").args(["-c", &format!("unshare {flags} {mount} 2>&1")]).output().unwrap();
        let setup = format!("exec unshare {flags} sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\"");
        tried.status.success().then_some(setup)
    })
}

/// The same for a server for which `localhost` has two addresses, as on most machines.
fn with_two_addresses() -> Option<String> {
    let hosts = format!("{}/hosts", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").unwrap();
    with_hosts(&hosts)
}

/// The hosts file is a pipe without a writer: the resolver waits for it as for a name server that does not answer.
#[actix_web::test]
async fn a_name_without_an_answer_does_not_hold_up_the_end() {
    let pipe = format!("{}/hosts-{}.pipe", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let _ = std::fs::remove_file(&pipe);
    nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let Some(setup) = with_hosts(&pipe) else {
        eprintln!("not tried: this system has no mount namespaces for us");
        return;
    };
    let args = ["--host", "push.example", "--port", "0", "--set", "secrets=a", "--set", "admin_secret=b"];
    let mut child = command(&setup, &args).spawn().unwrap();
    let id = child.id().to_string();
    // It stays in there, because nothing opens the other end of the pipe.
    let resolves = || {
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        tasks.flatten().any(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "cs-listen")
        })
    };
    within(async {
        while !resolves() {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() > Duration::from_secs(8) => break None,
            None => actix_rt::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", said(&output));
    assert!(said(&output).contains("SIGTERM: stopping before the server listens"), "{}", said(&output));
    std::fs::remove_file(pipe).unwrap();
}

#[actix_web::test]
async fn a_name_stands_for_all_its_addresses() {
    let setup = with_two_addresses();
    let args = [
        "--host",
        "localhost",
        "--port",
        "0",
        "--set",
        "internal_host=localhost",
        "--set",
        "internal_port=0",
    ];
    let process = Process::run(command(setup.as_deref().unwrap_or_default(), &args));
    let text = process.log().text();
    let urls = |line: &str| -> Vec<SocketAddr> {
        let line = text.lines().find(|known| known.contains(line)).unwrap();
        line.split("http://").skip(1).map(|rest| rest.split('/').next().unwrap().parse().unwrap()).collect()
    };
    let (first, internal) = (urls("listening on http"), urls("listening for backends and operators on http"));
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for addresses in [&first, &internal] {
        assert!(addresses.iter().any(SocketAddr::is_ipv4), "{text}");
        assert!(addresses.iter().any(SocketAddr::is_ipv6) || !has_ipv6 || setup.is_none(), "{text}");
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()), "{text}");
    }
    for address in first.into_iter().chain(internal.clone()) {
        let reply = Wire::open(address).await.ask("GET", "/health/live", &[], b"").await;
        assert_eq!(reply.status, 200, "{address}");
    }
    for address in internal {
        Backend { address }.connect("ann", &["c"]).await;
    }
}

/// A listener that waits for a connection does not keep the last place from the others.
#[actix_web::test]
async fn two_listeners_share_room_for_one_connection() {
    let server = TestServer::start(channelstream::config::Settings {
        max_http_connections: 1,
        internal_host: Some("127.0.0.1".into()),
        internal_port: 0,
        ..settings()
    });
    for _ in 0..3 {
        for address in [server.address, server.internal_address.unwrap()] {
            let closing = [("connection", "close")];
            let reply = Wire::open(address).await.ask("GET", "/health/live", &closing, b"").await;
            assert_eq!(reply.status, 200, "{address}");
        }
    }
}

#[actix_web::test]
async fn ipv6_loopback_may_post() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let server = TestServer::start(channelstream::config::Settings { host: "::1".into(), ..settings() });
    server.backend().connect("ann", &["c"]).await;
}

#[actix_web::test]
async fn health_checks_need_no_signature_and_no_tls() {
    let server =
        TestServer::start(channelstream::config::Settings { enforce_https: true, workers: 2, ..settings() });
    let mut wire = Wire::open(server.address).await;
    within(async {
        while wire.ask("GET", "/health/ready", &[], b"").await.status != 200 {
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for path in ["/health/ready", "/health/live"] {
        let reply = wire.ask("GET", path, &[], b"").await;
        assert_eq!((reply.status, reply.json()), (200, json!({"state": "ready", "reason": null})), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(wire.ask("POST", path, &[], b"").await.status, 404);
    }
    assert_eq!(wire.ask("GET", "/admin/sign_in", &[], b"").await.status, 406);
    let backend = Backend { address: server.address };
    assert_eq!(backend.send("GET", "/health/other", &[], b"").await.status, 404);
}
