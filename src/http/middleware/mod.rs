//! The checks of every request before its handler, and the changes of every answer after it. Mounted once, around the
//! whole App: `App::new().wrap(from_fn(middleware::process))`.

use super::cors;
use crate::auth::body::{self, Body, BodySender};
use crate::auth::guard::{Caller, now_unix};
use crate::auth::public_paths::Exposure;
use crate::auth::{Gate, allowed_origins, text};
use crate::broker::handle::BrokerHandle;
use crate::connection::body_pieces;
use crate::console::session;
use crate::http_error::{self, MaxBody, Refusal};
use crate::telemetry::log_sums::{FAILED_REQUESTS, escaped};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::UrlencodedError;
use actix_web::http::uri::{PathAndQuery, Uri};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use serde_json::json;

/// Rewrites the path behind proxies, refuses plain HTTP and bad signatures, answers OPTIONS, renders refusals in the form
/// that `Accept` names, and adds CORS headers to successes.
///
/// # Errors
/// The errors of inner middleware. Refusals are answers.
pub async fn process<B: MessageBody + 'static>(
    gate: web::Data<Gate>,
    mut req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = match admit(&gate, &mut req).await {
        Err(refusal) => {
            note_refusal(&gate, req.request(), &refusal);
            let answer = refusal.response(http_error::accept(req.headers()));
            req.into_response(answer)
        }
        Ok(_) if cors::is_preflight(req.method()) => req.into_response(cors::preflight().finish()),
        Ok(caller) => {
            req.extensions_mut().insert(caller);
            in_accepted_form(&gate, next.call(req).await?.map_into_boxed_body())
        }
    };
    let mut answer = in_pieces(add_cors(&gate, answer));
    session::renew(&mut answer);
    http_error::complete_headers(answer.headers_mut());
    // While the server stops, it would wait for an idle connection until the limit. And the HTTP stack always closes after
    // `Connection: upgrade`: without this header a proxy would use the connection again.
    if is_draining(answer.request()) || answer.request().head().upgrade() {
        answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(answer)
}

fn in_pieces(answer: ServiceResponse) -> ServiceResponse {
    let broker = answer.request().app_data::<web::Data<BrokerHandle>>().cloned();
    answer.map_body(|_, body| body_pieces::in_pieces(body, broker.as_ref().map(|broker| &broker.responses)))
}

fn is_draining(req: &HttpRequest) -> bool {
    req.app_data::<web::Data<BrokerHandle>>().is_some_and(|broker| broker.is_draining())
}

/// The checks that apply to every path. From here on rules, router and handlers use the same path.
async fn admit(gate: &Gate, req: &mut ServiceRequest) -> Result<Caller, Refusal> {
    rewrite_path(gate, req)?;
    gate.admit_scheme(req.head(), req.path())?;
    let exposure = req.app_data::<Exposure>().copied().unwrap_or_default();
    if !exposure.serves(req.path()) {
        return Err(Refusal::NotFound(req.path().to_owned()));
    }
    let caller = if exposure.accepts_signatures() { caller(gate, req).await? } else { Caller::Untrusted };
    if !matches!(caller, Caller::Signed(_))
        && cors::is_for_browsers(req.path())
        && !cors::is_preflight(req.method())
    {
        allowed_origins::admit(&gate.settings.allowed_origins, req.head())?;
    }
    body::admit_encoding(req.head())?;
    Ok(caller)
}

/// Checks address and signature. A bound signature also covers the body, which is received here and kept for the handler.
async fn caller(gate: &Gate, req: &mut ServiceRequest) -> Result<Caller, Refusal> {
    let Some(signature) = gate.bound_signature(req.head(), now_unix())? else {
        return gate.caller(req.head(), now_unix());
    };
    let broker = req.app_data::<web::Data<BrokerHandle>>().cloned().ok_or(Refusal::Internal)?;
    let payload = req.take_payload();
    let body = Body::receive(req.head(), payload, &broker, BodySender::Unverified).await?;
    let admitted = gate.admit_bound(&signature, req.head(), &path_as_sent(req), &body, now_unix());
    if let Err(Refusal::Busy) = &admitted {
        broker.counters.refused_busy.add(1);
    }
    let caller = admitted?;
    let name = format!("{}-{:032x}", signature.timestamp(), signature.identity());
    match broker.use_once(name).await {
        Ok(true) => {}
        Ok(false) => return Err(gate.bad_signature(req.head(), &"it has been used before at another node")),
        Err(refusal) => {
            gate.restore_bound(&signature);
            return Err(refusal);
        }
    }
    let (bytes, counted) = body.into_authenticated(&broker);
    req.set_payload(Payload::from(bytes));
    // The bytes are counted until the request is answered.
    req.extensions_mut().insert(counted);
    Ok(caller)
}

/// Renders refusals, including those of the framework, in the form that `Accept` names.
fn in_accepted_form(gate: &Gate, answer: ServiceResponse) -> ServiceResponse {
    let Some(refusal) = refusal_in(gate, &answer) else {
        return answer;
    };
    let request = answer.request();
    note_refusal(gate, request, &refusal);
    let rendered = refusal.response(http_error::accept(request.headers()));
    let rendered = match request.app_data::<web::Data<BrokerHandle>>() {
        Some(broker) => body_pieces::limit_refusal(rendered, broker, request.headers()),
        None => rendered,
    };
    answer.into_response(rendered)
}

fn note_refusal(gate: &Gate, request: &HttpRequest, refusal: &Refusal) {
    if let Some(broker) = request.app_data::<web::Data<BrokerHandle>>() {
        broker.count(refusal);
    }
    gate.log_refusal(request.head(), refusal);
}

fn refusal_in(gate: &Gate, answer: &ServiceResponse) -> Option<Refusal> {
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    if let Some(error) = answer.response().error() {
        let refusal = error.as_error::<Refusal>().cloned();
        return Some(refusal.unwrap_or_else(|| translate(gate, error, answer)));
    }
    // A handler that renders a refusal itself has set its code. A 404 or 405 without a code comes from the router.
    let bare = !answer.headers().contains_key(http_error::CODE_HEADER);
    let unrouted = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    (bare && unrouted).then(|| not_found(answer))
}

/// Converts errors of the framework: its extractors answer 400, which old clients treat as a success.
fn translate(gate: &Gate, error: &Error, answer: &ServiceResponse) -> Refusal {
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => not_found(answer),
        StatusCode::PAYLOAD_TOO_LARGE => match error.as_error::<UrlencodedError>() {
            Some(UrlencodedError::Overflow { limit, .. }) => Refusal::BodyTooLarge(MaxBody::OfPath(*limit)),
            _ => Refusal::BodyTooLarge(MaxBody::OfSettings(gate.settings.max_body_bytes)),
        },
        StatusCode::REQUEST_TIMEOUT => Refusal::BodyTooSlow,
        status if status.is_client_error() => Refusal::Invalid(json!({"_schema": [error.to_string()]})),
        _ => {
            let (head, error) = (answer.request().head(), error.to_string());
            let (method, path) = (escaped(head.method.as_str()), escaped(head.uri.path()));
            FAILED_REQUESTS
                .log(gate.client_address(head), format_args!("{method} {path} failed: {}", escaped(&error)));
            Refusal::Internal
        }
    }
}

fn not_found(answer: &ServiceResponse) -> Refusal {
    Refusal::NotFound(answer.request().match_info().as_str().to_owned())
}

fn add_cors(gate: &Gate, mut answer: ServiceResponse) -> ServiceResponse {
    let request = answer.request();
    let shared = cors::is_preflight(request.method()) || cors::is_shared(request.path());
    if shared && (answer.status().is_success() || cors::is_for_browsers(request.path())) {
        let origin = match cors::depends_on_origin(&gate.settings) {
            true => text(request.headers(), "origin").map(str::to_owned),
            false => None,
        };
        let add = if request.path() == cors::EVENT_STREAMS { cors::add_for_events } else { cors::add };
        add(answer.headers_mut(), &gate.settings, origin.as_deref());
    }
    answer
}

/// The path as the client sent it, if it differs from the one that the routes use.
struct PathAsSent(String);

/// Replaces the path of a request by the one that the routes use, so that rules, router and handlers all use this path.
///
/// # Errors
/// `NotFound` for a path that has no form for the routes, for example because it would be too long.
fn rewrite_path(gate: &Gate, req: &mut ServiceRequest) -> Result<(), Refusal> {
    let inner = gate.inner_path(req.head());
    if inner == req.uri().path() {
        return Ok(());
    }
    let sent = gate.path_as_sent(req.head()).into_owned();
    let uri = with_path(req.uri(), &inner).ok_or_else(|| Refusal::NotFound(sent.clone()))?;
    req.match_info_mut().get_mut().update(&uri);
    req.head_mut().uri = uri;
    req.extensions_mut().insert(PathAsSent(sent));
    Ok(())
}

/// The path as the client sent it, without a proxy's prefix. A bound signature covers this form.
fn path_as_sent(req: &ServiceRequest) -> String {
    let kept = req.extensions().get::<PathAsSent>().map(|sent| sent.0.clone());
    kept.unwrap_or_else(|| req.path().to_owned())
}

/// The same target with another path. A target in absolute form keeps its host, which is checked as well.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests;
