//! The figures for dashboards that poll, `/admin/admin.json`, and as text for troubleshooting, `/admin/debug`.

mod write;

use super::endpoints::Console;
use super::session::AdminOrSigned;
use super::uptime;
use crate::api::info::InfoOptions;
use crate::broker::handle::BrokerHandle;
use crate::console::query::{MAX_PER_PAGE, Query};
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::telemetry::metrics::{METRICS, Metric, Sources};
use crate::telemetry::series::SPANS;
use actix_web::{HttpRequest, HttpResponse, web};

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
    let totals = broker.totals().await?;
    let mut out = b"{".to_vec();
    write::totals(&totals, &mut out);
    let channels = write::channels(broker, selection, &totals, &mut out).await?;
    let users = write::users(broker, selection, &mut out).await?;
    let rows = channels + users.found;
    if let Some((step_s, after)) = selection.series
        && let Some(page) = console.series().since(step_s, after)
    {
        write::series(&page, &mut out);
    }
    if selection.limits {
        write::limits(broker, &mut out);
    }
    if let Some(nodes) = broker.nodes() {
        write::nodes(&nodes, totals.is_stale || users.is_partial, &mut out)?;
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
    let sources = sources.with_engine(broker.engine_metrics());
    let line = |metric: &Metric| format!("{}: {}\n", metric.help, metric.read(&sources));
    let mut text: String = METRICS.iter().filter(|metric| metric.is_available(&sources)).map(line).collect();
    text.extend(broker.script_figures());
    for (limit, count) in counters.limits.iter() {
        text.push_str(&format!("limit reached, {}: {count}\n", limit.setting()));
    }
    for (reason, count) in counters.closes.iter() {
        text.push_str(&format!("websockets closed, {reason}: {count}\n"));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(text))
}

/// The figures that a request selects. Without parameters they are those of the original.
pub struct RequestedFigures {
    /// Only names that contain this text, ignoring case.
    pub search: String,
    /// Only one page of the matching channels and users; none of them if a page has no rows.
    pub part: Option<FiguresPart>,
    /// The data of each channel.
    pub info: InfoOptions,
    /// The samples with this interval after this number.
    pub series: Option<(u64, u64)>,
    /// How often limits were reached, and the reasons for which sockets were closed.
    pub limits: bool,
}

/// Part of a list.
#[derive(Clone, Copy)]
pub struct FiguresPart {
    /// Number of items before it.
    pub skip: usize,
    /// Number of items in it.
    pub rows: usize,
}

impl RequestedFigures {
    /// Reads the selection from a request.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn read(req: &HttpRequest) -> Result<Self, Refusal> {
        let mut query = Query::of(req);
        let paged = query.has("page") || query.has("per_page");
        let page = query.number("page", 1..=u32::MAX as usize, 1);
        let rows = query.number("per_page", 0..=MAX_PER_PAGE, 50);
        let include_history = query.flag("include_history", true);
        let include_users = query.flag("include_users", true);
        let step_s = query.number("step_s", 1..=usize::MAX, 1) as u64;
        if !SPANS.iter().any(|(step, _)| *step == step_s) {
            let steps: Vec<String> = SPANS.iter().map(|(step, _)| step.to_string()).collect();
            query.fault("step_s", format!("Must be one of: {}.", steps.join(", ")));
        }
        let after = query.number("since", 0..=usize::MAX, 0) as u64;
        let series = query.has("since").then_some((step_s, after));
        let limits = query.flag("limits", false);
        let search = query.text("search").unwrap_or_default().trim().to_lowercase();
        let part = paged.then_some(FiguresPart { skip: (page - 1).saturating_mul(rows), rows });
        let info = InfoOptions { include_history, include_users, ..InfoOptions::default() };
        Ok(query.checked(Self { search, part, info, series, limits })?)
    }

    /// Whether a name matches the search.
    pub fn finds(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }
}

/// Counts items, and selects those of the part.
pub struct Window {
    /// The part; everything if there is none.
    pub part: Option<FiguresPart>,
    /// Number of items counted so far.
    pub seen: usize,
}

impl Window {
    /// Counts one more item. Returns whether it belongs to the part.
    pub fn admits_next(&mut self) -> bool {
        let index = self.seen;
        self.seen += 1;
        self.part.is_none_or(|part| index >= part.skip && index - part.skip < part.rows)
    }
}
