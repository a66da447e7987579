//! GET /admin/secrets.json: which of the secrets that sign requests is used, so that an old one can be retired.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::Console;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::Gate;
use crate::auth::secrets::SecretInUse;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use utoipa::openapi::path::HttpMethod;

/// What the API's description says of it.
pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("Secrets", |schemas| {
        let secret = schemas.named("SecretInUse", secret_shape);
        ObjectSchema::new().key("secrets", schema::list(secret), "In the order of the setting.").shape()
    });
    Operation::new(HttpMethod::Get, "/admin/secrets.json", "secrets", ApiGroup::Console, Access::SignedOrAdmin)
        .about(
            "The secrets that sign requests",
            "How often each was used, when last and from where, so that an old one can be retired. Times are Unix seconds.",
        )
        .answer("All of them, without the secrets themselves.", answer, EXAMPLE)
        .polled()
        .refuses([Refusal::SignatureMissing])
}

fn secret_shape(schemas: &mut SchemaRegistry) -> ValueSchema {
    let source = schemas.named("UseOfSecret", |_| {
        ObjectSchema::new()
            .key("address", schema::text(), "The socket's peer.")
            .key("uses", schema::count(), "Requests from there.")
            .key("last_used", schema::count(), "When the last one came.")
            .shape()
    });
    ObjectSchema::new()
        .key("position", schema::count(), "Its place in the setting, from 1.")
        .key("signs", schema::flag(), "Whether it is the first, which `channelstream sign` uses.")
        .key("fingerprint", schema::text(), "Tells it from others as long as the process runs.")
        .key("since", schema::count(), "Since when this process accepts it.")
        .key("uses", schema::count(), "Requests signed with it since then.")
        .key("last_used", schema::or_null(schema::count()), "When the last one came.")
        .key("last_address", schema::or_null(schema::text()), "And from where.")
        .key("addresses", schema::list(source), "The addresses that used it lately, the latest first.")
        .shape()
}

const EXAMPLE: &str = r#"{"secrets": [{"position": 1, "signs": true, "fingerprint": "1f0c5a7e", "since": 1700000000,
    "uses": 3, "last_used": 1700000060, "last_address": "10.0.0.5",
    "addresses": [{"address": "10.0.0.5", "uses": 3, "last_used": 1700000060}]}]}"#;

/// GET /admin/secrets.json.
///
/// # Errors
/// `Internal`.
pub async fn secrets(
    _: AdminOrRefused,
    gate: web::Data<Gate>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    console.answers.serve(&req, async { Built::of(&describe(&gate), 0) }).await
}

fn describe(gate: &Gate) -> Value {
    let in_use = gate.secrets().in_use();
    json!({ "secrets": in_use.iter().enumerate().map(|(index, secret)| row(index, secret)).collect::<Vec<_>>() })
}

fn row(index: usize, secret: &SecretInUse) -> Value {
    let used = &secret.used;
    let addresses = used.from.iter().map(
        |source| json!({ "address": source.address, "uses": source.uses, "last_used": source.last_unix }),
    );
    json!({
        "position": index + 1,
        "signs": index == 0,
        "fingerprint": secret.fingerprint,
        "since": secret.since_unix,
        "uses": used.uses,
        "last_used": used.from.first().map(|source| source.last_unix),
        "last_address": used.from.first().map(|source| source.address),
        "addresses": addresses.collect::<Vec<_>>(),
    })
}
