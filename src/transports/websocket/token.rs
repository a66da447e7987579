//! The token of a websocket: it arrives with the handshake, and the client may replace it while the session is open.

use crate::api::token::accepted_grant;
use crate::auth::Gate;
use crate::auth::guard::now_unix;
use crate::auth::tokens::TokenFault;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{TokenGrant, TokenGrantRefused};
use crate::http_error::Refusal;
use crate::protocol::websocket::{Opcode, frame};
use crate::send_queue::SendQueue;
use actix_http::RequestHead;
use actix_web::web;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use uuid::Uuid;

/// The subprotocol of this server. A client offers it together with the token, which must not be in the URL: proxies log
/// URLs.
pub const SUBPROTOCOL: &str = "channelstream.v1";
/// The prefix of the subprotocol that contains the token.
const TOKEN_SUBPROTOCOL: &str = "channelstream.token.";
const SUBPROTOCOLS: &str = "sec-websocket-protocol";

/// The subprotocols that a client offers.
fn offered(head: &RequestHead) -> impl Iterator<Item = &str> {
    let lines = head.headers.get_all(SUBPROTOCOLS).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Whether the client offers [`SUBPROTOCOL`].
pub fn offers_subprotocol(head: &RequestHead) -> bool {
    offered(head).any(|name| name == SUBPROTOCOL)
}

/// The token among the subprotocols, if the client also offers the one that the server can select.
pub fn offered_token(head: &RequestHead) -> Option<&str> {
    let token = offered(head).find_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL))?;
    offers_subprotocol(head).then_some(token)
}

/// Replaces the token of an open websocket.
pub struct TokenRefresher {
    pub gate: web::Data<Gate>,
    pub broker: web::Data<BrokerHandle>,
    pub conn_id: Uuid,
    /// The socket's peer.
    pub peer: Option<IpAddr>,
    /// Whether the handshake came from this machine, as for a well-known secret.
    pub is_local: bool,
}

/// The exchange of tokens on one websocket.
pub struct TokenExchange {
    refresher: Rc<TokenRefresher>,
    /// A token is being checked.
    busy: Rc<Cell<bool>>,
}

/// A message of a client. Everything else only shows that the client is alive.
#[derive(Deserialize)]
struct ClientMessage {
    r#type: String,
    token: String,
}

/// The token in a client's message, if it is one.
fn token_in(message: &[u8]) -> Option<String> {
    let message: ClientMessage = serde_json::from_slice(message).ok()?;
    (message.r#type == "token").then_some(message.token)
}

impl TokenExchange {
    pub fn new(refresher: TokenRefresher) -> Self {
        Self { refresher: Rc::new(refresher), busy: Rc::default() }
    }

    /// Handles a text message of the client. A token is checked in the background, one at a time; others that arrive
    /// meanwhile are ignored, so that a client cannot queue work.
    pub fn receive(&self, message: &[u8], send_queue: &Rc<SendQueue>) {
        if self.busy.get() {
            return;
        }
        let Some(token) = token_in(message) else { return };
        self.busy.set(true);
        let (refresher, busy, send_queue) = (self.refresher.clone(), self.busy.clone(), send_queue.clone());
        actix_rt::spawn(async move {
            let mut answer = match refresher.replace(&token).await {
                Ok(expires) => json!({ "type": "token", "expires": expires }),
                Err(word) => json!({ "type": "token", "error": word }),
            };
            answer["message"] = json!({});
            let text = Value::Array(vec![answer]).to_string();
            // The session may have ended meanwhile; then its queue is closed.
            let _ = send_queue.push_control(&frame(Opcode::Text, text.as_bytes()));
            busy.set(false);
        });
    }
}

impl TokenRefresher {
    /// The time at which the new token expires, or a word for the reason of the refusal.
    async fn replace(&self, token: &str) -> Result<u64, &'static str> {
        let verified = self.gate.verify_token_of(token, self.peer, self.is_local, now_unix());
        let granted = accepted_grant(&self.broker, verified, Some(self.conn_id));
        let grant = granted.map_err(|fault| fault.word())?;
        let expires = grant.expires_unix;
        let grant = TokenGrant { creates: false, ..grant };
        match self.broker.grant_token(grant).await.map_err(|refusal| refusal.code())? {
            Ok(_) => Ok(expires),
            Err(TokenGrantRefused::Revoked) => Err(TokenFault::Revoked.word()),
            Err(refused) => Err(Refusal::from(refused).code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn head(lines: &[&str]) -> RequestHead {
        let mut head = RequestHead::default();
        for line in lines {
            let name = HeaderName::from_static(SUBPROTOCOLS);
            head.headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        head
    }

    #[test]
    fn the_token_is_one_of_the_offered_subprotocols() {
        let both = head(&["channelstream.v1, channelstream.token.a.b.c"]);
        assert_eq!((offered_token(&both), offers_subprotocol(&both)), (Some("a.b.c"), true));
        assert_eq!(offered_token(&head(&["channelstream.token.a.b.c", "x,channelstream.v1"])), Some("a.b.c"));
        // Without the plain one the server could select none, and browsers would close the websocket.
        assert_eq!(offered_token(&head(&["channelstream.token.a.b.c"])), None);
        assert_eq!(offered_token(&head(&["channelstream.v1"])), None);
        assert!(!offers_subprotocol(&head(&[])));
    }

    #[test]
    fn only_messages_of_this_form_are_tokens() {
        assert_eq!(token_in(br#"{"type":"token","token":"a.b.c","x":1}"#), Some("a.b.c".to_owned()));
        for other in [
            r#"{"type":"ping","token":"a"}"#,
            r#"{"type":"token"}"#,
            "[]",
            "token",
            r#"{"type":"token","token":7}"#,
        ] {
            assert_eq!(token_in(other.as_bytes()), None, "{other}");
        }
    }
}
