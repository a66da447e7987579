//! GET /static/…: the files of the pages and the browser library, embedded in the binary.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use include_dir::{Dir, File, include_dir};
use sha1::{Digest, Sha1};

use crate::http::polled::is_known;
use crate::http_error::Refusal;

static FOLDER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/static");

/// The built files of the browser library, under the original's names too. The rest of its folder is for its npm package.
const LIBRARY: [&str; 4] = ["channelstream.js", "channelstream.min.js", "index.js", "signer.js"];

struct Asset {
    content: &'static [u8],
    content_type: &'static str,
    etag: String,
}

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let asset = |file: &'static File<'_>| {
        let path = file.path().to_str().filter(|path| is_served(path))?;
        Some((path, Asset::new(path, file.contents())))
    };
    files_below(&FOLDER).into_iter().filter_map(asset).collect()
});

fn files_below(folder: &'static Dir<'_>) -> Vec<&'static File<'static>> {
    folder.files().chain(folder.dirs().flat_map(files_below)).collect()
}

/// Templates of pages and notes for developers are in the same folder.
fn is_served(path: &str) -> bool {
    match path.strip_prefix("channelstream/") {
        Some(file) => LIBRARY.contains(&file),
        None => !path.ends_with(".html") && !path.ends_with("README.md"),
    }
}

impl Asset {
    fn new(path: &str, content: &'static [u8]) -> Self {
        let digest = Sha1::digest(content);
        let hex: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
        Self { content, content_type: content_type(path), etag: format!("\"{hex}\"") }
    }
}

/// Sends a file, or 304 if the client has the current version.
///
/// # Errors
/// No file has this path.
pub async fn asset(req: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let asset = ASSETS.get(path.as_str()).ok_or_else(|| Refusal::NotFound(req.path().to_owned()))?;
    let is_current = is_known(req.headers(), &asset.etag);
    let mut answer = if is_current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, asset.etag.as_str()))
        // Browsers revalidate on each use, so that no page runs with modules of two versions; a 304 is cheap.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Pages of applications import the browser library from here. The files are the same for all clients.
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .content_type(asset.content_type);
    Ok(if is_current { answer.finish() } else { answer.body(asset.content) })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" | "py" | "php" | "rb" | "sh" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn paths_below(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { paths_below(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn every_file_on_disk_is_embedded_with_its_bytes() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
        for file in paths_below(&root) {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
            let embedded = ASSETS.get(path).map(|asset| asset.content.to_vec());
            assert_eq!(embedded, is_served(path).then(|| std::fs::read(&file).unwrap()), "{path}");
        }
    }

    #[test]
    fn templates_notes_and_sources_are_not_served() {
        for path in ["admin.html", "demos/head.html", "vendor/README.md", "channelstream/package.json"] {
            assert!(FOLDER.get_file(path).is_some() && !ASSETS.contains_key(path), "{path}");
        }
        for path in ["channelstream/index.js", "vendor/uplot/LICENSE.txt", "first-application/python.py"] {
            assert!(ASSETS.contains_key(path), "{path}");
        }
    }

    #[test]
    fn every_file_has_a_known_type() {
        for (path, asset) in ASSETS.iter() {
            assert_ne!(asset.content_type, "application/octet-stream", "{path}");
        }
    }
}
