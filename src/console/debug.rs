//! Internal figures as text for troubleshooting: `/admin/debug`.

use actix_web::{HttpResponse, web};

use super::session::AdminOrSigned;
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use crate::telemetry::metrics::{METRICS, Metric, Sources};

/// GET /admin/debug.
///
/// # Errors
/// `Busy`.
pub async fn debug(_: AdminOrSigned, broker: web::Data<BrokerHandle>) -> Result<HttpResponse, Refusal> {
    // The registry answers behind all that was published before, and notes its figures.
    broker.counts().await?;
    let (counters, sources) = (&broker.counters, Sources::now(&broker.counters, &broker.in_flight));
    let line = |metric: &Metric| format!("{}: {}\n", metric.help, metric.read(&sources));
    let mut text: String = METRICS.iter().map(line).collect();
    for (limit, count) in counters.limits.iter() {
        text.push_str(&format!("limit reached, {}: {count}\n", limit.setting()));
    }
    for (reason, count) in counters.closes.iter() {
        text.push_str(&format!("websockets closed, {reason}: {count}\n"));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(text))
}
