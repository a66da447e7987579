//! What dashboards poll: `/admin/admin.json`, and the same as text for people in trouble.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answers::Built;
use super::console::{Console, walk};
use super::query::{MAX_PER_PAGE, Query};
use super::session::AdminOrSigned;
use super::{read, uptime};
use crate::api::answer;
use crate::api::channels_info::{ChannelsInfo, Freshness};
use crate::api::info::InfoOptions;
use crate::api::operation::{Access, Description, Operation, Public, in_query};
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::ids::UserId;
use crate::observe::series::{Excerpt, FIGURES, SPANS};
use crate::registry::messages::{
    BrowseChannels, BrowseConnections, ChannelRef, ConnectionRow, Count, Counts,
};
use crate::registry::state::Phase;
use crate::wire::event::UserView;
use crate::wire::json;
use crate::wire::schema::{self, Book, Keys, Shape};
use crate::wire::state::state_shape;
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

/// Channels asked for their users and histories, and written, at once.
const SLICE: usize = 1_000;

/// Mounts the figures.
pub fn figures(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/admin/admin.json").route(read().to(admin_json)).route(web::post().to(admin_json)),
    )
    .service(web::resource("/admin/debug").route(read().to(debug)));
}

/// What of the figures is asked for. Without any parameter it is all that the original tells.
struct Wanted {
    /// Names that hold this, in any case.
    search: String,
    /// Only one page of the channels and users found; none of them if a page has no rows.
    part: Option<Part>,
    info: InfoOptions,
    /// The samples of this step, newer than this number.
    series: Option<(u64, u64)>,
    /// How often limits were reached, and why sockets were closed.
    limits: bool,
}

/// A part of a list: how many are before it, and how many are in it.
#[derive(Clone, Copy)]
struct Part {
    skip: usize,
    rows: usize,
}

impl Wanted {
    fn read(req: &HttpRequest) -> Result<Self, Refusal> {
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
        let part = paged.then_some(Part { skip: (page - 1).saturating_mul(rows), rows });
        let info = InfoOptions { include_history, include_users, ..InfoOptions::default() };
        Ok(query.checked(Self { search, part, info, series, limits })?)
    }

    fn finds(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }
}

/// Counts what comes by and lets pass what belongs to the part.
struct Window {
    part: Option<Part>,
    seen: usize,
}

impl Window {
    fn admits_next(&mut self) -> bool {
        let index = self.seen;
        self.seen += 1;
        self.part.is_none_or(|part| index >= part.skip && index - part.skip < part.rows)
    }
}

/// GET and POST /admin/admin.json; a body is ignored.
///
/// # Errors
/// `Invalid`, `Busy`, `Draining`.
pub async fn admin_json(
    _: AdminOrSigned,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let wanted = Wanted::read(&req)?;
    console.answers.serve(&req, build(&backend, &console, &wanted)).await
}

async fn build(backend: &Backend, console: &Console, wanted: &Wanted) -> Result<Built, Refusal> {
    let counts = backend.ask(Count).await?;
    let mut out = b"{".to_vec();
    write_counts(backend, &counts, &mut out);
    let mut rows = write_channels(backend, wanted, &mut out).await?;
    rows += write_users(backend, wanted, &mut out).await?;
    if let Some((step_s, after)) = wanted.series
        && let Some(excerpt) = console.series().since(step_s, after)
    {
        write_series(&excerpt, &mut out);
    }
    if wanted.limits {
        write_limits(backend, &mut out);
    }
    // The rest is different each second; an answer is not another one for that.
    let decisive = out.len();
    let (uptime, version) = (uptime(backend.started.elapsed().as_secs()), env!("CARGO_PKG_VERSION"));
    out.extend_from_slice(format!(",\"uptime\":\"{uptime}\",\"version\":\"{version}\"}}").as_bytes());
    Ok(Built { body: out, decisive, rows })
}

fn write_counts(backend: &Backend, counts: &Counts, out: &mut Vec<u8>) {
    let counters = &backend.counters;
    let figures = [
        ("remembered_user_count", counts.remembered_users as u64),
        ("unique_user_count", counts.active_users as u64),
        ("total_connections", counts.connections as u64),
        ("total_channels", counts.channels as u64),
        ("total_messages", counters.deliveries.get()),
        ("total_unique_messages", counters.messages.get()),
    ];
    for (key, value) in figures {
        out.extend_from_slice(format!("\"{key}\":{value},").as_bytes());
    }
}

/// Appends `"channels": {…}`, and how many were found if only a part of them is asked for.
async fn write_channels(backend: &Backend, wanted: &Wanted, out: &mut Vec<u8>) -> Result<usize, Refusal> {
    out.extend_from_slice(b"\"channels\":{");
    let mut window = Window { part: wanted.part, seen: 0 };
    let (mut from, mut written) = (0, 0);
    loop {
        let slice = backend.ask(BrowseChannels { from, count: SLICE }).await?;
        let looked_at = slice.len();
        from += looked_at;
        let found = |channel: &ChannelRef| wanted.finds(&channel.name) && window.admits_next();
        let channels: Vec<ChannelRef> = slice.into_iter().filter(found).collect();
        if !channels.is_empty() {
            if written > 0 {
                out.push(b',');
            }
            written += channels.len();
            ChannelsInfo::gather(channels, &wanted.info, Freshness::Summary).await?.write_members(out);
        }
        if looked_at < SLICE {
            break;
        }
        tokio::task::yield_now().await;
    }
    out.push(b'}');
    if wanted.part.is_some() {
        out.extend_from_slice(format!(",\"matching_channels\":{}", window.seen).as_bytes());
    }
    Ok(from)
}

/// A user with the ids of its present connections.
struct Active {
    view: Arc<UserView>,
    uuid: Uuid,
    connections: Vec<Uuid>,
}

/// Appends `,"users": […]`, and how many were found if only a part of them is asked for.
async fn write_users(backend: &Backend, wanted: &Wanted, out: &mut Vec<u8>) -> Result<usize, Refusal> {
    let mut places: HashMap<UserId, Option<usize>> = HashMap::new();
    let mut users: Vec<Active> = Vec::new();
    let mut window = Window { part: wanted.part, seen: 0 };
    let mut rows = 0;
    // With no rows to show, nobody is looked for.
    if wanted.part.is_none_or(|part| part.rows > 0) {
        let walked = walk::connections(backend, BrowseConnections::default(), |row: ConnectionRow| {
            if row.phase == Phase::Away || !wanted.finds(&row.user.name) {
                return;
            }
            let place = places.entry(row.user.id).or_insert_with(|| {
                let place = window.admits_next().then_some(users.len())?;
                users.push(Active { view: row.user, uuid: row.user_uuid, connections: Vec::new() });
                Some(place)
            });
            if let Some(user) = place.and_then(|place| users.get_mut(place)) {
                user.connections.push(row.id);
            }
        });
        rows = walked.await?;
    }
    users.iter_mut().for_each(|user| user.connections.sort_unstable());
    out.extend_from_slice(b",\"users\":");
    json::write_list(&users, out, write_user);
    if wanted.part.is_some() {
        out.extend_from_slice(format!(",\"matching_users\":{}", window.seen).as_bytes());
    }
    Ok(rows)
}

fn write_user(user: &Active, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"state\":");
    out.extend_from_slice(user.view.public_state().as_bytes());
    out.extend_from_slice(b",\"user\":");
    json::write_string(&user.view.name, out);
    out.extend_from_slice(b",\"uuid\":");
    answer::push_uuid(user.uuid, out);
    out.extend_from_slice(b",\"connections\":");
    json::write_list(&user.connections, out, |id, out| answer::push_uuid(*id, out));
    out.push(b'}');
}

/// Appends `,"limits": {…},"closed": {…}`: a count for each limit that was reached, and for each reason.
fn write_limits(backend: &Backend, out: &mut Vec<u8>) {
    let counters = &backend.counters;
    let hits: Map<String, Value> =
        counters.limits.iter().map(|(limit, count)| (limit.setting().to_owned(), count.into())).collect();
    let closed: Map<String, Value> =
        counters.closes.iter().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    out.extend_from_slice(format!(",\"limits\":{}", Value::Object(hits)).as_bytes());
    out.extend_from_slice(format!(",\"closed\":{}", Value::Object(closed)).as_bytes());
}

/// Appends `,"series": {…}`.
fn write_series(excerpt: &Excerpt, out: &mut Vec<u8>) {
    let names: Vec<String> = FIGURES.iter().map(|figure| format!("\"{}\"", figure.name)).collect();
    let head = format!(
        ",\"series\":{{\"step_s\":{},\"first\":{},\"last\":{},\"names\":[{}],\"samples\":",
        excerpt.step_s,
        excerpt.first,
        excerpt.last,
        names.join(",")
    );
    out.extend_from_slice(head.as_bytes());
    json::write_list(&excerpt.samples, out, |sample, out| {
        json::write_list(sample, out, |value, out| {
            // Whole numbers but for small ones, where a fraction says something.
            let text = if *value < 100.0 { format!("{:.2}", value) } else { format!("{value:.0}") };
            let text =
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            out.extend_from_slice(text.as_bytes());
        });
    });
    out.push(b'}');
}

/// What the API's description says of GET /admin/admin.json.
pub fn described(to: &mut Description<'_>) -> Operation {
    figures_by(HttpMethod::Get, "figures", to)
}

/// And of POST, which is the same.
pub fn described_by_post(to: &mut Description<'_>) -> Operation {
    figures_by(HttpMethod::Post, "figuresByPost", to)
}

fn figures_by(method: HttpMethod, id: &str, to: &mut Description<'_>) -> Operation {
    let answer = to.book.named("Figures", written);
    let flag = |name, text: &str| {
        in_query(name, Required::False, schema::by_default(schema::flag(), true.into()), text)
    };
    let number = |name, max, default: Option<usize>, text: &str| {
        let shape = schema::whole(0..=max);
        let shape = default.into_iter().fold(shape, |shape, value| schema::by_default(shape, value.into()));
        in_query(name, Required::False, shape, text)
    };
    let page = schema::by_default(schema::whole(1..=u32::MAX as usize), 1.into());
    let steps = schema::by_default(schema::one_value_of(SPANS.map(|(step, _)| step)), 1.into());
    Operation::new(method, "/admin/admin.json", id, Public::Operators, Access::SignedOrAdmin)
        .about("Figures, channels, users", ABOUT)
        .parameter(in_query("page", Required::False, page, "A page of channels and users, from 1."))
        .parameter(number(
            "per_page",
            MAX_PER_PAGE,
            Some(50),
            "Channels, and users, on a page; 0 for figures only.",
        ))
        .parameter(in_query(
            "search",
            Required::False,
            schema::text(),
            "Only names that hold this, in any case.",
        ))
        .parameter(flag("include_history", "Tell the channels' histories."))
        .parameter(flag("include_users", "Tell the channels' users."))
        .parameter(in_query(
            "limits",
            Required::False,
            schema::by_default(schema::flag(), false.into()),
            "Tell how often limits were reached, and why websockets were closed.",
        ))
        .parameter(in_query("step_s", Required::False, steps, "Seconds between two samples of the series."))
        .parameter(number(
            "since",
            usize::MAX,
            None,
            "Tell the samples of the series after this one; 0 for all there are.",
        ))
        .answer("The figures.", answer, EXAMPLE)
        .polled()
        .refuses(Query::refusal("per_page=x", |query| {
            query.number("per_page", 0..=MAX_PER_PAGE, 50);
        }))
        .redirects("To the sign-in, for who is not signed in.")
        .asks_registry()
}

const ABOUT: &str = "What dashboards poll. A body is ignored. Without `page` and `per_page` it tells all channels and \
    all users. The `ETag` does not change with `uptime` alone.";

fn written(book: &mut Book) -> Shape {
    let series = book.named("Series", |_| series_shape());
    let user = Keys::new()
        .key("state", state_shape(book), "The public part of the user's state.")
        .key("user", schema::text(), "The name.")
        .key("uuid", schema::uuid(), "The user's id in this run of the server.")
        .key("connections", schema::list(schema::uuid()), "The ids of the connections that are present.");
    let user = book.named("ActiveUser", |_| user.shape());
    Keys::new()
        .key("remembered_user_count", schema::count(), "Users the server remembers.")
        .key("unique_user_count", schema::count(), "Users with connections.")
        .key("total_connections", schema::count(), "Connections that are present.")
        .key("total_channels", schema::count(), "Channels.")
        .key("total_messages", schema::count(), "Deliveries since the start.")
        .key("total_unique_messages", schema::count(), "Messages since the start.")
        .key("channels", ChannelsInfo::channels_shape(book), "The channels by name.")
        .may(
            "matching_channels",
            schema::count(),
            "How many channels were found, where a page was asked for.",
        )
        .key("users", schema::list(user), "The users with connections.")
        .may("matching_users", schema::count(), "How many users were found, where a page was asked for.")
        .may("series", series, "What some figures were, where `since` was given.")
        .may(
            "limits",
            schema::mapping(schema::count()),
            "How often each limit was reached, by its setting, where `limits` was given.",
        )
        .may(
            "closed",
            schema::mapping(schema::count()),
            "How many websockets were closed, by reason, where `limits` was given.",
        )
        .key("uptime", schema::text(), "Time since the start: `0:01:05`, `1 day, 0:01:05`.")
        .key("version", schema::text(), "The server's version.")
        .shape()
}

fn series_shape() -> Shape {
    let names = schema::one_value_of(FIGURES.map(|figure| figure.name));
    Keys::new()
        .key("step_s", schema::count(), "Seconds from one sample to the next.")
        .key("first", schema::count(), "The number of the first sample in the answer.")
        .key("last", schema::count(), "The number of the last; the next question's `since`.")
        .key("names", schema::list(names), "What the values of a sample are.")
        .key("samples", schema::list(schema::list(schema::number())), "The samples, oldest first.")
        .shape()
}

const EXAMPLE: &str = r#"{"remembered_user_count": 1, "unique_user_count": 1, "total_connections": 1,
    "total_channels": 0, "total_messages": 3, "total_unique_messages": 2, "channels": {},
    "users": [{"state": {"mood": "fine"}, "user": "ada", "uuid": "66666666-6666-4666-8666-666666666666",
        "connections": ["11111111-1111-4111-8111-111111111111"]}],
    "uptime": "0:01:05", "version": "0.1.0"}"#;

/// What the API's description says of GET /admin/debug.
pub fn described_debug(_: &mut Description<'_>) -> Operation {
    Operation::new(HttpMethod::Get, "/admin/debug", "debug", Public::Operators, Access::SignedOrAdmin)
        .about("Inner figures as text", "Queues, refusals, sessions that were closed: for people in trouble.")
        .text("A line for each figure.", "text/plain")
        .redirects("To the sign-in, for who is not signed in.")
        .asks_registry()
}

/// GET /admin/debug.
///
/// # Errors
/// `Busy`.
pub async fn debug(_: AdminOrSigned, backend: web::Data<Backend>) -> Result<HttpResponse, Refusal> {
    let counts = backend.ask(Count).await?;
    let (counters, pressure) = (&backend.counters, &backend.pressure);
    let lines = [
        ("users remembered", counts.remembered_users as u64),
        ("users active", counts.active_users as u64),
        ("connections", counts.connections as u64),
        ("channels", counts.channels as u64),
        ("sessions", pressure.sessions.get() as u64),
        ("messages", counters.messages.get()),
        ("deliveries", counters.deliveries.get()),
        ("sessions closed, too slow", counters.closed_too_slow.get()),
        ("sessions closed, silent", counters.closed_silent.get()),
        ("sessions taken over", counters.closed_taken_over.get()),
        ("requests refused, busy", counters.refused_busy.get()),
        ("threads that lagged", counters.threads_lagged.get()),
        ("connections refused, no file descriptors", counters.refused_no_files.get()),
        ("requests refused, origin not allowed", counters.refused_origin.get()),
        ("requests under way to the registry", pressure.registry.get() as u64),
        ("messages under way to channels", pressure.channels.get() as u64),
        ("bytes under way to hubs", pressure.hub_bytes.get() as u64),
        ("bytes of bodies under way", pressure.bodies.get() as u64),
        ("bytes queued for slow peers", pressure.queued_bytes.get() as u64),
        ("frames queued for slow peers", pressure.queued_frames.get() as u64),
    ];
    let mut text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    for (limit, count) in counters.limits.iter() {
        text.push_str(&format!("limit reached, {}: {count}\n", limit.setting()));
    }
    for (reason, count) in counters.closes.iter() {
        text.push_str(&format!("websockets closed, {reason}: {count}\n"));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(text))
}
