//! `/demo/guarded/echo?token=…`: a hook that runs before a socket is accepted.
//!
//! Browsers cannot add headers to a handshake, so what a socket's right rests on comes in the query: here a token that
//! was given out a moment before. A handshake without a good one is refused with 401, and there never is a socket.

use super::Demo;
use crate::api::answer;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::guard::now_unix;
use crate::auth::signing::{BadSignature, Keys};
use crate::config::Secret;
use crate::http_error::Refusal;
use crate::protocol::schema;
use actix_http::RequestHead;
use actix_web::{HttpResponse, web};
use serde_json::json;
use utoipa::openapi::path::HttpMethod;

/// How long a token is good, in seconds.
const MAX_AGE_S: u64 = 60;

/// Makes the tokens of one run of the server. Their key is their own: a token given to a browser must never be good
/// for anything else, least of all as a signature for the API.
pub fn keys() -> Keys {
    Keys::new(&[Secret::new(format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()))])
}

/// What the API's description says of it.
pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("DemoToken", |_| {
        schema::ObjectSchema::new()
            .key("token", schema::text(), "For the query of `/demo/guarded/echo`.")
            .key("expires_in", schema::count(), "Seconds for which it is good.")
            .shape()
    });
    Operation::new(HttpMethod::Post, "/demo/guarded/token", "demoToken", ApiGroup::Demo, Access::Open)
        .about("A token for the guarded websocket", "Demo mode only. A body is ignored.")
        .answer(
            "The token.",
            answer,
            r#"{"token": "demo.Xk0kAA.2v5T8yyN8lYw5a3m9z4kq1v7C0Q", "expires_in": 60}"#,
        )
}

/// POST /demo/guarded/token: a token for anybody. An application would give one to whoever has signed in.
pub async fn give_token(demo: web::Data<Demo>) -> HttpResponse {
    let token = demo.tokens.sign("demo", now_unix());
    answer::json(json!({"token": token, "expires_in": MAX_AGE_S}).to_string().into_bytes())
}

/// The hook: looks at the handshake, and lets it pass or refuses it.
///
/// # Errors
/// There is no token, or not a good one.
pub fn check_token(demo: &Demo, handshake: &RequestHead) -> Result<(), Refusal> {
    judge(&demo.tokens, handshake.uri.query().unwrap_or_default(), now_unix())
}

fn judge(tokens: &Keys, query: &str, now_unix: u64) -> Result<(), Refusal> {
    let refused = |why: &str| Err(Refusal::TokenRefused(json!({ "token": [why] })));
    let query: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let Some((_, token)) = query.iter().find(|(name, _)| name == "token") else {
        return refused("Missing data for required field.");
    };
    match tokens.verify(token, now_unix, Some(MAX_AGE_S)) {
        Ok(_) => Ok(()),
        Err(BadSignature::TooOld { .. }) => refused("The token has expired."),
        Err(_) => refused("Not a valid token."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn reason(tokens: &Keys, query: &str) -> String {
        match judge(tokens, query, NOW) {
            Err(Refusal::TokenRefused(errors)) => errors["token"][0].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_are_good_for_a_minute() {
        let tokens = keys();
        let query = |age| format!("a=b&token={}", tokens.sign("demo", NOW - age));
        assert_eq!(judge(&tokens, &query(0), NOW), Ok(()));
        assert_eq!(judge(&tokens, &query(MAX_AGE_S), NOW), Ok(()));
        assert_eq!(reason(&tokens, &query(MAX_AGE_S + 1)), "The token has expired.");
    }

    #[test]
    fn nothing_else_is_a_token() {
        let tokens = keys();
        assert_eq!(reason(&tokens, ""), "Missing data for required field.");
        assert_eq!(reason(&tokens, "Token=x"), "Missing data for required field.");
        for token in ["", "x", "%ff.%00.x", &keys().sign("demo", NOW)] {
            assert_eq!(reason(&tokens, &format!("token={token}")), "Not a valid token.");
        }
    }
}
