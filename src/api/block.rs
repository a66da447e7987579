//! POST, GET and DELETE /block: blocks of users, and the revocation of their tokens.

use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::fields::{CloseText, Field, FieldTable, Fields, Name, Size, USER_NAME, fault};
use crate::auth::body::Body;
use crate::auth::guard::{Signed, now_unix};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Block, BlockUser, Ending};
use crate::http_error::Refusal;
use crate::protocol::websocket::close::CloseReason;
use actix_web::{HttpResponse, web};
use serde_json::json;

const USER: Field<Name> = Field::required("user", USER_NAME, "Name of the user, who need not be known.");
const SECONDS: Field<Size> = Field::optional(
    "seconds",
    Size,
    "How long the user may not connect, from now on; 0 ends a block. The user's connections end. Either this or \
     `tokens_before` is required.",
);
const TOKENS_BEFORE: Field<Size> = Field::optional(
    "tokens_before",
    Size,
    "Refuse the user's tokens whose `iat` is missing or before this time, in Unix seconds. Open sessions stay.",
);
/// Also a field of /end.
pub(super) const REASON: Field<CloseText> =
    Field::optional("reason", CloseText, "Text for the clients, at most 120 bytes in UTF-8.");
pub(crate) const FIELDS: FieldTable = &[&USER, &SECONDS, &TOKENS_BEFORE, &REASON];
pub(crate) const USER_FIELDS: FieldTable = &[&USER];

/// Reads the body of a POST request.
pub fn parse_block(body: &[u8], limits: &RequestLimits) -> Result<BlockUser, Invalid> {
    body::object(body, limits, FIELDS, read)
}

/// Reads the body of a DELETE request: the user.
pub fn parse_unblock(body: &[u8], limits: &RequestLimits) -> Result<String, Invalid> {
    body::object(body, limits, USER_FIELDS, |fields| fields.read(&USER))
}

fn read(fields: &mut Fields<'_>) -> Option<BlockUser> {
    if fields.raw(&SECONDS).is_none() && fields.raw(&TOKENS_BEFORE).is_none() {
        fields.fault(&SECONDS, fault("Either seconds or tokens_before is required."));
    }
    let user = fields.read(&USER);
    let (seconds, tokens_before) = (fields.read(&SECONDS), fields.read(&TOKENS_BEFORE));
    let reason = fields.read(&REASON);
    Some(BlockUser { user: user?, seconds, tokens_before, reason, now_unix: now_unix() })
}

/// POST /block.
///
/// # Errors
/// `Invalid`, `Busy`, `OverLimit`.
pub async fn block(_: Signed, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = parse_block(&body, &RequestLimits::from(&*broker.settings))?;
    broker.admit()?;
    let ends = request.seconds.is_some_and(|seconds| seconds > 0).then(|| request.user.clone());
    let text = request.reason.as_deref().map(Into::into);
    broker.block(request).await??;
    if let Some(user) = ends {
        let why = Ending { reason: CloseReason::Blocked, text };
        broker.disconnect_user(&user, why).await?;
    }
    Ok(answer::json(b"true".to_vec()))
}

/// DELETE /block. False if the user had no block.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn unblock(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let user = parse_unblock(&body, &RequestLimits::from(&*broker.settings))?;
    broker.admit()?;
    let known = broker.unblock(user).await?;
    Ok(answer::json(known.to_string().into_bytes()))
}

/// GET /block.
///
/// # Errors
/// `Busy`.
pub async fn list(_: Signed, broker: web::Data<BrokerHandle>) -> Result<HttpResponse, Refusal> {
    broker.admit_response()?;
    let mut out = b"{\"blocks\":[".to_vec();
    // One by one: a tree of all of them would take several times the memory of the text.
    for (index, block) in broker.blocks().await?.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_row(block, &mut out);
    }
    out.extend_from_slice(b"]}");
    Ok(answer::json(out))
}

fn write_row(block: &Block, out: &mut Vec<u8>) {
    let row = json!({
        "user": &*block.user,
        "until": block.until_unix,
        "tokens_before": block.tokens_before,
        "reason": &*block.reason,
    });
    out.extend_from_slice(row.to_string().as_bytes());
}
