//! How receipts are written into answers.

use crate::broker::requests::{Receipt, StreamReceipt};
use crate::protocol::json;
use crate::protocol::message::Delivery;
use std::io::Write;

/// The longest receipt of one stream, without the name of its user, in bytes.
pub(super) const RECEIPT_BYTES: usize = 112;

/// Whether an answer contains the numbers of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Online {
    Counted,
    /// A repeated request does not know them: they were counted when the items were published.
    Unknown,
}

/// Appends a receipt: null if it has not arrived.
pub(super) fn write_receipt(
    receipt: Option<&Receipt>,
    delivery: &Delivery,
    online: Online,
    out: &mut Vec<u8>,
) {
    let is_kept = match receipt {
        None => return out.extend_from_slice(b"null"),
        Some(Receipt::Channel(stream)) => {
            out.push(b'{');
            write_stream(stream, online, out);
            stream.is_kept
        }
        Some(Receipt::Users(streams)) => {
            out.extend_from_slice(b"{\"users\":{");
            for (index, (name, stream)) in delivery.users().into_iter().zip(streams).enumerate() {
                out.extend_from_slice(if index == 0 { b"" } else { b"," });
                json::write_string(name, out);
                out.extend_from_slice(b":{");
                write_stream(stream, online, out);
                out.push(b'}');
            }
            out.push(b'}');
            // With several users, the weakest value applies.
            streams.iter().all(|stream| stream.is_kept)
        }
    };
    let stored: &[u8] = if is_kept { b",\"stored\":\"memory\"}" } else { b",\"stored\":\"none\"}" };
    out.extend_from_slice(stored);
}

/// Appends the position and the number of sessions, without braces.
fn write_stream(stream: &StreamReceipt, online: Online, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = match stream.position {
        Some(position) => write!(out, "\"epoch\":\"{}\",\"offset\":{}", position.epoch, position.offset),
        None => out.write_all(b"\"epoch\":null,\"offset\":null"),
    };
    let _ = match online {
        Online::Counted => write!(out, ",\"online\":{}", stream.online),
        Online::Unknown => out.write_all(b",\"online\":null"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::{Epoch, Position};
    use serde_json::{Value, json};

    fn written(receipt: Option<Receipt>, users: &[&str], online: Online) -> Value {
        let pm_users = users.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        write_receipt(receipt.as_ref(), &Delivery { pm_users, ..Delivery::default() }, online, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn stream(offset: u64, is_kept: bool) -> StreamReceipt {
        StreamReceipt {
            position: Some(Position { epoch: Epoch::new(0x3b0534f494), offset }),
            online: 118,
            is_kept,
        }
    }

    #[test]
    fn a_receipt_has_the_documented_members() {
        let kept = Some(Receipt::Channel(stream(19, true)));
        assert_eq!(
            written(kept.clone(), &[], Online::Counted),
            json!({"epoch": "7c2k9x4m", "offset": 19, "online": 118, "stored": "memory"})
        );
        assert_eq!(written(kept, &[], Online::Unknown)["online"], Value::Null);
        assert_eq!(written(Some(Receipt::Channel(stream(9, false))), &[], Online::Counted)["stored"], "none");
        assert_eq!(
            written(Some(Receipt::nowhere()), &[], Online::Counted),
            json!({"epoch": null, "offset": null, "online": 0, "stored": "none"})
        );
        assert_eq!(written(None, &[], Online::Counted), Value::Null);
    }

    #[test]
    fn a_private_receipt_names_each_user_once_and_stores_the_weakest_value() {
        let streams = [stream(4, true), StreamReceipt::default()];
        let receipt = |count: usize| Some(Receipt::Users(streams[..count].into()));
        assert_eq!(
            written(receipt(2), &["a\"n", "zed", "a\"n"], Online::Counted),
            json!({"users": {
                "a\"n": {"epoch": "7c2k9x4m", "offset": 4, "online": 118},
                "zed": {"epoch": null, "offset": null, "online": 0},
            }, "stored": "none"})
        );
        assert_eq!(written(receipt(1), &["ann"], Online::Counted)["stored"], "memory");
    }

    #[test]
    fn the_length_of_a_receipt_is_an_upper_limit() {
        let longest = StreamReceipt {
            position: Some(Position { epoch: Epoch::new(0), offset: u64::MAX }),
            online: u32::MAX,
            is_kept: true,
        };
        for receipt in [Receipt::Channel(longest), Receipt::Users([longest].into())] {
            let delivery = Delivery { pm_users: vec![String::new()], ..Delivery::default() };
            let mut out = b",\"receipt\":".to_vec();
            write_receipt(Some(&receipt), &delivery, Online::Counted, &mut out);
            assert!(out.len() <= RECEIPT_BYTES + 16, "{}", out.len());
        }
    }
}
