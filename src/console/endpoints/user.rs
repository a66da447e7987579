//! GET /admin/user.json: one user with state and connections.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Console, polled};
use crate::api::operation::{ApiDescription, Operation, in_query};
use crate::broker::handle::BrokerHandle;
use crate::console::query::Query;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ObjectSchema};
use crate::protocol::state::state_shape;
use utoipa::openapi::Required;

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let state = state_shape(&mut api.schemas);
    let answer = api.schemas.named("UserDetails", |_| {
        ObjectSchema::new()
            .key("name", schema::text(), "The user's name.")
            .key("uuid", schema::uuid(), "The user's id. It changes when the server restarts.")
            .key("present", schema::count(), "Number of current connections.")
            .key("total", schema::count(), "Number of connections including those that are away.")
            .key("state", state, "The whole state.")
            .key("public_keys", schema::list(schema::text()), "The keys of the state that others may see.")
            .key(
                "connections",
                schema::list(schema::uuid()),
                "The ids of the connections. The list is truncated if there are many.",
            )
            .shape()
    });
    let name = in_query("name", Required::True, schema::filled_text(), "The user's name.")
        .example(Some("ada".into()));
    polled("/admin/user.json", "user")
        .about("One user", "Includes the state and the connections.")
        .parameter(name)
        .answer("The user.", answer, EXAMPLE)
        .refuses(Query::refusal("", |query| drop(query.required("name"))))
        .refuses([Refusal::NotFound("user ada".into())])
        .asks_registry()
}

const EXAMPLE: &str = r#"{"name": "ada", "uuid": "66666666-6666-4666-8666-666666666666", "present": 1, "total": 1,
    "state": {"mood": "fine"}, "public_keys": ["mood"], "connections": ["11111111-1111-4111-8111-111111111111"]}"#;

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
