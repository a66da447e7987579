//! One listener for all transports: the same scenario runs on each of them.

use super::http::Wire;
use super::socket::{self, CLOSE, FIN, Outgoing, PING, PONG, TEXT};
use super::within;
use serde_json::Value;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How a browser listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    /// Polls on one connection that is kept alive.
    LongPoll,
    /// Polls that are scripts, each on a connection of its own.
    Jsonp,
}

/// What a listener heard.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Event(Value),
    /// The websocket was closed, with this code.
    Closed(Option<u16>),
    /// A poll was answered without an event.
    Empty,
    /// A poll or handshake was refused with this status.
    Refused(u16),
    /// There is no server any more, or the listener has left.
    Gone,
}

/// Somebody who listens to one connection.
pub struct Listener {
    heard: UnboundedReceiver<Heard>,
    leaving: Rc<Cell<bool>>,
    socket: Option<Outgoing>,
    task: actix_rt::task::JoinHandle<()>,
}

impl Listener {
    /// Begins to listen. When this returns, a socket is attached; a poll will be in a moment.
    pub async fn attach(address: SocketAddr, transport: Transport, conn_id: &str) -> Self {
        let (sender, heard) = unbounded_channel();
        let leaving = Rc::new(Cell::new(false));
        let (task, socket) = match transport {
            Transport::Websocket => {
                match socket::open(address, &format!("/ws?conn_id={conn_id}"), &[]).await {
                    Ok((mut incoming, mut outgoing)) => {
                        // The session that answers has asked for its connection: what is published from now on
                        // is live for it.
                        outgoing.frame(FIN | PING, b"there?").await;
                        let early = incoming.until_pong().await;
                        early.into_iter().for_each(|frame| _ = take(frame, &sender));
                        (actix_rt::spawn(read(incoming, sender)), Some(outgoing))
                    }
                    Err(reply) => {
                        let _ = sender.send(Heard::Refused(reply.status));
                        (actix_rt::spawn(async {}), None)
                    }
                }
            }
            Transport::LongPoll | Transport::Jsonp => {
                let polls = Polls { address, jsonp: transport == Transport::Jsonp, conn_id: conn_id.into() };
                (actix_rt::spawn(polls.run(leaving.clone(), sender)), None)
            }
        };
        Self { heard, leaving, socket, task }
    }

    /// Whatever comes next, apart from heartbeats and empty polls.
    pub async fn next(&mut self) -> Heard {
        loop {
            match within(self.heard.recv()).await.unwrap_or(Heard::Gone) {
                Heard::Empty => {}
                heard => return heard,
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Heard::Event(event) => event,
            other => panic!("{other:?} in place of an event"),
        }
    }

    /// The texts of the next messages, which must all be messages.
    pub async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            texts.push(text(&self.event().await));
        }
        texts
    }

    /// The next answer of a poll, with or without events; for tests of polls alone.
    pub async fn raw(&mut self) -> Heard {
        within(self.heard.recv()).await.unwrap_or(Heard::Gone)
    }

    /// What a browser says on its socket; polls say nothing.
    pub async fn say(&mut self, text: &str) {
        if let Some(socket) = &mut self.socket {
            socket.text(text).await;
        }
    }

    /// After the poll that is under way comes no other.
    pub fn stop_soon(&self) {
        self.leaving.set(true);
    }

    /// Stops listening in an orderly way and returns the events that still came.
    ///
    /// A websocket says goodbye and waits for the answer; a poll is waited for and not repeated.
    pub async fn leave(mut self) -> Vec<Value> {
        self.leaving.set(true);
        if let Some(socket) = &mut self.socket {
            socket.close().await;
        }
        let mut rest = Vec::new();
        loop {
            match within(self.heard.recv()).await {
                Some(Heard::Event(event)) => rest.push(event),
                Some(Heard::Empty) => {}
                Some(Heard::Closed(_) | Heard::Gone | Heard::Refused(_)) | None => return rest,
            }
        }
    }

    /// Is gone without a word, in the middle of whatever goes on.
    pub async fn hang_up(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The text of a message event.
pub fn text(event: &Value) -> String {
    assert_eq!(event["type"], "message", "{event}");
    event["message"]["text"].as_str().expect("a text").to_owned()
}

async fn read(mut incoming: socket::Incoming, heard: UnboundedSender<Heard>) {
    while let Some(frame) = incoming.frame().await {
        if take(frame, &heard) {
            return;
        }
    }
    let _ = heard.send(Heard::Gone);
}

/// Passes on what a frame says; tells whether it was the last one.
fn take(frame: socket::Frame, heard: &UnboundedSender<Heard>) -> bool {
    match frame.opcode {
        TEXT => {
            let events: Vec<Value> = serde_json::from_slice(&frame.payload).expect("a list");
            assert!(events.len() <= 1, "one event a frame: {events:?}");
            events.into_iter().for_each(|event| _ = heard.send(Heard::Event(event)));
        }
        CLOSE => _ = heard.send(Heard::Closed(frame.code())),
        other => assert!([PING, PONG].contains(&other), "{frame:?}"),
    }
    frame.opcode == CLOSE
}

struct Polls {
    address: SocketAddr,
    jsonp: bool,
    conn_id: String,
}

impl Polls {
    async fn run(self, leaving: Rc<Cell<bool>>, heard: UnboundedSender<Heard>) {
        let mut kept = None;
        loop {
            let wire = match kept.take() {
                Some(wire) => Some(wire),
                None => Wire::try_open(self.address).await.ok(),
            };
            match self.poll(wire, &heard).await {
                Ok(wire) => kept = wire.filter(|_| !self.jsonp),
                Err(end) => {
                    let _ = heard.send(end);
                    return;
                }
            }
            if leaving.get() {
                let _ = heard.send(Heard::Gone);
                return;
            }
        }
    }

    async fn poll(&self, wire: Option<Wire>, heard: &UnboundedSender<Heard>) -> Result<Option<Wire>, Heard> {
        let mut wire = wire.ok_or(Heard::Gone)?;
        let callback = if self.jsonp { "&callback=take" } else { "" };
        let target = format!("/listen?conn_id={}{callback}", self.conn_id);
        wire.write(super::http::request("GET", &target, &[], b"")).await;
        let reply = wire.try_reply().await.ok_or(Heard::Gone)?;
        if reply.status != 200 {
            return Err(Heard::Refused(reply.status));
        }
        let text = reply.text();
        let list = match self.jsonp {
            true => text.strip_prefix("take(").and_then(|rest| rest.strip_suffix(')')).expect("a call"),
            false => &text,
        };
        let events: Vec<Value> = serde_json::from_str(list).expect("a list");
        if events.is_empty() {
            let _ = heard.send(Heard::Empty);
        }
        events.into_iter().for_each(|event| _ = heard.send(Heard::Event(event)));
        Ok(reply.keeps_alive().then_some(wire))
    }
}
