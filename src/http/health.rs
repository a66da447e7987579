//! GET /health/live and /health/ready report whether this server works, and the reason if it does not. They are for load
//! balancers and service managers, so they need no signature, and they never wait for an actor.

use crate::auth::public_paths::{Exposure, exposure_of};
use crate::broker::handle::BrokerHandle;
use crate::console;
use crate::telemetry::engine_health::EngineHealth;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use std::time::Instant;

/// A thread that has not answered for this long, in ms, is considered stuck.
const STUCK_MS: u64 = 60_000;

/// A node for which Redis has not answered for this long, in ms, is not ready.
const DISCONNECTED_MS: u64 = 3_000;

/// The state of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HealthState {
    Ready,
    Starting,
    Draining,
    /// The thread that does not answer, and for how many ms.
    Lagging(String, u64),
    /// The setting whose limit is reached.
    Overloaded(&'static str),
    /// The other nodes do not know this one yet.
    Joining,
    /// For how many ms Redis has not answered.
    Disconnected(u64),
}

impl HealthState {
    fn of(broker: &BrokerHandle) -> Self {
        let (in_flight, thread_health) = (&broker.in_flight, &broker.thread_health);
        let now_ms = broker.started.elapsed().as_millis() as u64;
        let counters = [
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
        } else if let Some((_, setting)) = counters.iter().find(|(counter, _)| counter.is_full()) {
            HealthState::Overloaded(setting)
        } else {
            broker
                .engine_health()
                .map_or(HealthState::Ready, |health| Self::of_engine(health, Instant::now()))
        }
    }

    fn of_engine(health: &EngineHealth, now: Instant) -> Self {
        let silent_ms = health.silence(now).as_millis() as u64;
        if !health.has_joined() {
            HealthState::Joining
        } else if silent_ms >= DISCONNECTED_MS {
            HealthState::Disconnected(silent_ms)
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
            HealthState::Joining => "joining",
            HealthState::Disconnected(_) => "disconnected",
        }
    }

    fn reason(&self) -> Option<String> {
        Some(match self {
            HealthState::Ready => return None,
            HealthState::Starting => "not all workers serve yet".into(),
            HealthState::Draining => "the server is stopping".into(),
            HealthState::Lagging(name, ms) => format!("{name} has not answered for {ms} ms"),
            HealthState::Overloaded(setting) => format!("the bound {setting} is reached"),
            HealthState::Joining => "the node has not joined the other nodes yet".into(),
            HealthState::Disconnected(ms) => format!("Redis has not answered for {ms} ms"),
        })
    }

    /// On an address for browsers, if operators have another one, the answer does not contain the internal reason.
    fn answer(&self, is_ok: bool, exposure: Exposure) -> HttpResponse {
        let mut answer =
            HttpResponse::build(if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
        if !is_ok {
            answer.insert_header((header::RETRY_AFTER, "1"));
        }
        let reason = self.reason().filter(|_| exposure == Exposure::Everything);
        let body = json!({ "state": self.name(), "reason": reason }).to_string();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        headers.into_iter().for_each(|header| _ = answer.insert_header(header));
        answer.body(body)
    }
}

pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/health/live").route(console::read().to(live)))
        .service(web::resource("/health/ready").route(console::read().to(ready)));
}

/// Reports 503 if one of the threads is stuck, so that the process should be restarted.
async fn live(broker: web::Data<BrokerHandle>, req: HttpRequest) -> HttpResponse {
    let state = HealthState::of(&broker);
    state.answer(!state.is_stuck(), exposure_of(&req))
}

/// Reports whether a load balancer should send clients to this server.
async fn ready(broker: web::Data<BrokerHandle>, req: HttpRequest) -> HttpResponse {
    let state = HealthState::of(&broker);
    state.answer(state == HealthState::Ready, exposure_of(&req))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;
    use std::time::Duration;

    #[test]
    fn a_thread_is_stuck_after_a_minute() {
        let lagging = |ms| HealthState::Lagging("worker 1".into(), ms);
        assert!(!lagging(59_999).is_stuck());
        assert!(lagging(60_000).is_stuck());
        assert_eq!(lagging(60_000).answer(!lagging(60_000).is_stuck(), Exposure::Everything).status(), 503);
        assert_eq!(lagging(2_000).reason().unwrap(), "worker 1 has not answered for 2000 ms");
    }

    #[test]
    fn a_node_is_ready_from_its_first_statement_until_redis_is_silent_for_three_seconds() {
        let (health, now) = (EngineHealth::default(), Instant::now());
        let after = |ms| HealthState::of_engine(&health, now + Duration::from_millis(ms));
        assert_eq!(after(0), HealthState::Joining);
        health.connected();
        assert_eq!(after(9_000), HealthState::Joining);
        health.joined();
        assert_eq!(after(9_000), HealthState::Ready);
        health.lost(now);
        assert_eq!(after(2_999), HealthState::Ready);
        let late = after(3_000);
        assert_eq!(late, HealthState::Disconnected(3_000));
        // Another process would not find Redis either.
        assert!(!late.is_stuck() && late.reason().unwrap() == "Redis has not answered for 3000 ms");
    }

    #[test]
    fn clients_of_the_public_address_do_not_receive_the_reason() {
        let body = |state: HealthState, exposure| {
            let body = state.answer(false, exposure).into_body().try_into_bytes().unwrap();
            serde_json::from_slice::<serde_json::Value>(&body).unwrap()
        };
        for state in
            [HealthState::Lagging("worker 1".into(), 5_000), HealthState::Overloaded("max_pending_bytes")]
        {
            let name = state.name();
            let internal = body(state.clone(), Exposure::Everything);
            assert!(internal["reason"].is_string() && internal["state"] == name, "{internal}");
            assert_eq!(body(state, Exposure::Browsers), json!({ "state": name, "reason": null }));
        }
    }
}
