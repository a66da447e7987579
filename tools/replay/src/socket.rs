//! A websocket with its own reader, which stores what arrives while other steps run.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_codec::Framed;
use actix_http::ws::Item;
use awc::BoxedSocket;
use awc::error::WsClientError;
use awc::ws::{CloseCode, CloseReason, Codec, Frame, Message};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};

use crate::transcript::Payload;

/// The largest frame that is accepted. Servers of this protocol send far smaller ones.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// How long the server may take to answer our close frame before the socket is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How a socket ended. Without a close frame there is no code.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closing {
    pub code: Option<u16>,
    pub reason: Option<String>,
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.reason.as_deref()) {
            (None, _) => f.write_str("closed without a close frame"),
            (Some(code), None | Some("")) => write!(f, "closed with {code}"),
            (Some(code), Some(reason)) => write!(f, "closed with {code} {reason:?}"),
        }
    }
}

/// What has arrived and was not read yet.
#[derive(Default)]
pub(crate) struct Received {
    pub frames: VecDeque<(Instant, String)>,
    pub heartbeats: Vec<Instant>,
    pub closed: Option<(Instant, Closing)>,
}

/// The client side of a websocket.
pub(crate) struct Socket {
    /// The path of the handshake.
    pub path: String,
    pub opened: Instant,
    received: Rc<RefCell<Received>>,
    arrived: Rc<Notify>,
    outgoing: mpsc::UnboundedSender<Message>,
}

/// The result of a handshake.
pub(crate) enum Opened {
    Socket(Socket),
    /// The server answered with this status instead of 101.
    Refused(u16),
}

impl Socket {
    /// If the server closes the connection during the handshake, the socket counts as closed without a code.
    pub async fn open(node: &str, path: &str) -> Opened {
        let client = awc::Client::builder().max_http_version(awc::http::Version::HTTP_11).finish();
        let handshake = client.ws(format!("{node}{path}")).max_frame_size(MAX_FRAME_BYTES).connect().await;
        let (outgoing, commands) = mpsc::unbounded_channel();
        let socket = Socket {
            path: path.to_owned(),
            opened: Instant::now(),
            received: Rc::default(),
            arrived: Rc::default(),
            outgoing,
        };
        match handshake {
            Ok((_, framed)) => {
                let (received, arrived) = (Rc::clone(&socket.received), Rc::clone(&socket.arrived));
                actix_rt::spawn(Reader { framed, received, arrived, partial: BytesMut::new() }.run(commands));
            }
            Err(WsClientError::InvalidResponseStatus(status)) => return Opened::Refused(status.as_u16()),
            Err(_) => socket.received.borrow_mut().closed = Some((Instant::now(), Closing::default())),
        }
        Opened::Socket(socket)
    }

    /// Sends a message. A closed socket drops it.
    pub fn send(&self, payload: &Payload) {
        let message = match payload {
            Payload::Text(text) => Message::Text(text.clone().into()),
            Payload::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(bytes)),
        };
        let _ = self.outgoing.send(message);
    }

    /// Sends a close frame and waits until the server has answered.
    pub async fn leave(&self) {
        let _ = self.outgoing.send(Message::Close(Some(CloseReason::from(CloseCode::Normal))));
        self.wait(Instant::now() + CLOSE_TIMEOUT, |received| received.closed.is_some()).await;
    }

    /// Passes what has arrived so far to a function.
    pub fn with<T>(&self, read: impl FnOnce(&mut Received) -> T) -> T {
        read(&mut self.received.borrow_mut())
    }

    /// Waits until a condition holds or the deadline has passed. Returns whether it holds.
    pub async fn wait(&self, deadline: Instant, holds: impl Fn(&Received) -> bool) -> bool {
        loop {
            if holds(&self.received.borrow()) {
                return true;
            }
            if tokio::time::timeout_at(deadline.into(), self.arrived.notified()).await.is_err() {
                return holds(&self.received.borrow());
            }
        }
    }
}

struct Reader {
    framed: Framed<BoxedSocket, Codec>,
    received: Rc<RefCell<Received>>,
    arrived: Rc<Notify>,
    /// The fragments of a message that is not complete yet.
    partial: BytesMut,
}

impl Reader {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Message>) {
        let closing = loop {
            let closing = tokio::select! {
                frame = self.framed.next() => match frame {
                    Some(Ok(frame)) => self.store(frame).await,
                    Some(Err(_)) | None => Some(Closing::default()),
                },
                command = commands.recv() => match command {
                    Some(message) => self.write(message).await,
                    // The case is over and has dropped this socket.
                    None => return,
                },
            };
            if let Some(closing) = closing {
                break closing;
            }
        };
        self.received.borrow_mut().closed = Some((Instant::now(), closing));
        self.arrived.notify_one();
    }

    /// Stores a frame. Returns how the socket ended, if this frame closed it.
    async fn store(&mut self, frame: Frame) -> Option<Closing> {
        match frame {
            Frame::Text(bytes) => self.store_bytes(&bytes),
            Frame::Binary(bytes) => self.store_text(format!("{} bytes of binary data", bytes.len())),
            Frame::Continuation(
                Item::FirstText(bytes) | Item::FirstBinary(bytes) | Item::Continue(bytes),
            ) => {
                self.partial.extend_from_slice(&bytes);
            }
            Frame::Continuation(Item::Last(bytes)) => {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(&bytes);
                self.store_bytes(&whole);
            }
            Frame::Ping(bytes) => return self.write(Message::Pong(bytes)).await,
            Frame::Pong(_) => {}
            Frame::Close(reason) => {
                // The result is the same whether or not the server still receives the answer.
                let _ = self.write(Message::Close(reason.clone())).await;
                return Some(closing(reason));
            }
        }
        None
    }

    fn store_bytes(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if text.split_whitespace().collect::<String>() == "[]" {
            self.received.borrow_mut().heartbeats.push(Instant::now());
            self.arrived.notify_one();
        } else {
            self.store_text(text.into_owned());
        }
    }

    fn store_text(&mut self, text: String) {
        self.received.borrow_mut().frames.push_back((Instant::now(), text));
        self.arrived.notify_one();
    }

    async fn write(&mut self, message: Message) -> Option<Closing> {
        let framed = &mut self.framed;
        let written = match Pin::new(&mut *framed).write(message) {
            Ok(()) => std::future::poll_fn(|cx| Pin::new(&mut *framed).flush::<Message>(cx)).await,
            Err(error) => Err(error),
        };
        written.is_err().then(Closing::default)
    }
}

fn closing(reason: Option<CloseReason>) -> Closing {
    /// RFC 6455's code for a close frame without a code.
    const NO_STATUS: u16 = 1005;
    match reason {
        Some(reason) => {
            Closing { code: Some(reason.code.into()), reason: Some(reason.description.unwrap_or_default()) }
        }
        None => Closing { code: Some(NO_STATUS), reason: Some(String::new()) },
    }
}
