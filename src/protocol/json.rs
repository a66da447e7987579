//! Additions to serde_json: a check of raw bodies, error messages for them, and writers that need no tree.

use std::fmt;
use uuid::Uuid;

/// The reason why a body is not acceptable JSON, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedJson(String);

impl MalformedJson {
    /// The error of serde_json as one sentence with line and column.
    pub fn from_serde(error: &serde_json::Error) -> Self {
        Self(format!("Invalid JSON: {error}."))
    }

    fn at(reason: &str, before: &[u8]) -> Self {
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Self(format!("Invalid JSON: {reason} at line {line} column {column}."))
    }
}

impl fmt::Display for MalformedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the text of a body, if it is UTF-8 and nests lists and objects no deeper than `max_depth`.
///
/// Called before any parsing: serde_json limits its recursion, but not inside raw values, and later readers of these
/// values (the server's own answers, the clients) should not need to check.
pub fn check(body: &[u8], max_depth: usize) -> Result<&str, MalformedJson> {
    let text = std::str::from_utf8(body)
        .map_err(|error| MalformedJson::at("invalid UTF-8", &body[..error.valid_up_to()]))?;
    match too_deep(body, max_depth) {
        Some(at) => Err(MalformedJson::at(&format!("nested deeper than {max_depth} levels"), &body[..at])),
        None => Ok(text),
    }
}

/// The position of the first bracket that opens a level beyond the limit.
fn too_deep(body: &[u8], max_depth: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => at = after_string(body, at) - 1,
            b'[' | b'{' if depth == max_depth => return Some(at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The position after the string that opens at `start`. The end of the text if the string is not closed.
fn after_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Copies well-formed JSON without the whitespace between its tokens.
pub fn without_blanks(raw: &str) -> Vec<u8> {
    let raw = raw.as_bytes();
    let mut out = Vec::with_capacity(raw.len());
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = raw.get(at) {
        match byte {
            b'"' => at = after_string(raw, at),
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.extend_from_slice(&raw[copied..at]);
                at += 1;
                copied = at;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(&raw[copied..]);
    out
}

/// Appends a JSON string. Only characters that must be escaped are.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if needs_escape(*byte) {
            out.extend_from_slice(&bytes[copied..at]);
            write_escape(*byte, out);
            copied = at + 1;
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// The number of bytes that [`write_string`] appends.
pub fn string_len(text: &str) -> usize {
    let escapes = text.bytes().filter(|byte| needs_escape(*byte));
    text.len() + 2 + escapes.map(|byte| if short_escape(byte).is_some() { 1 } else { 5 }).sum::<usize>()
}

/// Appends an id as a JSON string.
pub fn write_uuid(uuid: Uuid, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    out.push(b'"');
}

/// Appends a list of JSON strings.
pub fn write_strings(texts: &[String], out: &mut Vec<u8>) {
    write_list(texts, out, |text, out| write_string(text, out));
}

/// Appends a JSON list. `write` appends each item.
pub fn write_list<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        _ => None,
    }
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match short_escape(byte) {
        Some(letter) => out.extend_from_slice(&[b'\\', letter]),
        None => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert!(check(b"[[{}]]", 3).is_ok());
        assert!(check(br#"["[[[[", "\"[[[["]"#, 1).is_ok());
        assert!(check(b"[],[],{}", 1).is_ok());
        let refused = check(b"[\n [[[]]]]", 3).unwrap_err();
        assert_eq!(refused.to_string(), "Invalid JSON: nested deeper than 3 levels at line 2 column 4.");
        let deep = vec![b'['; 100_000];
        assert!(check(&deep, 64).is_err());
    }

    #[test]
    fn invalid_utf8_is_reported_with_its_position() {
        let refused = check(b"{\"username\":\"\xff\"}", 64).unwrap_err();
        assert_eq!(refused.to_string(), "Invalid JSON: invalid UTF-8 at line 1 column 14.");
    }

    #[test]
    fn serde_errors_become_sentences() {
        let error = serde_json::from_str::<serde_json::Value>("{oops").unwrap_err();
        assert_eq!(
            MalformedJson::from_serde(&error).to_string(),
            "Invalid JSON: key must be a string at line 1 column 2."
        );
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_writes_them(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(&out, &serde_json::to_vec(&text).unwrap());
            prop_assert_eq!(out.len(), string_len(&text));
        }

        #[test]
        fn any_bytes_are_checked_without_panic(body in any::<Vec<u8>>(), depth in 0_usize..4) {
            if let Ok(text) = check(&body, depth) {
                let _ = without_blanks(text);
            }
        }
    }
}
