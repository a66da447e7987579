//! What a case is made of, and how it is played.

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
    /// Send these bytes, in one write.
    Send(Vec<u8>),
    /// Send these bytes, so many in each write.
    SendChopped(Vec<u8>, usize),
    /// This is the next frame that the server sends: its first byte and its payload.
    Get(u8, Vec<u8>),
}

pub enum End {
    /// We say goodbye with this payload, and the server answers with that one.
    Ours(Vec<u8>, Vec<u8>),
    /// We say goodbye with this payload, and the server answers with this code.
    Refused(Vec<u8>, u16),
    /// The server says goodbye, with this code.
    Theirs(u16),
    /// Both have said goodbye.
    Said,
}

pub const NORMAL: u16 = 1000;
pub const PROTOCOL: u16 = 1002;
pub const NO_UTF8: u16 = 1007;

/// The usual end: we say goodbye, and the server answers with the same.
pub fn normal() -> End {
    End::Ours(NORMAL.to_be_bytes().to_vec(), NORMAL.to_be_bytes().to_vec())
}

/// A whole frame of a message comes back as it was sent.
pub fn echoed(opcode: u8, payload: &[u8]) -> Step {
    Step::Get(FIN | opcode, payload.to_vec())
}

/// The steps in which a ping shows that all before it was taken.
pub fn alive() -> [Step; 2] {
    [Step::Send(frame(FIN | PING, b"alive?")), Step::Get(FIN | PONG, b"alive?".to_vec())]
}

/// A message as frames of so many bytes; of a compressed one the first says so.
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

/// Plays cases one after the other, each on a socket of its own.
pub async fn play(address: SocketAddr, cases: Vec<Case>) {
    for case in cases {
        println!("case {}", case.id);
        let opened = socket::open(address, "/demo/echo", &[]).await;
        let (mut incoming, mut outgoing) = opened.unwrap_or_else(|reply| panic!("{reply:?}"));
        for step in case.steps {
            take(step, &case.id, &mut incoming, &mut outgoing).await;
        }
        end(case.end, &case.id, &mut incoming, &mut outgoing).await;
    }
}

async fn take(step: Step, id: &str, incoming: &mut Incoming, outgoing: &mut Outgoing) {
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
            // Not `assert_eq`: nobody wants to read sixteen million bytes.
            assert!(got == payload, "{id}: {} bytes came back, not the {} sent", got.len(), payload.len());
        }
    }
}

async fn end(end: End, id: &str, incoming: &mut Incoming, outgoing: &mut Outgoing) {
    match end {
        End::Ours(payload, answer) => {
            outgoing.frame(FIN | CLOSE, &payload).await;
            assert_eq!(goodbye(id, incoming).await, answer, "{id}");
        }
        End::Refused(payload, code) => {
            outgoing.frame(FIN | CLOSE, &payload).await;
            assert!(goodbye(id, incoming).await.starts_with(&code.to_be_bytes()), "{id}");
        }
        End::Theirs(code) => {
            assert!(goodbye(id, incoming).await.starts_with(&code.to_be_bytes()), "{id}");
            outgoing.close().await;
        }
        End::Said => {}
    }
    assert_eq!(next(incoming).await, None, "{id}: the server closes the socket after the goodbyes");
}

/// The payload of the server's goodbye, which must be the next frame.
async fn goodbye(id: &str, incoming: &mut Incoming) -> Vec<u8> {
    let (first, payload) = next(incoming).await.unwrap_or_else(|| panic!("{id}: no goodbye"));
    assert_eq!(first, FIN | CLOSE, "{id}: {payload:?}");
    payload
}

async fn next(incoming: &mut Incoming) -> Option<(u8, Vec<u8>)> {
    within(incoming.raw_frame()).await
}

/// A case in which a text comes back, and which ends as usual.
pub fn text_case(id: impl Into<String>, text: &[u8], mut steps: Vec<Step>) -> Case {
    steps.push(echoed(TEXT, text));
    Case { id: id.into(), steps, end: normal() }
}
