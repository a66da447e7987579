//! POST /admin/channel_config: settings of channels, as a backend would change them.

use actix_web::{HttpResponse, web};

use crate::admin::session::Operator;
use crate::api::channel_config;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;

/// POST /admin/channel_config: the body of POST /channel_config.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn configure(
    _: Operator,
    backend: web::Data<Backend>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    channel_config::change(&backend, &body).await
}
