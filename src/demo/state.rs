//! What the front page shows of the server, in demo mode only: strangers need not know how busy a server is.

use crate::admin::uptime;
use crate::api::answer;
use crate::gate::backend::Backend;
use actix_web::{HttpResponse, web};

/// GET /demo/state. Counters only: it asks no actor.
pub async fn state(backend: web::Data<Backend>) -> HttpResponse {
    let (counters, pressure) = (&backend.counters, &backend.pressure);
    let text = format!(
        r#"{{"version":"{}","uptime":"{}","sessions":{},"messages":{},"deliveries":{},"draining":{}}}"#,
        env!("CARGO_PKG_VERSION"),
        uptime(backend.started.elapsed().as_secs()),
        pressure.sessions.get(),
        counters.messages.get(),
        counters.deliveries.get(),
        backend.is_draining(),
    );
    answer::json(text.into_bytes())
}
