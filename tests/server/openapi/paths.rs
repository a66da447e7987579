//! The server answers on the documented paths, and on no other.

use super::{document, document_for, keys};
use crate::support::http::Wire;
use crate::support::{TestServer, settings};
use channelstream::config::{DemoSetting, Settings};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Paths that answer every method in the same way; the two documented methods stand for all.
const ANY_METHOD: [&str; 3] = ["/info", "/disconnect", "/ws"];

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"];

#[actix_web::test]
async fn server_routes_exactly_the_documented_methods() {
    let server = TestServer::start(settings());
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        let documented: BTreeSet<String> = keys(item).into_iter().map(str::to_uppercase).collect();
        let target = path.replace("{path}", "channelstream/index.js").replace("{id}", "news");
        for method in METHODS {
            let reply = Wire::open(server.address).await.ask(method, &target, &[], b"").await;
            let known = reply.header("x-channelstream-error") != Some("not-found");
            let any = ANY_METHOD.contains(&path.as_str());
            assert_eq!(known, any || documented.contains(method), "{method} {path}: {}", reply.status);
        }
    }
}

/// The path and the text of every source file.
fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            texts.push((path, text));
        }
    }
    texts
}

/// Everything on which a route is mounted: quoted paths, and the names of constants.
fn mounted() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    for (file, text) in rust_files(&source) {
        // This is the only scope; its paths are relative.
        let scope = if file.ends_with("demo/board/routes.rs") { "/demo/board" } else { "" };
        for call in ["web::resource(", "get_only("] {
            for rest in text.split(call).skip(1) {
                let argument = rest.split([')', ']']).next().unwrap_or_default();
                let names = argument.trim_start_matches('[').split(',').map(str::trim);
                found.extend(names.map(|name| match name.strip_prefix('"') {
                    Some(path) => format!("{scope}{}", path.trim_end_matches('"')),
                    None => name.to_owned(),
                }));
            }
        }
    }
    // The argument of the scope's helper function.
    found.remove("path");
    found
}

/// Undocumented paths of demo mode: pages, redirects to them, and paths that the upgrade service handles.
const PAGES_OF_DEMOS: [&str; 14] = [
    "/demo",
    "/demo/",
    "/demo/echo",
    "/demo/echo/",
    "/demo/chat",
    "/demo/chat/",
    "/demo/guarded",
    "/demo/guarded/",
    "/demo/guarded/echo",
    "/demo/board",
    "/demo/board/",
    "/demo/board/new-channel/",
    "/demo/board/del-channel/",
    "/demo/board/push/{id}/",
];

#[test]
fn every_route_is_documented() {
    let document = document();
    let mounted = mounted();
    assert!(mounted.len() > 20, "{mounted:?}");
    for path in mounted {
        let path = match path.as_str() {
            "session::SIGN_IN_PATH" => "/admin/sign_in",
            "openapi::PATH" => "/openapi-3.1.json",
            path => path,
        };
        let path = path.replace("{path:.*}", "{path}");
        let is_documented = document["paths"].get(&path).is_some();
        assert_ne!(is_documented, PAGES_OF_DEMOS.contains(&path.as_str()), "{path}");
    }
}

#[test]
fn description_contains_demos_only_in_demo_mode() {
    let exposed = document_for(&Settings { demo: DemoSetting::Off, ..Settings::default() });
    assert!(keys(&exposed["paths"]).iter().all(|path| !path.starts_with("/demo")));
    assert!(exposed["tags"].as_array().unwrap().iter().all(|tag| tag["name"] != "demo"));
    let demo = document();
    let documented: Vec<_> =
        keys(&demo["paths"]).into_iter().filter(|path| path.starts_with("/demo")).collect();
    assert_eq!(documented.len(), 10, "{documented:?}");
    for path in documented {
        for (_, operation) in demo["paths"][path].as_object().unwrap() {
            assert_eq!(operation["tags"], json!(["demo"]));
            assert!(operation["description"].as_str().unwrap().starts_with("Demo mode only"), "{path}");
        }
    }
}
