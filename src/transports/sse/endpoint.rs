//! GET /sse: the endpoint for event streams that the connection dispatcher has not taken over.

use super::body::EventBody;
use super::head::HEADERS;
use super::target::{EventTarget, LAST_EVENT_ID};
use crate::auth::Gate;
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::handle::{AttachRefused, HubHandle};
use crate::connection::deadline::ConnectionDeadline;
use crate::http_error::Refusal;
use crate::limits::addresses::Charge;
use crate::protocol::event_stream;
use crate::send_queue::Transport;
use crate::transports::admission::{Admission, Charges};
use actix_web::body::MessageBody;
use actix_web::http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse, web};
use std::rc::Rc;

/// A client's own socket has its slot already. Behind a proxy, a stream has a slot while it lasts.
const CHARGES: Charges = Charges { behind_proxy: Charge::Proxied, direct: None };
/// The reconnect delay after a temporary refusal, in ms.
const REFUSED_RETRY_MS: u32 = 5_000;

/// GET /sse.
///
/// # Errors
/// `Invalid` without a readable conn_id or with unreadable positions, `UnknownConnection`; those of
/// [`Admission::check_token`] and [`Admission::grant`]. An EventSource gives up after any status but 200, so the answer to
/// a refusal that will pass is a stream that ends.
pub async fn events(req: HttpRequest, broker: web::Data<BrokerHandle>) -> Result<HttpResponse, Refusal> {
    let gate = req.app_data::<web::Data<Gate>>().ok_or(Refusal::Internal)?;
    let opened = open(&req, gate, &broker).await;
    match opened {
        Ok(body) => Ok(stream(body)),
        Err(refusal) if refusal.retry_after_s().is_some() => {
            broker.count(&refusal);
            gate.log_refusal(req.head(), &refusal);
            let retry_ms = match refusal {
                Refusal::Draining => broker.drain.retry_ms().max(gate.settings.sse_retry_ms as u32),
                _ => REFUSED_RETRY_MS,
            };
            Ok(stream(event_stream::retry(retry_ms) + "\n"))
        }
        Err(refusal) => Err(refusal),
    }
}

async fn open(req: &HttpRequest, gate: &Gate, broker: &BrokerHandle) -> Result<EventBody, Refusal> {
    let target = EventTarget::read(req.query_string())?;
    let hub = req.app_data::<HubHandle>().ok_or(Refusal::Internal)?;
    let last_event_id = req.headers().get(LAST_EVENT_ID).map(|id| id.as_bytes());
    let since = target.read_since(last_event_id, hub)?;
    let admission = Admission { gate, broker };
    let grant = admission.check_token(target.token.as_deref(), Some(target.conn_id), req.head())?;
    if broker.is_draining() {
        return Err(Refusal::Draining);
    }
    let (peer, client) = (req.peer_addr().map(|peer| peer.ip()), gate.client_address(req.head()));
    let address_slot = admission.complete(peer, client, CHARGES)?;
    if let Some(grant) = grant {
        admission.grant(grant).await?;
    }
    broker.bring(target.conn_id).await?;
    let deadline = req.conn_data::<Rc<ConnectionDeadline>>().cloned();
    let body = EventBody::open(target.conn_id, client, hub.clone(), deadline, address_slot);
    match hub.try_attach(target.conn_id, body.slot, Transport::Sse, Some(since)).await {
        Ok(Ok(())) => Ok(body),
        Ok(Err(AttachRefused::UnknownConnection)) => Err(Refusal::UnknownConnection),
        // The registry is gone, because the server is stopping.
        Err(_) => Err(Refusal::Draining),
    }
}

/// A response that ends with its connection, since clients and proxies may collect the chunks of other responses (HTML
/// standard, section 9.2.7).
fn stream(body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    HEADERS.into_iter().for_each(|header| _ = response.insert_header(header));
    let mut response = response.body(body);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.head_mut().no_chunking(true);
    response
}
