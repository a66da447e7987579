//! Checks the structure of the crate: imports run in one direction, `protocol` imports no other module, pure files do
//! not name actix, and there are few test programs.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail with a message")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that all others may use. Each may use those after it.
const VOCABULARY: [&str; 6] = ["config", "limits", "http_error", "telemetry", "protocol", "clock"];

/// Modules beside the path of a message. They may use all of it; only these modules may use them.
const SIDE_MODULES: [(&str, &[&str]); 4] = [
    ("console", &["server", "http", "demo", "web"]),
    ("web", &["server", "http", "demo", "console"]),
    ("demo", &["server", "http", "console"]),
    ("cli", &[]),
];

/// Folders that contain state and rules without actors, clocks or sockets.
const PURE: [&str; 9] = [
    "auth/signing/",
    "auth/tokens/",
    "broker/",
    "config/",
    "connection/framing/",
    "limits/",
    "protocol/",
    "send_queue/",
    "telemetry/",
];

/// The files in these folders that name actix: the actors, their messages and the handles to them.
const ACTORS: [&str; 17] = [
    "broker/batched_mailbox.rs",
    "broker/channel/messages.rs",
    "broker/channel/mod.rs",
    "broker/engine/link/mod.rs",
    "broker/handle/cluster/mod.rs",
    "broker/handle/mod.rs",
    "broker/hub/handle.rs",
    "broker/hub/messages.rs",
    "broker/hub/mod.rs",
    "broker/marking.rs",
    "broker/private_messages/mod.rs",
    "broker/registry/cluster_events.rs",
    "broker/registry/cluster_posts.rs",
    "broker/registry/messages.rs",
    "broker/registry/mod.rs",
    "broker/registry/requests.rs",
    "broker/registry/stopping.rs",
];

/// Files that use the time of day: to show it, to compute a rate, or to check a signature, a token or a block.
const WALL_CLOCK: &[&str] = &[
    "api/block.rs",
    "api/end.rs",
    "api/token.rs",
    "auth/guard.rs",
    "auth/mod.rs",
    "broker/channel/summary.rs",
    "broker/handle/cluster/moving.rs",
    "broker/hub/handle.rs",
    "broker/registry/cluster/shared_blocks.rs",
    "cli/mod.rs",
    "console/endpoints/channels.rs",
    "console/endpoints/mod.rs",
    "console/session.rs",
    "console/sign_in.rs",
    "demo/guarded.rs",
    "http/middleware/mod.rs",
    "telemetry/recorder/mod.rs",
    "transports/admission.rs",
    "transports/websocket/token.rs",
    "transports/websocket/upgrade.rs",
];

struct Source {
    /// Path below `src/`.
    path: String,
    /// Its text without the parts that are compiled only for tests.
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }

    /// Every path into this crate that the file names, with its line number.
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

/// The path of a file below a folder.
fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")
}

/// All source files of the server.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let tests: Vec<String> = test_modules(&root);
    let sources = files.into_iter().map(|file| {
        let path = relative(&root, &file);
        let text = fs::read_to_string(&file).unwrap();
        // By convention the tests of a file are at its end.
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        Source { path, text: text[..end].to_owned() }
    });
    sources.filter(|source| !is_test(&source.path) && !tests.contains(&source.module().to_owned())).collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("tests/")
}

fn lib(root: &Path) -> String {
    fs::read_to_string(root.join("lib.rs")).unwrap()
}

/// Modules of `lib.rs` that exist only for tests.
fn test_modules(root: &Path) -> Vec<String> {
    let text = lib(root);
    let after = text.split("#[cfg(test)]\nmod ").skip(1);
    after.filter_map(|rest| rest.split(';').next()).map(str::to_owned).collect()
}

/// The modules in the order of `lib.rs`.
fn module_order() -> Vec<String> {
    let text = lib(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let modules = text.split("// For tests only.").next().unwrap_or_default();
    let modules = modules.lines().map(|line| line.strip_prefix("pub ").unwrap_or(line));
    modules.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

fn may_use(module_order: &[String], from: &str, path: &str) -> bool {
    let place = |name: &str| module_order.iter().position(|module| module == name);
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
fn imports_run_in_one_direction() {
    let module_order = module_order();
    assert!(module_order.len() > 15, "the map in lib.rs could not be parsed: {module_order:?}");
    let mut wrong = Vec::new();
    for source in sources() {
        for (line, path) in source.uses() {
            if !may_use(&module_order, source.module(), path) {
                wrong.push(format!("src/{}:{line} uses {path}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "against the order of modules:\n{}", wrong.join("\n"));
}

#[test]
fn protocol_imports_no_other_module() {
    for source in sources().iter().filter(|source| source.module() == "protocol") {
        for (line, path) in source.uses() {
            assert!(path.starts_with("crate::protocol"), "src/{}:{line} uses {path}", source.path);
        }
    }
}

#[test]
fn pure_files_do_not_name_actix() {
    let mut named = sources();
    named.retain(|source| {
        let mut lines = source.text.lines().filter(|line| !is_comment(line));
        PURE.iter().any(|folder| source.path.starts_with(folder)) && lines.any(|line| line.contains("actix"))
    });
    let named: Vec<String> = named.into_iter().map(|source| source.path).collect();
    assert_eq!(named, ACTORS, "only the files of actors name actix, and the list names them all");
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
fn only_one_module_contains_unsafe() {
    let trusted =
        |source: &Source| source.text.contains("unsafe {") || source.text.contains("allow(unsafe_code");
    let found: Vec<String> = sources().into_iter().filter(trusted).map(|source| source.path).collect();
    assert_eq!(found, ["send_queue/ring.rs"]);
}

/// A deadline by the wall clock would come too early or never if the clock is set.
#[test]
fn only_stamps_and_signatures_use_the_wall_clock() {
    let naming = |words: &[&str]| -> Vec<String> {
        let mut found = sources();
        found.retain(|source| {
            let mut lines = source.text.lines().filter(|line| !is_comment(line));
            lines.any(|line| words.iter().any(|word| line.contains(word)))
        });
        found.into_iter().map(|source| source.path).collect()
    };
    let clocks = naming(&["SystemTime::now", "Utc::now", "Local::now"]);
    assert_eq!(clocks, ["auth/guard.rs", "protocol/time.rs"]);
    let stamps = naming(&["unix_ms()", "now_unix()"]);
    assert_eq!(stamps, WALL_CLOCK, "deadlines use Instant");
}

/// Another engine can replace the actors only if the rest of the server does not name them.
#[test]
fn only_the_broker_and_the_composition_root_name_its_actors() {
    const OPEN: [&str; 3] = ["crate::broker::handle", "crate::broker::requests", "crate::broker::drain"];
    let opens = |module: &str, path: &str| {
        let of_sessions = module == "transports" && path.starts_with("crate::broker::hub::handle");
        // check-config reaches Redis as a node does, without an actor.
        let of_check = module == "cli"
            && ["access", "problems", "server_info"].iter().any(|file| {
                path.strip_prefix("crate::broker::engine::link::").is_some_and(|rest| rest.starts_with(file))
            });
        of_sessions || of_check || OPEN.iter().any(|open| path.starts_with(open))
    };
    for source in sources().iter().filter(|source| !["broker", "server"].contains(&source.module())) {
        for (line, path) in source.uses().into_iter().filter(|(_, path)| path.starts_with("crate::broker")) {
            assert!(opens(source.module(), path), "src/{}:{line} uses {path}", source.path);
        }
    }
    assert!(!opens("api", "crate::broker::registry::messages::Publish"));
}

/// All other files use the row of the transport, so that a further transport does not change them.
#[test]
fn only_transports_and_the_send_queue_name_a_transport() {
    let names = |line: &str| {
        let variant = |(at, name): (usize, &str)| !line[at + name.len()..].starts_with(char::is_lowercase);
        line.contains("is_socket") || line.match_indices("Transport::").any(variant)
    };
    for source in sources().iter().filter(|source| !["transports", "send_queue"].contains(&source.module())) {
        for (index, line) in source.text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
            assert!(!names(line), "src/{}:{} decides by a transport", source.path, index + 1);
        }
    }
    assert!(names("Transport::Websocket") && !names("transport.map(Transport::name)"));
}

/// Each program takes many seconds to link. A new file of tests is a module of one of these.
#[test]
fn tests_are_few_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let is_program =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
    let entries = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let mut programs: Vec<String> = entries.filter(is_program).map(|path| relative(&root, &path)).collect();
    programs.sort();
    assert_eq!(programs, ["fuzz.rs", "load", "server", "structure.rs"]);
}

#[test]
fn rules_refuse_wrong_imports() {
    let module_order = module_order();
    assert!(may_use(&module_order, "http", "crate::broker::handle::BrokerHandle"));
    assert!(!may_use(&module_order, "broker", "crate::transports::long_poll"));
    assert!(!may_use(&module_order, "send_queue", "crate::broker::hub::Hub"));
    assert!(!may_use(&module_order, "api", "crate::http::cors"));
    assert!(!may_use(&module_order, "protocol", "crate::send_queue::SendQueue"));
    assert!(!may_use(&module_order, "broker", "crate::web::pages"));
}
