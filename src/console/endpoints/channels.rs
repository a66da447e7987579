//! GET /admin/channels.json: one page of the list of channels.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{Console, walk};
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::ChannelRef;
use crate::console::query::Listing;
use crate::console::ranked::{ListPage, Ranked, by};
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;

const SORTS: [&str; 6] = ["name", "connections", "users", "history", "rate", "last_active"];

/// A channel's figures at one moment. Values must not change while a list is sorted by them.
struct ChannelEntry {
    name: Arc<str>,
    settings: ChannelSettings,
    connections: u32,
    users: u32,
    history: u32,
    frames: u64,
    frames_per_1000_s: u64,
    last_active: Timestamp,
}

/// A channel in the form that the console receives.
#[derive(Serialize)]
pub struct ShownChannel<'a> {
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
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let listing = Listing::of(&req, &SORTS)?;
    console.answers.serve(&req, list(&broker, &listing)).await
}

async fn list(broker: &BrokerHandle, listing: &Listing) -> Result<Built, Refusal> {
    let mut ranked = Ranked::new(listing, |a: &ChannelEntry, b: &ChannelEntry| {
        let keys = |row: &ChannelEntry| match listing.sort {
            "connections" => u64::from(row.connections),
            "users" => u64::from(row.users),
            "history" => u64::from(row.history),
            "rate" => row.frames_per_1000_s,
            "last_active" => row.last_active.unix_ms(),
            // Equal values are sorted by name.
            _ => 0,
        };
        match listing.sort {
            "name" => by(listing.descending, (&a.name, ""), (&b.name, "")),
            _ => by(listing.descending, (keys(a), &a.name), (keys(b), &b.name)),
        }
    });
    let now = Timestamp::now();
    let total = walk::channels(broker, |channel| {
        if listing.finds(&channel.name) {
            ranked.push(row(channel, &now));
        }
    })
    .await?;
    let page = ranked.page(listing);
    let answer = ListPage::new(listing, total, page.matching, page.rows.iter().map(shown).collect());
    Built::of(&answer, total)
}

fn row(channel: ChannelRef, now: &Timestamp) -> ChannelEntry {
    let summary = &channel.summary;
    ChannelEntry {
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

fn shown(row: &ChannelEntry) -> ShownChannel<'_> {
    ShownChannel {
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

/// One channel in the form of the list.
///
/// # Errors
/// `Internal` when it cannot be written.
pub fn shown_alone(channel: ChannelRef) -> Result<serde_json::Value, Refusal> {
    let row = row(channel, &Timestamp::now());
    serde_json::to_value(shown(&row)).map_err(|_| Refusal::Internal)
}
