//! GET /admin/connections.json: one page of the list of connections. GET /admin/connection.json: one connection.

use super::Console;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{BrowseConnections, ConnectionRow, Phase, SessionFigures};
use crate::console::lists::{self, ListPage, Ranked, by};
use crate::console::query::{Listing, Query};
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::send_queue::Transport;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::net::IpAddr;
use uuid::Uuid;

const SORTS: [&str; 5] = ["user", "since", "last_activity", "queued_bytes", "channels"];

type ConnectionEntry = (ConnectionRow, Option<SessionFigures>);

/// A connection in the form that the console receives.
#[derive(Serialize)]
struct ShownConnection<'a> {
    conn_id: Uuid,
    user: &'a str,
    phase: &'static str,
    transport: Option<&'static str>,
    channels: usize,
    address: Option<IpAddr>,
    compressed: bool,
    /// The start of its session and the time of its peer's last data, in Unix seconds.
    since: Option<u64>,
    last_activity: Option<u64>,
    queued_bytes: Option<usize>,
    /// The node that has it, if the server is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

/// GET /admin/connections.json?page=&per_page=&search=&sort=&channel=&user=. The search matches parts of the user's
/// name, of the id and of the address.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn connections(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let listing = Listing::read(&mut query, &SORTS);
    let filter = BrowseConnections {
        channel: query.filled("channel").map(str::to_owned),
        user: query.filled("user").map(str::to_owned),
        ..BrowseConnections::default()
    };
    let listing = query.checked(listing)?;
    console.answers.serve(&req, list(&broker, &listing, filter)).await
}

async fn list(broker: &BrokerHandle, listing: &Listing, filter: BrowseConnections) -> Result<Built, Refusal> {
    let mut ranked = Ranked::new(listing, |a: &ConnectionEntry, b: &ConnectionEntry| order(listing, a, b));
    // Each address costs a system call. Without a search only the addresses of the page are needed.
    let addresses = !listing.search.is_empty();
    let walk = lists::connections_with_sessions(broker, filter, addresses, |row, session| {
        if finds(listing, &row, session.as_ref()) {
            ranked.push((row, session));
        }
    });
    let walked = walk.await?;
    let page = ranked.page(listing);
    let (rows, mut sessions): (Vec<_>, Vec<_>) = page.rows.into_iter().unzip();
    if !addresses {
        let known = broker.sessions(&rows, true).await;
        // Other nodes have sent the addresses already.
        sessions
            .iter_mut()
            .zip(known)
            .filter(|(_, known)| known.is_some())
            .for_each(|(at, known)| *at = known);
    }
    let total = broker.totals().await?.connections as usize;
    let shown =
        rows.iter().zip(&sessions).map(|(row, session)| shown(broker, row, session.as_ref())).collect();
    let answer = ListPage::new(listing, total, page.matching, shown).with_missing(walked.is_partial);
    Built::of(&answer, walked.found)
}

fn finds(listing: &Listing, row: &ConnectionRow, session: Option<&SessionFigures>) -> bool {
    listing.finds(&row.user.name)
        || listing.finds(row.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        || session
            .and_then(|session| session.address)
            .is_some_and(|address| listing.finds(&address.to_string()))
}

fn order(listing: &Listing, a: &ConnectionEntry, b: &ConnectionEntry) -> Ordering {
    let key = |(row, session): &ConnectionEntry| {
        let session = session.as_ref();
        match listing.sort {
            "since" => session.map_or(0, |session| session.since_ms),
            "last_activity" => session.map_or(0, |session| session.last_received_ms),
            "queued_bytes" => session.map_or(0, |session| session.queued_bytes as u64),
            "channels" => row.channels as u64,
            _ => 0,
        }
    };
    let name = |row: &ConnectionEntry| row.0.user.name.clone();
    let by_user = match listing.sort {
        "user" => by(listing.descending, (name(a), ""), (name(b), "")),
        _ => by(listing.descending, (key(a), &name(a)), (key(b), &name(b))),
    };
    by_user.then_with(|| a.0.id.cmp(&b.0.id))
}

/// A connection, with the data from its hub.
fn shown<'a>(
    broker: &'a BrokerHandle,
    row: &'a ConnectionRow,
    session: Option<&SessionFigures>,
) -> ShownConnection<'a> {
    let (phase, transport) = match row.phase {
        Phase::Waiting => ("waiting", None),
        Phase::Lingering => ("lingering", None),
        Phase::Attached(_, transport) => ("attached", Some(transport)),
        Phase::Releasing(..) => ("releasing", None),
        Phase::Away => ("away", None),
    };
    ShownConnection {
        conn_id: row.id,
        user: &row.user.name,
        phase,
        transport: transport.map(Transport::name),
        channels: row.channels,
        address: session.and_then(|session| session.address),
        compressed: session.is_some_and(|session| session.compressed),
        since: session.map(|session| session.since_ms / 1_000),
        last_activity: session.map(|session| session.last_received_ms / 1_000),
        queued_bytes: session.map(|session| session.queued_bytes),
        node: row.node.as_deref().or(broker.node_name()),
    }
}

/// GET /admin/connection.json?conn_id=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn connection(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let id = query.required_conn_id("conn_id");
    let id = query.checked(id.unwrap_or_default())?;
    console.answers.serve(&req, describe(&broker, id)).await
}

async fn describe(broker: &BrokerHandle, id: Uuid) -> Result<Built, Refusal> {
    let found = broker.describe_connection(id).await?;
    let (details, session) = found.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    let shown = shown(broker, &details.row, session.as_ref());
    let mut answer = serde_json::to_value(shown).map_err(|_| Refusal::Internal)?;
    if let Value::Object(members) = &mut answer {
        let names: Vec<&str> = details.channels.iter().map(|name| &**name).collect();
        members.insert("channel_names".into(), json!(names));
        members.insert("token_expires".into(), json!(details.token_expires_unix));
        members.insert("here".into(), json!(details.row.node.is_none()));
    }
    Built::of(&answer, 0)
}
