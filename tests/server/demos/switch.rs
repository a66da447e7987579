//! Demo mode can be on or off.

use super::common::{ask, quiet, refused};
use crate::support::TestServer;
use channelstream::config::{DemoSetting, Settings};

#[actix_web::test]
async fn server_has_no_demo_paths_without_demo_mode() {
    let server = TestServer::start(Settings { demo: DemoSetting::Off, ..quiet() });
    for path in ["/demo/echo", "/demo/guarded/echo?token=x", "/demo/chat", "/demo/board/socket"] {
        assert_eq!(refused(&server, path).await.status, 404, "{path}");
    }
    for (method, path) in [
        ("GET", "/demo/"),
        ("GET", "/demo/echo"),
        ("GET", "/demo/chat"),
        ("GET", "/demo/board/"),
        ("GET", "/demo/guarded/"),
        ("GET", "/demo/guarded/echo"),
        ("POST", "/demo/guarded/token"),
        ("GET", "/demo/board/new-channel?id=a"),
        ("POST", "/demo/board/push/a"),
    ] {
        let reply = ask(&server, method, path, "").await;
        assert_eq!((reply.status, reply.header("x-channelstream-error")), (404, Some("not-found")), "{path}");
    }
}
