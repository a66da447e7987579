//! Checks the structure of the crate: imports run in one direction, `protocol` imports nothing of ours, pure files name no actix.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that all others may use. Each may use those behind it.
const VOCABULARY: [&str; 6] = ["config", "limits", "http_error", "telemetry", "protocol", "clock"];

/// Modules beside the path of a message. They may use all of it; only these modules may use them.
const SIDE_MODULES: [(&str, &[&str]); 4] = [
    ("console", &["server", "http", "demo", "web"]),
    ("web", &["server", "http", "demo", "console"]),
    ("demo", &["server", "http", "console"]),
    ("cli", &[]),
];

/// Folders that hold state and rules without actors, clocks or sockets.
const PURE: [&str; 8] = [
    "auth/signing/",
    "broker/",
    "config/",
    "connection/framing/",
    "limits/",
    "protocol/",
    "send_queue/",
    "telemetry/",
];

/// The files in these folders that name actix: the actors, their messages and the handles to them.
const ACTORS: [&str; 15] = [
    "broker/batched_mailbox.rs",
    "broker/channel/messages.rs",
    "broker/channel/mod.rs",
    "broker/handle.rs",
    "broker/hub/handle.rs",
    "broker/hub/inspect.rs",
    "broker/hub/messages.rs",
    "broker/hub/mod.rs",
    "broker/private_messages/mod.rs",
    "broker/registry/messages.rs",
    "broker/registry/mod.rs",
    "broker/registry/questions.rs",
    "broker/registry/requests.rs",
    "broker/registry/sessions.rs",
    "broker/registry/stopping.rs",
];

/// Files that make a number of the time of day: to show it, to tell a rate, or to judge a signature.
const WALL_CLOCK: &[&str] = &[
    "auth/guard.rs",
    "auth/mod.rs",
    "broker/channel/summary.rs",
    "broker/hub/handle.rs",
    "cli/mod.rs",
    "console/endpoints/channels.rs",
    "console/endpoints/mod.rs",
    "console/session.rs",
    "console/sign_in.rs",
    "demo/guarded.rs",
    "http/middleware/mod.rs",
    "telemetry/recorder/mod.rs",
    "transports/websocket/upgrade.rs",
];

struct Source {
    /// Path below `src/`.
    path: String,
    /// Its text without what is only compiled for tests.
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }

    /// Every path into this crate that the file names, with its line.
    fn uses(&self) -> Vec<(usize, &str)> {
        let mut uses = Vec::new();
        for (index, line) in self.text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
            for (start, _) in line.match_indices("crate::") {
                let rest = &line[start..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
                uses.push((index + 1, &rest[..end.unwrap_or(rest.len())]));
            }
        }
        uses
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All files that the server is made of.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let tests: Vec<String> = test_modules(&root);
    let sources = files.into_iter().map(|file| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        // By custom the tests of a file stand at its end.
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        Source { path, text: text[..end].to_owned() }
    });
    sources.filter(|source| !is_test(&source.path) && !tests.contains(&source.module().to_owned())).collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs")
}

fn lib(root: &Path) -> String {
    fs::read_to_string(root.join("lib.rs")).unwrap()
}

/// Modules of `lib.rs` that exist for tests only.
fn test_modules(root: &Path) -> Vec<String> {
    let text = lib(root);
    let after = text.split("#[cfg(test)]\nmod ").skip(1);
    after.filter_map(|rest| rest.split(';').next()).map(str::to_owned).collect()
}

/// The modules in the order of `lib.rs`.
fn road() -> Vec<String> {
    let text = lib(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

fn may_use(road: &[String], from: &str, path: &str) -> bool {
    let place = |name: &str| road.iter().position(|module| module == name);
    let order = |name: &str| VOCABULARY.iter().position(|module| *module == name);
    let side = |name: &str| SIDE_MODULES.iter().find(|(module, _)| *module == name);
    let to = path.split("::").nth(1).unwrap_or_default();
    if from == to || from == "main" || from == "bin" || from == "lib" {
        return true;
    }
    match (order(from), order(to)) {
        (Some(from), Some(to)) => return to > from,
        (None, Some(_)) => return true,
        (Some(_), None) => return false,
        (None, None) => {}
    }
    match (side(from), side(to)) {
        (_, Some((_, entrances))) => entrances.contains(&from),
        (Some(_), None) => true,
        (None, None) => place(from) < place(to),
    }
}

#[test]
fn imports_run_one_way() {
    let road = road();
    assert!(road.len() > 15, "the map in lib.rs was not understood: {road:?}");
    let mut wrong = Vec::new();
    for source in sources() {
        for (line, path) in source.uses() {
            if !may_use(&road, source.module(), path) {
                wrong.push(format!("src/{}:{line} uses {path}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "against the road:\n{}", wrong.join("\n"));
}

#[test]
fn the_protocol_imports_nothing_of_ours() {
    for source in sources().iter().filter(|source| source.module() == "protocol") {
        for (line, path) in source.uses() {
            assert!(path.starts_with("crate::protocol"), "src/{}:{line} uses {path}", source.path);
        }
    }
}

#[test]
fn pure_files_name_no_actor() {
    let mut named = sources();
    named.retain(|source| {
        let mut lines = source.text.lines().filter(|line| !is_comment(line));
        PURE.iter().any(|folder| source.path.starts_with(folder)) && lines.any(|line| line.contains("actix"))
    });
    let named: Vec<String> = named.into_iter().map(|source| source.path).collect();
    assert_eq!(named, ACTORS, "an actor's shell belongs in the list, and nothing else names actix");
}

#[test]
fn only_the_composition_root_starts_threads() {
    for source in sources().iter().filter(|source| !["server", "cli"].contains(&source.module())) {
        for (index, line) in source.text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
            let starts = line.contains("thread::spawn") || line.contains("Arbiter::");
            assert!(!starts, "src/{}:{} starts a thread", source.path, index + 1);
        }
    }
}

#[test]
fn one_module_alone_is_trusted_with_unsafe() {
    let trusted =
        |source: &Source| source.text.contains("unsafe {") || source.text.contains("allow(unsafe_code");
    let found: Vec<String> = sources().into_iter().filter(trusted).map(|source| source.path).collect();
    assert_eq!(found, ["send_queue/ring.rs"]);
}

/// A deadline by the wall clock would come early or never when the clock is set.
#[test]
fn the_wall_clock_is_for_stamps_and_signatures_only() {
    let naming = |words: &[&str]| -> Vec<String> {
        let mut found = sources();
        found.retain(|source| {
            let mut lines = source.text.lines().filter(|line| !is_comment(line));
            lines.any(|line| words.iter().any(|word| line.contains(word)))
        });
        found.into_iter().map(|source| source.path).collect()
    };
    let clocks = naming(&["SystemTime::now", "Utc::now", "Local::now"]);
    assert_eq!(clocks, ["auth/guard.rs", "cli/mod.rs", "protocol/time.rs"]);
    let stamps = naming(&["unix_ms()", "now_unix()"]);
    assert_eq!(stamps, WALL_CLOCK, "deadlines are kept by Instant");
}

#[test]
fn the_rules_refuse_what_they_are_for() {
    let road = road();
    assert!(may_use(&road, "http", "crate::broker::handle::Backend"));
    assert!(!may_use(&road, "broker", "crate::transports::long_poll"));
    assert!(!may_use(&road, "send_queue", "crate::broker::hub::Hub"));
    assert!(!may_use(&road, "api", "crate::http::routes"));
    assert!(!may_use(&road, "protocol", "crate::send_queue::Outbox"));
    assert!(!may_use(&road, "broker", "crate::web::pages"));
}
