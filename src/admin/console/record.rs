//! POST /admin/record: begins or ends the recording of a connection or a channel.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Console;
use super::channel::named;
use crate::admin::answers::done;
use crate::admin::session::Operator;
use crate::api::invalid::Invalid;
use crate::channel::messages::Record;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::hub::inspect::RecordSession;
use crate::registry::messages::DescribeConnection;
use crate::registry::state::Phase;

/// Which one, and whether it is to be recorded.
#[derive(Deserialize)]
struct Request {
    conn_id: Option<Uuid>,
    channel: Option<String>,
    on: bool,
}

/// POST /admin/record: `{"conn_id": …, "on": true}` or `{"channel": …, "on": true}`.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn record(
    _: Operator,
    backend: web::Data<Backend>,
    console: web::Data<Console>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request: Request =
        serde_json::from_slice(&body).map_err(|error| Invalid::schema(error.to_string()))?;
    if !console.recorder.is_on() {
        return Err(Invalid::schema("Recording is turned off: recorder_bytes is 0.").into());
    }
    match (request.conn_id, request.channel) {
        (Some(conn_id), None) => connection(&backend, &console, conn_id, request.on).await?,
        (None, Some(name)) => channel(&backend, &console, &name, request.on).await?,
        _ => return Err(Invalid::schema("Either conn_id or channel must be given.").into()),
    }
    Ok(done(&json!({ "recording": request.on })))
}

async fn connection(backend: &Backend, console: &Console, id: Uuid, on: bool) -> Result<(), Refusal> {
    if !on {
        console.recorder.disarm_connection(id);
        return Ok(());
    }
    let known = backend.ask(DescribeConnection(id)).await?;
    let details = known.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    // First this: a session that opens from here on finds out by itself.
    console.recorder.arm_connection(id);
    if let Phase::Attached(place, _) = details.row.phase
        && let Some(hub) = console.hubs.get(place.hub)
    {
        hub.send(RecordSession(place.slot)).await.map_err(|_| Refusal::Draining)?;
    }
    Ok(())
}

async fn channel(backend: &Backend, console: &Console, name: &str, on: bool) -> Result<(), Refusal> {
    let channel = named(backend, name).await?;
    if !on {
        console.recorder.disarm_channel(channel.uuid);
        return Ok(());
    }
    channel.addr.send(Record(console.recorder.clone())).await.map_err(|_| Refusal::Draining)
}
