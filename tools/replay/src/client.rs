//! An HTTP client for the recordings: any method with any body and any headers. It follows no redirects.

use std::time::{Duration, Instant};

use awc::http::Method;
use awc::http::header::{HeaderName, HeaderValue};

/// The longest wait for a response. The longest recorded poll takes 5.3 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A request without placeholders.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

/// A response as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub elapsed: Duration,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Http(awc::Client);

impl Http {
    pub fn new() -> Self {
        Self(awc::Client::builder().disable_redirects().timeout(REQUEST_TIMEOUT).finish())
    }

    /// # Errors
    /// The reason why there was no response, as a text.
    pub async fn send(&self, node: &str, outgoing: Outgoing) -> Result<Reply, String> {
        let started = Instant::now();
        let method = Method::from_bytes(outgoing.method.as_bytes()).map_err(|error| error.to_string())?;
        // Each request has its own connection, because a reused one may turn out to be closed.
        let mut request = self.0.request(method, format!("{node}{}", outgoing.path)).force_close();
        for (name, value) in &outgoing.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|error| error.to_string())?;
            request = request.append_header((name, value));
        }
        let sent = match outgoing.body {
            Some(body) => request.send_body(body),
            None => request.send(),
        };
        let mut response = sent.await.map_err(|error| error.to_string())?;
        let body = response.body().await.map_err(|error| error.to_string())?.to_vec();
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        Ok(Reply { status: response.status().as_u16(), headers, body, elapsed: started.elapsed() })
    }
}

/// The bytes of a recorded text. If all its characters are Latin-1, they represent the bytes that were sent: thus a
/// recording can contain bytes that are not UTF-8.
pub(crate) fn recorded_bytes(text: &str) -> Vec<u8> {
    let latin: Result<Vec<u8>, _> =
        text.chars().map(|character| u8::try_from(u32::from(character))).collect();
    latin.unwrap_or_else(|_| text.as_bytes().to_vec())
}

/// The body of a form, URL-encoded.
pub(crate) fn form_bytes(pairs: &[(String, String)]) -> Vec<u8> {
    let pair = |(name, value): &(String, String)| format!("{}={}", form_text(name), form_text(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&").into_bytes()
}

fn form_text(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_1_texts_represent_bytes() {
        assert_eq!(recorded_bytes("a\u{ff}"), [b'a', 0xff]);
        assert_eq!(recorded_bytes("a\u{ff}ž"), "a\u{ff}ž".as_bytes());
    }

    #[test]
    fn forms_are_encoded() {
        let pairs = [("username".to_owned(), " admin ".to_owned()), ("p".to_owned(), "a&b=ž".to_owned())];
        assert_eq!(form_bytes(&pairs), b"username=+admin+&p=a%26b%3D%C5%BE");
    }
}
