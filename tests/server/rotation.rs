//! Secrets that change while the server runs: SIGHUP, and the evidence for retiring an old one.

use crate::support::backend::now_unix;
use crate::support::http::{Reply, Wire};
use crate::support::socket::{self, FIN, PING};
use channelstream::auth::signing::Keys;
use channelstream::config::Secret;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The server as a process, with its settings in a file.
struct Process {
    child: Child,
    file: PathBuf,
    log: Receiver<String>,
    address: SocketAddr,
}

impl Process {
    fn start(name: &str, settings: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rotation").join(name);
        // An earlier run may have left something at the path that is not a file.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("channelstream.toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream"));
        command.env_clear().current_dir(&directory).args(["--port", "0", "--workers", "2"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, log) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let mut process = Self { child, file, log, address: ([127, 0, 0, 1], 0).into() };
        let line = process.wait_for_line("listening on http://");
        let port = line.split(['/', ':']).filter_map(|part| part.parse().ok()).next_back().unwrap();
        process.address.set_port(port);
        process
    }

    /// Waits for the next line of the log that contains this text.
    fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(20)).expect(text);
            assert!(!line.contains("hush"), "a secret: {line}");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Changes the file, and lets the server read it.
    fn reload(&self, settings: &str) {
        std::fs::write(&self.file, settings).unwrap();
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    async fn ask(&self, secret: &str, target: &str, body: &str) -> Reply {
        let now = now_unix();
        let token = Keys::new(&[Secret::new(secret)]).sign(target, now);
        let headers = [("x-channelstream-secret", token.as_str()), ("connection", "close")];
        Wire::open(self.address).await.ask("POST", target, &headers, body.as_bytes()).await
    }

    /// Whether the server accepts requests signed with this secret.
    async fn accepts(&self, secret: &str) -> bool {
        match self.ask(secret, "/info", "").await.status {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }

    async fn secrets(&self, secret: &str) -> Value {
        let now = now_unix();
        let token = Keys::new(&[Secret::new(secret)]).sign("", now);
        let headers = [("x-channelstream-secret", token.as_str())];
        let reply = Wire::open(self.address).await.ask("GET", "/admin/secrets.json", &headers, b"").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(!reply.text().contains("hush"));
        reply.json()["secrets"].clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
async fn operator_changes_a_secret_without_a_pause_and_sees_its_uses() {
    let server = Process::start("evidence", "secrets = ['hush-old']");
    let body = json!({"username": "ann", "channels": ["c"]}).to_string();
    let conn_id =
        server.ask("hush-old", "/connect", &body).await.json()["conn_id"].as_str().unwrap().to_owned();
    let target = format!("/ws?conn_id={conn_id}");
    let (mut incoming, mut outgoing) = socket::open(server.address, &target, &[]).await.ok().unwrap();
    let before = server.secrets("hush-old").await;
    // The two uses are the connect and this request.
    assert_eq!(
        (&before[0]["uses"], &before[0]["position"], &before[0]["signs"]),
        (&json!(2), &json!(1), &json!(true))
    );

    server.reload("secrets = ['hush-new', 'hush-old']");
    server.wait_for_line("SIGHUP: applied: secrets");
    assert!(
        server.accepts("hush-new").await
            && server.accepts("hush-old").await
            && !server.accepts("hush-no").await
    );
    let both = server.secrets("hush-new").await;
    let (new, old) = (&both[0], &both[1]);
    assert_eq!((&new["uses"], &old["uses"]), (&json!(2), &json!(3)));
    assert_eq!((&old["fingerprint"], &old["since"]), (&before[0]["fingerprint"], &before[0]["since"]));
    assert_ne!(new["fingerprint"], old["fingerprint"]);
    assert_eq!((&old["last_address"], &old["signs"]), (&json!("127.0.0.1"), &json!(false)));
    let source = json!({"address": "127.0.0.1", "uses": 3, "last_used": old["last_used"]});
    assert_eq!(old["addresses"], json!([source]));

    server.reload("secrets = ['hush-new']");
    server.wait_for_line("SIGHUP: applied: secrets");
    assert!(server.accepts("hush-new").await && !server.accepts("hush-old").await);
    // The client that listens notices nothing.
    outgoing.frame(FIN | PING, b"there?").await;
    incoming.until_pong().await;
}

#[actix_web::test]
async fn invalid_file_changes_nothing() {
    let server = Process::start("broken", "secrets = ['hush-old']");
    for (broken, why) in [
        ("secrets = ['hush-new", "the settings are unchanged"),
        ("secrets = []", "at least one secret is needed"),
        ("secrets = ['hush-new']\nworkers = 'many'", "workers"),
        ("secrets = ['hush-new']\nprot = 1", "unknown setting"),
    ] {
        server.reload(broken);
        let line = server.wait_for_line("SIGHUP: the settings are unchanged");
        assert!(line.contains(why), "{line}");
        assert!(server.accepts("hush-old").await && !server.accepts("hush-new").await, "{broken}");
    }
}

#[actix_web::test]
async fn server_logs_which_settings_require_a_restart() {
    let server = Process::start("restart", "secrets = ['hush']");
    server.reload("secrets = ['hush']\nheartbeat_interval_ms = 7");
    server
        .wait_for_line("no secret has changed; the secrets that sign requests come from channelstream.toml");
    server.wait_for_line("requires a restart: heartbeat_interval_ms");
    server.reload("secrets = ['hush']\nadmin_secret = 'hush'\nadmin_user = 'hush'");
    server.wait_for_line("applied: admin_user, admin_secret");
    assert!(server.accepts("hush").await);
}

#[actix_web::test]
async fn reload_refuses_default_secrets_on_a_public_address() {
    let own = "secrets = ['hush']\nadmin_secret = 'hush'\n";
    let server = Process::start("exposed", &format!("host = '0.0.0.0'\n{own}"));
    for default in [
        "host = '0.0.0.0'\nsecrets = ['secret']\nadmin_secret = 'hush'",
        // The host in the file is not the address on which this server listens.
        "host = '127.0.0.1'\nsecrets = ['secret']\nadmin_secret = 'hush'",
    ] {
        server.reload(default);
        assert!(
            server.wait_for_line("the settings are unchanged").contains("the well-known default is refused")
        );
        assert!(server.accepts("hush").await && !server.accepts("secret").await);
    }
}

/// A missing, empty or truncated file contains no secret; the server does not use the well-known ones instead.
#[actix_web::test]
async fn missing_secret_is_not_replaced_by_a_well_known_one() {
    let whole = "secrets = ['hush-old']\nadmin_secret = 'hush-admin'\n";
    let server = Process::start("absent", whole);
    let refused = async |why: &str| {
        server.signal("-HUP");
        let line = server.wait_for_line("SIGHUP: the settings are unchanged");
        assert!(line.contains("ERROR") && line.contains(why), "{line}");
        assert!(server.accepts("hush-old").await && !server.accepts("secret").await, "{why}");
    };
    std::fs::remove_file(&server.file).unwrap();
    refused("channelstream.toml: the file does not exist any more").await;
    std::fs::write(&server.file, "").unwrap();
    refused("channelstream.toml: the file is empty").await;
    std::fs::write(&server.file, "secrets = ['hush-new']\n").unwrap();
    refused("admin_secret: channelstream.toml gave a value before").await;
    std::fs::remove_file(&server.file).unwrap();
    std::fs::create_dir(&server.file).unwrap();
    refused("channelstream.toml: cannot be read: it is a directory").await;
    std::fs::remove_dir(&server.file).unwrap();
    server.reload(&whole.replace("old", "new"));
    server.wait_for_line("SIGHUP: applied: secrets");
    assert!(server.accepts("hush-new").await);
}

/// In an old version a named pipe without a writer blocked all later reloads and the end of the process.
#[actix_web::test]
async fn blocking_file_does_not_block_the_server() {
    let mut server = Process::start("pipe", "secrets = ['hush-old']\n");
    std::fs::remove_file(&server.file).unwrap();
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&server.file);
    server.signal("-HUP");
    server.wait_for_line("channelstream.toml: cannot be read: it is not a regular file");
    std::fs::remove_file(&server.file).unwrap();
    server.reload("secrets = ['hush-new']\n");
    server.wait_for_line("SIGHUP: applied: secrets");
    assert!(server.accepts("hush-new").await);
    std::fs::remove_file(&server.file).unwrap();
    pipe(&server.file);
    server.signal("-HUP");
    server.signal("-TERM");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "the process does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
}

/// The vectors' key set with only the keys of this algorithm, in a file.
fn key_file(name: &str, algorithm: &str) -> PathBuf {
    let mut set = vectors()["jwks"].clone();
    set["keys"].as_array_mut().unwrap().retain(|key| key["alg"] == algorithm);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, set.to_string()).unwrap();
    file
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../data/tokens.json")).unwrap()
}

#[actix_web::test]
async fn a_reload_reads_the_keys_of_tokens_again() {
    let file = key_file("rotation-keys.json", "EdDSA");
    let settings = format!("token_algorithms = ['EdDSA']\ntoken_jwks = '{}'\n", file.display());
    let server = Process::start("token-keys", &settings);
    let vectors = vectors();
    let named = |name: &str| {
        vectors["tokens"].as_array().unwrap().iter().find(|vector| vector["name"] == name).unwrap()["token"]
            .clone()
    };
    let refused = async |name: &str| {
        let target = format!("/ws?token={}", named(name).as_str().unwrap());
        socket::refused(server.address, &target, &[]).await.json()["token"][0].as_str().unwrap().to_owned()
    };
    // The vectors are old: the time is checked after the signature.
    assert!(refused("EdDSA with a kid").await.starts_with("It expired "));
    assert_eq!(refused("ES256 with a kid").await, "Its algorithm is not accepted.");
    key_file("rotation-keys.json", "ES256");
    server.reload(&settings);
    server.wait_for_line("neither token_public_key nor token_jwks has a key for EdDSA");
    assert!(refused("EdDSA with a kid").await.starts_with("It expired "), "nothing has changed");
    server.reload(&settings.replace("EdDSA", "ES256"));
    server.wait_for_line("SIGHUP: applied: token_algorithms");
    assert!(refused("ES256 with a kid").await.starts_with("It expired "));
    assert_eq!(refused("EdDSA with a kid").await, "Its algorithm is not accepted.");
}

#[test]
fn a_server_does_not_start_without_the_keys_that_it_needs() {
    let file = key_file("no-keys.json", "RS256");
    for (key, text) in
        [("/nowhere/keys.json", "cannot be read"), (file.to_str().unwrap(), "has a key for ES256")]
    {
        for name in ["run", "check-config"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream"));
            let jwks = format!("token_jwks={key}");
            let settings = ["--set", "token_algorithms=ES256", "--set", &jwks, "--port", "0", name];
            let output = command.env_clear().args(settings).output().unwrap();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{name}: {log}");
            assert!(log.contains(text), "{name}: {log}");
        }
    }
}
