//! GET /listen: the long-poll.

use super::jsonp;
use crate::api::conn_id;
use crate::error::Refusal;
use crate::gate::Gate;
use crate::gate::backend::Backend;
use crate::hub::handle::HubHandle;
use crate::session::poll::{Answer, PollSession, Receipt};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The query of a poll.
#[derive(Debug, Deserialize)]
pub struct ListenQuery {
    conn_id: Option<String>,
    callback: Option<String>,
}

/// GET /listen.
///
/// # Errors
/// `Invalid` without a readable conn_id, `UnacceptableCallback`, `UnknownConnection`.
pub async fn listen(
    req: HttpRequest,
    backend: web::Data<Backend>,
    query: web::Query<ListenQuery>,
) -> Result<HttpResponse, Refusal> {
    let conn_id = match query.conn_id.as_deref() {
        None => return Err(Refusal::Invalid(json!({"conn_id": ["Missing data for required field."]}))),
        Some(text) => conn_id::parse(text).ok_or_else(|| Refusal::Invalid(json!(["Wrong UUID format"])))?,
    };
    let callback = query.callback.as_deref();
    if callback.is_some_and(|name| !jsonp::valid(name)) {
        return Err(Refusal::UnacceptableCallback);
    }
    let hub = req.app_data::<HubHandle>().ok_or(Refusal::Internal)?;
    if backend.is_draining() {
        // An empty list and no error: old clients never try again after a failed poll.
        return Ok(answer(Vec::new(), None, callback));
    }
    let client = req.app_data::<web::Data<Gate>>().and_then(|gate| gate.client_address(req.head()));
    match PollSession::start(conn_id, client, hub.clone()).await {
        Ok(Answer::Events(events, receipt)) => Ok(answer(events, Some(receipt), callback)),
        Ok(Answer::UnknownConnection) => Err(Refusal::UnknownConnection),
        Err(_) => Ok(answer(Vec::new(), None, callback)),
    }
}

fn answer(events: Vec<Bytes>, receipt: Option<Receipt>, callback: Option<&str>) -> HttpResponse {
    let body = Bytes::from(list(&events, callback));
    let content_type = match callback {
        Some(_) => "application/javascript; charset=UTF-8",
        None => "application/json",
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(Receipted { body, receipt, step: Step::Hand })
}

fn list(events: &[Bytes], callback: Option<&str>) -> Vec<u8> {
    let size = events.iter().map(|event| event.len() + 1).sum::<usize>();
    let mut out = Vec::with_capacity(size + 2 + callback.map_or(0, |name| name.len() + 2));
    if let Some(name) = callback {
        out.extend_from_slice(name.as_bytes());
        out.push(b'(');
    }
    out.push(b'[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // JSON is no subset of older JavaScript: these two would end a line there.
        match callback {
            Some(_) => push_for_script(&mut out, event),
            None => out.extend_from_slice(event),
        }
    }
    out.push(b']');
    if callback.is_some() {
        out.push(b')');
    }
    out
}

fn push_for_script(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = rest.windows(3).position(|w| w == [0xe2, 0x80, 0xa8] || w == [0xe2, 0x80, 0xa9]) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(if rest[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
}

enum Step {
    /// Give the body to the connection.
    Hand,
    /// Let the connection flush it.
    Flush,
    /// Asked again: it is flushed. A client that hangs up before this step gets its events with the next poll.
    Done,
}

/// A body that knows when it has been taken.
struct Receipted {
    body: Bytes,
    receipt: Option<Receipt>,
    step: Step,
}

impl MessageBody for Receipted {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.body.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        match this.step {
            Step::Hand => {
                this.step = Step::Flush;
                Poll::Ready(Some(Ok(this.body.clone())))
            }
            Step::Flush => {
                // The connection writes to its socket only when the body has nothing more for the moment.
                this.step = Step::Done;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Done => {
                if let Some(receipt) = this.receipt.take() {
                    receipt.sign();
                }
                Poll::Ready(None)
            }
        }
    }

    fn boxed(self) -> BoxBody {
        BoxBody::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let events =
            [Bytes::from_static(b"{\"a\":1}"), Bytes::from_static("{\"b\":\"\u{2028}\"}".as_bytes())];
        assert_eq!(list(&[], None), b"[]");
        assert_eq!(list(&events[..1], None), b"[{\"a\":1}]");
        assert_eq!(list(&events, Some("cb")), b"cb([{\"a\":1},{\"b\":\"\\u2028\"}])");
    }
}
