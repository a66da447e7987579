//! POST /admin/channel_config: changes the settings of channels in the same way as /channel_config.

use actix_web::{HttpResponse, web};

use crate::api::channel_config;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::console::session::Operator;
use crate::http_error::Refusal;
use utoipa::openapi::path::HttpMethod;

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let path = "/admin/channel_config";
    let operation =
        Operation::new(HttpMethod::Post, path, "changeChannels", ApiGroup::Console, Access::Command)
            .about("Create channels or change their settings", "Has the same effect as `/channel_config`.");
    channel_config::with_schemas(operation, api)
}

/// POST /admin/channel_config: the body of POST /channel_config.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn configure(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    channel_config::change(&broker, &body).await
}
