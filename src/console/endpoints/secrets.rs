//! GET /admin/secrets.json: the use of each secret that signs requests, so that operators can retire old ones.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::{Console, polled};
use crate::api::operation::{ApiDescription, Operation};
use crate::auth::Gate;
use crate::auth::secrets::SecretInUse;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("Secrets", |schemas| {
        let secret = schemas.named("SecretInUse", secret_schema);
        ObjectSchema::new()
            .key("secrets", schema::list(secret), "The secrets in the order of the setting.")
            .shape()
    });
    polled("/admin/secrets.json", "secrets")
        .about(
            "The secrets that sign requests",
            "How often each was used, when last and from which address, so that an old one can be retired. Times are \
             Unix seconds.",
        )
        .answer("All secrets, without their values.", answer, EXAMPLE)
}

fn secret_schema(schemas: &mut SchemaRegistry) -> ValueSchema {
    let source = schemas.named("UseOfSecret", |_| {
        ObjectSchema::new()
            .key("address", schema::text(), "The socket's peer.")
            .key("uses", schema::count(), "Number of requests from this address.")
            .key("last_used", schema::count(), "Time of the last request.")
            .shape()
    });
    ObjectSchema::new()
        .key("position", schema::count(), "Its position in the setting, from 1.")
        .key("signs", schema::flag(), "Whether it is the first, which `channelstream sign` uses.")
        .key("fingerprint", schema::text(), "Distinguishes it from the others while the process runs.")
        .key("since", schema::count(), "Time since which this process accepts it.")
        .key("uses", schema::count(), "Number of requests signed with it since then.")
        .key("last_used", schema::or_null(schema::count()), "Time of the last request.")
        .key("last_address", schema::or_null(schema::text()), "Address of the last request.")
        .key("addresses", schema::list(source), "The addresses that used it recently, the last_seen first.")
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
