//! GET /admin/users.json: a page of the users that have connections.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Console, walk};
use crate::admin::answers::Built;
use crate::admin::query::{Listing, Query};
use crate::admin::ranked::{Ranked, by};
use crate::admin::session::AdminOrRefused;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::ids::UserId;
use crate::registry::messages::{BrowseConnections, ConnectionRow, Count};
use crate::registry::state::Phase;
use crate::wire::event::UserView;

const SORTS: [&str; 2] = ["name", "connections"];
/// A state longer than this is not in the list, in bytes: a page shall stay small.
const MAX_STATE_BYTES: usize = 400;

struct Row {
    view: Arc<UserView>,
    uuid: Uuid,
    connections: u32,
}

#[derive(Serialize)]
struct Listed<'a> {
    total: usize,
    remembered: usize,
    matching: usize,
    page: usize,
    per_page: usize,
    rows: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
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
    let mut users: HashMap<UserId, Row> = HashMap::new();
    let walked = walk::connections(backend, BrowseConnections::default(), |row| {
        if row.phase != Phase::Away && listing.finds(&row.user.name) {
            count(&mut users, row);
        }
    });
    let looked_at = walked.await?;
    let mut ranked = Ranked::new(listing, |a: &Row, b: &Row| match listing.sort {
        "connections" => by(listing.descending, (a.connections, &a.view.name), (b.connections, &b.view.name)),
        _ => by(listing.descending, (&a.view.name, ""), (&b.view.name, "")),
    });
    users.into_values().for_each(|row| ranked.push(row));
    let page = ranked.page(listing);
    let counts = backend.ask(Count).await?;
    let answer = Listed {
        total: counts.active_users,
        remembered: counts.remembered_users,
        matching: page.matching,
        page: listing.page,
        per_page: listing.per_page,
        rows: page.rows.iter().map(shown).collect(),
    };
    Built::of(&answer, looked_at)
}

fn count(users: &mut HashMap<UserId, Row>, row: ConnectionRow) {
    let user =
        users.entry(row.user.id).or_insert(Row { view: row.user, uuid: row.user_uuid, connections: 0 });
    user.connections += 1;
}

fn shown(row: &Row) -> Shown<'_> {
    let state = row.view.state();
    Shown {
        name: &row.view.name,
        uuid: row.uuid,
        connections: row.connections,
        state: if state.len() <= MAX_STATE_BYTES { serde_json::from_str(state).ok() } else { None },
        state_bytes: state.len(),
    }
}
