//! POST /end: end the connections of a user, or one connection, and optionally block the user.

use super::answer::{self, Invalid};
use super::block::REASON;
use super::body::{self, RequestLimits};
use super::fields::{Field, FieldTable, Fields, FlagField, Id, Name, Size, USER_NAME, fault};
use crate::auth::body::Body;
use crate::auth::guard::{Signed, now_unix};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{BlockUser, Ending};
use crate::http_error::Refusal;
use crate::protocol::websocket::close::CloseReason;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const USER: Field<Name> = Field::optional(
    "user",
    USER_NAME,
    "The user whose connections are ended. Either this or `conn_id` is required.",
);
const CONN_ID: Field<Id> = Field::optional("conn_id", Id, "The connection that is ended.");
const RECONNECT: Field<FlagField> = Field::optional(
    "reconnect",
    FlagField,
    "Whether the client may come again: its sessions are closed with 4005 instead of 4004.",
)
.default("false");
const BLOCK_S: Field<Size> = Field::optional(
    "block_s",
    Size,
    "How long the user, or the connection's user, may not connect, in seconds. If it is not 0, all the user's \
     connections end, and the sessions are closed with 4006.",
)
.default("0");
pub(crate) const FIELDS: FieldTable = &[&USER, &CONN_ID, &REASON, &RECONNECT, &BLOCK_S];

/// The connections to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    User(String),
    Connection(Uuid),
}

#[derive(Debug)]
pub struct EndRequest {
    pub ended: Ended,
    /// The text for the clients.
    pub reason: Option<String>,
    pub reconnect: bool,
    /// 0 sets no block.
    pub block_s: u64,
}

impl EndRequest {
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, read)
    }

    fn close_reason(&self) -> CloseReason {
        match self.reconnect {
            _ if self.block_s > 0 => CloseReason::Blocked,
            true => CloseReason::NeedsToken,
            false => CloseReason::EndedByApplication,
        }
    }
}

fn read(fields: &mut Fields<'_>) -> Option<EndRequest> {
    let (has_user, has_id) = (fields.raw(&USER).is_some(), fields.raw(&CONN_ID).is_some());
    let (user, conn_id) = (fields.read(&USER), fields.read(&CONN_ID));
    if has_user == has_id {
        fields.fault(&USER, fault("Exactly one of user and conn_id is required."));
    }
    let block_s = fields.read(&BLOCK_S).unwrap_or_default();
    let (reason, reconnect) = (fields.read(&REASON), fields.read(&RECONNECT).unwrap_or_default());
    let ended = user.map(Ended::User).or(conn_id.map(Ended::Connection))?;
    Some(EndRequest { ended, reason, reconnect, block_s })
}

/// POST /end. An unknown user or connection is not an error: nothing is ended.
///
/// # Errors
/// `Invalid`, `Busy`, `OverLimit` for a block.
pub async fn end(_: Signed, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = EndRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    broker.admit()?;
    let why = Ending { reason: request.close_reason(), text: request.reason.as_deref().map(Into::into) };
    let ended = match &request.ended {
        Ended::Connection(conn_id) if request.block_s == 0 => {
            usize::from(broker.disconnect(*conn_id, why).await?)
        }
        Ended::Connection(conn_id) => match broker.describe_connection(*conn_id).await? {
            Some((connection, _)) => end_user(&broker, &connection.row.user.name, &request, why).await?,
            None => 0,
        },
        Ended::User(user) => end_user(&broker, user, &request, why).await?,
    };
    Ok(answer::json(format!("{{\"ended\":{ended}}}").into_bytes()))
}

async fn end_user(
    broker: &BrokerHandle,
    user: &str,
    request: &EndRequest,
    why: Ending,
) -> Result<usize, Refusal> {
    if request.block_s > 0 {
        // Before the connections end, so that no client comes again in between.
        let block = BlockUser {
            user: user.to_owned(),
            seconds: Some(request.block_s),
            tokens_before: None,
            reason: request.reason.clone(),
            now_unix: now_unix(),
        };
        broker.block(block).await??;
    }
    Ok(broker.disconnect_user(user, why).await?.unwrap_or_default())
}
