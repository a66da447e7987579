//! One listener for all transports, so that the same scenario runs on each of them.

use super::events::{self, Block, EventReader, EventWriter};
use super::http::Wire;
use super::nodes::Nodes;
use super::socket::{self, CLOSE, FIN, Outgoing, PING, PONG, TEXT};
use super::within;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The transport with which a browser listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    /// Long-polls on one connection that is kept alive.
    LongPoll,
    /// Polls that are scripts, each on its own connection.
    Jsonp,
    /// Server-sent events.
    Sse,
}

impl Transport {
    /// Whether one session receives all events, until one of the sides ends it.
    pub fn is_kept_open(self) -> bool {
        matches!(self, Self::Websocket | Self::Sse)
    }
}

/// What a listener received.
#[derive(Debug, PartialEq)]
pub enum ListenResult {
    Event(Value),
    /// The websocket or event stream was closed, with this code.
    Closed(Option<u16>),
    /// A poll was answered without an event.
    Empty,
    /// A poll or handshake was refused with this status.
    Refused(u16),
    /// The server is gone, or the listener has left.
    Gone,
}

/// A client that listens to one connection.
pub struct Listener {
    results: UnboundedReceiver<ListenResult>,
    leaving: Rc<Cell<bool>>,
    socket: Option<Outgoing>,
    stream: Option<EventWriter>,
    task: actix_rt::task::JoinHandle<()>,
}

impl Listener {
    /// Begins to listen. When this returns, a websocket is attached; a poll is attached a moment later. Of several nodes,
    /// each poll goes to the next one.
    pub async fn attach(nodes: impl Into<Nodes>, transport: Transport, conn_id: &str) -> Self {
        Self::start(nodes.into(), transport, conn_id, None).await
    }

    /// The same for a client that asks for positions. `since` is the rest of its query. Polls continue with the cursors
    /// that they receive.
    pub async fn resume(nodes: impl Into<Nodes>, transport: Transport, conn_id: &str, since: &str) -> Self {
        Self::start(nodes.into(), transport, conn_id, Some(format!("&resume=1{since}"))).await
    }

    async fn start(nodes: Nodes, transport: Transport, conn_id: &str, resume: Option<String>) -> Self {
        let (sender, results) = unbounded_channel();
        let leaving = Rc::new(Cell::new(false));
        let mut stream = None;
        let (task, socket) = match transport {
            Transport::Websocket => {
                let resume = resume.unwrap_or_default();
                match socket::open(nodes.next(), &format!("/ws?conn_id={conn_id}{resume}"), &[]).await {
                    Ok((mut incoming, mut outgoing)) => {
                        // The session that sends the pong has attached to its connection: it receives messages that are
                        // published from now on as live messages.
                        outgoing.frame(FIN | PING, b"there?").await;
                        let early = incoming.until_pong().await;
                        early.into_iter().for_each(|frame| _ = forward(frame, &sender));
                        (actix_rt::spawn(read(incoming, sender)), Some(outgoing))
                    }
                    Err(reply) => {
                        let _ = sender.send(ListenResult::Refused(reply.status));
                        (actix_rt::spawn(async {}), None)
                    }
                }
            }
            Transport::Sse => {
                let since = resume.as_deref().map_or("", |resume| resume.trim_start_matches("&resume=1"));
                let target = format!("/sse?conn_id={conn_id}{since}");
                match events::open(Wire::open(nodes.next()).await, &target, &[]).await {
                    Ok((_, mut incoming, outgoing)) => {
                        stream = Some(outgoing);
                        let events = Events { results: sender, resume: resume.is_some() };
                        let first = incoming.expect().await;
                        assert!(first.retry.is_some(), "{first:?}");
                        if first.has_comment {
                            // The session that answers has attached to its connection.
                            let attached = incoming.expect().await;
                            assert_eq!(attached.event.as_deref(), Some("attached"));
                            events.forward(attached);
                            (actix_rt::spawn(events.read(incoming)), None)
                        } else {
                            // The client only learns when it may return.
                            let _ = events.results.send(ListenResult::Refused(200));
                            (actix_rt::spawn(async {}), None)
                        }
                    }
                    Err(reply) => {
                        let _ = sender.send(ListenResult::Refused(reply.status));
                        (actix_rt::spawn(async {}), None)
                    }
                }
            }
            Transport::LongPoll | Transport::Jsonp => {
                let (jsonp, conn_id) = (transport == Transport::Jsonp, conn_id.into());
                let polls = Polls { nodes, jsonp, conn_id, resume };
                (actix_rt::spawn(polls.run(leaving.clone(), sender)), None)
            }
        };
        Self { results, leaving, socket, stream, task }
    }

    /// Returns the next result, apart from heartbeats and empty polls.
    pub async fn next(&mut self) -> ListenResult {
        loop {
            match within(self.results.recv()).await.unwrap_or(ListenResult::Gone) {
                ListenResult::Empty => {}
                results => return results,
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            ListenResult::Event(event) => event,
            other => panic!("{other:?} instead of an event"),
        }
    }

    /// The texts of the next `count` events, which must all be messages.
    pub async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            texts.push(text(&self.event().await));
        }
        texts
    }

    /// No other poll follows the current one.
    pub fn stop_soon(&self) {
        self.leaving.set(true);
    }

    /// Stops listening in an orderly way and returns the events that still arrived.
    ///
    /// A websocket sends a close frame and waits for the answer; an event stream ends its sending half; a poll is awaited
    /// and not repeated.
    pub async fn leave(mut self) -> Vec<Value> {
        self.leaving.set(true);
        if let Some(socket) = &mut self.socket {
            socket.close().await;
        }
        if let Some(stream) = &mut self.stream {
            let _ = within(stream.shutdown()).await;
        }
        let mut rest = Vec::new();
        loop {
            match within(self.results.recv()).await {
                Some(ListenResult::Event(event)) => rest.push(event),
                Some(ListenResult::Empty) => {}
                Some(ListenResult::Closed(_) | ListenResult::Gone | ListenResult::Refused(_)) | None => {
                    return rest;
                }
            }
        }
    }

    /// Drops the connection without a close, in the middle of any activity.
    pub async fn hang_up(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Passes on the events of a stream.
struct Events {
    results: UnboundedSender<ListenResult>,
    /// The client uses positions; for others, events are as on the other transports.
    resume: bool,
}

impl Events {
    async fn read(self, mut incoming: EventReader) {
        while let Some(block) = incoming.next().await {
            if self.forward(block) {
                return;
            }
        }
        let _ = self.results.send(ListenResult::Gone);
    }

    /// Returns whether it was the last block.
    fn forward(&self, block: Block) -> bool {
        let result = match block.event.as_deref() {
            Some("end") => ListenResult::Closed(
                block.data.and_then(|data| data["code"].as_u64()).map(|code| code as u16),
            ),
            Some(_) if self.resume => ListenResult::Event(block.element().clone()),
            None if block.is_cursor() && self.resume => {
                ListenResult::Event(json!({"type": "cursor", "cursor": block.id}))
            }
            None if block.data.is_some() => {
                let mut event = block.element().clone();
                let offset = event.as_object_mut().and_then(|event| event.remove("offset"));
                assert!(offset.as_ref().is_some_and(Value::is_u64), "{event}");
                if let Some(offset) = offset.filter(|_| self.resume) {
                    event["offset"] = offset;
                }
                ListenResult::Event(event)
            }
            _ => return false,
        };
        let is_last = matches!(result, ListenResult::Closed(_));
        let _ = self.results.send(result);
        is_last
    }
}

/// The text of a message event.
pub fn text(event: &Value) -> String {
    assert_eq!(event["type"], "message", "{event}");
    event["message"]["text"].as_str().expect("a text").to_owned()
}

async fn read(mut incoming: socket::Incoming, results: UnboundedSender<ListenResult>) {
    while let Some(frame) = incoming.frame().await {
        if forward(frame, &results) {
            return;
        }
    }
    let _ = results.send(ListenResult::Gone);
}

/// Passes on the events of a frame; returns whether it was the last frame.
fn forward(frame: socket::Frame, results: &UnboundedSender<ListenResult>) -> bool {
    match frame.opcode {
        TEXT => {
            let events: Vec<Value> = serde_json::from_slice(&frame.payload).expect("a list");
            assert!(events.len() <= 1, "one event a frame: {events:?}");
            events.into_iter().for_each(|event| _ = results.send(ListenResult::Event(event)));
        }
        CLOSE => _ = results.send(ListenResult::Closed(frame.code())),
        other => assert!([PING, PONG].contains(&other), "{frame:?}"),
    }
    frame.opcode == CLOSE
}

struct Polls {
    nodes: Nodes,
    jsonp: bool,
    conn_id: String,
    /// The rest of the query of a client that asks for positions.
    resume: Option<String>,
}

impl Polls {
    async fn run(mut self, leaving: Rc<Cell<bool>>, results: UnboundedSender<ListenResult>) {
        let mut kept = None;
        loop {
            let wire = match kept.take() {
                Some(wire) => Some(wire),
                None => Wire::try_open(self.nodes.next()).await.ok(),
            };
            match self.poll(wire, &results).await {
                Ok(wire) => kept = wire.filter(|_| !self.jsonp && matches!(self.nodes, Nodes::One(_))),
                Err(end) => {
                    let _ = results.send(end);
                    return;
                }
            }
            if leaving.get() {
                let _ = results.send(ListenResult::Gone);
                return;
            }
        }
    }

    async fn poll(
        &mut self,
        wire: Option<Wire>,
        results: &UnboundedSender<ListenResult>,
    ) -> Result<Option<Wire>, ListenResult> {
        let mut wire = wire.ok_or(ListenResult::Gone)?;
        let callback = if self.jsonp { "&callback=take" } else { "" };
        let resume = self.resume.as_deref().unwrap_or_default();
        let target = format!("/listen?conn_id={}{callback}{resume}", self.conn_id);
        wire.write(super::http::request("GET", &target, &[], b"")).await;
        let reply = wire.try_reply().await.ok_or(ListenResult::Gone)?;
        if reply.status != 200 {
            return Err(ListenResult::Refused(reply.status));
        }
        let text = reply.text();
        let list = match self.jsonp {
            true => text.strip_prefix("take(").and_then(|rest| rest.strip_suffix(')')).expect("a call"),
            false => &text,
        };
        let events: Vec<Value> = serde_json::from_str(list).expect("a list");
        if let (Some(resume), Some(last)) = (&mut self.resume, events.last()) {
            assert_eq!(last["type"], "cursor", "the last element of a response: {events:?}");
            *resume = format!("&resume=1&since={}", last["cursor"].as_str().expect("a cursor"));
        }
        if events.is_empty() {
            let _ = results.send(ListenResult::Empty);
        }
        events.into_iter().for_each(|event| _ = results.send(ListenResult::Event(event)));
        Ok(reply.keeps_alive().then_some(wire))
    }
}
