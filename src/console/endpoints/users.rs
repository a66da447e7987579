//! GET /admin/users.json: one page of the list of users with connections. GET /admin/user.json: one user with state and
//! connections.

use super::Console;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{BrowseConnections, ConnectionRow, Phase};
use crate::console::lists::{self, ListPage, Ranked, by};
use crate::console::query::{Listing, Query};
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

const SORTS: [&str; 2] = ["name", "connections"];
/// A state longer than this, in bytes, is left out of the list, so that a page stays small.
const MAX_STATE_BYTES: usize = 400;

struct UserEntry {
    view: Arc<UserView>,
    uuid: Uuid,
    connections: u32,
}

#[derive(Serialize)]
struct ShownUser<'a> {
    name: &'a str,
    uuid: Uuid,
    connections: u32,
    state: Option<&'a RawValue>,
    state_bytes: usize,
}

/// GET /admin/users.json?page=&per_page=&search=&sort=.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn users(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let listing = Listing::of(&req, &SORTS)?;
    console.answers.serve(&req, list(&broker, &listing)).await
}

async fn list(broker: &BrokerHandle, listing: &Listing) -> Result<Built, Refusal> {
    let mut users: HashMap<UserId, UserEntry> = HashMap::new();
    let walk = lists::connections(broker, BrowseConnections::default(), |row| {
        if row.phase != Phase::Away && listing.finds(&row.user.name) {
            count(&mut users, row);
        }
    });
    let walked = walk.await?;
    let mut ranked = Ranked::new(listing, |a: &UserEntry, b: &UserEntry| match listing.sort {
        "connections" => by(listing.descending, (a.connections, &a.view.name), (b.connections, &b.view.name)),
        _ => by(listing.descending, (&a.view.name, ""), (&b.view.name, "")),
    });
    users.into_values().for_each(|row| ranked.push(row));
    let page = ranked.page(listing);
    let totals = broker.totals().await?;
    let rows = page.rows.iter().map(shown).collect();
    let answer = ListPage::new(listing, totals.users as usize, page.matching, rows);
    let answer = answer.with_remembered(totals.remembered_users as usize).with_missing(walked.is_partial);
    Built::of(&answer, walked.found)
}

fn count(users: &mut HashMap<UserId, UserEntry>, row: ConnectionRow) {
    let user =
        users.entry(row.user.id).or_insert(UserEntry { view: row.user, uuid: row.user_uuid, connections: 0 });
    user.connections += 1;
}

fn shown(row: &UserEntry) -> ShownUser<'_> {
    let state = row.view.state();
    ShownUser {
        name: &row.view.name,
        uuid: row.uuid,
        connections: row.connections,
        state: if state.len() <= MAX_STATE_BYTES { serde_json::from_str(state).ok() } else { None },
        state_bytes: state.len(),
    }
}

/// GET /admin/user.json?name=.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn user(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let name = Query::name_of(&req)?;
    console.answers.serve(&req, describe(&broker, name)).await
}

async fn describe(broker: &BrokerHandle, name: String) -> Result<Built, Refusal> {
    let found = broker.describe_user(name.clone()).await?;
    let user = found.ok_or_else(|| Refusal::NotFound(format!("user {name}")))?;
    let state: Option<&RawValue> = serde_json::from_str(user.view.state()).ok();
    let answer = json!({
        "name": &*user.view.name,
        "uuid": user.uuid,
        "present": user.present,
        "total": user.total,
        "state": state,
        "public_keys": user.public_keys,
        "connections": user.connections,
    });
    Built::of(&answer, 0)
}
