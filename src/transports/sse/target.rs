//! The request of an event stream: its connection, and what its client has.

use crate::broker::hub::handle::HubHandle;
use crate::http_error::Refusal;
use crate::protocol::position::{Cursor, KnownCursor, Since};
use crate::transports::query::{invalid, missing_conn_id, read_query};
use std::sync::Arc;
use uuid::Uuid;

/// The header in which a browser returns the id of the last event.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// The parameters that are read as a cursor, in the order of their precedence. Implementations of EventSource that cannot
/// set a header send one of the others.
const CURSORS: [&str; 4] = ["since", "lastEventId", "lastEventID", "Last-Event-ID"];

/// The query of an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTarget {
    pub conn_id: Uuid,
    pub token: Option<String>,
    /// The values of [`CURSORS`].
    cursors: [Option<String>; CURSORS.len()],
    positions: Option<String>,
}

impl EventTarget {
    /// Reads a query. Unknown parameters are ignored.
    ///
    /// # Errors
    /// `Invalid` without a readable conn_id, or if a parameter is repeated.
    pub fn read(query: &str) -> Result<Self, Refusal> {
        let [since, camel, upper, header] = CURSORS;
        let names = ["token", "positions", since, camel, upper, header];
        let (conn_id, [token, positions, cursors @ ..]) = read_query(query, names)?;
        let conn_id = conn_id.ok_or_else(missing_conn_id)?;
        Ok(Self { conn_id, token, cursors, positions })
    }

    /// Whether a parameter has a meaning for an event stream without a token.
    pub fn knows(name: &str) -> bool {
        matches!(name, "conn_id" | "positions") || CURSORS.contains(&name)
    }

    /// What the client has. The header wins over the query; an unreadable header is a cursor of another life of the
    /// server, because a browser would give up after a refusal. The polyfills of EventSource send an empty parameter if
    /// they have no id.
    ///
    /// # Errors
    /// `Invalid` on the parameter that cannot be read.
    pub fn read_since(&self, last_event_id: Option<&[u8]>, hub: &HubHandle) -> Result<Arc<Since>, Refusal> {
        let (name, cursor) = match last_event_id.filter(|id| !id.is_empty()) {
            Some(id) => (LAST_EVENT_ID, Some(std::str::from_utf8(id).unwrap_or_default())),
            None => self.cursor_in_query(),
        };
        let is_unreadable = name == LAST_EVENT_ID && cursor.and_then(Cursor::parse).is_none();
        let readable = cursor.filter(|_| !is_unreadable);
        let mut since = hub.read_since(readable, self.positions.as_deref()).map_err(|unreadable| {
            let field = if unreadable.field == CURSORS[0] { name } else { unreadable.field };
            invalid(field, &unreadable.reason)
        })?;
        if is_unreadable {
            Arc::make_mut(&mut since).cursor = Some(KnownCursor::Foreign);
        }
        Ok(since)
    }

    fn cursor_in_query(&self) -> (&'static str, Option<&str>) {
        let given = CURSORS.iter().zip(&self.cursors);
        let mut given = given.filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let is_given = |(name, value): &(&str, &str)| *name == CURSORS[0] || !value.is_empty();
        given.find(is_given).map_or((CURSORS[0], None), |(name, value)| (name, Some(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn cursor(query: &str) -> (&'static str, Option<String>) {
        let target = EventTarget::read(&format!("conn_id={ID}{query}")).unwrap();
        let (name, cursor) = target.cursor_in_query();
        (name, cursor.map(str::to_owned))
    }

    #[test]
    fn the_cursor_has_several_names_in_an_order() {
        assert_eq!(cursor(""), ("since", None));
        assert_eq!(cursor("&Last-Event-ID=d"), ("Last-Event-ID", Some("d".into())));
        assert_eq!(cursor("&Last-Event-ID=d&lastEventID=c"), ("lastEventID", Some("c".into())));
        assert_eq!(cursor("&lastEventID=c&lastEventId=b"), ("lastEventId", Some("b".into())));
        assert_eq!(cursor("&lastEventId=b&since=a&lasteventid=x"), ("since", Some("a".into())));
        assert_eq!(cursor("&lastEventId="), ("since", None));
        assert_eq!(cursor("&since="), ("since", Some(String::new())));
    }

    #[test]
    fn the_id_is_required_and_nothing_is_repeated() {
        let error = |query: &str| match EventTarget::read(query) {
            Err(Refusal::Invalid(errors)) => errors.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(error(""), r#"{"conn_id":["Missing data for required field."]}"#);
        assert_eq!(error("conn_id=x"), r#"{"conn_id":["Not a valid UUID."]}"#);
        let twice = format!("conn_id={ID}&lastEventId=a&lastEventId=b");
        assert_eq!(error(&twice), r#"{"lastEventId":["Given more than once."]}"#);
    }
}
