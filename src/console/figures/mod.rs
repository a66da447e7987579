//! The figures for dashboards that poll, `/admin/admin.json`, and as text for troubleshooting, `/admin/debug`.

mod requested;
mod write;

use actix_web::{HttpRequest, HttpResponse, web};

use super::endpoints::Console;
use super::session::AdminOrSigned;
use super::uptime;
use crate::broker::handle::BrokerHandle;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::telemetry::metrics::{METRICS, Metric, Sources};
use requested::RequestedFigures;

/// GET and POST /admin/admin.json; a body is ignored.
///
/// # Errors
/// `Invalid`, `Busy`, `Draining`.
pub async fn admin_json(
    _: AdminOrSigned,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let selection = RequestedFigures::read(&req)?;
    console.answers.serve(&req, build(&broker, &console, &selection)).await
}

async fn build(
    broker: &BrokerHandle,
    console: &Console,
    selection: &RequestedFigures,
) -> Result<Built, Refusal> {
    let counts = broker.counts().await?;
    let mut out = b"{".to_vec();
    write::counts(broker, &counts, &mut out);
    let mut rows = write::channels(broker, selection, &mut out).await?;
    rows += write::users(broker, selection, &mut out).await?;
    if let Some((step_s, after)) = selection.series
        && let Some(page) = console.series().since(step_s, after)
    {
        write::series(&page, &mut out);
    }
    if selection.limits {
        write::limits(broker, &mut out);
    }
    // The rest changes every second. This alone does not make the response a new one.
    let decisive = out.len();
    let (uptime, version) = (uptime(broker.started.elapsed().as_secs()), env!("CARGO_PKG_VERSION"));
    out.extend_from_slice(format!(",\"uptime\":\"{uptime}\",\"version\":\"{version}\"}}").as_bytes());
    Ok(Built { body: out, decisive, rows })
}

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
