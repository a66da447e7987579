//! The claims of connection tokens, and POST /token, which gives a connection a new token.

use super::answer;
use super::body::{self, RequestLimits};
use super::fields::{
    CHANNEL_NAME, Field, FieldTable, Fields, Id, ListField, ListLimit, Mapping, Name, STATE_KEY, State, Text,
    USER_NAME,
};
use super::user_state::entries;
use crate::auth::Gate;
use crate::auth::body::OpenBody;
use crate::auth::guard::now_unix;
use crate::auth::tokens::{LEEWAY_S, TokenFault, VerifiedToken};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Connect, ConnectRefused, TokenGrant, TokenGrantRefused};
use crate::http_error::Refusal;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use uuid::Uuid;

/// The most bytes of a body with a token: the largest value of `max_token_bytes`, and the other field.
pub const TOKEN_BODY_BYTES: usize = 66 << 10;

const CONN_ID: Field<Id> = Field::required("conn_id", Id, "The connection.");
const TOKEN: Field<Text> = Field::required("token", Text, "The new token, for the same user.");
pub(crate) const FIELDS: FieldTable = &[&CONN_ID, &TOKEN];

const SUB: Field<Name> = Field::required("sub", USER_NAME, "Name of the user.");
const CHANNELS: Field<ListField<Name>> =
    Field::nullable("channels", ListField::of(CHANNEL_NAME, ListLimit::Channels), "Channels to join.");
const STATE: Field<Mapping<State>> =
    Field::optional("state", Mapping::to(State, ListLimit::Items), "State to merge into the user's state.");
const FRESH_STATE: Field<Mapping<State>> =
    Field::optional("fresh_state", Mapping::to(State, ListLimit::Items), "State of a new user.");
const PUBLIC_KEYS: Field<ListField<Name>> = Field::nullable(
    "public_keys",
    ListField::of(STATE_KEY, ListLimit::Items),
    "Keys of the state that other users may see.",
);
const BOUND_TO: Field<Id> =
    Field::nullable("conn_id", Id, "The only connection for which the token is valid.");
const CLAIMS: FieldTable = &[&SUB, &CHANNELS, &STATE, &FRESH_STATE, &PUBLIC_KEYS, &BOUND_TO];

/// What a verified token grants to the connection with this id; without an id to the token's own or a new connection.
///
/// # Errors
/// `Claim`.
pub fn read_grant(
    token: &VerifiedToken,
    conn_id: Option<Uuid>,
    limits: &RequestLimits,
    now_unix: u64,
) -> Result<TokenGrant, TokenFault> {
    let read = |fields: &mut Fields<'_>| claims(fields, token, conn_id, now_unix);
    let grant = body::object(token.claims.as_bytes(), limits, CLAIMS, read);
    let grant = grant.map_err(|invalid| first_fault(&invalid.errors))?;
    match grant.connect.conn_id == conn_id || conn_id.is_none() {
        true => Ok(grant),
        false => Err(TokenFault::claim("conn_id", "It is for another connection.")),
    }
}

fn claims(
    fields: &mut Fields<'_>,
    token: &VerifiedToken,
    conn_id: Option<Uuid>,
    now_unix: u64,
) -> Option<TokenGrant> {
    let username = fields.read(&SUB);
    let connect = Connect {
        conn_id: Some(fields.read(&BOUND_TO).or(conn_id).unwrap_or_else(Uuid::new_v4)),
        channels: fields.read(&CHANNELS).unwrap_or_default(),
        fresh_user_state: entries(fields, &FRESH_STATE),
        user_state: entries(fields, &STATE),
        state_public_keys: None,
        channel_configs: Vec::new(),
        username: String::new(),
    };
    let public_keys = fields.read(&PUBLIC_KEYS);
    let left_s = (token.expires_unix + LEEWAY_S).saturating_sub(now_unix);
    Some(TokenGrant {
        connect: Connect { username: username?, ..connect },
        public_keys,
        issued_unix: token.issued_unix,
        expires_unix: token.expires_unix,
        valid_for_ms: left_s.saturating_mul(1_000),
        creates: true,
    })
}

/// The first error as a sentence about its claim.
fn first_fault(errors: &Value) -> TokenFault {
    let first = errors.as_object().and_then(|errors| errors.iter().next());
    let Some((name, fault)) = first else { return TokenFault::Malformed };
    let reason = match fault.pointer("/0").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => fault.to_string(),
    };
    TokenFault::claim(name, reason)
}

/// Reads what a verified token grants to the connection that the client named. Counts a token that is not valid.
///
/// # Errors
/// The first fault.
pub fn accepted_grant(
    broker: &BrokerHandle,
    verified: Result<VerifiedToken, TokenFault>,
    conn_id: Option<Uuid>,
) -> Result<TokenGrant, TokenFault> {
    let limits = RequestLimits::from(&*broker.settings);
    let grant = verified.and_then(|verified| read_grant(&verified, conn_id, &limits, now_unix()));
    grant.inspect_err(|fault| broker.note_refused_token(conn_id, fault.cause()))
}

impl From<TokenGrantRefused> for Refusal {
    fn from(refused: TokenGrantRefused) -> Self {
        match refused {
            TokenGrantRefused::UnknownConnection => Refusal::UnknownConnection,
            TokenGrantRefused::Mismatch | TokenGrantRefused::Connect(ConnectRefused::BelongsToAnother) => {
                Refusal::TokenMismatch
            }
            TokenGrantRefused::Revoked => TokenFault::Revoked.into(),
            TokenGrantRefused::Connect(ConnectRefused::Blocked) => Refusal::Blocked,
            TokenGrantRefused::Connect(ConnectRefused::DemoIsFull) => answer::demo_is_full(),
            TokenGrantRefused::Connect(ConnectRefused::OverLimit(over)) => over.into(),
        }
    }
}

/// POST /token: gives a connection a new token, with which it expires later.
///
/// # Errors
/// `Invalid`, `TokenRefused`, `TokenMismatch`, `Blocked`, `UnknownConnection`, `OverLimit`, `Busy`.
pub async fn refresh(
    req: HttpRequest,
    broker: web::Data<BrokerHandle>,
    gate: web::Data<Gate>,
    body: OpenBody<TOKEN_BODY_BYTES>,
) -> Result<HttpResponse, Refusal> {
    let (conn_id, token) = parse_refresh(&body, &RequestLimits::from(&*broker.settings))?;
    broker.admit()?;
    let verified = gate.verify_token(&token, req.head(), now_unix());
    let grant = accepted_grant(&broker, verified, Some(conn_id))?;
    let expires = grant.expires_unix;
    broker.grant_token(TokenGrant { creates: false, ..grant }).await??;
    Ok(answer::json(format!("{{\"expires\":{expires}}}").into_bytes()))
}

/// Reads the body of POST /token: the connection and the token.
pub fn parse_refresh(body: &[u8], limits: &RequestLimits) -> Result<(Uuid, String), answer::Invalid> {
    body::object(body, limits, FIELDS, |fields| {
        let (conn_id, token) = (fields.read(&CONN_ID), fields.read(&TOKEN));
        conn_id.zip(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use serde_json::json;

    const NOW: u64 = 1_700_000_000;

    fn grant(claims: Value, conn_id: Option<Uuid>) -> Result<TokenGrant, TokenFault> {
        let token = VerifiedToken {
            claims: claims.to_string(),
            expires_unix: NOW + 60,
            issued_unix: Some(NOW),
            secret: None,
        };
        read_grant(&token, conn_id, &RequestLimits::from(&Settings::default()), NOW)
    }

    #[test]
    fn a_grant_has_the_values_of_the_claims() {
        let id = Uuid::from_u128(7);
        let claims = json!({"sub": "ann", "channels": ["b", "a"], "state": {"x": 1}, "fresh_state": {"y": 2},
            "public_keys": ["x"], "conn_id": id, "other": [[]]});
        let grant = grant(claims, None).unwrap();
        assert_eq!((&*grant.connect.username, grant.connect.conn_id), ("ann", Some(id)));
        assert_eq!(grant.connect.channels, ["b", "a"]);
        assert_eq!((grant.connect.user_state.len(), grant.connect.fresh_user_state.len()), (1, 1));
        assert_eq!((grant.public_keys, grant.valid_for_ms), (Some(vec!["x".to_owned()]), 65_000));
    }

    #[test]
    fn a_token_for_one_connection_is_refused_for_others() {
        let (id, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let bound = json!({"sub": "ann", "conn_id": id});
        assert!(grant(bound.clone(), Some(id)).is_ok());
        let refused = grant(bound, Some(other)).unwrap_err();
        assert_eq!(refused, TokenFault::claim("conn_id", "It is for another connection."));
        let unbound = |conn_id| grant(json!({"sub": "ann"}), conn_id).unwrap().connect.conn_id;
        assert_eq!(unbound(Some(other)), Some(other));
        assert!(unbound(None).is_some() && unbound(None) != unbound(None));
    }

    #[test]
    fn wrong_claims_are_named_with_the_reason() {
        let refused = |claims: Value| grant(claims, None).unwrap_err().to_string();
        assert_eq!(refused(json!({})), "Its claim `sub` is refused: Missing data for required field.");
        assert_eq!(
            refused(json!({"sub": ""})),
            "Its claim `sub` is refused: Length must be between 1 and 512."
        );
        assert_eq!(
            refused(json!({"sub": "ann", "channels": ["a", 7]})),
            r#"Its claim `channels` is refused: {"1":["Not a valid string."]}"#
        );
        for wrong in
            [json!({"sub": 7}), json!({"sub": "a", "state": []}), json!({"sub": "a", "conn_id": "x"})]
        {
            assert!(grant(wrong.clone(), None).is_err(), "{wrong}");
        }
    }
}
