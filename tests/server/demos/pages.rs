//! The pages of the demos, for plain HTTP requests.

use super::common::{ask, behind_a_proxy, quiet};
use crate::support::TestServer;
use crate::support::http::Wire;

#[actix_web::test]
async fn server_has_a_page_for_every_program() {
    let server = TestServer::start(quiet());
    for (path, heading) in [
        ("/demo/", "Small websocket programs"),
        ("/demo/echo", "Echo"),
        ("/demo/chat", "Chat"),
        ("/demo/guarded/", "Guarded echo"),
        ("/demo/board/", "Channel board"),
    ] {
        let reply = ask(&server, "GET", path, "").await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=UTF-8")),
            "{path}"
        );
        assert!(reply.text().contains(&format!("<h1>{heading}</h1>")), "{path}");
    }
}

/// A missing or superfluous slash at the end of the path redirects, also behind a proxy's prefix.
#[actix_web::test]
async fn server_redirects_to_the_path_with_the_right_slash() {
    let server = TestServer::start(behind_a_proxy());
    for (path, to) in [
        ("/demo", "/demo/"),
        ("/demo/board", "/demo/board/"),
        ("/demo/guarded?a=b", "/demo/guarded/?a=b"),
        ("/demo/echo/", "/demo/echo"),
        ("/demo/chat/", "/demo/chat"),
    ] {
        let reply = ask(&server, "GET", path, "").await;
        assert_eq!((reply.status, reply.header("location")), (307, Some(to)), "{path}");
        let headers = [("x-forwarded-prefix", "/push")];
        let mut wire = Wire::open(server.address).await;
        let reply = wire.ask("GET", &format!("/push{path}"), &headers, b"").await;
        assert_eq!(reply.header("location"), Some(format!("/push{to}").as_str()), "{path}");
    }
}
