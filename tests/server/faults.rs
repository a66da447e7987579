//! How the server handles failures of the system: no file descriptors, no threads, a socket that it must not serve.

use crate::support::backend::{Backend, signature};
use crate::support::http::Wire;
use crate::support::process::{Process, command};
use crate::support::{TestServer, settings, within};
use channelstream::config::{EngineSetting, Settings};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Starts a server that must fail with this exit code.
fn failed_start(code: i32, setup: &str, args: &[&str], socket: Option<&TcpListener>) -> Output {
    let mut command = command(setup, args);
    if let Some(socket) = socket {
        command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn stderr_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Opens a new connection; returns it if the server serves it.
async fn is_served(address: SocketAddr) -> Option<Wire> {
    let mut wire = Wire::open(address).await;
    wire.write(crate::support::http::request("GET", "/nowhere", &[], b"")).await;
    match wire.try_reply().await?.status {
        404 => Some(wire),
        503 => None,
        other => panic!("status {other}"),
    }
}

#[actix_web::test]
async fn server_refuses_clients_without_file_descriptors_and_recovers() {
    let process = Process::run(command("ulimit -n 64", &["--port", "0", "--set", "workers=1"]));
    let address = process.address;
    let mut kept = Vec::new();
    while let Some(wire) = is_served(address).await {
        kept.push(wire);
        assert!(kept.len() < 64, "the server must refuse a connection");
    }
    assert!(kept.len() > 10, "only {} were accepted", kept.len());
    for _ in 0..20 {
        let reply = Wire::open(address).await.ask("GET", "/ws?conn_id=x", &[], b"").await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        assert_eq!(reply.header("x-channelstream-error"), Some("no-room"));
        assert_eq!(reply.json()["code"], "503 Service Unavailable");
    }
    // The server still serves open connections.
    let (name, token) = signature();
    let debug = kept[0].ask("GET", "/admin/debug", &[(name, &token)], b"").await.text();
    let line =
        debug.lines().find(|line| line.starts_with("connections refused, no file descriptors: ")).unwrap();
    let refused: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(refused >= 20, "{line}");
    kept.clear();
    // The server notices the closed connections on its next attempt.
    within(async { while is_served(address).await.is_none() {} }).await;
    assert!(process.log().at("no file descriptor is left").is_some(), "{}", process.log().text());
    within(async {
        while process.log().at("file descriptors are available again").is_none() {
            assert!(
                is_served(address).await.is_some(),
                "the server serves a new connection if a descriptor is free"
            );
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // The reserve is restored: the second time is like the first.
    while let Some(wire) = is_served(address).await {
        kept.push(wire);
    }
    drop(kept);
    within(async { while is_served(address).await.is_none() {} }).await;
}

#[test]
fn server_reports_that_it_cannot_start_its_threads() {
    // Each thread has 2 MiB of stack. With some limits all stacks fit, but no memory remains for other needs of a
    // thread.
    let limits = ["-v 300000", "-v 350000", "-v 400000", "-v 500000", "-v 700000"];
    for limit in limits.into_iter().chain(["-d 100000", "-d 150000", "-d 200000", "-d 300000", "-d 700000"]) {
        let output =
            failed_start(1, &format!("ulimit {limit}"), &["--port", "0", "--set", "workers=300"], None);
        assert!(
            stderr_text(&output)
                .contains("cannot start 302 threads (setting workers, limits on tasks and memory)"),
            "{}",
            stderr_text(&output)
        );
    }
}

#[test]
fn server_reports_that_a_port_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = failed_start(1, "", &["--port", &address.port().to_string()], None);
    assert!(
        stderr_text(&output).contains(&format!("cannot listen on {address}: ")),
        "{}",
        stderr_text(&output)
    );
}

/// The well-known secrets are refused on a public address, even if the service manager chose the address.
#[test]
fn server_checks_a_passed_socket_like_its_own() {
    let setup = "exec 3<&0 </dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$";
    let open_to_all = TcpListener::bind("0.0.0.0:0").unwrap();
    let output = failed_start(78, setup, &[], Some(&open_to_all));
    assert!(
        stderr_text(&output).contains("secrets: the well-known default is refused on 0.0.0.0"),
        "{}",
        stderr_text(&output)
    );
    let output = failed_start(1, "exec 3</dev/null\nexport LISTEN_FDS=1 LISTEN_PID=$$", &[], None);
    assert!(stderr_text(&output).contains("(LISTEN_FDS)"), "{}", stderr_text(&output));
}

#[test]
fn server_reports_that_the_limit_of_open_files_is_too_low() {
    for files in [8, 12, 16, 20, 24, 28] {
        let output = failed_start(1, &format!("ulimit -n {files}"), &["--port", "0"], None);
        let (text, named) =
            (stderr_text(&output), "clients need (limit of open files, ulimit -n, LimitNOFILE;");
        assert!(text.contains(named) && !text.contains("panicked"), "{files}: {text}");
    }
}

/// The server works with the lowest limit with which it starts.
#[actix_web::test]
async fn server_with_few_files_serves_a_few_clients() {
    let args =
        ["--port", "0", "--set", "workers=2", "--set", "internal_host=127.0.0.1", "--set", "internal_port=0"];
    let start = |files: u32| Process::try_run(command(&format!("ulimit -n {files}"), &args)).ok();
    let process = (30..80).find_map(start).expect("some limit is enough");
    let mut kept = Vec::new();
    while let Some(wire) = is_served(process.address).await {
        kept.push(wire);
        assert!(kept.len() < 80, "the server must refuse a connection");
    }
    assert!(kept.len() >= 8, "only {} were accepted", kept.len());
}

#[actix_web::test]
async fn unused_signals_do_not_end_the_process() {
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

/// The names of the threads of a process, without those that the allocator starts.
fn thread_names(process: &Process) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    let names = names.map(|name| name.trim_end().to_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("jemalloc")).collect();
    names.sort();
    names
}

#[actix_web::test]
async fn every_thread_has_its_own_name() {
    let process = Process::run(command("", &["--port", "0", "--set", "workers=3"]));
    // The first thread keeps the name of the process.
    let expected = [
        "channelstream",
        "cs-log",
        "cs-registry",
        "cs-watchdog",
        "cs-worker-1",
        "cs-worker-2",
        "cs-worker-3",
    ];
    // A thread sets its name after it was started.
    let names = async {
        while thread_names(&process) != expected {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let named = tokio::time::timeout(Duration::from_secs(10), names).await;
    assert!(named.is_ok(), "{:?}", thread_names(&process));
}

#[test]
fn server_warns_about_a_low_limit_of_open_files() {
    for (files, level) in [(1_024, "WARN "), (4_096, "INFO ")] {
        let process = Process::run(command(&format!("ulimit -n {files}"), &["--port", "0"]));
        let text = process.log().text();
        let line = text.lines().find(|line| line.contains(&format!("at most {files} open files"))).unwrap();
        assert!(line.contains(level), "{line}");
    }
}

/// Shell commands before a server that then reads this file as the hosts file. `None` if the system does not permit
/// that.
fn with_hosts(path: &str) -> Option<String> {
    let mount = format!("mount --bind {path} /etc/hosts");
    ["-m", "-r -m"].into_iter().find_map(|flags| {
        let tried =
            Command::new("sh").args(["-c", &format!("unshare {flags} {mount} 2>&1")]).output().unwrap();
        let setup = format!("exec unshare {flags} sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\"");
        tried.status.success().then_some(setup)
    })
}

/// The same for a server that resolves `localhost` to two addresses, as on most machines.
fn with_two_addresses() -> Option<String> {
    let hosts = format!("{}/hosts", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").unwrap();
    with_hosts(&hosts)
}

/// The hosts file is a pipe without a writer: the resolver waits for it like for a name server that does not answer.
#[actix_web::test]
async fn unresolved_host_name_does_not_delay_the_stop() {
    let pipe = format!("{}/hosts-{}.pipe", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let _ = std::fs::remove_file(&pipe);
    nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let Some(setup) = with_hosts(&pipe) else {
        eprintln!("skipped: this system permits no mount namespaces");
        return;
    };
    let args = ["--host", "push.example", "--port", "0", "--set", "secrets=a", "--set", "admin_secret=b"];
    let mut child = command(&setup, &args).spawn().unwrap();
    let id = child.id().to_string();
    // The thread blocks in the resolver, because no process opens the other end of the pipe.
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
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", stderr_text(&output));
    assert!(
        stderr_text(&output).contains("SIGTERM: stopping before the server listens"),
        "{}",
        stderr_text(&output)
    );
    std::fs::remove_file(pipe).unwrap();
}

#[actix_web::test]
async fn server_listens_on_all_addresses_of_a_host_name() {
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
        Backend::new(address).connect("ann", &["c"]).await;
    }
}

/// A listener that waits for a connection does not reserve the last free slot.
#[actix_web::test]
async fn two_listeners_share_the_limit_of_one_connection() {
    let server = TestServer::start(Settings {
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
async fn server_accepts_posts_from_ipv6_loopback() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let server = TestServer::start(Settings { host: "::1".into(), ..settings() });
    server.backend().connect("ann", &["c"]).await;
}

#[actix_web::test]
async fn health_checks_need_no_signature_and_no_tls() {
    let server = TestServer::start(Settings { enforce_https: true, workers: 2, ..settings() });
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
    let backend = Backend::new(server.address);
    assert_eq!(backend.send("GET", "/health/other", &[], b"").await.status, 404);
}

#[actix_web::test]
async fn a_node_is_ready_when_it_has_joined_the_others() {
    let engine_url = vec!["redis+unix:///nowhere".parse().unwrap()];
    let alone = Settings { engine: EngineSetting::Redis, engine_url, ..settings() };
    let alone = TestServer::start(alone);
    let mut wire = Wire::open(alone.address).await;
    let reply = within(async {
        loop {
            let reply = wire.ask("GET", "/health/ready", &[], b"").await;
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
            if reply.json()["state"] != "starting" {
                return reply;
            }
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let reason = "the node has not joined the other nodes yet";
    assert_eq!(reply.json(), json!({"state": "joining", "reason": reason}));
    let live = wire.ask("GET", "/health/live", &[], b"").await;
    assert_eq!((live.status, live.json()["state"].clone()), (200, json!("joining")));
    // It waits until it is ready.
    let joined = TestServer::start_with_redis(settings());
    let reply = Wire::open(joined.address).await.ask("GET", "/health/ready", &[], b"").await;
    assert_eq!((reply.status, reply.json()), (200, json!({"state": "ready", "reason": null})));
}
