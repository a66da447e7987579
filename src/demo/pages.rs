//! The tutorial that performs its calls, the demo's pages, and redirects for slashes at the end of their paths.

use crate::auth::Gate;
use crate::web::pages::{FIRST_APPLICATION, Page};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

/// A page of the demo: the common head and foot around its own content.
macro_rules! page {
    ($file:literal) => {
        Page::new(concat!(
            include_str!("../../static/demos/head.html"),
            include_str!(concat!("../../static/demos/", $file)),
            include_str!("../../static/demos/foot.html"),
        ))
    };
}

/// Handlers that send one page each.
macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident: $title:literal, $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub async fn $name(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
                page!($file).serve(&gate.base_url(req.head()), &[("title", $title)])
            }
        )*

        #[cfg(test)]
        const PAGES: &[Page] = &[$(page!($file)),*];
    };
}

handlers! {
    /// GET /demo/: the list of demos.
    index: "Demos", "index.html";
    /// GET /demo/echo.
    echo: "Echo", "echo.html";
    /// GET /demo/chat.
    chat: "Chat", "chat.html";
    /// GET /demo/guarded/.
    guarded: "Guarded echo", "guarded.html";
    /// GET /demo/board/.
    board: "Channel board", "board.html";
}

/// Redirects to the same path with a slash at the end.
pub async fn with_slash(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    lead_to(&gate, &req, &format!("{}/", req.path()))
}

/// Redirects to the same path without the slash at the end.
pub async fn without_slash(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    lead_to(&gate, &req, req.path().trim_end_matches('/'))
}

fn lead_to(gate: &Gate, req: &HttpRequest, path: &str) -> HttpResponse {
    let base = gate.base_url(req.head());
    let query = req.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    HttpResponse::TemporaryRedirect()
        .insert_header((header::LOCATION, format!("{}{path}{query}", base.prefix())))
        .finish()
}

/// GET /docs/first-application: the tutorial. It makes signed calls with a secret that the reader enters.
pub async fn first_application(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let demo = gate.serves_demo(req.head());
    let values = [("demo", if demo { "true" } else { "false" }), ("secret", known_secret(&gate, demo))];
    FIRST_APPLICATION.serve(&gate.base_url(req.head()), &values)
}

/// The well-known secret, if the server uses it. Any other secret is never sent.
fn known_secret(gate: &Gate, demo: bool) -> &'static str {
    if demo && gate.secrets().accept_known_secret { "secret" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::forwarded::Forwarded;
    use crate::auth::proxy::BaseUrl;
    use crate::config::{Secret, Settings};
    use actix_web::body::MessageBody;
    use std::sync::Arc;

    #[test]
    fn pages_have_no_inline_scripts_and_no_unfilled_placeholders() {
        for page in PAGES {
            let answer =
                page.serve(&BaseUrl::read(None, Forwarded::default(), None, "h"), &[("title", "<Title>")]);
            let policy =
                answer.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap().to_owned();
            assert!(!policy.contains("unsafe") && !policy.contains("nonce"), "{policy}");
            let text = answer.into_body().try_into_bytes().unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            assert!(text.contains("<title>&lt;Title&gt; - channelstream</title>") && !text.contains("{{"));
            assert!(text.split("<script").skip(1).all(|rest| rest.contains("src=\"/static/demos/")));
            assert!(!text.contains(" style=") && !text.contains(" onclick="));
        }
    }

    #[test]
    fn only_the_well_known_secret_is_filled_in() {
        let filled_in = |settings| known_secret(&Gate::new(Arc::new(settings)), true);
        let own_secret = || Settings { secrets: vec![Secret::new("own")], ..Settings::default() };
        assert_eq!((filled_in(Settings::default()), filled_in(own_secret())), ("secret", ""));
        assert_eq!(known_secret(&Gate::new(Arc::default()), false), "");
        let gate = Gate::new(Arc::default());
        gate.replace_secrets(&own_secret());
        assert_eq!(known_secret(&gate, true), "", "the server uses another secret now");
    }
}
