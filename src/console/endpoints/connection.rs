//! GET /admin/connection.json: one connection.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Console, connections, polled};
use crate::api::conn_id;
use crate::api::operation::{ApiDescription, Operation};
use crate::broker::handle::BrokerHandle;
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::schema;

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("ConnectionDetails", |_| {
        let names = schema::list(schema::text());
        connections::row_keys().key("channel_names", names, "The channels that it has joined.").shape()
    });
    polled("/admin/connection.json", "connection")
        .about("One connection", "Includes its channels.")
        .parameter(conn_id::parameter("The connection."))
        .answer("The connection.", answer, EXAMPLE)
        .refuses(Query::refusal("", |query| drop(query.required("conn_id"))))
        .refuses([Refusal::NotFound("connection 11111111-1111-4111-8111-111111111111".into())])
        .asks_registry()
}

const EXAMPLE: &str = r#"{"conn_id": "11111111-1111-4111-8111-111111111111", "user": "ada", "phase": "waiting",
    "transport": null, "channels": 1, "address": null, "compressed": false, "since": null, "last_activity": null,
    "queued_bytes": null, "channel_names": ["lobby"]}"#;

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
    let id = requested(&req)?;
    console.answers.serve(&req, describe(&broker, id)).await
}

/// The id in a query.
///
/// # Errors
/// `Invalid`.
pub fn requested(req: &HttpRequest) -> Result<Uuid, Refusal> {
    let mut query = Query::of(req);
    let id = query.required_conn_id("conn_id");
    Ok(query.checked(id.unwrap_or_default())?)
}

async fn describe(broker: &BrokerHandle, id: Uuid) -> Result<Built, Refusal> {
    let found = broker.describe_connection(id).await?;
    let details = found.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    let session = broker.sessions(std::slice::from_ref(&details.row), true).await.pop().flatten();
    let shown = connections::shown(&details.row, session.as_ref());
    let mut answer = serde_json::to_value(shown).map_err(|_| Refusal::Internal)?;
    if let Value::Object(members) = &mut answer {
        let names: Vec<&str> = details.channels.iter().map(|name| &**name).collect();
        members.insert("channel_names".into(), json!(names));
    }
    Built::of(&answer, 0)
}
