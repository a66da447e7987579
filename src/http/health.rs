//! GET /health/live and /health/ready: whether this server works, and why not. For load balancers and service managers,
//! so without a signature, and never by asking an actor.

use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation, response};
use crate::auth::public_paths::{self, Exposure};
use crate::broker::handle::BrokerHandle;
use crate::console;
use crate::protocol::schema;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use utoipa::openapi::path::HttpMethod;

/// A thread that has not answered for so long will not any more, in ms.
const STUCK_MS: u64 = 60_000;

/// How the server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HealthState {
    Ready,
    Starting,
    Draining,
    /// Which thread does not answer, and for how many ms.
    Lagging(String, u64),
    /// The setting whose bound is reached.
    Overloaded(&'static str),
}

impl HealthState {
    fn of(broker: &BrokerHandle) -> Self {
        let (in_flight, thread_health) = (&broker.in_flight, &broker.thread_health);
        let now_ms = broker.started.elapsed().as_millis() as u64;
        let bounds = [
            (&in_flight.registry, "registry_mailbox"),
            (&in_flight.channels, "channel_mailbox"),
            (&in_flight.hub_bytes, "max_pending_bytes"),
        ];
        if broker.is_draining() {
            HealthState::Draining
        } else if thread_health.is_starting() {
            HealthState::Starting
        } else if let Some((name, ms)) = thread_health.lagging(now_ms) {
            HealthState::Lagging(name.to_owned(), ms)
        } else if let Some((_, setting)) = bounds.iter().find(|(gauge, _)| gauge.is_full()) {
            HealthState::Overloaded(setting)
        } else {
            HealthState::Ready
        }
    }

    fn is_stuck(&self) -> bool {
        matches!(self, HealthState::Lagging(_, ms) if *ms >= STUCK_MS)
    }

    fn name(&self) -> &'static str {
        match self {
            HealthState::Ready => "ready",
            HealthState::Starting => "starting",
            HealthState::Draining => "draining",
            HealthState::Lagging(..) => "lagging",
            HealthState::Overloaded(_) => "overloaded",
        }
    }

    fn reason(&self) -> Option<String> {
        Some(match self {
            HealthState::Ready => return None,
            HealthState::Starting => "not all workers serve yet".into(),
            HealthState::Draining => "the server is stopping".into(),
            HealthState::Lagging(name, ms) => format!("{name} has not answered for {ms} ms"),
            HealthState::Overloaded(setting) => format!("the bound {setting} is reached"),
        })
    }

    /// Where browsers are, beside an address for operators, the answer does not name what is wrong inside.
    fn answer(&self, well: bool, exposure: Exposure) -> HttpResponse {
        let mut answer =
            HttpResponse::build(if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
        if !well {
            answer.insert_header((header::RETRY_AFTER, "1"));
        }
        let reason = self.reason().filter(|_| exposure == Exposure::Everything);
        let body = json!({ "state": self.name(), "reason": reason }).to_string();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        headers.into_iter().for_each(|header| _ = answer.insert_header(header));
        answer.body(body)
    }
}

/// Mounts both.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/health/live").route(console::read().to(live)))
        .service(web::resource("/health/ready").route(console::read().to(ready)));
}

/// Whether the process is to be left alone: not so if one of its threads is stuck.
async fn live(broker: web::Data<BrokerHandle>, req: HttpRequest) -> HttpResponse {
    let state = HealthState::of(&broker);
    state.answer(!state.is_stuck(), public_paths::of(&req))
}

/// Whether clients are to be sent here.
async fn ready(broker: web::Data<BrokerHandle>, req: HttpRequest) -> HttpResponse {
    let state = HealthState::of(&broker);
    state.answer(state == HealthState::Ready, public_paths::of(&req))
}

/// What the API's description says of one.
pub fn openapi_live(_: &mut ApiDescription<'_>) -> Operation {
    let about =
        "Says 503 when a thread has not answered for a minute, so that the process is better started again.";
    openapi("/health/live", "live", "Ask whether the process works", about)
}

/// And of the other.
pub fn openapi_ready(_: &mut ApiDescription<'_>) -> Operation {
    let about = "Says 503 while the server starts or stops, a thread does not answer, or a bound is reached.";
    openapi("/health/ready", "ready", "Ask whether clients are to be sent here", about)
}

fn openapi(path: &'static str, id: &str, summary: &str, about: &str) -> Operation {
    let not_well = response("The state, and the reason.", "application/json", schema::any_object());
    Operation::new(HttpMethod::Get, path, id, ApiGroup::Operators, Access::Open)
        .about(summary, about)
        .answer("The state: all is well.", schema::any_object(), r#"{"state": "ready", "reason": null}"#)
        .responds(503, not_well)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;

    #[test]
    fn a_thread_is_stuck_after_a_minute() {
        let lagging = |ms| HealthState::Lagging("worker 1".into(), ms);
        assert!(!lagging(59_999).is_stuck());
        assert!(lagging(60_000).is_stuck());
        assert_eq!(lagging(60_000).answer(!lagging(60_000).is_stuck(), Exposure::Everything).status(), 503);
        assert_eq!(lagging(2_000).reason().unwrap(), "worker 1 has not answered for 2000 ms");
    }

    #[test]
    fn clients_of_the_first_address_do_not_learn_what_is_wrong_inside() {
        let body = |state: HealthState, exposure| {
            let body = state.answer(false, exposure).into_body().try_into_bytes().unwrap();
            serde_json::from_slice::<serde_json::Value>(&body).unwrap()
        };
        for state in
            [HealthState::Lagging("worker 1".into(), 5_000), HealthState::Overloaded("max_pending_bytes")]
        {
            let name = state.name();
            let there = body(state.clone(), Exposure::Everything);
            assert!(there["reason"].is_string() && there["state"] == name, "{there}");
            assert_eq!(body(state, Exposure::Browsers), json!({ "state": name, "reason": null }));
        }
    }
}
