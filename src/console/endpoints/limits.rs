//! GET /admin/limits.json: every limit with its count and the time of its last hit, and the reasons for which requests were
//! refused, clients not recovered and sockets closed.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::Console;
use crate::broker::handle::BrokerHandle;
use crate::config::{self, SettingBound, Settings};
use crate::console::session::AdminOrRefused;
use crate::http::polled::Built;
use crate::http_error::Refusal;
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::limits::Limit;
use crate::telemetry::metrics::{self, Failure, FailureEffect, Metric, REFUSED_BUSY};
use crate::telemetry::{Counters, GONE, LastSeen};

/// Settings at whose value the server refuses requests as busy.
const BUSY: [&str; 5] = [
    "registry_mailbox",
    "channel_mailbox",
    "max_pending_bytes",
    "max_pending_body_bytes",
    "max_remembered_signatures",
];
/// The setting at whose value a websocket is closed with 1009.
const TOO_BIG: &str = "max_client_message_bytes";
/// GET /admin/limits.json.
///
/// # Errors
/// `Internal`.
pub async fn limits(
    _: AdminOrRefused,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    req: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let built = async {
        let last_seen = console.last_seen(&broker.counters);
        Built::of(&describe(&broker.settings, &broker.counters, &last_seen), 0)
    };
    console.answers.serve(&req, built).await
}

fn describe(settings: &Settings, counters: &Counters, last_seen: &LastSeen) -> Value {
    let row = |(counter, bounds): (Option<&'static str>, Vec<SettingBound>)| {
        limit(counter, &bounds, counters, last_seen)
    };
    let failures = |effects: &[FailureEffect]| {
        let rows = metrics::failures(counters)
            .filter(|(metric, failure, _)| metric.name != REFUSED_BUSY && effects.contains(&failure.effect));
        let row = |(metric, failure, count): (&Metric, Failure, u64)| json!({ "counter": metric.name, "about": failure.about, "count": count, "last": last_seen.of(metric.name) });
        rows.map(row).collect::<Vec<_>>()
    };
    let closed = counters.closes.reasons().map(|(reason, count)| {
        let name = reason.map_or(GONE, CloseReason::name);
        let about = reason.map_or("the socket ended without a close frame", CloseReason::occasion);
        let code = reason.and_then(CloseReason::code);
        json!({ "reason": name, "code": code, "about": about, "count": count, "last": last_seen.of(name) })
    });
    json!({
        "limits": grouped(settings).into_iter().map(row).collect::<Vec<_>>(),
        "refused": failures(&[FailureEffect::Refused, FailureEffect::Lost]),
        "recovered": counters.streams_recovered.get(),
        "not_recovered": failures(&[FailureEffect::NotRecovered]),
        "closed": closed.collect::<Vec<_>>(),
    })
}

fn limit(counter: Option<&str>, bounds: &[SettingBound], counters: &Counters, last_seen: &LastSeen) -> Value {
    let bounds = bounds
        .iter()
        .map(|bound| json!({ "setting": bound.key, "bound": bound.value, "about": bound.about }));
    json!({
        "counter": counter,
        "count": counter.and_then(|name| count(counters, name)),
        "last": counter.and_then(|name| last_seen.of(name)),
        "settings": bounds.collect::<Vec<_>>(),
    })
}

fn count(counters: &Counters, name: &str) -> Option<u64> {
    counters.failure_counts().find(|(known, _)| *known == name).map(|(_, count)| count)
}

/// All settings that are limits. Those with the same counter form a group at the position of the first.
fn grouped(settings: &Settings) -> Vec<(Option<&'static str>, Vec<SettingBound>)> {
    let mut groups: Vec<(Option<&'static str>, Vec<SettingBound>)> = Vec::new();
    for bound in config::bounds(settings) {
        let counter = counter_of(bound.key);
        match groups.iter_mut().find(|(known, _)| counter.is_some() && *known == counter) {
            Some((_, together)) => together.push(bound),
            None => groups.push((counter, vec![bound])),
        }
    }
    groups
}

/// The counter that counts how often this setting's value was reached.
fn counter_of(setting: &str) -> Option<&'static str> {
    if BUSY.contains(&setting) {
        return Some(REFUSED_BUSY);
    }
    let closed = (setting == TOO_BIG).then(|| CloseReason::TooBig.name());
    closed.or_else(|| Limit::of(setting).map(Limit::setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::position::LossReason;

    #[test]
    fn every_counted_limit_is_shown_once() {
        let groups = grouped(&Settings::default());
        for limit in Limit::ALL {
            let rows = groups.iter().filter(|(counter, _)| *counter == Some(limit.setting()));
            assert_eq!(rows.count(), 1, "{limit:?}");
        }
        let counters = Counters::default();
        for name in groups.iter().filter_map(|(counter, _)| *counter) {
            assert_eq!(count(&counters, name), Some(0), "{name} is no counter");
        }
    }

    #[test]
    fn a_reached_limit_is_reported_with_its_value_and_time() {
        let settings = Settings { max_sessions: 7, ..Settings::default() };
        let (counters, mut last_seen) = (Counters::default(), LastSeen::default());
        counters.limits.count(Limit::Sessions);
        counters.closes.count(Some(CloseReason::TooBig));
        counters.refused_origin.add(2);
        counters.streams_not_recovered.of(LossReason::Evicted).add(3);
        counters.streams_recovered.add(4);
        last_seen.look(counters.failure_counts(), 1_700_000_000);
        let report = describe(&settings, &counters, &last_seen);
        assert_eq!(report["limits"][0]["settings"][0]["bound"], 7);
        assert_eq!(
            (&report["limits"][0]["count"], &report["limits"][0]["last"]),
            (&json!(1), &json!(1_700_000_000))
        );
        let row_of = |list: &str, counter: &str| {
            report[list].as_array().unwrap().iter().find(|row| row["counter"] == counter).cloned()
        };
        assert_eq!(row_of("refused", "refused_origin").unwrap()["count"], 2);
        assert_eq!(row_of("refused", REFUSED_BUSY), None, "a limit is responsible");
        let evicted = row_of("not_recovered", "not_recovered_evicted").unwrap();
        assert_eq!((&evicted["count"], &evicted["last"]), (&json!(3), &json!(1_700_000_000)));
        assert_eq!(report["recovered"], 4);
        let too_big = json!({"reason": "too_big", "code": 1009, "count": 1, "last": 1_700_000_000,
            "about": "the client sent more than `max_client_message_bytes`"});
        assert_eq!(report["closed"][4], too_big);
        let of_messages =
            report["limits"].as_array().unwrap().iter().find(|row| row["counter"] == "too_big").unwrap();
        assert_eq!(
            (&of_messages["count"], &of_messages["settings"][0]["bound"]),
            (&json!(1), &json!(65_536))
        );
    }
}
