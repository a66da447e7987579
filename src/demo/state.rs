//! The figures that the front page shows, in demo mode only: visitors do not need to know how busy a production server
//! is.

use crate::api::answer;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::broker::handle::BrokerHandle;
use crate::console::uptime;
use crate::protocol::schema::{self, ObjectSchema};
use actix_web::{HttpResponse, web};
use utoipa::openapi::path::HttpMethod;

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("DemoState", |_| {
        ObjectSchema::new()
            .key("version", schema::text(), "The server's version.")
            .key("uptime", schema::text(), "Time since the start: `0:01:05`, `1 day, 0:01:05`.")
            .key("sessions", schema::count(), "Number of open websockets and polls.")
            .key("messages", schema::count(), "Number of messages since the start.")
            .key("deliveries", schema::count(), "Number of deliveries since the start.")
            .key("draining", schema::flag(), "Whether the server is stopping.")
            .shape()
    });
    Operation::new(HttpMethod::Get, "/demo/state", "demoState", ApiGroup::Demo, Access::Open)
        .about("State of the server", "Demo mode only: the figures that the front page shows.")
        .answer("The figures.", answer, EXAMPLE)
}

const EXAMPLE: &str = r#"{"version": "0.1.0", "uptime": "0:01:05", "sessions": 2, "messages": 3, "deliveries": 5,
    "draining": false}"#;

/// GET /demo/state. It reads only counters and sends no request to an actor.
pub async fn state(broker: web::Data<BrokerHandle>) -> HttpResponse {
    let (counters, in_flight) = (&broker.counters, &broker.in_flight);
    let text = format!(
        r#"{{"version":"{}","uptime":"{}","sessions":{},"messages":{},"deliveries":{},"draining":{}}}"#,
        env!("CARGO_PKG_VERSION"),
        uptime(broker.started.elapsed().as_secs()),
        in_flight.sessions.get(),
        counters.messages.get(),
        counters.deliveries.get(),
        broker.is_draining(),
    );
    answer::json(text.into_bytes())
}
