//! Who gets in: sign-in, guessing, forged commands.

use crate::operator::{Operator, server, sign_in, stranger};
use crate::support::backend::signature;
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
async fn strangers_learn_and_do_nothing() {
    let server = server();
    let asked = LISTS.map(|path| ("GET", path)).into_iter().chain(COMMANDS.map(|path| ("POST", path)));
    for (method, path) in asked {
        for cookie in ["", "auth_tkt=admin", "auth_tkt=admin.AAAA.AAAA"] {
            let reply = stranger(server.address, method, path, &[("cookie", cookie)], "{}").await;
            assert_eq!(
                (reply.status, reply.header("x-channelstream-error")),
                (403, Some("signature-missing")),
                "{method} {path}"
            );
        }
    }
}

#[actix_rt::test]
async fn commands_need_the_token_of_their_sign_in() {
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
    // Sign-ins of the same second are one.
    if operator.token != other.token {
        let reply = operator.ask("POST", "/admin/message", &[("x-csrf-token", &other.token)], "[]").await;
        assert_eq!(reply.status, 403);
    }
}

#[actix_rt::test]
async fn signed_programs_need_neither_cookie_nor_token() {
    let server = server();
    let (name, token) = signature();
    let list = stranger(server.address, "GET", LISTS[0], &[(name, &token)], "").await;
    assert_eq!(list.status, 200);
    let sent = stranger(server.address, "POST", COMMANDS[0], &[(name, &token)], "[]").await;
    assert_eq!((sent.status, sent.text().as_str()), (200, "[]"));
    let bad = stranger(server.address, "GET", LISTS[0], &[(name, "garbage")], "").await;
    assert_eq!(bad.status, 401);
}

#[actix_rt::test]
async fn who_guesses_must_wait_and_the_right_password_too() {
    let server = server();
    let wrong = || sign_in(server.address, "wrong", &[]);
    let tries = join_all((0..12).map(|_| wrong())).await;
    let answered = tries.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(answered, 5, "side by side is no way around");
    for refused in tries.iter().filter(|reply| reply.status != 200) {
        assert_eq!((refused.status, refused.header("x-channelstream-error")), (429, Some("too-many-tries")));
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=31).contains(&seconds), "{seconds}");
        assert!(refused.text().contains("Too many wrong passwords"));
    }
    assert_eq!(sign_in(server.address, "admin_secret", &[]).await.status, 429);
}

#[actix_rt::test]
async fn the_right_password_ends_the_counting() {
    let server = server();
    for _ in 0..3 {
        let wrong = join_all((0..4).map(|_| sign_in(server.address, "wrong", &[]))).await;
        assert!(wrong.iter().all(|reply| reply.status == 200));
        assert_eq!(sign_in(server.address, "admin_secret", &[]).await.status, 302);
    }
}

#[actix_rt::test]
async fn other_sites_sign_nobody_in_or_out() {
    let server = server();
    let foreign = [("sec-fetch-site", "cross-site")];
    let reply = sign_in(server.address, "admin_secret", &foreign).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (403, None));
    let operator = Operator::sign_in(&server).await;
    let reply = operator.ask("GET", "/admin/sign_out", &foreign, "").await;
    assert_eq!((reply.status, reply.header("set-cookie")), (302, None));
    let reply = operator.ask("GET", "/admin/sign_out", &[("sec-fetch-site", "same-origin")], "").await;
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"), "{reply:?}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for token in ["", "csrf=x"] {
        let reply = operator.ask("POST", "/admin/sign_out", &form, token).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (403, None));
    }
    let reply = operator.ask("POST", "/admin/sign_out", &form, &format!("csrf={}", operator.token)).await;
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"), "{reply:?}");
}

#[actix_rt::test]
async fn pages_allow_nothing_but_their_own_files() {
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
