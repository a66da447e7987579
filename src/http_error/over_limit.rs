//! The refusals of requests that reach a limit of the server: one table of status, field and text.

use crate::telemetry::limits::Limit;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    pub limit: Limit,
    /// The value of its setting.
    pub bound: u64,
    /// The seconds until another attempt makes sense; `None` if the caller must change the request.
    pub retry_after_s: Option<u64>,
}

/// One line of the table.
struct LimitRow {
    status: StatusCode,
    /// The field of the request that exceeds the limit, if there is one.
    field: Option<&'static str>,
    /// The text before and after the value of the limit.
    text: (&'static str, &'static str),
    retry_after_s: Option<u64>,
}

impl OverLimit {
    pub fn of(limit: Limit, bound: usize) -> Self {
        Self { limit, bound: bound as u64, retry_after_s: row(limit).retry_after_s }
    }

    pub fn status(&self) -> StatusCode {
        row(self.limit).status
    }

    /// Whether its body lists errors by field.
    pub fn names_field(&self) -> bool {
        row(self.limit).field.is_some()
    }

    pub fn message(&self) -> String {
        let (before, after) = row(self.limit).text;
        format!("{before} {} {after} ({}).", self.bound, self.limit.setting())
    }

    /// The body of the answer: errors by field if the request exceeds the limit by itself, otherwise like all refusals.
    pub fn body(&self) -> Value {
        let row = row(self.limit);
        match row.field {
            Some(field) => json!({ field: [self.message()] }),
            None => json!({
                "message": self.message(),
                "code": row.status.to_string(),
                "title": row.status.canonical_reason().unwrap_or_default(),
                "limit": self.limit.setting(),
            }),
        }
    }
}

fn row(limit: Limit) -> LimitRow {
    use StatusCode as S;
    let full = |text, seconds| LimitRow {
        status: S::SERVICE_UNAVAILABLE,
        field: None,
        text,
        retry_after_s: Some(seconds),
    };
    let too_many = |text, seconds| LimitRow {
        status: S::TOO_MANY_REQUESTS,
        field: None,
        text,
        retry_after_s: Some(seconds),
    };
    let wrong = |field, text| LimitRow {
        status: S::UNPROCESSABLE_ENTITY,
        field: Some(field),
        text,
        retry_after_s: None,
    };
    let late = |text| LimitRow { status: S::REQUEST_TIMEOUT, field: None, text, retry_after_s: None };
    match limit {
        Limit::Sessions => full(("The server is full: at most", "sockets and polls are open at a time"), 5),
        Limit::SocketsPerAddress => too_many(("At most", "sockets of one address are open at a time"), 5),
        Limit::ConnectRate => too_many(("At most", "new sockets of one address are accepted per second"), 1),
        Limit::Connections => full(("The server is full: at most", "connections are allowed"), 5),
        Limit::ConnectionsPerUser => too_many(("At most", "connections of one user are allowed"), 5),
        Limit::ChannelsPerConnection => wrong("channels", ("A connection can be in at most", "channels")),
        Limit::Channels => wrong("channels", ("The server has at most", "channels")),
        Limit::UserStateKeys => wrong("user_state", ("A user's state has at most", "keys")),
        Limit::UserStateBytes => wrong("user_state", ("A user's state has at most", "bytes")),
        Limit::Blocks => full(("The server is full: at most", "blocks are allowed"), 5),
        Limit::PublishRate => too_many(("At most", "messages per second are accepted for one secret"), 1),
        Limit::IdempotencyKeys => full(("At most", "items are stored with idempotency keys at a time"), 1),
        Limit::Head => LimitRow {
            status: S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            field: None,
            text: ("A request's head has at most 96 headers and", "bytes"),
            retry_after_s: None,
        },
        Limit::HeaderTime => late(("A request's head must arrive within", "ms")),
        Limit::BodyTime => late(("A request's body must arrive within", "ms")),
        Limit::AnswerTime => late(("An answer must be received within", "ms")),
        // These limits are reported in other ways: as an error of a field, by another refusal, or by closing the socket.
        Limit::Fields | Limit::Body | Limit::QueuedBytes | Limit::QueuedFrames | Limit::TotalQueuedBytes => {
            full(("At most", "are allowed"), 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_limit_and_is_above_400() {
        for limit in Limit::ALL {
            let over = OverLimit::of(*limit, 77);
            assert!(over.status().as_u16() > 400, "{limit:?}");
            assert!(over.message().contains(&format!("({})", limit.setting())), "{}", over.message());
            assert!(over.message().contains(" 77 "), "{}", over.message());
            let later = matches!(over.status().as_u16(), 429 | 503);
            assert_eq!(over.retry_after_s.is_some(), later, "{limit:?}: a temporary refusal has a time");
        }
    }
}
