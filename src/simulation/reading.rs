//! What clients receive: the bytes of their sockets, the frames in them, and the events in these.

use super::World;
use super::account::{number_of_delete, number_of_edit};
use crate::fixtures::{Seen, seen, whole_frames};
use crate::protocol::ids::ConnKey;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
/// The content of a heartbeat.
const NOTHING: &[u8] = b"[]";

impl World {
    /// A partly sent frame is sent completely, and counts as received from now on, as if the kernel had accepted all of
    /// it. The successor does not receive it.
    pub fn count_begun(&mut self, number: usize) {
        let session = &self.sessions[number];
        if session.input.is_empty() || session.send_queue.writes_events() {
            return;
        }
        let rest = session.send_queue.batch();
        let mut whole = session.input.clone();
        whole.extend_from_slice(rest.first().expect("the rest of a frame is queued"));
        let (frames, left) = whole_frames(&whole);
        assert!(left.is_empty() && frames.len() == 1, "the rest of a frame completes it");
        let (opcode, payload) = frames[0];
        // A client that asks for positions knows what it has read.
        if opcode == TEXT && payload != NOTHING && !self.is_returning(number) {
            let event = seen(element(payload));
            self.note(number, &event);
            self.sessions[number].counted = true;
        }
    }

    /// The client receives what the kernel has accepted by now.
    pub fn receive(&mut self, number: usize) {
        let session = &mut self.sessions[number];
        let mut input = std::mem::take(&mut session.input);
        input.extend(session.socket.received());
        if session.send_queue.writes_events() {
            return self.receive_events(number, &input);
        }
        let (frames, rest) = whole_frames(&input);
        session.input = rest.to_vec();
        for (opcode, payload) in frames {
            let session = &mut self.sessions[number];
            assert!(!session.is_closed, "no frame follows a close frame");
            session.is_closed = opcode == CLOSE;
            if opcode == TEXT
                && payload != NOTHING
                && !std::mem::take(&mut session.counted)
                && !session.ignores_input
            {
                self.read_element(number, element(payload));
            }
        }
    }

    /// The client of an event stream receives these bytes.
    fn receive_events(&mut self, number: usize, mut input: &[u8]) {
        while let Some(end) = memchr::memmem::find(input, b"\n\n") {
            let block = std::str::from_utf8(&input[..end]).expect("an event stream is text");
            input = &input[end + 2..];
            assert!(!self.sessions[number].is_closed, "nothing follows the end");
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            self.sessions[number].is_closed = field("event: ") == Some("end");
            if self.sessions[number].is_closed {
                continue;
            }
            if let Some(list) = field("data: ") {
                self.note_returning(number, element(list.as_bytes()));
            }
            if let Some(id) = field("id: ") {
                self.note_id(number, id, field("data: "));
            }
        }
        self.sessions[number].input = input.to_vec();
    }

    pub fn read_element(&mut self, number: usize, element: &[u8]) {
        match self.is_returning(number) {
            true => self.note_returning(number, element),
            false => self.note(number, &seen(element)),
        }
    }

    fn note(&mut self, number: usize, event: &Seen) {
        let owner = self.sessions[number].owner.expect("only attached sessions receive events");
        match event.kind.as_str() {
            "message" => {
                if let Some(edit) = event.json["message"]["edit"].as_u64() {
                    let edits = self.account.edits.get(&event.number);
                    assert!(edits.is_some_and(|edits| edits.contains(&edit.into())), "{event:?}");
                    assert!(event.catchup, "live events contain the original text: {event:?}");
                }
                self.note_number(owner, event.number);
            }
            "message:edit" => {
                let serial = event.json["message"]["edit"].as_u64().unwrap();
                self.note_number(owner, number_of_edit(serial.into()));
            }
            "message:delete" => self.note_number(owner, number_of_delete(event.number)),
            "presence" => self.check_presence(number, event),
            kind => assert!(["presence:diff", "presence:count", "user_state_change"].contains(&kind)),
        }
    }

    fn note_number(&mut self, owner: ConnKey, number: u128) {
        let stream = self.account.ledger.stream_of(number);
        self.account.ledger.got(owner, stream, number);
    }
}

/// The element in a websocket's frame.
fn element(payload: &[u8]) -> &[u8] {
    &payload[1..payload.len() - 1]
}
