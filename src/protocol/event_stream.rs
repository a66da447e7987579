//! The blocks of an event stream (HTML standard, section 9.2 "Server-sent events"). JSON text has no raw line breaks, so
//! a list of elements is one `data` line.

use super::position::Cursor;
use super::websocket::close::CloseReason;
use bytes::Bytes;
use serde_json::json;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

/// A comment, which clients ignore.
pub static HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
/// The reconnect delay of a client that must not come back by itself, in ms: a day.
const NEVER_MS: u32 = 86_400_000;

/// The id of an event: browsers send the last one when they reconnect.
pub fn write_id(out: &mut Vec<u8>, cursor: Cursor) {
    write(out, format_args!("id: {cursor}\n"));
}

/// A block that only sets the id: browsers store it and dispatch nothing.
pub fn id_only(cursor: Cursor) -> Bytes {
    format!("id: {cursor}\n\n").into()
}

/// An event that contains a list of one element.
pub fn named(name: &str, element: &str) -> Bytes {
    format!("event: {name}\ndata: [{element}]\n\n").into()
}

/// Sets the client's reconnect delay.
pub fn retry(ms: u32) -> String {
    format!("retry: {ms}\n")
}

/// The last event of a stream that the server ends; `None` if its client is gone. `text` replaces the text of the reason;
/// `retry_ms` is the reconnect delay of a client that may return.
pub fn end(reason: CloseReason, text: Option<&str>, retry_ms: u32) -> Option<Bytes> {
    let code = reason.code().filter(|_| !matches!(reason, CloseReason::ByPeer(_)))?;
    let reconnect = reason.may_reconnect();
    let retry_ms = match reason {
        CloseReason::Restarting(ms) => retry_ms.max(ms.into()),
        _ if reconnect => retry_ms,
        _ => NEVER_MS,
    };
    let text = text.map_or_else(|| reason.text(), Cow::Borrowed);
    let data = json!({"code": code, "reason": text, "reconnect": reconnect});
    Some(format!("{}event: end\ndata: {data}\n\n", retry(retry_ms)).into())
}

fn write(out: &mut Vec<u8>, text: impl Display) {
    // A vector accepts every write.
    let _ = write!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<Bytes>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn the_end_names_code_reason_and_whether_to_return() {
        let end = |reason| text(end(reason, None, 1_370));
        let taken_over = "retry: 86400000\nevent: end\n\
            data: {\"code\":4001,\"reason\":\"taken over by another socket\",\"reconnect\":false}\n\n";
        assert_eq!(end(CloseReason::TakenOver).as_deref(), Some(taken_over));
        let stopping = "retry: 1370\nevent: end\n\
            data: {\"code\":1001,\"reason\":\"server is stopping\",\"reconnect\":true}\n\n";
        assert_eq!(end(CloseReason::GoingAway).as_deref(), Some(stopping));
        assert_eq!(end(CloseReason::ByPeer(Some(1000))), None);
        let ended = super::end(CloseReason::EndedByApplication, Some("signed out"), 1_370).unwrap();
        assert!(ended.ends_with(b"data: {\"code\":4004,\"reason\":\"signed out\",\"reconnect\":false}\n\n"));
        let restarting = |ms| end(CloseReason::Restarting(ms)).unwrap();
        assert!(restarting(2_000).starts_with("retry: 2000\n") && restarting(0).starts_with("retry: 1370\n"));
    }

    #[test]
    fn every_reason_of_the_server_has_an_end() {
        for reason in CloseReason::ALL.into_iter().filter(|reason| *reason != CloseReason::ByPeer(None)) {
            let text = text(end(reason, None, 100)).unwrap();
            let (retry, event) = text.split_once('\n').unwrap();
            assert_eq!(retry == "retry: 86400000", !reason.may_reconnect(), "{text}");
            assert!(event.starts_with("event: end\ndata: {") && event.ends_with("}\n\n"), "{text}");
        }
    }
}
