//! The operators' console: sign-in, figures, and the endpoints of its pages.

pub mod endpoints;
pub(crate) mod figures;
mod lists;
pub(crate) mod query;
pub(crate) mod sampler;
pub(crate) mod session;
pub(crate) mod sign_in;
mod sign_in_records;

use actix_web::guard::{Any, Get, Head};
use actix_web::{Route, web};

use crate::auth::body::FORM_BYTES;
use crate::http::openapi;
use crate::web::{assets, pages};

/// Mounts pages and files, which need no actors.
pub fn configure(cfg: &mut web::ServiceConfig) {
    let sign_in = web::resource(session::SIGN_IN_PATH);
    cfg.app_data(web::FormConfig::default().limit(FORM_BYTES));
    cfg.service(sign_in.route(read().to(sign_in::form)).route(web::post().to(sign_in::submit)))
        .service(
            web::resource("/admin/sign_out")
                .route(read().to(sign_in::sign_out))
                .route(web::post().to(sign_in::submit_sign_out)),
        )
        .service(web::resource("/admin").route(read().to(pages::dashboard)))
        .service(web::resource("/api-explorer").route(read().to(pages::explorer)))
        .service(web::resource("/openapi.json").route(read().to(openapi::swagger2_document)))
        .service(web::resource(openapi::PATH).route(read().to(openapi::document)))
        .service(web::resource("/static/{path:.*}").route(read().to(assets::asset)));
}

pub fn figures(cfg: &mut web::ServiceConfig) {
    let json = web::resource("/admin/admin.json");
    cfg.service(json.route(read().to(figures::admin_json)).route(web::post().to(figures::admin_json)))
        .service(web::resource("/admin/debug").route(read().to(figures::debug)));
}

/// GET and HEAD, because health checks often use HEAD.
pub fn read() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// The time since the start in the original's format: `0:01:05`, `1 day, 0:01:05`, `2 days, 3:04:05`.
pub fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hours}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    //! The transcripts' cases about the admin's pages, through the HTTP middleware.

    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use actix_web::dev::ServiceResponse;
    use actix_web::http::Method;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, HttpResponse, web};

    use super::endpoints::Console;
    use super::session::{AdminOrSigned, COOKIE};
    use super::{configure, uptime};
    use crate::auth::Gate;
    use crate::auth::guard::{SIGNATURE_HEADER, Signed, now_unix};
    use crate::config::{Secret, Settings};
    use crate::http::middleware;
    use crate::telemetry::recorder::Recorder;

    /// A fixed cookie secret, so that a cookie of one call is valid in the next. Every request comes from a proxy.
    fn gate() -> Gate {
        let cookie_secret = Secret::new("cookie");
        let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let allow_default_secrets = true;
        Gate::new(Arc::new(Settings {
            cookie_secret,
            trusted_proxies,
            allow_default_secrets,
            ..Settings::default()
        }))
    }

    async fn ask(request: TestRequest) -> ServiceResponse {
        let app = App::new()
            .app_data(web::Data::new(gate()))
            .app_data(web::Data::new(Console::new(Recorder::default())))
            .wrap(from_fn(middleware::process))
            .configure(configure)
            .route("/info", web::post().to(|_: Signed| HttpResponse::Ok()))
            .service(
                web::resource("/admin/admin.json")
                    .route(super::read().to(|_: AdminOrSigned| async { "{}" }))
                    .route(web::post().to(|_: AdminOrSigned| async { "{}" })),
            );
        let app = init_service(app).await;
        let peer = "127.0.0.1:4711".parse().unwrap();
        call_service(&app, request.insert_header(("host", "HOST")).peer_addr(peer).to_request()).await
    }

    fn get(uri: &str) -> TestRequest {
        TestRequest::get().uri(uri)
    }

    fn header<'a>(answer: &'a ServiceResponse, name: &str) -> &'a str {
        answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn body(answer: ServiceResponse) -> String {
        String::from_utf8(read_body(answer).await.to_vec()).unwrap()
    }

    fn sign_in(username: &str, password: &str) -> TestRequest {
        TestRequest::post().uri("/admin/sign_in").set_form([("username", username), ("password", password)])
    }

    /// The `name=value` of the cookie that a response sets.
    fn cookie(answer: &ServiceResponse) -> String {
        header(answer, "set-cookie").split(';').next().unwrap().to_owned()
    }

    #[actix_web::test]
    async fn case_admin_unauthenticated() {
        let post = TestRequest::post().uri("/admin/admin.json");
        for request in [get("/admin"), get("/admin/admin.json"), get("/api-explorer"), post] {
            let answer = ask(request).await;
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "location")),
                (302, "http://HOST/admin/sign_in")
            );
            assert_eq!(header(&answer, "content-type"), "text/html; charset=UTF-8");
            assert!(body(answer).await.contains("<title>302 Found</title>"));
        }
        let answer = ask(get("/openapi.json").insert_header(("accept", "text/html"))).await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "content-type")),
            (403, "text/html; charset=UTF-8")
        );
    }

    #[actix_web::test]
    async fn case_admin_unauthenticated_behind_a_proxy() {
        let outside =
            get("/admin").insert_header(("x-scheme", "https")).insert_header(("x-script-name", "/prefix"));
        assert_eq!(header(&ask(outside).await, "location"), "https://HOST/prefix/admin/sign_in");
        let inside = get("/prefix/admin").insert_header(("x-script-name", "/prefix"));
        assert_eq!(header(&ask(inside).await, "location"), "http://HOST/prefix/admin/sign_in");
    }

    #[actix_web::test]
    async fn case_admin_unauthenticated_form_and_sign_out() {
        let form = ask(get("/admin/sign_in")).await;
        assert_eq!((form.status().as_u16(), header(&form, "access-control-allow-origin")), (200, "*"));
        assert_eq!(header(&form, "content-type"), "text/html; charset=UTF-8");
        assert!(body(form).await.contains("<title>Channelstream Admin</title>"));
        let out = ask(get("/admin/sign_out")).await;
        assert_eq!((out.status().as_u16(), header(&out, "location")), (302, "http://HOST/admin/sign_in"));
        assert_eq!(cookie(&out), "auth_tkt=");
        assert!(header(&out, "set-cookie").contains("Max-Age=0"));
    }

    #[actix_web::test]
    async fn case_admin_sign_in() {
        let started = Instant::now();
        let wrong = ask(sign_in("admin", "wrong")).await;
        assert_eq!((wrong.status().as_u16(), header(&wrong, "set-cookie")), (200, ""));
        assert!(started.elapsed() >= Duration::from_millis(500));
        assert!(body(wrong).await.contains("<title>Channelstream Admin</title>"));

        let right = ask(sign_in(" admin ", "admin_secret")).await;
        assert_eq!((right.status().as_u16(), header(&right, "location")), (302, "http://HOST/admin"));
        let set = header(&right, "set-cookie");
        for part in ["auth_tkt=", "Max-Age=43200", "Path=/", "SameSite=Lax", "HttpOnly"] {
            assert!(set.contains(part), "{part} in {set}");
        }
        let cookie = cookie(&right);
        for path in ["/admin", "/admin/admin.json", "/openapi.json", "/api-explorer"] {
            let answer = ask(get(path).insert_header(("cookie", cookie.as_str()))).await;
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "access-control-allow-origin")),
                (200, ""),
                "{path}"
            );
        }
        let api = TestRequest::post().uri("/info").insert_header(("cookie", cookie.as_str()));
        assert_eq!(ask(api).await.status(), 403);
    }

    #[actix_web::test]
    async fn cookies_are_secure_behind_https() {
        let answer =
            ask(sign_in("admin", "admin_secret").insert_header(("x-forwarded-proto", "https"))).await;
        assert!(header(&answer, "set-cookie").contains("Secure"));
        assert_eq!(header(&answer, "location"), "https://HOST/admin");
    }

    #[actix_web::test]
    async fn signatures_give_access_to_the_pages() {
        let signature = gate().secrets().keys.sign("channelstream", now_unix());
        for path in ["/admin", "/api-explorer", "/openapi.json", "/admin/admin.json"] {
            let signed = get(path).insert_header((SIGNATURE_HEADER, signature.as_str()));
            assert_eq!(ask(signed).await.status(), 200, "{path}");
            let garbage = get(path).insert_header((SIGNATURE_HEADER, "garbage"));
            assert_eq!(ask(garbage).await.status(), 401, "{path}");
        }
    }

    #[actix_web::test]
    async fn a_forged_cookie_gives_no_access() {
        for value in ["", "admin", "admin.AAAA.AAAA", &gate().secrets().keys.sign("admin", now_unix())] {
            let answer = ask(get("/admin").insert_header(("cookie", format!("{COOKIE}={value}")))).await;
            assert_eq!(answer.status(), 302);
        }
    }

    #[actix_web::test]
    async fn wrong_methods_and_slashes_are_not_found() {
        let put = TestRequest::put().uri("/admin/admin.json");
        for request in [
            get("/admin/unknown"),
            get("/admin/"),
            put,
            get("/static/unknown.js"),
            get("/static/../Cargo.toml"),
        ] {
            let answer = ask(request).await;
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "x-channelstream-error")),
                (404, "not-found")
            );
        }
        assert_eq!(
            ask(TestRequest::default().method(Method::HEAD).uri("/admin/sign_in")).await.status(),
            200
        );
    }

    #[actix_web::test]
    async fn unchanged_files_are_not_sent_again() {
        let library = ask(get("/static/channelstream/index.js")).await;
        assert_eq!((library.status().as_u16(), header(&library, "x-content-type-options")), (200, "nosniff"));
        assert_eq!(header(&library, "content-type"), "text/javascript; charset=utf-8");
        // Pages of other origins import the library from here.
        assert_eq!(header(&library, "access-control-allow-origin"), "*");
        let etag = header(&library, "etag").to_owned();
        assert!(body(library).await.contains("ChannelStreamConnection"));
        for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
            let again =
                ask(get("/static/channelstream/index.js").insert_header(("if-none-match", known))).await;
            assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, etag.as_str()));
            assert_eq!(body(again).await, "");
        }
        let other = get("/static/channelstream/index.js").insert_header(("if-none-match", "\"other\""));
        assert_eq!(ask(other).await.status(), 200);
    }

    #[test]
    fn uptime_has_the_originals_format() {
        let written = [0, 65, 86_399, 86_465, 2 * 86_400 + 3 * 3_600 + 245].map(uptime);
        assert_eq!(written, ["0:00:00", "0:01:05", "23:59:59", "1 day, 0:01:05", "2 days, 3:04:05"]);
    }
}
