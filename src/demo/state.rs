//! What the front page shows of the server, in demo mode only: strangers need not know how busy a server is.

use crate::api::answer;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::broker::handle::BrokerHandle;
use crate::console::uptime;
use crate::protocol::schema::{self, ObjectSchema};
use actix_web::{HttpResponse, web};
use utoipa::openapi::path::HttpMethod;

/// What the API's description says of it.
pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("DemoState", |_| {
        ObjectSchema::new()
            .key("version", schema::text(), "The server's version.")
            .key("uptime", schema::text(), "Time since the start: `0:01:05`, `1 day, 0:01:05`.")
            .key("sessions", schema::count(), "Websockets and polls.")
            .key("messages", schema::count(), "Messages since the start.")
            .key("deliveries", schema::count(), "Deliveries since the start.")
            .key("draining", schema::flag(), "Whether the server is stopping.")
            .shape()
    });
    Operation::new(HttpMethod::Get, "/demo/state", "demoState", ApiGroup::Demo, Access::Open)
        .about("How the server is", "Demo mode only: what the front page shows.")
        .answer("The figures.", answer, EXAMPLE)
}

const EXAMPLE: &str = r#"{"version": "0.1.0", "uptime": "0:01:05", "sessions": 2, "messages": 3, "deliveries": 5,
    "draining": false}"#;

/// GET /demo/state. Counters only: it asks no actor.
pub async fn state(backend: web::Data<BrokerHandle>) -> HttpResponse {
    let (counters, in_flight) = (&backend.counters, &backend.in_flight);
    let text = format!(
        r#"{{"version":"{}","uptime":"{}","sessions":{},"messages":{},"deliveries":{},"draining":{}}}"#,
        env!("CARGO_PKG_VERSION"),
        uptime(backend.started.elapsed().as_secs()),
        in_flight.sessions.get(),
        counters.messages.get(),
        counters.deliveries.get(),
        backend.is_draining(),
    );
    answer::json(text.into_bytes())
}
