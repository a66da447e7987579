//! The operators' console: sign-in, figures, and the endpoints of its pages.

pub mod endpoints;
mod ended_sessions;
pub(crate) mod figures;
mod failed_sign_ins;
mod query;
mod ranked;
pub(crate) mod sampler;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod sign_out;

use actix_web::guard::{Any, Get, Head};
use actix_web::{Route, web};

use crate::auth::body::FORM_BYTES;
use crate::http::openapi;
use crate::web::{assets, pages};

/// Mounts pages and files, which need no actors.
pub fn configure(cfg: &mut web::ServiceConfig) {
    let sign_in = web::resource(session::SIGN_IN_PATH);
    cfg.app_data(web::FormConfig::default().limit(FORM_BYTES));
    cfg.service(sign_in.route(read().to(sign_in::form)).route(web::post().to(sign_in::submit)))
        .service(
            web::resource("/admin/sign_out")
                .route(read().to(sign_out::sign_out))
                .route(web::post().to(sign_out::submit)),
        )
        .service(web::resource("/admin").route(read().to(pages::dashboard)))
        .service(web::resource("/api-explorer").route(read().to(pages::explorer)))
        .service(web::resource("/openapi.json").route(read().to(openapi::swagger2_document)))
        .service(web::resource(openapi::PATH).route(read().to(openapi::document)))
        .service(web::resource("/static/{path:.*}").route(read().to(assets::asset)));
}

pub fn figures(cfg: &mut web::ServiceConfig) {
    let json = web::resource("/admin/admin.json");
    cfg.service(json.route(read().to(figures::admin_json)).route(web::post().to(figures::admin_json)))
        .service(web::resource("/admin/debug").route(read().to(figures::debug)));
}

/// GET and HEAD, because health checks often use HEAD.
pub fn read() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// The time since the start in the original's format: `0:01:05`, `1 day, 0:01:05`, `2 days, 3:04:05`.
pub fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hours}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests;
