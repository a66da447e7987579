//! GET /listen: the long-poll.

use super::exchange::Taken;
use super::jsonp;
use super::watch::Watch;
use crate::api::conn_id;
use crate::api::operation::{Access, Description, Operation, Public, in_query};
use crate::error::Refusal;
use crate::gate::Gate;
use crate::gate::backend::Backend;
use crate::gate::drain::Stage;
use crate::hub::handle::HubHandle;
use crate::observe::addresses::Comes;
use crate::observe::limits::Limit;
use crate::session::poll::{Answer, PollSession, Receipt};
use crate::wire::event::described::events;
use crate::wire::schema;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{Content, Required};
use uuid::Uuid;

/// How long a poll that comes while the server stops waits for its empty list.
const PAUSE: Duration = Duration::from_secs(1);

/// The query of a poll.
#[derive(Debug, Deserialize)]
pub struct ListenQuery {
    conn_id: Option<String>,
    callback: Option<String>,
}

/// GET /listen.
///
/// # Errors
/// `Invalid` without a readable conn_id, `UnacceptableCallback`, `UnknownConnection`, `OverLimit`.
pub async fn listen(
    req: HttpRequest,
    backend: web::Data<Backend>,
    query: web::Query<ListenQuery>,
) -> Result<HttpResponse, Refusal> {
    let text = query.conn_id.as_deref().ok_or_else(without_conn_id)?;
    let conn_id = conn_id::parse(text).ok_or_else(with_unreadable_conn_id)?;
    let callback = query.callback.as_deref();
    if callback.is_some_and(|name| !jsonp::valid(name)) {
        return Err(Refusal::UnacceptableCallback);
    }
    let hub = req.app_data::<HubHandle>().ok_or(Refusal::Internal)?;
    let client = req.app_data::<web::Data<Gate>>().and_then(|gate| gate.client_address(req.head()));
    if backend.is_draining() {
        return Ok(listen_last(conn_id, client, &backend, hub, callback).await);
    }
    backend.admit_session()?;
    // A socket of the client's own counts already; behind a proxy the poll counts, while it lasts.
    let behind_proxy = req.peer_addr().is_some_and(|peer| backend.is_proxy(peer.ip()));
    let _seat = if behind_proxy { backend.seat(client, Comes::Through)? } else { None };
    let watch = req.conn_data::<Rc<Watch>>().cloned();
    let session = PollSession::start(conn_id, client, watch.clone().map(|watch| watch as _), hub.clone());
    match session.await {
        Ok(Answer::Events(events, receipt)) => {
            let watch = watch.filter(|_| !events.is_empty());
            Ok(answer(events, Some((receipt, Taken::by(watch))), callback))
        }
        Ok(Answer::UnknownConnection) => Err(Refusal::UnknownConnection),
        Err(_) => Ok(answer(Vec::new(), None, callback)),
    }
}

fn without_conn_id() -> Refusal {
    Refusal::Invalid(json!({"conn_id": ["Missing data for required field."]}))
}

fn with_unreadable_conn_id() -> Refusal {
    Refusal::Invalid(json!(["Wrong UUID format"]))
}

/// What the API's description says of it.
pub fn described(to: &mut Description<'_>) -> Operation {
    let said = "The events; as a script, `callback([…])`, where a callback is named.";
    let script = Content::new(Some(schema::text()));
    let about = format!(
        "Answers what was missed at once, else as soon as something comes and {} ms have passed in which more may \
         join it, else after {} ms with `[]`. Poll again at once: what comes between two polls waits. Events wait \
         until the server's kernel has taken the whole answer: if the client hangs up before, the next poll brings \
         them. While the server stops, polls are answered with what was missed, or soon with `[]`.",
        to.settings.poll_batch_window_ms, to.settings.poll_wait_ms
    );
    let callback = schema::of_type(utoipa::openapi::schema::Type::String).max_length(Some(jsonp::MAX_LENGTH));
    let callback = callback.pattern(Some(jsonp::pattern())).into();
    let jsonp = "For JSONP: a plain name of a JavaScript function, as `a.b[0]`; no reserved word.";
    Operation::new(HttpMethod::Get, "/listen", "listen", Public::Browsers, Access::Open)
        .about("Poll for the events of a connection", &about)
        .parameter(conn_id::parameter("The connection."))
        .parameter(in_query("callback", Required::False, callback, jsonp))
        .answer_or(said, events(&mut to.book), ANSWER, ("application/javascript", script))
        .refuses([without_conn_id(), with_unreadable_conn_id()])
        .refuses([Refusal::UnacceptableCallback, Refusal::UnknownConnection, Refusal::OriginNotAllowed])
        .limited_by([Limit::Sessions])
}

const ANSWER: &str = r#"[{"channel": "lobby", "uuid": "22222222-2222-4222-8222-222222222222",
    "timestamp": "2020-02-22T10:11:12.123456", "date": "2020-02-22T10:11:12.123456", "user": "bob",
    "message": {"text": "hi!"}, "edited": "2020-02-22T10:11:13.123456", "type": "message", "catchup": true},
  {"channel": "lobby", "uuid": "22222222-2222-4222-8222-222222222222", "message": {"text": "hi!"},
    "edited": "2020-02-22T10:11:13.123456", "type": "message:edit", "catchup": true},
  {"channel": "lobby", "uuid": "33333333-3333-4333-8333-333333333333", "type": "message:delete", "catchup": true}]"#;

/// A poll while the server stops gets what its client has missed, or an empty list and no error: old clients never try
/// again after a failed poll. Not at once: they ask again when they have it.
async fn listen_last(
    conn_id: Uuid,
    client: Option<IpAddr>,
    backend: &Backend,
    hub: &HubHandle,
    callback: Option<&str>,
) -> HttpResponse {
    if let Ok(Answer::Events(events, receipt)) = PollSession::start_last(conn_id, client, hub.clone()).await
        && !events.is_empty()
    {
        return answer(events, Some((receipt, Taken::default())), callback);
    }
    let _ = tokio::time::timeout(PAUSE, backend.drain.reached(Stage::Closed)).await;
    answer(Vec::new(), None, callback)
}

fn answer(events: Vec<Bytes>, receipt: Option<(Receipt, Taken)>, callback: Option<&str>) -> HttpResponse {
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
    receipt: Option<(Receipt, Taken)>,
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
                let is_taken = match &mut this.receipt {
                    Some((_, taken)) => ready!(taken.poll(context)),
                    None => false,
                };
                if let Some((receipt, _)) = this.receipt.take().filter(|_| is_taken) {
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
