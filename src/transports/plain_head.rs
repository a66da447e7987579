//! Reads the head of a plain GET request without an HTTP stack, for requests whose socket a session takes over. Pure.

use crate::auth::guard::SIGNATURE_HEADER;
use crate::auth::request_signature::BOUND_HEADER;
use std::mem::MaybeUninit;

/// Maximum number of headers. Browsers send about fifteen, proxies some more.
const MAX_HEADERS: usize = 48;

/// Headers that the HTTP stack or its services interpret.
const SPECIAL: [&str; 7] = [
    SIGNATURE_HEADER,
    BOUND_HEADER,
    "x-script-name",
    "x-forwarded-prefix",
    "content-length",
    "transfer-encoding",
    "expect",
];

/// Parses a request for this target from the first bytes of a connection, and passes each header to `read`, which returns
/// `None` for a header that a plain request does not contain. Returns the query and the length of the head; `None` for
/// anything else, and for an incomplete head.
pub fn read_get<'a>(
    bytes: &'a [u8],
    target: &str,
    mut read: impl FnMut(&str, &'a [u8]) -> Option<()>,
) -> Option<(&'a str, usize)> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) => length,
        _ => return None,
    };
    let is_get = request.method == Some("GET") && request.version == Some(1);
    let query = request.path.filter(|_| is_get)?.strip_prefix(target)?;
    request.headers.iter().try_for_each(|header| read(header.name, header.value))?;
    Some((query, length))
}

/// Whether a header needs the HTTP stack.
pub fn is_special(name: &str) -> bool {
    SPECIAL.iter().any(|special| name.eq_ignore_ascii_case(special))
}

/// Whether a query has the usual characters only, and an id in its usual form. `knows` checks the names of parameters.
pub fn is_usual_query(query: &str, knows: fn(&str) -> bool) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._%&=".contains(&byte);
    let is_usual_id = |id: &str| {
        let is_usual = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        id.len() == CONN_ID && id.bytes().all(is_usual)
    };
    let mut has_id = false;
    let is_usual_parameter = |parameter: &str| match parameter.split_once('=') {
        Some(("conn_id", id)) => {
            has_id = is_usual_id(id);
            true
        }
        Some((name, _)) => knows(name),
        None => false,
    };
    query.bytes().all(is_usual) && query.split('&').all(is_usual_parameter) && has_id
}

/// Length of an id in the form that clients send.
const CONN_ID: usize = 36;

/// A value that the HTTP stack also accepts as text.
pub fn text(value: &[u8]) -> Option<&str> {
    let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| plain)
}
