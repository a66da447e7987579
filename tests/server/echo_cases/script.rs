//! The parts of a case, and how a case is run.

use crate::support::socket::{self, CLOSE, FIN, Incoming, Outgoing, PING, PONG, TEXT, frame};
use crate::support::within;
use std::net::SocketAddr;

/// A case of the suite.
pub struct Case {
    pub id: String,
    pub steps: Vec<Step>,
    pub end: End,
}

pub enum Step {
    /// Sends these bytes in one write.
    Send(Vec<u8>),
    /// Sends these bytes, with this many bytes in each write.
    SendChopped(Vec<u8>, usize),
    /// Expects this frame as the next one: its first byte and its payload.
    Get(u8, Vec<u8>),
}

pub enum End {
    /// The client sends a close frame with the first payload, and the server answers with the second one.
    Client(Vec<u8>, Vec<u8>),
    /// The client sends a close frame with this payload, and the server answers with this code.
    Refused(Vec<u8>, u16),
    /// The server sends the first close frame, with this code.
    Server(u16),
    /// Both have sent their close frame.
    Sent,
}

pub const NORMAL: u16 = 1000;
pub const PROTOCOL: u16 = 1002;
pub const INVALID_UTF8: u16 = 1007;

/// The usual end: the client sends a close frame, and the server answers with the same.
pub fn normal() -> End {
    End::Client(NORMAL.to_be_bytes().to_vec(), NORMAL.to_be_bytes().to_vec())
}

/// A whole frame of a message comes back unchanged.
pub fn echoed(opcode: u8, payload: &[u8]) -> Step {
    Step::Get(FIN | opcode, payload.to_vec())
}

/// The steps in which a ping shows that the server has accepted everything before it.
pub fn alive() -> [Step; 2] {
    [Step::Send(frame(FIN | PING, b"alive?")), Step::Get(FIN | PONG, b"alive?".to_vec())]
}

/// A message as frames of `size` bytes; the first frame carries the opcode and the reserved bits.
pub fn fragments(first: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut parts = payload.chunks(size).peekable();
    let mut opcode = first;
    while let Some(part) = parts.next() {
        let fin = if parts.peek().is_none() { FIN } else { 0 };
        out.extend(frame(fin | opcode, part));
        opcode = 0;
    }
    out
}

/// Runs cases one after the other, each on its own socket.
pub async fn run(address: SocketAddr, cases: Vec<Case>) {
    for case in cases {
        println!("case {}", case.id);
        let opened = socket::open(address, "/demo/echo", &[]).await;
        let (mut incoming, mut outgoing) = opened.unwrap_or_else(|reply| panic!("{reply:?}"));
        for step in case.steps {
            run_step(step, &case.id, &mut incoming, &mut outgoing).await;
        }
        end(case.end, &case.id, &mut incoming, &mut outgoing).await;
    }
}

async fn run_step(step: Step, id: &str, incoming: &mut Incoming, outgoing: &mut Outgoing) {
    match step {
        Step::Send(bytes) => outgoing.raw(&bytes).await,
        Step::SendChopped(bytes, size) => {
            for chop in bytes.chunks(size) {
                outgoing.raw(chop).await;
            }
        }
        Step::Get(first, payload) => {
            let (got_first, got) =
                next(incoming).await.unwrap_or_else(|| panic!("{id}: the socket is closed"));
            assert_eq!(got_first, first, "{id}: {:?}", &got[..got.len().min(125)]);
            // Not `assert_eq`, which would print sixteen million bytes.
            assert!(
                got == payload,
                "{id}: {} bytes came back instead of the {} sent",
                got.len(),
                payload.len()
            );
        }
    }
}

async fn end(end: End, id: &str, incoming: &mut Incoming, outgoing: &mut Outgoing) {
    match end {
        End::Client(payload, answer) => {
            outgoing.frame(FIN | CLOSE, &payload).await;
            assert_eq!(received_close(id, incoming).await, answer, "{id}");
        }
        End::Refused(payload, code) => {
            outgoing.frame(FIN | CLOSE, &payload).await;
            assert!(received_close(id, incoming).await.starts_with(&code.to_be_bytes()), "{id}");
        }
        End::Server(code) => {
            assert!(received_close(id, incoming).await.starts_with(&code.to_be_bytes()), "{id}");
            outgoing.close().await;
        }
        End::Sent => {}
    }
    assert_eq!(next(incoming).await, None, "{id}: the server closes the socket after the close frames");
}

/// The payload of the server's close frame, which must be the next frame.
async fn received_close(id: &str, incoming: &mut Incoming) -> Vec<u8> {
    let (first, payload) = next(incoming).await.unwrap_or_else(|| panic!("{id}: no close frame"));
    assert_eq!(first, FIN | CLOSE, "{id}: {payload:?}");
    payload
}

async fn next(incoming: &mut Incoming) -> Option<(u8, Vec<u8>)> {
    within(incoming.raw_frame()).await
}

/// A case in which a text comes back, with the usual end.
pub fn text_case(id: impl Into<String>, text: &[u8], mut steps: Vec<Step>) -> Case {
    steps.push(echoed(TEXT, text));
    Case { id: id.into(), steps, end: normal() }
}
