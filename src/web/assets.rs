//! GET /static/…: the files of the pages and the browser library, embedded in the binary.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use sha1::{Digest, Sha1};

use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation, response};
use crate::http::polled::is_known;
use crate::http_error::Refusal;
use crate::protocol::schema;
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterIn};
use utoipa::openapi::{Required, Response};

/// Files under `static/`, by their path there, without the templates of pages.
macro_rules! embed {
    ($($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!("../../static/", $path)))),*]
    };
}

const FILES: &[(&str, &[u8])] = embed![
    "channelstream/channelstream.js",
    "channelstream/channelstream.min.js",
    "channelstream/index.js",
    "channelstream/signer.js",
    "console.css",
    "console/api.js",
    "console/channel.js",
    "console/chart.js",
    "console/connection.js",
    "console/dialogs.js",
    "console/format.js",
    "console/limits.js",
    "console/list.js",
    "console/lists.js",
    "console/main.js",
    "console/overview.js",
    "console/recording.js",
    "console/router.js",
    "console/secrets.js",
    "console/series.js",
    "console/user.js",
    "demo-messages.js",
    "demo-people.js",
    "demo.css",
    "demo.js",
    "demos/board.js",
    "demos/chat.js",
    "demos/demos.css",
    "demos/echo.js",
    "demos/guarded.js",
    "demos/log.js",
    "demos/socket.js",
    "dom.js",
    "explorer.css",
    "explorer/components.js",
    "explorer/main.js",
    "explorer/names.js",
    "explorer/request.js",
    "explorer/socket.js",
    "first-application-call.js",
    "first-application-listener.js",
    "first-application-samples.js",
    "first-application.css",
    "first-application.js",
    "first-application/curl.sh",
    "first-application/javascript.mjs",
    "first-application/php.php",
    "first-application/python.py",
    "first-application/ruby.rb",
    "home.js",
    "icon.svg",
    "style.css",
    "vendor/lit-html/LICENSE.txt",
    "vendor/lit-html/directive-helpers.js",
    "vendor/lit-html/directive.js",
    "vendor/lit-html/directives/repeat.js",
    "vendor/lit-html/lit-html.js",
    "vendor/swagger-ui/LICENSE.txt",
    "vendor/swagger-ui/NOTICE.txt",
    "vendor/swagger-ui/swagger-ui-bundle.js",
    "vendor/swagger-ui/swagger-ui-bundle.js.LICENSE.txt",
    "vendor/uplot/LICENSE.txt",
    "vendor/uplot/uPlot.iife.min.js",
    "vendor/uplot/uPlot.min.css",
];

struct Asset {
    content: &'static [u8],
    content_type: &'static str,
    etag: String,
}

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let asset = |content: &'static [u8], path| {
        let digest = Sha1::digest(content);
        let hex: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
        Asset { content, content_type: content_type(path), etag: format!("\"{hex}\"") }
    };
    FILES.iter().map(|(path, content)| (*path, asset(content, path))).collect()
});

/// Sends a file, or 304 if the client has the current version.
///
/// # Errors
/// Not found.
pub async fn asset(req: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let asset = ASSETS.get(path.as_str()).ok_or_else(|| Refusal::NotFound(req.path().to_owned()))?;
    let mut answer =
        if is_known(req.headers(), &asset.etag) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, asset.etag.as_str()))
        // Browsers revalidate on each use, so that no page runs with modules of two versions; a 304 is cheap.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Pages of applications import the browser library from here. The files are the same for all clients.
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .content_type(asset.content_type);
    Ok(if is_known(req.headers(), &asset.etag) { answer.finish() } else { answer.body(asset.content) })
}

pub fn openapi(_: &mut ApiDescription<'_>) -> Operation {
    let path = Parameter::builder()
        .name("path")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema::text()))
        .description(Some("Path of the file; it may contain slashes."))
        .example(Some("channelstream/index.js".into()));
    Operation::new(HttpMethod::Get, "/static/{path}", "file", ApiGroup::Operators, Access::Open)
        .about("A file of the pages or the browser library", "The library is `channelstream/index.js`.")
        .parameter(path)
        .responds(200, response("The file.", "*/*", schema::text()))
        .responds(304, Response::new("The client already has the current file."))
        .refuses([Refusal::NotFound("/static/unknown.js".into())])
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

    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }

    /// Of the browser library, pages load the files built from its sources, including those under the original's names.
    /// The other files are for its npm package.
    fn is_served(path: &str) -> bool {
        match path.strip_prefix("channelstream/") {
            Some(file) => {
                ["channelstream.js", "channelstream.min.js", "index.js", "signer.js"].contains(&file)
            }
            None => !path.ends_with(".html") && !path.ends_with("README.md"),
        }
    }

    #[test]
    fn every_file_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
        for file in files_below(&root) {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
            assert_eq!(is_served(path), ASSETS.contains_key(path), "{path}: fix the table of files");
        }
    }

    #[test]
    fn every_file_has_a_known_type() {
        for (path, asset) in ASSETS.iter() {
            assert_ne!(asset.content_type, "application/octet-stream", "{path}");
        }
    }
}
