//! POST /admin/channel_config: changes the settings of channels in the same way as /channel_config.

use actix_web::{HttpResponse, web};

use crate::api::channel_config;
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::console::session::Operator;
use crate::http_error::Refusal;

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
