//! Reads recordings: JSON objects, one case per line.

use std::fmt;

use serde_json::{Map, Value};

use crate::transcript::{Answer, Body, Case, Payload, Request, RequestBody, Status, Step, Summary, When};

/// A recording that cannot be understood.
#[derive(Debug)]
pub struct TranscriptError(String);

impl fmt::Display for TranscriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TranscriptError {}

fn error(text: impl Into<String>) -> TranscriptError {
    TranscriptError(text.into())
}

/// Reads all cases of a transcript file's text, one JSON object per line.
///
/// # Errors
/// Names the line, case and step that does not follow the format.
pub fn read_cases(text: &str) -> Result<Vec<Case>, TranscriptError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            case(line).map_err(|error| TranscriptError(format!("line {}: {error}", number + 1)))
        })
        .collect()
}

fn case(line: &str) -> Result<Case, TranscriptError> {
    let value: Value = serde_json::from_str(line).map_err(|e| error(e.to_string()))?;
    let name = text(&value, "case")?;
    let steps = value.get("steps").and_then(Value::as_array).ok_or_else(|| error("no steps"))?;
    let steps = steps
        .iter()
        .enumerate()
        .map(|(index, value)| step(value).map_err(|e| error(format!("case {name}, step {index}: {e}"))));
    Ok(Case { topic: text(&value, "topic")?, steps: steps.collect::<Result<_, _>>()?, name })
}

fn step(value: &Value) -> Result<Step, TranscriptError> {
    let map = value.as_object().ok_or_else(|| error("not an object"))?;
    if let Some(kind) = map.get("ws").and_then(Value::as_str) {
        return socket_step(kind, value, map);
    }
    if let Some(summary) = map.get("summary") {
        return Ok(Step::Summary(read_summary(summary)?));
    }
    if let Some(seconds) = number(map, "wait") {
        return Ok(Step::Wait(seconds));
    }
    let request = request(map.get("request").ok_or_else(|| error("neither request, ws, wait nor summary"))?)?;
    if let Some(seconds) = number(map, "meanwhile") {
        return Ok(Step::Meanwhile { seconds, request });
    }
    let answer = answer(map.get("response").ok_or_else(|| error("no response"))?, &request)?;
    Ok(Step::Exchange { request, answer, original_bug: map.contains_key("original_bug") })
}

fn socket_step(kind: &str, value: &Value, map: &Map<String, Value>) -> Result<Step, TranscriptError> {
    let socket = text(value, "socket")?;
    Ok(match kind {
        "open" => Step::Open { socket, path: text(value, "path")? },
        "send" => Step::Send { socket, data: payload(map)? },
        "frames" => Step::Frames { socket, frames: list(map, "frames")?, when: when(map)? },
        "closed by client" => Step::Leave { socket },
        "closed" => Step::Closed {
            socket,
            code: map.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
            reason: map.get("reason").and_then(Value::as_str).map(str::to_owned),
            seconds: number(map, "seconds_after_open"),
        },
        other => return Err(error(format!("unknown ws step {other:?}"))),
    })
}

fn request(value: &Value) -> Result<Request, TranscriptError> {
    let map = value.as_object().ok_or_else(|| error("the request is not an object"))?;
    let body = if let Some(json) = map.get("json") {
        RequestBody::Json(json.clone())
    } else if let Some(body) = map.get("body").and_then(Value::as_str) {
        RequestBody::Text(body.to_owned())
    } else if map.contains_key("form") {
        RequestBody::Form(pairs(map, "form")?)
    } else {
        RequestBody::Empty
    };
    Ok(Request {
        method: text(value, "method")?,
        path: text(value, "path")?,
        headers: pairs(map, "headers")?,
        body,
    })
}

fn answer(value: &Value, request: &Request) -> Result<Answer, TranscriptError> {
    let map = value.as_object().ok_or_else(|| error("the response is not an object"))?;
    let status = map.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    Ok(Answer {
        status: Status::Exactly(status.ok_or_else(|| error("no status"))?),
        headers: pairs(map, "headers")?,
        body: body(map, request.path.contains("callback=")),
        seconds: number(map, "seconds"),
    })
}

fn body(map: &Map<String, Value>, callback: bool) -> Body {
    let string = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(json) = map.get("json") {
        return Body::Json(json.clone());
    }
    if let Some(outline) = map.get("json_outline") {
        return Body::Outline(outline.clone());
    }
    if let Some(title) = string("html_title") {
        return Body::HtmlTitle(title);
    }
    match string("body") {
        Some(text) if callback => {
            split_jsonp(&text).map_or(Body::Text(text), |(name, json)| Body::Jsonp(name, json))
        }
        Some(text) => Body::Text(text),
        None => Body::Unseen,
    }
}

/// Splits `name(json)`. Ignores the comment that some servers put in front against content sniffing, and a closing
/// semicolon.
pub(crate) fn split_jsonp(text: &str) -> Option<(String, Value)> {
    let text = text.trim().trim_start_matches("/**/").trim_end_matches(';').trim();
    let (name, rest) = text.split_once('(')?;
    let json = serde_json::from_str(rest.strip_suffix(')')?).ok()?;
    Some((name.to_owned(), json))
}

fn payload(map: &Map<String, Value>) -> Result<Payload, TranscriptError> {
    if let Some(text) = map.get("text").and_then(Value::as_str) {
        return Ok(Payload::Text(text.to_owned()));
    }
    let hex = map.get("binary").and_then(Value::as_str).ok_or_else(|| error("nothing to send"))?;
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.ok_or_else(|| error("binary is not hexadecimal"))?;
    Ok(Payload::Binary(
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect(),
    ))
}

fn when(map: &Map<String, Value>) -> Result<Option<When>, TranscriptError> {
    let Some((key, value)) = map.iter().find(|(key, _)| key.starts_with("seconds_after_connect")) else {
        return Ok(None);
    };
    let seconds = match value {
        Value::Array(list) => list.iter().filter_map(Value::as_f64).collect(),
        other => vec![other.as_f64().ok_or_else(|| error(format!("{key} is no number")))?],
    };
    let user = key.strip_prefix("seconds_after_connect_of_").map(str::to_owned);
    Ok(Some(When { user, seconds, earlier: 0.0 }))
}

fn read_summary(value: &Value) -> Result<Summary, TranscriptError> {
    let triple = |key: &str| {
        let list = value.get(key).and_then(Value::as_array)?;
        let numbers: Vec<i64> = list.iter().filter_map(Value::as_i64).collect();
        numbers.try_into().ok()
    };
    Ok(Summary {
        channel: triple("caught_up_from_channel").ok_or_else(|| error("no caught_up_from_channel"))?,
        user: triple("caught_up_from_user").ok_or_else(|| error("no caught_up_from_user"))?,
        all_flagged: value.get("all_flagged_catchup").and_then(Value::as_bool).unwrap_or(true),
    })
}

fn text(value: &Value, key: &str) -> Result<String, TranscriptError> {
    let text = value.get(key).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| error(format!("no {key}")))
}

fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    map.get(key).and_then(Value::as_f64)
}

fn list(map: &Map<String, Value>, key: &str) -> Result<Vec<Value>, TranscriptError> {
    map.get(key).and_then(Value::as_array).cloned().ok_or_else(|| error(format!("no {key}")))
}

fn pairs(map: &Map<String, Value>, key: &str) -> Result<Vec<(String, String)>, TranscriptError> {
    let Some(value) = map.get(key) else {
        return Ok(Vec::new());
    };
    let map = value.as_object().ok_or_else(|| error(format!("{key} is not an object")))?;
    let pair = |(name, value): (&String, &Value)| {
        let value = value.as_str().ok_or_else(|| error(format!("{key}.{name} is no text")))?;
        Ok((name.clone(), value.to_owned()))
    };
    map.iter().map(pair).collect()
}
