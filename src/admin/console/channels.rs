//! GET /admin/channels.json: a page of the channels.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{Console, walk};
use crate::admin::answers::Built;
use crate::admin::query::{Listing, Query};
use crate::admin::ranked::{Ranked, by};
use crate::admin::session::AdminOrRefused;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::registry::messages::ChannelRef;
use crate::wire::settings::ChannelSettings;
use crate::wire::time::Timestamp;

const SORTS: [&str; 6] = ["name", "connections", "users", "history", "rate", "last_active"];

/// A channel's figures at one moment: what a list is sorted by must stand still.
struct Row {
    name: Arc<str>,
    settings: ChannelSettings,
    connections: u32,
    users: u32,
    history: u32,
    frames: u64,
    frames_per_1000_s: u64,
    last_active: Timestamp,
}

#[derive(Serialize)]
struct Listed<'a> {
    total: usize,
    matching: usize,
    page: usize,
    per_page: usize,
    rows: Vec<Shown<'a>>,
}

/// A channel as the console gets it.
#[derive(Serialize)]
pub struct Shown<'a> {
    name: &'a str,
    connections: u32,
    users: u32,
    history: u32,
    frames: u64,
    frames_per_s: f64,
    last_active: String,
    settings: &'a ChannelSettings,
}

/// GET /admin/channels.json?page=&per_page=&search=&sort=.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn channels(
    _: AdminOrRefused,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let mut query = Query::of(&req);
    let listing = Listing::read(&mut query, &SORTS);
    let listing = query.checked(listing)?;
    console.answers.serve(&req, list(&backend, &listing)).await
}

async fn list(backend: &Backend, listing: &Listing) -> Result<Built, Refusal> {
    let mut ranked = Ranked::new(listing, |a: &Row, b: &Row| {
        let keys = |row: &Row| match listing.sort {
            "connections" => u64::from(row.connections),
            "users" => u64::from(row.users),
            "history" => u64::from(row.history),
            "rate" => row.frames_per_1000_s,
            "last_active" => row.last_active.unix_ms(),
            // All equal: the names decide.
            _ => 0,
        };
        match listing.sort {
            "name" => by(listing.descending, (&a.name, ""), (&b.name, "")),
            _ => by(listing.descending, (keys(a), &a.name), (keys(b), &b.name)),
        }
    });
    let now = Timestamp::now();
    let total = walk::channels(backend, |channel| {
        if listing.finds(&channel.name) {
            ranked.push(row(channel, &now));
        }
    })
    .await?;
    let page = ranked.page(listing);
    let answer = Listed {
        total,
        matching: page.matching,
        page: listing.page,
        per_page: listing.per_page,
        rows: page.rows.iter().map(shown).collect(),
    };
    Built::of(&answer, total)
}

fn row(channel: ChannelRef, now: &Timestamp) -> Row {
    let summary = &channel.summary;
    Row {
        connections: summary.connections(),
        users: summary.users(),
        history: summary.history(),
        frames: summary.frames(),
        frames_per_1000_s: summary.frames_per_1000_s(now),
        last_active: summary.last_active(),
        name: channel.name,
        settings: channel.settings,
    }
}

fn shown(row: &Row) -> Shown<'_> {
    Shown {
        name: &row.name,
        connections: row.connections,
        users: row.users,
        history: row.history,
        frames: row.frames,
        frames_per_s: row.frames_per_1000_s as f64 / 1_000.0,
        last_active: row.last_active.frame().to_string(),
        settings: &row.settings,
    }
}

/// One channel as the list shows it.
///
/// # Errors
/// `Internal` when it cannot be written.
pub fn shown_alone(channel: ChannelRef) -> Result<serde_json::Value, Refusal> {
    let row = row(channel, &Timestamp::now());
    serde_json::to_value(shown(&row)).map_err(|_| Refusal::Internal)
}
