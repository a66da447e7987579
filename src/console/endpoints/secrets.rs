//! GET /admin/secrets.json: the use of each secret that signs requests, so that operators can retire old ones.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::Console;
use crate::auth::Gate;
use crate::auth::secrets::SecretInUse;
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;

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
