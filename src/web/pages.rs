//! The HTML pages. A page is a template from `static/` in which `{{base}}`, `{{prefix}}`, `{{nonce}}` and the page's
//! own values (`{{error}}` of the form, `{{csrf}}` of the console, `{{demo}}` of the front page) are replaced.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::auth::Gate;
use crate::auth::proxy::BaseUrl;
use crate::console::session::{AdminOrSigned, csrf_token_for};
use crate::http_error::escape_html;

#[derive(Clone, Copy, Debug)]
pub struct Page(&'static str);

impl Page {
    pub const fn new(template: &'static str) -> Self {
        Self(template)
    }
}

pub const FRONT: Page = Page(include_str!("../../static/index.html"));
pub const FIRST_APPLICATION: Page = Page(include_str!("../../static/first-application.html"));
pub const SIGN_IN: Page = Page(include_str!("../../static/sign_in.html"));
pub const DASHBOARD: Page = Page(include_str!("../../static/admin.html"));
pub const EXPLORER: Page = Page(include_str!("../../static/explorer.html"));

/// GET /admin.
pub async fn dashboard(_: AdminOrSigned, gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let token = csrf_token_for(&req);
    DASHBOARD.serve(&gate.base_url(req.head()), &[("csrf", &token)])
}

/// GET /api-explorer.
pub async fn explorer(_: AdminOrSigned, gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let token = csrf_token_for(&req);
    EXPLORER.serve(&gate.base_url(req.head()), &[("csrf", &token)])
}

impl Page {
    /// Renders the page for one request, with its base, its nonce and its own values by name.
    pub fn serve(self, base: &BaseUrl, values: &[(&str, &str)]) -> HttpResponse {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let page = render(self.0, |name| match name {
            "base" => Some(base.to_string()),
            "prefix" => Some(base.prefix().to_owned()),
            "nonce" => Some(nonce.clone()),
            _ => values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        });
        HttpResponse::Ok()
            .content_type("text/html; charset=UTF-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, policy(self.0, base, &nonce)))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::REFERRER_POLICY, "same-origin"))
            // The page depends on host and nonce, and may show data for admins only.
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(page)
    }
}

/// Scripts and styles must be the server's own files. Only a page that needs more is allowed more: inline scripts with
/// this response's nonce, and websockets to this server.
fn policy(template: &str, base: &BaseUrl, nonce: &str) -> String {
    let nonce = if template.contains("{{nonce}}") { format!(" 'nonce-{nonce}'") } else { String::new() };
    let host = base.host();
    let sockets = if template == DASHBOARD.0 || template == SIGN_IN.0 {
        String::new()
    } else {
        format!(" ws://{host} wss://{host}")
    };
    format!(
        "default-src 'none'; script-src 'self'{nonce}; style-src 'self'{nonce}; img-src 'self' data:; \
         connect-src 'self'{sockets}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Replaces `{{name}}` by the escaped value if `value` returns one. Other text remains unchanged.
fn render(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut page = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let named = after.split_once("}}").and_then(|(name, tail)| Some((value(name.trim())?, tail)));
        match named {
            Some((text, tail)) => {
                page.push_str(&escape_html(&text));
                rest = tail;
            }
            None => {
                page.push_str("{{");
                rest = after;
            }
        }
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::forwarded::Forwarded;
    use actix_web::body::MessageBody;

    fn base(host: &str) -> BaseUrl {
        BaseUrl::read(Some(host), Forwarded::default(), None, "localhost:8000")
    }

    fn text(answer: HttpResponse) -> String {
        String::from_utf8(answer.into_body().try_into_bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn known_names_are_replaced_and_escaped() {
        let fill = |template| render(template, |name| (name == "a").then(|| "<'\">".into()));
        assert_eq!(fill("x{{a}}y{{ a }}z"), "x&lt;&#39;&quot;&gt;y&lt;&#39;&quot;&gt;z");
        assert_eq!(fill("{{b}} {{ {{a}} }} {{"), "{{b}} {{ &lt;&#39;&quot;&gt; }} {{");
    }

    #[test]
    fn the_explorer_contains_the_texts_that_other_builds_replace() {
        let page = text(EXPLORER.serve(&base("push.example:81"), &[]));
        assert!(page.contains("from 'http://push.example:81/static/channelstream/index.js'"));
        assert!(page.contains("http://push.example:81/openapi.json"));
        assert!(page.contains("http://push.example:81/openapi-3.1.json"));
    }

    #[test]
    fn every_page_has_a_policy_and_no_other_scripts() {
        for page in [FRONT, FIRST_APPLICATION, SIGN_IN, DASHBOARD, EXPLORER] {
            let answer = page.serve(&base("h"), &[]);
            let policy =
                answer.headers().get("content-security-policy").unwrap().to_str().unwrap().to_owned();
            let nonce =
                policy.split("'nonce-").nth(1).map_or("none", |rest| rest.split('\'').next().unwrap());
            let nonce = nonce.to_owned();
            assert!(!policy.contains("unsafe"));
            let text = text(answer);
            assert!(!text.contains("{{nonce}}") && !text.contains("{{base}}"));
            for tag in text.split("<script").skip(1).map(|rest| rest.split('>').next().unwrap()) {
                assert!(tag.contains("src=") || tag.contains(&format!("nonce=\"{nonce}\"")), "<script{tag}>");
            }
            assert!(!text.contains(" style=") && !text.contains(" onclick="));
        }
    }

    #[test]
    fn a_hostile_host_header_does_not_reach_a_page() {
        let page = text(EXPLORER.serve(&base("h'</script><script>alert(1)"), &[]));
        assert!(!page.contains("alert(1)"));
        assert!(page.contains("http://localhost:8000/openapi.json"));
    }

    #[test]
    fn the_form_has_the_originals_title_and_shows_errors() {
        let page = text(SIGN_IN.serve(&base("h"), &[("error", "Wrong name or password.")]));
        assert!(page.contains("<title>Channelstream Admin</title>"));
        assert!(page.contains("Wrong name or password."));
    }
}
