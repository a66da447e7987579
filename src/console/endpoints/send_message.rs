//! POST /admin/message: publishes messages from the console in the same way as /message.

use actix_web::{HttpResponse, web};

use crate::api::message_post;
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::console::session::Operator;
use crate::http_error::Refusal;

/// POST /admin/message: the body of POST /message.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn send(_: Operator, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    message_post::publish(None, &broker, &body)
}
