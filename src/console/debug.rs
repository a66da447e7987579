//! Internal figures as text for troubleshooting: `/admin/debug`.

use actix_web::{HttpResponse, web};
use utoipa::openapi::path::HttpMethod;

use super::session::AdminOrSigned;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::broker::handle::BrokerHandle;
use crate::broker::registry::messages::Count;
use crate::http_error::Refusal;
use crate::telemetry::log_queue::LOG_QUEUE;

pub fn openapi(_: &mut ApiDescription<'_>) -> Operation {
    Operation::new(HttpMethod::Get, "/admin/debug", "debug", ApiGroup::Operators, Access::SignedOrAdmin)
        .about("Internal figures as text", "Queues, refusals and closed sessions, for troubleshooting.")
        .text("One line for each figure.", "text/plain")
        .redirects("Callers that are not signed in go to the sign-in form.")
        .asks_registry()
}

/// GET /admin/debug.
///
/// # Errors
/// `Busy`.
pub async fn debug(_: AdminOrSigned, broker: web::Data<BrokerHandle>) -> Result<HttpResponse, Refusal> {
    let counts = broker.ask(Count).await?;
    let (counters, in_flight) = (&broker.counters, &broker.in_flight);
    let lines = [
        ("users remembered", counts.remembered_users as u64),
        ("users active", counts.active_users as u64),
        ("connections", counts.connections as u64),
        ("channels", counts.channels as u64),
        ("sessions", in_flight.sessions.get() as u64),
        ("messages", counters.messages.get()),
        ("deliveries", counters.deliveries.get()),
        ("sessions closed, too slow", counters.closed_too_slow.get()),
        ("sessions closed, silent", counters.closed_silent.get()),
        ("sessions taken over", counters.closed_taken_over.get()),
        ("requests refused, busy", counters.refused_busy.get()),
        ("threads that lagged", counters.threads_lagged.get()),
        ("connections refused, no file descriptors", counters.refused_no_files.get()),
        ("requests refused, origin not allowed", counters.refused_origin.get()),
        ("requests refused, malformed", counters.refused_malformed.get()),
        ("log lines dropped", LOG_QUEUE.dropped()),
        ("requests to the registry in flight", in_flight.registry.get() as u64),
        ("messages to channels in flight", in_flight.channels.get() as u64),
        ("bytes to hubs in flight", in_flight.hub_bytes.get() as u64),
        ("bytes of bodies in flight", in_flight.bodies.get() as u64),
        ("bytes of bodies in flight, signature not verified", in_flight.unproven_bodies.get() as u64),
        ("bytes of large responses in flight", in_flight.responses.get() as u64),
        ("bytes queued for slow peers", in_flight.queued_bytes.get() as u64),
        ("frames queued for slow peers", in_flight.queued_frames.get() as u64),
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
