//! Parses plain requests for event streams without an HTTP stack. Pure. Everything else goes to the endpoint.

use super::target::{EventTarget, LAST_EVENT_ID};
use crate::transports::plain_head::{is_special, is_usual_query, read_get, text};
use smallvec::SmallVec;

/// The start of a target, before its query.
const TARGET: &str = "/sse?";

#[derive(Debug, PartialEq, Eq)]
pub struct PlainEventRequest<'a> {
    pub target: EventTarget,
    /// The id of the last event that the client has.
    pub last_event_id: Option<&'a [u8]>,
    /// Its length in bytes.
    pub length: usize,
    /// The values of its `X-Forwarded-For` lines, in order.
    pub forwarded_for: SmallVec<[&'a str; 2]>,
    /// The origin of the requesting page. Browsers do not send it if the page has the server's own origin.
    pub origin: Option<&'a [u8]>,
}

/// The data from the headers read so far.
#[derive(Default)]
struct EventHeaders<'a> {
    has_host: bool,
    last_event_id: Option<&'a [u8]>,
    forwarded_for: SmallVec<[&'a str; 2]>,
    origin: Option<&'a [u8]>,
}

impl<'a> PlainEventRequest<'a> {
    /// Parses a request from the first bytes of a connection.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        // Most connections are other requests, which are not parsed here.
        bytes.starts_with(b"GET /sse?").then_some(())?;
        let mut headers = EventHeaders::default();
        let (query, length) = read_get(bytes, TARGET, |name, value| headers.read(name, value))?;
        (headers.has_host && is_usual_query(query, EventTarget::knows)).then_some(())?;
        let target = EventTarget::read(query).ok()?;
        let EventHeaders { last_event_id, forwarded_for, origin, .. } = headers;
        Some(Self { target, last_event_id, length, forwarded_for, origin })
    }
}

impl<'a> EventHeaders<'a> {
    /// Reads a header. Returns `None` when a plain request does not contain it.
    fn read(&mut self, name: &str, value: &'a [u8]) -> Option<()> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let is_plain = if is("host") {
            !std::mem::replace(&mut self.has_host, true)
        } else if is(LAST_EVENT_ID) {
            self.last_event_id.replace(value).is_none()
        } else if is("origin") {
            self.origin.replace(value).is_none()
        } else if is("x-forwarded-for") {
            self.forwarded_for.push(text(value)?);
            true
        } else if is("accept") {
            // A refusal has the form that this names.
            !["html", "plain"].iter().any(|form| text(value).is_none_or(|accept| accept.contains(form)))
        } else {
            !is("upgrade") && !is("content-encoding") && !is_special(name)
        };
        is_plain.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn request(query: &str, headers: &str) -> String {
        format!("GET /sse?{query} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
    }

    fn is_plain(text: &str) -> bool {
        PlainEventRequest::read(text.as_bytes()).is_some()
    }

    #[test]
    fn the_request_of_a_browser_is_plain() {
        let headers = "Accept: text/event-stream\r\nOrigin: http://b\r\nLast-Event-ID: 17\r\n\
            Connection: keep-alive\r\nSec-Fetch-Site: cross-site\r\nX-Forwarded-For: 9.9.9.9\r\n";
        let text = request(&format!("conn_id={ID}&lastEventId=x"), headers);
        let read = PlainEventRequest::read(text.as_bytes()).unwrap();
        assert_eq!(
            (read.length, read.origin, read.last_event_id),
            (text.len(), Some(&b"http://b"[..]), Some(&b"17"[..]))
        );
        assert_eq!(read.forwarded_for[..], ["9.9.9.9"]);
        assert_eq!(read.target.conn_id.to_string(), ID);
    }

    #[test]
    fn other_requests_are_not() {
        let query = format!("conn_id={ID}");
        assert!(is_plain(&request(&query, "")));
        for headers in [
            "Host: b\r\n",
            "Upgrade: websocket\r\n",
            "Content-Length: 1\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\n",
            "x-channelstream-secret: x\r\n",
            "X-Script-Name: /p\r\n",
            "Accept: text/html\r\n",
            "Origin: a\r\nOrigin: b\r\n",
            "Last-Event-ID: a\r\nLast-Event-ID: b\r\n",
        ] {
            assert!(!is_plain(&request(&query, headers)), "{headers}");
        }
        for query in [
            "",
            "conn_id=1",
            &format!("{query}&token=a"),
            &format!("{query}&secret=a"),
            &format!("{query}&x"),
        ] {
            assert!(!is_plain(&request(query, "")), "{query}");
        }
        let text = request(&query, "");
        for other in [text.replace("GET", "HEAD"), text.replace("1.1", "1.0"), text.replace("/sse", "//sse")]
        {
            assert!(!is_plain(&other), "{other}");
        }
        assert!(!is_plain(text.trim_end()), "an incomplete head");
    }
}
