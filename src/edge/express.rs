//! The short way of POST /message, the one request that servers like this live on.
//!
//! Routes, extractors and middleware take a quarter of what a publish costs beside the kernel. A signed publish in its
//! plainest form needs none of them; whatever is special about a request (a proxy's prefix, a charset, a missing
//! or bad signature) goes the long way through the App, which comes to the same answer by the same functions.

use super::cors;
use crate::api::message_post;
use crate::error::{self, Refusal};
use crate::gate::backend::Backend;
use crate::gate::{Gate, text};
use actix_http::error::PayloadError;
use actix_http::{Payload, Request, RequestHead, Response, header};
use actix_service::{ServiceFactory, apply_fn_factory};
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::{Error, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, TryFutureExt};
use futures_util::stream::StreamExt;
use serde_json::json;

/// What the short way needs.
#[derive(Clone)]
pub struct Express {
    /// How requests are judged.
    pub gate: web::Data<Gate>,
    /// The way to the registry.
    pub backend: web::Data<Backend>,
}

impl Express {
    /// Puts the short way in front of an App.
    pub fn before<F>(
        self,
        app: F,
    ) -> impl ServiceFactory<Request, Config = (), Response = Response<BoxBody>, Error = Error, InitError = ()>
    where
        F: ServiceFactory<
                Request,
                Config = (),
                Response = ServiceResponse<BoxBody>,
                Error = Error,
                InitError = (),
            >,
    {
        apply_fn_factory(app, move |request: Request, app: &F::Service| {
            if self.takes(request.head()) {
                Either::Left(self.clone().publish(request))
            } else {
                Either::Right(app.call(request).map_ok(Response::from))
            }
        })
    }

    fn takes(&self, head: &RequestHead) -> bool {
        head.method == Method::POST
            && head.uri.path() == "/message"
            && head.uri.query().is_none()
            && self.gate.is_plain(head)
            && !self.gate.settings.enforce_https
            && !self.backend.is_draining()
            && !head.upgrade()
            && !names_charset(head)
            && self.gate.is_signed(head)
    }

    async fn publish(self, mut request: Request) -> Result<Response<BoxBody>, Error> {
        let payload = request.take_payload();
        let head = request.head();
        let answer = match self.answer(payload).await {
            Ok(mut answer) => {
                let allowed = &self.gate.settings.allow_cors;
                let origin = if allowed.is_empty() { None } else { text(&head.headers, "origin") };
                cors::add(answer.headers_mut(), allowed, origin);
                answer
            }
            Err(refusal) => refusal.response(error::accept(&head.headers)),
        };
        Ok(answer.into())
    }

    async fn answer(&self, payload: Payload) -> Result<HttpResponse, Refusal> {
        let body = whole(payload, self.backend.settings.max_body_bytes).await?;
        message_post::publish(&self.backend, &body)
    }
}

/// A charset is read by the App's extractor; JSON is UTF-8 unless somebody says otherwise.
fn names_charset(head: &RequestHead) -> bool {
    let content_type = head.headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    content_type.contains(&b';')
}

/// The whole body, without a copy if it came in one piece.
async fn whole(mut payload: Payload, max: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| broken(&error))?;
        if first.len().max(all.len()) + piece.len() > max {
            return Err(Refusal::BodyTooLarge(max));
        }
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&piece);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn broken(error: &PayloadError) -> Refusal {
    Refusal::Invalid(json!({ "_schema": [error.to_string()] }))
}
