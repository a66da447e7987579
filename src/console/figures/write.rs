//! Writes the parts of the response while they are collected.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{RequestedFigures, Window};
use crate::api::channels_info::{ChannelsInfo, Freshness};
use crate::broker::handle::BrokerHandle;
use crate::broker::handle::cluster::listing::Walked;
use crate::broker::handle::node_list::NodeViews;
use crate::broker::handle::totals::Totals;
use crate::broker::requests::{BrowseConnections, ChannelRef, ConnectionRow, Phase};
use crate::console::lists;
use crate::http_error::Refusal;
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use crate::protocol::json;
use crate::telemetry::series::{FIGURES, SeriesPage};

/// Number of channels whose users and histories are queried and written in one step.
const SLICE: usize = 1_000;

/// Appends the figures of the whole server, each followed by a comma.
pub fn totals(totals: &Totals, out: &mut Vec<u8>) {
    let figures = [
        ("remembered_user_count", totals.remembered_users),
        ("unique_user_count", totals.users),
        ("total_connections", totals.connections),
        ("total_channels", totals.channels),
        ("total_messages", totals.queued),
        ("total_unique_messages", totals.messages),
    ];
    for (key, value) in figures {
        out.extend_from_slice(format!("\"{key}\":{value},").as_bytes());
    }
}

/// Appends `"channels": {…}`, and the number of matching ones if only a part is requested.
pub async fn channels(
    broker: &BrokerHandle,
    selection: &RequestedFigures,
    totals: &Totals,
    out: &mut Vec<u8>,
) -> Result<usize, Refusal> {
    out.extend_from_slice(b"\"channels\":{");
    let mut window = Window { part: selection.part, seen: 0 };
    let (mut from, mut written) = (0, 0);
    let names = names(broker, selection, totals).await?;
    if names.as_ref().is_some_and(Vec::is_empty) && selection.search.is_empty() {
        window.seen = totals.channels as usize;
    }
    loop {
        let (channels, examined) = match &names {
            Some(names) => {
                let slice = names.iter().skip(from).take(SLICE);
                let found = slice.clone().filter(|name| selection.finds(name) && window.admits_next());
                let read = ChannelsInfo::read(broker, found.cloned().collect(), &selection.info).await?;
                (read.unwrap_or_default(), slice.count())
            }
            None => {
                let slice = broker.browse_channels(from, SLICE).await?;
                let examined = slice.len();
                let found = |channel: &ChannelRef| selection.finds(&channel.name) && window.admits_next();
                let found = slice.into_iter().filter(found).collect();
                (ChannelsInfo::gather(found, &selection.info, Freshness::Summary).await?, examined)
            }
        };
        from += examined;
        if !channels.is_empty() {
            if written > 0 {
                out.push(b',');
            }
            written += channels.len();
            channels.write_members(out);
        }
        if examined < SLICE {
            break;
        }
        tokio::task::yield_now().await;
    }
    out.push(b'}');
    if selection.part.is_some() {
        out.extend_from_slice(format!(",\"matching_channels\":{}", window.seen).as_bytes());
    }
    Ok(from)
}

/// The names of all channels if Redis decides and answers, else `None`: then those are listed that this node has. Without
/// rows to show and without a search no names are needed.
async fn names(
    broker: &BrokerHandle,
    selection: &RequestedFigures,
    totals: &Totals,
) -> Result<Option<Vec<String>>, Refusal> {
    match selection.part {
        _ if totals.is_stale => Ok(None),
        Some(part) if part.rows == 0 && selection.search.is_empty() && broker.is_clustered() => {
            Ok(Some(Vec::new()))
        }
        _ => broker.names_in_cluster().await,
    }
}

/// A user with the ids of its current connections.
struct Active {
    view: Arc<UserView>,
    uuid: Uuid,
    connections: Vec<Uuid>,
}

/// Appends `,"users": […]`, and the number of matching ones if only a part is requested.
pub async fn users(
    broker: &BrokerHandle,
    selection: &RequestedFigures,
    out: &mut Vec<u8>,
) -> Result<Walked, Refusal> {
    let mut places: HashMap<UserId, Option<usize>> = HashMap::new();
    let mut users: Vec<Active> = Vec::new();
    let mut window = Window { part: selection.part, seen: 0 };
    let mut walked = Walked::default();
    // Without rows to show, no search is needed.
    if selection.part.is_none_or(|part| part.rows > 0) {
        let walk = lists::connections(broker, BrowseConnections::default(), |row: ConnectionRow| {
            if row.phase == Phase::Away || !selection.finds(&row.user.name) {
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
        walked = walk.await?;
    }
    users.iter_mut().for_each(|user| user.connections.sort_unstable());
    out.extend_from_slice(b",\"users\":");
    json::write_list(&users, out, write_user);
    if selection.part.is_some() {
        out.extend_from_slice(format!(",\"matching_users\":{}", window.seen).as_bytes());
    }
    Ok(walked)
}

fn write_user(user: &Active, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"state\":");
    out.extend_from_slice(user.view.public_state().as_bytes());
    out.extend_from_slice(b",\"user\":");
    json::write_string(&user.view.name, out);
    out.extend_from_slice(b",\"uuid\":");
    json::write_uuid(user.uuid, out);
    out.extend_from_slice(b",\"connections\":");
    json::write_list(&user.connections, out, |id, out| json::write_uuid(*id, out));
    out.push(b'}');
}

/// Appends `,"limits": {…},"closed": {…}`: a count for each limit that was reached, and for each reason.
pub fn limits(broker: &BrokerHandle, out: &mut Vec<u8>) {
    let counters = &broker.counters;
    let hits: Map<String, Value> =
        counters.limits.iter().map(|(limit, count)| (limit.setting().to_owned(), count.into())).collect();
    let closed: Map<String, Value> =
        counters.closes.iter().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    out.extend_from_slice(format!(",\"limits\":{}", Value::Object(hits)).as_bytes());
    out.extend_from_slice(format!(",\"closed\":{}", Value::Object(closed)).as_bytes());
}

/// Appends `,"nodes": […],"stale": …`.
///
/// # Errors
/// `Internal` if it cannot be serialized.
pub fn nodes(views: &NodeViews, is_stale: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.extend_from_slice(b",\"nodes\":");
    serde_json::to_writer(&mut *out, &views.nodes).map_err(|_| Refusal::Internal)?;
    out.extend_from_slice(format!(",\"stale\":{}", views.is_stale || is_stale).as_bytes());
    Ok(())
}

/// Appends `,"series": {…}`.
pub fn series(page: &SeriesPage, out: &mut Vec<u8>) {
    let names: Vec<String> = FIGURES.iter().map(|figure| format!("\"{}\"", figure.name)).collect();
    let head = format!(
        ",\"series\":{{\"step_s\":{},\"first\":{},\"last\":{},\"names\":[{}],\"samples\":",
        page.step_s,
        page.first,
        page.last,
        names.join(",")
    );
    out.extend_from_slice(head.as_bytes());
    json::write_list(&page.samples, out, |sample, out| {
        json::write_list(sample, out, |value, out| {
            // Only small numbers have a fraction, because it is significant there.
            let text = if *value < 100.0 { format!("{:.2}", value) } else { format!("{value:.0}") };
            let text =
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            out.extend_from_slice(text.as_bytes());
        });
    });
    out.push(b'}');
}
