//! What newcomers see first: the front page and the tutorial; and demo mode, with the front page's live demo and the
//! little backend that a real application would have.
//!
//! The backend is not signed, so it is mounted in demo mode only, and touches nothing but channels whose names begin
//! with `demo`. A real backend decides by its own rules who a request comes from; here the body says it.

mod backend;
mod first_application;
mod state;

use crate::admin::pages::FRONT;
use crate::admin::read;
use crate::gate::Gate;
use crate::gate::backend::Backend;
use actix_web::{HttpRequest, HttpResponse, web};

/// Mounts the front page and the tutorial, and the demo's backend where demo mode is on.
pub fn configure(demo: bool) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.service(web::resource("/").route(read().to(front_page)))
            .service(web::resource("/docs/first-application").route(read().to(first_application::page)));
        if demo {
            cfg.service(web::resource("/demo/state").route(read().to(state::state)));
            backend::configure(cfg);
        }
    }
}

/// GET /.
async fn front_page(gate: web::Data<Gate>, backend: web::Data<Backend>, req: HttpRequest) -> HttpResponse {
    let demo = if backend.settings.demo_enabled() { "true" } else { "false" };
    FRONT.serve(&gate.base_url(req.headers()), &[("demo", demo), ("version", env!("CARGO_PKG_VERSION"))])
}
