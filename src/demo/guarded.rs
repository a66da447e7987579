//! `/demo/guarded/echo?token=…`: a hook that runs before a socket is accepted.
//!
//! Browsers cannot add headers to a handshake, so credentials are sent in the query: here a token that was issued
//! shortly before. A handshake without a valid token is refused with 401, and no socket is opened.

use super::Demo;
use crate::api::answer;
use crate::auth::guard::now_unix;
use crate::auth::signing::{BadSignature, Keys};
use crate::config::Secret;
use crate::http_error::Refusal;
use actix_http::RequestHead;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// How long a token is valid, in seconds.
const MAX_AGE_S: u64 = 60;

/// The keys for the tokens of one run of the server. They are separate keys, so that a token issued to a browser is not
/// valid for any other purpose, such as a signature for the API.
pub fn keys() -> Keys {
    Keys::new(&[Secret::random()])
}

/// POST /demo/guarded/token: issues a token to any client. An application would issue one to a user who has signed in.
pub async fn issue_token(demo: web::Data<Demo>) -> HttpResponse {
    let token = demo.tokens.sign("demo", now_unix());
    answer::json(json!({"token": token, "expires_in": MAX_AGE_S}).to_string().into_bytes())
}

/// The hook: checks the handshake, and accepts or refuses it.
///
/// # Errors
/// The token is missing or invalid.
pub fn check_token(demo: &Demo, handshake: &RequestHead) -> Result<(), Refusal> {
    check(&demo.tokens, handshake.uri.query().unwrap_or_default(), now_unix())
}

fn check(tokens: &Keys, query: &str, now_unix: u64) -> Result<(), Refusal> {
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
        match check(tokens, query, NOW) {
            Err(Refusal::TokenRefused(errors)) => errors["token"][0].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_are_valid_for_a_minute() {
        let tokens = keys();
        let query = |age| format!("a=b&token={}", tokens.sign("demo", NOW - age));
        assert_eq!(check(&tokens, &query(0), NOW), Ok(()));
        assert_eq!(check(&tokens, &query(MAX_AGE_S), NOW), Ok(()));
        assert_eq!(reason(&tokens, &query(MAX_AGE_S + 1)), "The token has expired.");
    }

    #[test]
    fn other_values_are_not_tokens() {
        let tokens = keys();
        assert_eq!(reason(&tokens, ""), "Missing data for required field.");
        assert_eq!(reason(&tokens, "Token=x"), "Missing data for required field.");
        for token in ["", "x", "%ff.%00.x", &keys().sign("demo", NOW)] {
            assert_eq!(reason(&tokens, &format!("token={token}")), "Not a valid token.");
        }
    }
}
