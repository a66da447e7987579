//! What dashboards poll: `/admin/admin.json`, and the same as text for people in trouble.

use super::session::AdminOrSigned;
use super::{read, uptime};
use crate::api::answer;
use crate::api::channels_info::{ChannelsInfo, Freshness};
use crate::api::info::InfoOptions;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::registry::messages::{ActiveUser, Survey};
use crate::wire::json;
use actix_web::{HttpResponse, web};

/// Mounts the figures.
pub fn figures(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/admin/admin.json").route(read().to(admin_json)).route(web::post().to(admin_json)),
    )
    .service(web::resource("/admin/debug").route(read().to(debug)));
}

/// GET and POST /admin/admin.json; a body is ignored.
///
/// # Errors
/// `Busy`, `Draining`.
pub async fn admin_json(_: AdminOrSigned, backend: web::Data<Backend>) -> Result<HttpResponse, Refusal> {
    let overview = backend.ask(Survey).await?;
    let counters = &backend.counters;
    let figures = [
        ("remembered_user_count", overview.remembered_users as u64),
        ("unique_user_count", overview.active_users as u64),
        ("total_connections", overview.connections as u64),
        ("total_channels", overview.channels.len() as u64),
        ("total_messages", counters.deliveries.get()),
        ("total_unique_messages", counters.messages.get()),
    ];
    let mut out = b"{".to_vec();
    for (key, value) in figures {
        out.extend_from_slice(format!("\"{key}\":{value},").as_bytes());
    }
    let info = ChannelsInfo::gather(overview.channels, &InfoOptions::default(), Freshness::Summary).await?;
    out.extend_from_slice(b"\"channels\":");
    info.write_channels(&mut out);
    out.extend_from_slice(b",\"users\":");
    json::write_list(&overview.users, &mut out, write_user);
    let (uptime, version) = (uptime(backend.started.elapsed().as_secs()), env!("CARGO_PKG_VERSION"));
    out.extend_from_slice(format!(",\"uptime\":\"{uptime}\",\"version\":\"{version}\"}}").as_bytes());
    Ok(answer::json(out))
}

fn write_user(user: &ActiveUser, out: &mut Vec<u8>) {
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

/// GET /admin/debug.
///
/// # Errors
/// `Busy`.
pub async fn debug(_: AdminOrSigned, backend: web::Data<Backend>) -> Result<HttpResponse, Refusal> {
    let overview = backend.ask(Survey).await?;
    let (counters, pressure) = (&backend.counters, &backend.pressure);
    let lines = [
        ("users remembered", overview.remembered_users as u64),
        ("users active", overview.active_users as u64),
        ("connections", overview.connections as u64),
        ("channels", overview.channels.len() as u64),
        ("sessions", pressure.sessions.get() as u64),
        ("messages", counters.messages.get()),
        ("deliveries", counters.deliveries.get()),
        ("sessions closed, too slow", counters.closed_too_slow.get()),
        ("sessions closed, silent", counters.closed_silent.get()),
        ("sessions taken over", counters.closed_taken_over.get()),
        ("requests refused, busy", counters.refused_busy.get()),
        ("requests under way to the registry", pressure.registry.get() as u64),
        ("messages under way to channels", pressure.channels.get() as u64),
        ("bytes under way to hubs", pressure.hub_bytes.get() as u64),
    ];
    let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(text))
}
