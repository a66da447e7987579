//! The figures that the front page shows, in demo mode only: visitors do not need to know how busy a production server
//! is.

use crate::api::answer;
use crate::broker::handle::BrokerHandle;
use crate::console::uptime;
use actix_web::{HttpResponse, web};

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
