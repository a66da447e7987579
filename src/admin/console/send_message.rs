//! POST /admin/message: a message from the console, as a backend would send it.

use actix_web::{HttpResponse, web};

use crate::admin::session::Operator;
use crate::api::message_post;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;

/// POST /admin/message: the body of POST /message.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn send(_: Operator, backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    message_post::publish(&backend, &body)
}
