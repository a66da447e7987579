//! The fast path of the most frequent backend calls: publishing, connecting, subscribing. All requests except handshakes
//! pass here, so this is also where a connection's deadline is updated with the progress of its request.
//!
//! Routes, extractors and middleware take a quarter of the time of a publish, without the kernel's. A signed call in its
//! plainest form does not need them. A request with anything special (a proxy's prefix, a query, a receipt, a charset, a
//! missing or bad signature) goes through the App, which calls the same handlers and gives the same answer.

use super::cors;
use crate::api::ConnIdQuery;
use crate::api::publish_options::PublishOptions;
use crate::api::{connect, message_post, subscribe, user_state};
use crate::auth::body::{Body, BodySender};
use crate::auth::guard::Signed;
use crate::auth::public_paths::Exposure;
use crate::auth::{Gate, text};
use crate::broker::handle::BrokerHandle;
use crate::connection::body_pieces::{in_pieces, limit_refusal};
use crate::connection::deadline::ConnectionDeadline;
use crate::connection::exchange::{ResponseBody, continue_when_read};
use crate::http_error::{self, Refusal};
use actix_http::{Request, RequestHead, Response, header};
use actix_service::{ServiceFactory, apply_fn_factory};
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::{Error, HttpResponse, web};
use futures_util::future::{Either, FutureExt, TryFutureExt};
use std::rc::Rc;

/// The calls that have a fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Message,
    Connect,
    Subscribe,
    Unsubscribe,
    UserState,
}

impl Call {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/message" => Self::Message,
            "/connect" => Self::Connect,
            "/subscribe" => Self::Subscribe,
            "/unsubscribe" => Self::Unsubscribe,
            "/user_state" => Self::UserState,
            _ => return None,
        })
    }
}

/// The state of the fast path.
#[derive(Clone)]
pub struct FastPath {
    pub gate: web::Data<Gate>,
    pub broker: web::Data<BrokerHandle>,
    /// An address that ignores signatures has no fast path.
    pub exposure: Exposure,
}

impl FastPath {
    /// Puts the fast path in front of an App.
    pub fn wrap<F>(
        self,
        app: F,
    ) -> impl ServiceFactory<Request, Config = (), Response = Response<ResponseBody>, Error = Error, InitError = ()>
    where
        F: ServiceFactory<
                Request,
                Config = (),
                Response = ServiceResponse<BoxBody>,
                Error = Error,
                InitError = (),
            >,
    {
        apply_fn_factory(app, move |mut request: Request, app: &F::Service| {
            let deadline = request.conn_data::<Rc<ConnectionDeadline>>().cloned();
            if let Some(deadline) = &deadline {
                deadline.start_request();
                continue_when_read(deadline, request.payload());
            }
            let answer = match self.accept(request.head()) {
                // Boxed: otherwise every connection would reserve its size, also those that never make such a call.
                Some((call, signed)) => Either::Left(Box::pin(self.clone().answer(call, signed, request))),
                None => Either::Right(app.call(request).map_ok(Response::from)),
            };
            answer.map(move |answer| {
                deadline.iter().for_each(|deadline| deadline.start_response());
                let answer = answer.unwrap_or_else(Response::from);
                Ok(answer.map_body(|_, body| ResponseBody::new(body, deadline)))
            })
        })
    }

    fn accept(&self, head: &RequestHead) -> Option<(Call, Signed)> {
        let call = Call::of(head.uri.path()).filter(|_| head.method == Method::POST)?;
        let plain = self.exposure.accepts_signatures()
            && head.uri.query().is_none()
            && self.gate.has_no_prefix(head)
            && !self.gate.settings.enforce_https
            && !self.broker.is_draining()
            && !head.upgrade()
            && !names_charset(head)
            && !(call == Call::Message && PublishOptions::are_in(&head.headers))
            && !head.headers.contains_key(header::CONTENT_ENCODING);
        if plain { Some((call, self.gate.signed(head)?)) } else { None }
    }

    async fn answer(
        self,
        call: Call,
        signed: Signed,
        mut request: Request,
    ) -> Result<Response<BoxBody>, Error> {
        let payload = request.take_payload();
        let answer =
            match Body::receive(request.head(), payload, &self.broker, BodySender::Authenticated).await {
                Ok(body) => match body.into_utf8() {
                    Ok(body) => self.call(call, signed, body).await,
                    Err(refusal) => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            };
        let headers = &request.head().headers;
        let answer = match answer {
            Ok(answer) => self.add_cors(answer, headers),
            Err(refusal) => {
                self.broker.count(&refusal);
                self.gate.log_refusal(request.head(), &refusal);
                limit_refusal(refusal.response(http_error::accept(headers)), &self.broker, headers)
            }
        };
        Ok(Response::from(answer.map_body(|_, body| in_pieces(body, Some(&self.broker.responses)))))
    }

    async fn call(&self, call: Call, signed: Signed, body: Body) -> Result<HttpResponse, Refusal> {
        let broker = self.broker.clone();
        let query = || web::Query(ConnIdQuery { conn_id: None });
        match call {
            Call::Message => message_post::publish(Some(signed), &broker, &body).await,
            Call::Connect => connect::connect(signed, broker, body).await,
            Call::Subscribe => subscribe::subscribe(signed, broker, query(), body).await,
            Call::Unsubscribe => subscribe::unsubscribe(signed, broker, query(), body).await,
            Call::UserState => user_state::user_state(signed, broker, body).await,
        }
    }

    fn add_cors(&self, mut answer: HttpResponse, headers: &header::HeaderMap) -> HttpResponse {
        let settings = &self.gate.settings;
        let origin = if cors::depends_on_origin(settings) { text(headers, "origin") } else { None };
        cors::add(answer.headers_mut(), settings, origin);
        http_error::make_private(answer.headers_mut());
        answer
    }
}

/// Whether the content type has parameters, such as a charset. Only the App's extractor decodes charsets.
fn names_charset(head: &RequestHead) -> bool {
    let content_type = head.headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    content_type.contains(&b';')
}
