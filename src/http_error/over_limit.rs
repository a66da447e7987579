//! What is said to who reaches a limit of the server: one table of status, field and text.

use crate::telemetry::limits::Limit;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Which one.
    pub limit: Limit,
    /// Its setting's value.
    pub bound: u64,
    /// When another try makes sense, in seconds; none where only the caller can mend it.
    pub retry_after_s: Option<u64>,
}

/// One line of the table.
struct LimitRow {
    status: StatusCode,
    /// The field of the request that is too much, where one is.
    field: Option<&'static str>,
    /// Before and behind the bound.
    text: (&'static str, &'static str),
    retry_after_s: Option<u64>,
}

impl OverLimit {
    /// A limit with this value was reached.
    pub fn of(limit: Limit, bound: usize) -> Self {
        Self { limit, bound: bound as u64, retry_after_s: row(limit).retry_after_s }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        row(self.limit).status
    }

    /// Whether its body tells errors by field.
    pub fn names_field(&self) -> bool {
        row(self.limit).field.is_some()
    }

    /// The text.
    pub fn message(&self) -> String {
        let (before, behind) = row(self.limit).text;
        format!("{before} {} {behind} ({}).", self.bound, self.limit.setting())
    }

    /// The body of the answer: errors by field where the request is at fault, else as all refusals.
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

/// The table.
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
        Limit::ConnectRate => too_many(("At most", "new sockets of one address are taken in a second"), 1),
        Limit::Connections => full(("The server is full: at most", "connections are kept"), 5),
        Limit::ConnectionsPerUser => too_many(("At most", "connections of one user are kept"), 5),
        Limit::ChannelsPerConnection => wrong("channels", ("A connection is in at most", "channels")),
        Limit::Channels => wrong("channels", ("The server keeps at most", "channels")),
        Limit::UserStateKeys => wrong("user_state", ("A user's state has at most", "keys")),
        Limit::UserStateBytes => wrong("user_state", ("A user's state has at most", "bytes")),
        Limit::PublishRate => too_many(("At most", "messages in a second are taken for one secret"), 1),
        Limit::Head => LimitRow {
            status: S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            field: None,
            text: ("A request's head has at most 96 headers and", "bytes"),
            retry_after_s: None,
        },
        Limit::HeaderTime => late(("A request's head is to arrive within", "ms")),
        Limit::BodyTime => late(("A request's body is to arrive within", "ms")),
        Limit::AnswerTime => late(("An answer is to be taken within", "ms")),
        // These are told in other ways: by the field concerned, with a status of their own, or by closing the socket.
        Limit::Fields | Limit::Body | Limit::QueuedBytes | Limit::QueuedFrames | Limit::TotalQueuedBytes => {
            full(("At most", "are taken"), 1)
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
            assert_eq!(over.retry_after_s.is_some(), later, "{limit:?}: who shall come back is told when");
        }
    }
}
