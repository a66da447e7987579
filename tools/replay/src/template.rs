//! Splits texts with placeholders, and checks the form of the values that servers write in their place.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Canonical,
    WithoutDashes,
    UpperCase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    Uuid(u32, Form),
    Timestamp,
    Int,
    Uptime,
    /// `1.2.3`
    Version,
    Cookie,
    Date,
    Host,
    Signature,
}

pub(crate) fn pieces(template: &str, host: bool) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find('<') {
        let Some(end) = rest.get(start..).and_then(|tail| tail.find('>')).map(|end| start + end) else {
            break;
        };
        let Some(piece) = rest.get(start + 1..end).and_then(placeholder) else {
            literal(&mut found, rest.get(..=start).unwrap_or_default(), host);
            rest = rest.get(start + 1..).unwrap_or_default();
            continue;
        };
        literal(&mut found, rest.get(..start).unwrap_or_default(), host);
        found.push(piece);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    literal(&mut found, rest, host);
    found
}

fn literal(found: &mut Vec<Piece>, text: &str, host: bool) {
    let parts: Vec<&str> = if host { text.split("HOST").collect() } else { vec![text] };
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            found.push(Piece::Host);
        }
        if !part.is_empty() {
            found.push(Piece::Literal(part.to_owned()));
        }
    }
}

fn placeholder(name: &str) -> Option<Piece> {
    match name {
        "timestamp" => return Some(Piece::Timestamp),
        "int" => return Some(Piece::Int),
        "uptime" => return Some(Piece::Uptime),
        "version" => return Some(Piece::Version),
        "cookie" => return Some(Piece::Cookie),
        "date" => return Some(Piece::Date),
        "valid signature" | "signature" => return Some(Piece::Signature),
        _ => {}
    }
    let rest = name.strip_prefix("uuid-")?;
    let (number, form) = match rest.split_once(' ') {
        None => (rest, Form::Canonical),
        Some((number, "without dashes")) => (number, Form::WithoutDashes),
        Some((number, "in upper case")) => (number, Form::UpperCase),
        Some(_) => return None,
    };
    number.parse().ok().map(|number| Piece::Uuid(number, form))
}

pub(crate) fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The length of the text's beginning if it has this shape, in which `d` is a digit and other characters are literal.
fn shape_length(text: &str, shape: &str) -> Option<usize> {
    let fits = |(byte, want): (u8, u8)| {
        if want == b'd' { byte.is_ascii_digit() } else { byte == want }
    };
    (text.len() >= shape.len() && text.bytes().zip(shape.bytes()).all(fits)).then_some(shape.len())
}

/// `2020-02-22T10:11:12`, with up to six digits of a fraction and a zone if there is one.
pub(crate) fn timestamp_length(text: &str) -> Option<usize> {
    let mut length = shape_length(text, "dddd-dd-ddTdd:dd:dd")?;
    let rest = |length: usize| text.get(length..).unwrap_or_default();
    if let Some(fraction) = rest(length).strip_prefix('.') {
        let count = digits(fraction);
        if !(1..=6).contains(&count) {
            return None;
        }
        length += 1 + count;
    }
    let zone = ["Z", "+dd:dd", "-dd:dd"].iter().find_map(|shape| shape_length(rest(length), shape));
    Some(length + zone.unwrap_or(0))
}

/// `0.7.1`
pub(crate) fn version_length(text: &str) -> Option<usize> {
    let major = digits(text);
    let minor = digits(text.get(major..)?.strip_prefix('.')?);
    let patch = digits(text.get(major + 1 + minor..)?.strip_prefix('.')?);
    (major > 0 && minor > 0 && patch > 0).then_some(major + minor + patch + 2)
}

/// `0:01:05` or `1 day, 0:01:05`.
pub(crate) fn uptime_length(text: &str) -> Option<usize> {
    let days = [" day, ", " days, "].iter().find_map(|word| {
        let count = digits(text);
        text.get(count..)?.starts_with(word).then_some(count + word.len())
    });
    let start = days.unwrap_or(0);
    let hours = digits(text.get(start..)?);
    let minutes = shape_length(text.get(start + hours..)?, ":dd:dd")?;
    (hours > 0).then_some(start + hours + minutes)
}
