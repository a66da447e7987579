//! GET /listen: the endpoint for long-polls.

use super::event_list::EventList;
use super::jsonp;
use super::session::{PollAnswer, PollClient, PollSession, Receipt};
use crate::api::parse_conn_id;
use crate::auth::Gate;
use crate::broker::drain::Stage;
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::handle::HubHandle;
use crate::connection::deadline::ConnectionDeadline;
use crate::connection::exchange::Taken;
use crate::http_error::Refusal;
use crate::limits::addresses::Charge;
use crate::transports::admission::{Admission, Charges};
use crate::transports::query::{ResumeQuery, missing_conn_id};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a poll waits for its empty list if it arrives during shutdown.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

impl PollClient for ConnectionDeadline {
    fn poll_half_closed(&self, context: &Context<'_>) -> Poll<()> {
        self.exchange.poll_half_closed(context)
    }
}

/// A client's own socket has its slot already. Behind a proxy, a poll has a slot while it lasts.
const CHARGES: Charges = Charges { behind_proxy: Charge::Proxied, direct: None };

#[derive(Debug, Deserialize)]
pub struct ListenQuery {
    conn_id: Option<String>,
    callback: Option<String>,
    #[serde(flatten)]
    resume: ResumeQuery,
    token: Option<String>,
}

/// GET /listen.
///
/// # Errors
/// `Invalid` without a readable conn_id or with unreadable positions, `UnacceptableCallback`, `UnknownConnection`,
/// `OverLimit`; those of [`Admission::check_token`] and [`Admission::grant`].
pub async fn listen(
    req: HttpRequest,
    broker: web::Data<BrokerHandle>,
    query: web::Query<ListenQuery>,
) -> Result<HttpResponse, Refusal> {
    let text = query.conn_id.as_deref().ok_or_else(missing_conn_id)?;
    let conn_id = parse_conn_id(text).ok_or_else(with_unreadable_conn_id)?;
    // 0.7.1 treats an empty callback as none.
    let callback = query.callback.as_deref().filter(|name| !name.is_empty());
    if callback.is_some_and(|name| !jsonp::valid(name)) {
        return Err(Refusal::UnacceptableCallback);
    }
    let hub = req.app_data::<HubHandle>().ok_or(Refusal::Internal)?;
    let since = query.resume.read(hub)?;
    let gate = req.app_data::<web::Data<Gate>>().ok_or(Refusal::Internal)?;
    let client = gate.client_address(req.head());
    let deadline = req.conn_data::<Rc<ConnectionDeadline>>().cloned();
    let admission = Admission { gate, broker: &broker };
    let grant = admission.check_token(query.token.as_deref(), Some(conn_id), req.head())?;
    if broker.is_draining() {
        if let Some(grant) = grant {
            admission.grant(grant).await?;
        }
        let poll = PollSession::start_during_shutdown(conn_id, since, client, hub.clone());
        return Ok(listen_during_shutdown(poll, &broker, Taken::by(deadline), callback).await);
    }
    let peer = req.peer_addr().map(|peer| peer.ip());
    let _slot = admission.complete(peer, client, CHARGES)?;
    if let Some(grant) = grant {
        admission.grant(grant).await?;
    }
    if let Err(refusal) = broker.bring(conn_id).await {
        return without_redis(refusal, &broker, callback).await;
    }
    let poll_client = deadline.clone().map(|deadline| deadline as _);
    let session = PollSession::start(conn_id, since, client, poll_client, hub.clone());
    match session.await {
        Ok(PollAnswer::Events(receipt)) => {
            let deadline = deadline.filter(|_| !receipt.is_empty());
            Ok(answer(Some((receipt, Taken::by(deadline))), callback))
        }
        Ok(PollAnswer::UnknownConnection) => Err(Refusal::UnknownConnection),
        Err(_) => Ok(answer(None, callback)),
    }
}

/// The answer to a poll of a connection that another node owns, while Redis does not answer. Old clients do not poll again
/// after an error, so that they receive an empty list instead, as late as if there were no messages.
async fn without_redis(
    refusal: Refusal,
    broker: &BrokerHandle,
    callback: Option<&str>,
) -> Result<HttpResponse, Refusal> {
    if !refusal.is_of_engine() {
        return Err(refusal);
    }
    broker.count(&refusal);
    tokio::time::sleep(Duration::from_millis(broker.settings.poll_wait_ms)).await;
    Ok(answer(None, callback))
}

fn with_unreadable_conn_id() -> Refusal {
    Refusal::Invalid(json!(["Wrong UUID format"]))
}

/// During shutdown a poll returns missed events, or an empty list instead of an error, because old clients do not retry
/// after a failed poll. The empty list is delayed, because clients poll again as soon as they receive it.
async fn listen_during_shutdown(
    poll: oneshot::Receiver<PollAnswer>,
    broker: &BrokerHandle,
    taken: Taken,
    callback: Option<&str>,
) -> HttpResponse {
    if let Ok(PollAnswer::Events(receipt)) = poll.await
        && !receipt.is_empty()
    {
        return answer(Some((receipt, taken)), callback);
    }
    let _ = tokio::time::timeout(SHUTDOWN_WAIT, broker.drain.reached(Stage::Closed)).await;
    answer(None, callback)
}

fn answer(receipt: Option<(Receipt, Taken)>, callback: Option<&str>) -> HttpResponse {
    let content_type = match callback {
        Some(_) => "application/javascript; charset=UTF-8",
        None => "application/json",
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(EventList::new(receipt, callback))
}
