//! POST /admin/message: publishes messages from the console in the same way as /message.

use actix_web::{HttpResponse, web};

use crate::api::message_post;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::console::session::Operator;
use crate::http_error::Refusal;
use utoipa::openapi::path::HttpMethod;

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let body = message_post::body_shape(api);
    let operation = Operation::new(
        HttpMethod::Post,
        "/admin/message",
        "sendMessages",
        ApiGroup::Console,
        Access::Command,
    )
    .about("Publish messages", "Has the same effect as `/message`.");
    message_post::with_schemas(operation, body, api)
}

/// POST /admin/message: the body of POST /message.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn send(_: Operator, broker: web::Data<BrokerHandle>, body: Body) -> Result<HttpResponse, Refusal> {
    message_post::publish(None, &broker, &body)
}
