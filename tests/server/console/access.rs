//! Access to the console: signing in, guessed passwords and forged commands.

use super::operator::{Operator, fast_settings, server, sign_in};
use crate::support::TestServer;
use crate::support::backend::{now_unix, signature};
use crate::support::http::{Reply, ask};
use channelstream::auth::signing::Keys;
use channelstream::config::Secret;
use futures_util::future::join_all;

const LISTS: [&str; 8] = [
    "/admin/secrets.json",
    "/admin/limits.json",
    "/admin/channels.json",
    "/admin/channel.json?name=x",
    "/admin/users.json",
    "/admin/user.json?name=x",
    "/admin/connections.json",
    "/admin/connection.json?conn_id=5b1d5a0e-4c5c-4b7e-9d5e-0c8a8f1f2a3b",
];
const COMMANDS: [&str; 4] =
    ["/admin/message", "/admin/channel_config", "/admin/disconnect", "/admin/disconnect_user"];

#[actix_rt::test]
async fn server_refuses_unsigned_requests_to_the_console() {
    let server = server();
    let asked = LISTS.map(|path| ("GET", path)).into_iter().chain(COMMANDS.map(|path| ("POST", path)));
    for (method, path) in asked {
        for cookie in ["", "auth_tkt=admin", "auth_tkt=admin.AAAA.AAAA"] {
            let reply = ask(server.address, method, path, &[("cookie", cookie)], "{}").await;
            assert_eq!(
                (reply.status, reply.header("x-channelstream-error")),
                (403, Some("signature-missing")),
                "{method} {path}"
            );
        }
    }
}

#[actix_rt::test]
async fn commands_require_the_token_of_their_sign_in() {
    let server = server();
    let (operator, other) = (Operator::sign_in(&server).await, Operator::sign_in(&server).await);
    let forged = operator.token.replace(|c: char| c.is_ascii_lowercase(), "x");
    for path in COMMANDS {
        for token in ["", "x", &forged] {
            let reply = operator.ask("POST", path, &[("x-csrf-token", token)], "[]").await;
            assert_eq!(
                (reply.status, reply.header("x-channelstream-error")),
                (403, Some("csrf-token")),
                "{path} {token}"
            );
        }
        assert_eq!(operator.ask("GET", path, &[("x-csrf-token", &operator.token)], "").await.status, 404);
        let reply = operator.ask("POST", path, &[("x-csrf-token", &operator.token)], "nonsense").await;
        assert_eq!(reply.status, 422, "{path}: {reply:?}");
    }
    let reply = operator.ask("POST", "/admin/message", &[("x-csrf-token", &other.token)], "[]").await;
    assert_eq!(reply.status, 403, "sign-ins of the same second differ");
}

#[actix_rt::test]
async fn signed_requests_need_neither_cookie_nor_token() {
    let server = server();
    let (name, token) = signature();
    let list = ask(server.address, "GET", LISTS[0], &[(name, &token)], "").await;
    assert_eq!(list.status, 200);
    let sent = ask(server.address, "POST", COMMANDS[0], &[(name, &token)], "[]").await;
    assert_eq!((sent.status, sent.text().as_str()), (200, "[]"));
    let bad = ask(server.address, "GET", LISTS[0], &[(name, "garbage")], "").await;
    assert_eq!(bad.status, 401);
}

#[actix_rt::test]
async fn server_refuses_every_password_after_too_many_wrong_ones() {
    let server = server();
    let wrong = || sign_in(server.address, "wrong", &[]);
    let tries = join_all((0..12).map(|_| wrong())).await;
    let answered = tries.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(answered, 5, "parallel tries do not evade the limit");
    for refused in tries.iter().filter(|reply| reply.status != 200) {
        assert_eq!((refused.status, refused.header("x-channelstream-error")), (429, Some("too-many-tries")));
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=31).contains(&seconds), "{seconds}");
        assert!(refused.text().contains("Too many wrong passwords"));
    }
    assert_eq!(sign_in(server.address, "admin_secret", &[]).await.status, 429);
}

#[actix_rt::test]
async fn right_password_resets_the_count_of_wrong_ones() {
    let server = server();
    for _ in 0..3 {
        let wrong = join_all((0..4).map(|_| sign_in(server.address, "wrong", &[]))).await;
        assert!(wrong.iter().all(|reply| reply.status == 200));
        assert_eq!(sign_in(server.address, "admin_secret", &[]).await.status, 302);
    }
}

#[actix_rt::test]
async fn other_sites_cannot_sign_an_operator_in_or_out() {
    let server = server();
    let foreign = [("sec-fetch-site", "cross-site")];
    let reply = sign_in(server.address, "admin_secret", &foreign).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (403, None));
    let operator = Operator::sign_in(&server).await;
    let reply = operator.ask("GET", "/admin/sign_out", &foreign, "").await;
    assert_eq!((reply.status, reply.header("set-cookie")), (302, None));
    let reply = operator.ask("GET", "/admin/sign_out", &[("sec-fetch-site", "same-origin")], "").await;
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"), "{reply:?}");
    let operator = Operator::sign_in(&server).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for token in ["", "csrf=x"] {
        let reply = operator.ask("POST", "/admin/sign_out", &form, token).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (403, None));
    }
    let reply = operator.ask("POST", "/admin/sign_out", &form, &format!("csrf={}", operator.token)).await;
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"), "{reply:?}");
}

#[actix_rt::test]
async fn sign_out_ends_one_sign_in_and_every_copy_of_its_cookie() {
    let server = server();
    let opens = async |operator: &Operator| operator.ask("GET", LISTS[0], &[], "").await.status;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for method in ["GET", "POST"] {
        let (one, other) = (Operator::sign_in(&server).await, Operator::sign_in(&server).await);
        assert_ne!((&one.cookie, &one.token), (&other.cookie, &other.token));
        let body = if method == "POST" { format!("csrf={}", one.token) } else { String::new() };
        assert_eq!(one.ask(method, "/admin/sign_out", &form, &body).await.status, 302);
        assert_eq!((opens(&one).await, opens(&other).await), (403, 200), "{method}");
        let command = one.command("/admin/message", serde_json::json!([])).await;
        assert_eq!(command.header("x-channelstream-error"), Some("signature-missing"));
        assert_eq!(other.command("/admin/message", serde_json::json!([])).await.status, 200);
    }
    // Without a sign-in a sign-out has nothing to end, with and without a form.
    let again = ask(server.address, "POST", "/admin/sign_out", &[], "").await;
    assert_eq!((again.status, again.header("location").is_some()), (302, true));
}

/// The `name=value` of each cookie that an answer sets.
fn cookies(reply: &Reply) -> Vec<String> {
    let set = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    set.map(|(_, value)| value.split(';').next().unwrap().to_owned()).collect()
}

#[actix_rt::test]
async fn server_does_not_lock_out_a_known_browser_after_wrong_passwords_of_others() {
    let server = server();
    let known = cookies(&sign_in(server.address, "admin_secret", &[]).await);
    let browser = known.iter().find(|cookie| cookie.starts_with("auth_browser=")).unwrap();
    join_all((0..8).map(|_| sign_in(server.address, "wrong", &[]))).await;
    assert_eq!(sign_in(server.address, "admin_secret", &[]).await.status, 429, "an unknown browser");
    let again = sign_in(server.address, "admin_secret", &[("cookie", browser)]).await;
    assert_eq!(again.status, 302);
    assert!(cookies(&again).iter().any(|cookie| cookie.starts_with("auth_browser=")));
    // The cookie of a known browser opens nothing, and the browser's own guesses are counted.
    let opened = ask(server.address, "GET", LISTS[0], &[("cookie", browser)], "").await;
    assert_eq!(opened.status, 403);
    let own = [("cookie", browser.as_str())];
    let guesses = join_all((0..8).map(|_| sign_in(server.address, "wrong", &own))).await;
    assert_eq!(guesses.iter().filter(|reply| reply.status == 429).count(), 3);
    let forged = browser.replace("browser-", "browser-1");
    assert_eq!(sign_in(server.address, "admin_secret", &[("cookie", &forged)]).await.status, 429);
}

#[actix_rt::test]
async fn sign_in_without_fields_returns_the_form() {
    let server = server();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let json = [("content-type", "application/json")];
    let none: [(&[(&str, &str)], &str); 5] = [
        (&[], ""),
        (&json, ""),
        (&form, ""),
        (&form, "username=admin"),
        (&form, "username=a&username=b&password=x"),
    ];
    for (headers, body) in none {
        let reply = ask(server.address, "POST", "/admin/sign_in", headers, body).await;
        assert_eq!(reply.status, 200, "{headers:?} {body}: {reply:?}");
        assert!(reply.text().contains("name=\"password\""), "{headers:?} {body}");
    }
    let wrong = ask(server.address, "POST", "/admin/sign_in", &json, "{}").await;
    assert_eq!(wrong.status, 422, "a content type that is not a form: {wrong:?}");
    // 0.7.1 reads a body without a content type as a form.
    let right = "username=admin&password=admin_secret";
    for untyped in [&[][..], &[("content-type", "")]] {
        assert_eq!(ask(server.address, "POST", "/admin/sign_in", untyped, right).await.status, 302);
        let large = format!("{right}&x={}", "x".repeat(5_000));
        assert_eq!(ask(server.address, "POST", "/admin/sign_in", untyped, &large).await.status, 413);
    }
    // The last one of several values counts, as in the original's forms.
    let twice = "username=x&username=admin&password=admin_secret";
    assert_eq!(ask(server.address, "POST", "/admin/sign_in", &form, twice).await.status, 302);
}

#[actix_rt::test]
async fn server_renews_an_old_cookie_on_use_and_sign_out_ends_both() {
    let server = server();
    let now = now_unix();
    // As the server signs it: the server derives the key of its cookies from the settings of the tests.
    let keys = Keys::new(&[Secret::new("auth_tkt\nfor tests\nadmin\nadmin_secret")]);
    let issued = |ago: u64| format!("auth_tkt={}", keys.sign(&format!("admin-{:032x}", 7), now - ago));
    let ask = async |method: &str, path: &str, cookie: &str| {
        ask(server.address, method, path, &[("cookie", cookie)], "").await
    };
    let fresh = ask("GET", LISTS[0], &issued(60)).await;
    assert_eq!((fresh.status, cookies(&fresh).len()), (200, 0));
    let used = ask("GET", "/admin", &issued(11 * 3_600)).await;
    let renewed = cookies(&used).pop().unwrap();
    assert!(renewed.starts_with("auth_tkt=admin-") && renewed != issued(11 * 3_600), "{used:?}");
    assert_eq!(ask("GET", LISTS[0], &renewed).await.status, 200);
    let late = ask("GET", LISTS[0], &issued(12 * 3_600 + 60)).await;
    assert_eq!((late.status, cookies(&late).len()), (403, 0), "unused for 12 hours");
    assert_eq!(cookies(&ask("GET", "/admin/sign_out", &issued(11 * 3_600)).await), ["auth_tkt="]);
    for cookie in [issued(60), issued(11 * 3_600), renewed] {
        assert_eq!(ask("GET", LISTS[0], &cookie).await.status, 403);
    }
}

#[actix_rt::test]
async fn server_keeps_sign_ins_over_a_restart_if_a_cookie_secret_is_set() {
    for (key, stays) in [("for tests", true), ("", false)] {
        let start = || {
            let cookie_secret = Secret::new(key);
            TestServer::start(channelstream::config::Settings { cookie_secret, ..fast_settings() })
        };
        let mut before = start();
        let known = cookies(&sign_in(before.address, "admin_secret", &[]).await);
        before.stop();
        let after = start();
        let opened = ask(after.address, "GET", LISTS[0], &[("cookie", &known[0])], "").await;
        assert_eq!(opened.status == 200, stays, "{key}: {opened:?}");
        join_all((0..8).map(|_| sign_in(after.address, "wrong", &[]))).await;
        let again = sign_in(after.address, "admin_secret", &[("cookie", &known[1])]).await;
        assert_eq!(again.status == 302, stays, "{key}: a known browser: {again:?}");
    }
}

#[actix_rt::test]
async fn pages_allow_only_their_own_files() {
    let server = server();
    let operator = Operator::sign_in(&server).await;
    let page = operator.ask("GET", "/admin", &[], "").await;
    let policy = page.header("content-security-policy").unwrap();
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
}
