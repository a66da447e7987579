//! Clients of every kind that connect and leave: each performs its task, checks what it receives, and ends.

use super::backend::{Answers, Backend, request};
use super::failure;
use super::handshake::welcome;
use super::socket::Dialer;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The channels of these clients, in rotation.
pub const SIDE_CHANNELS: usize = 20;
/// The channel of the clients that do not read. Its messages are long, so it stores few of them.
pub const LARGE: &str = "large";
/// Names of users. Several clients may have the same one.
const USERS: usize = 200;
/// Messages of this size and number exceed what kernels and the server's queue store for a peer that does not read.
const LONG_BYTES: usize = 100_000;
const OVERFLOWING: usize = 60;
/// The approximate size of the receive buffer of a client's socket.
const RECEIVE_BUFFER: usize = 16 << 10;
/// The beginning of a message's filler.
const FILL: &str = "fill";
/// The number of polls within which a message must arrive.
const POLLS: usize = 20;
/// A masked close frame, status 1000.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
/// The server's answer to it, and the close code of a replaced socket. Neither occurs in text.
const CLOSED: &[u8] = b"\x88\x02\x03\xe8";
const TAKEN_OVER: &[u8] = &4001_u16.to_be_bytes();

/// A kind of clients, and the function that runs one of them.
pub struct Kind {
    /// Its name, in the plural.
    pub name: &'static str,
    run: fn(&mut Churner) -> io::Result<()>,
}

/// The number of kinds.
pub const KINDS: usize = 6;
/// All of them.
pub const ALL: [Kind; KINDS] = [
    Kind { name: "websockets that close properly", run: Churner::close },
    Kind { name: "compressed websockets, aborted", run: Churner::abort },
    Kind { name: "websockets taken over", run: Churner::take_over },
    Kind { name: "polls, answered", run: Churner::poll },
    Kind { name: "polls as scripts, closed by the client", run: Churner::close_during_poll },
    Kind { name: "websockets that do not read", run: Churner::do_not_read },
];

/// How many clients of each kind have ended.
pub type Tally = Arc<[AtomicU64; KINDS]>;

/// One client after the other, each of the next kind.
pub struct Churner {
    server: SocketAddr,
    backend: Backend,
    dialer: Dialer,
    /// Clients so far, counted from the index of this churner.
    count: usize,
    tally: Tally,
}

impl Churner {
    /// The churner of this index.
    pub fn new(server: SocketAddr, index: usize, tally: Tally) -> io::Result<Self> {
        let (backend, dialer) = (Backend::new(server)?, Dialer::with_receive_buffer(RECEIVE_BUFFER));
        Ok(Self { server, backend, dialer, count: index * 7, tally })
    }

    /// Runs clients one after the other until it has to stop.
    pub fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Relaxed) {
            let index = self.count % KINDS;
            let Kind { name, run } = &ALL[index];
            run(&mut self).map_err(|error| failure(format!("{name}: {error}")))?;
            self.tally[index].fetch_add(1, Relaxed);
            self.count += 1;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let channel = self.side_channel();
        let id = self.connect(&channel)?;
        let mut socket = self.websocket(&id, false)?;
        self.publish(&channel, 100)?;
        read_until(&mut socket, FILL.as_bytes())?;
        socket.write_all(CLOSE)?;
        let mut last = Vec::new();
        socket.read_to_end(&mut last)?;
        if last.ends_with(CLOSED) { Ok(()) } else { Err(failure("no answer to a close frame")) }
    }

    fn abort(&mut self) -> io::Result<()> {
        let channel = self.side_channel();
        let id = self.connect(&channel)?;
        let _socket = self.websocket(&id, true)?;
        // Unread bytes at the drop of the socket cause a reset.
        self.publish(&channel, 2_000)
    }

    fn take_over(&mut self) -> io::Result<()> {
        let channel = self.side_channel();
        let id = self.connect(&channel)?;
        let mut first = self.websocket(&id, false)?;
        let mut second = self.websocket(&id, false)?;
        read_until(&mut first, TAKEN_OVER)?;
        // The server waits two seconds for this. The socket may be closed already.
        first
            .write_all(CLOSE)
            .and_then(|()| first.read_to_end(&mut Vec::new()).map(drop))
            .or_else(ignore_closed)?;
        self.publish(&channel, 100)?;
        read_until(&mut second, FILL.as_bytes())?;
        self.call("/disconnect", &format!(r#"{{"conn_id":"{id}"}}"#))
    }

    fn poll(&mut self) -> io::Result<()> {
        let channel = self.side_channel();
        let id = self.connect(&channel)?;
        let mut poll = self.listen(&id, "")?;
        self.publish(&channel, 100)?;
        for _ in 0..POLLS {
            // Events about other clients may arrive first.
            if answer(&mut poll)?.contains(FILL) {
                return Ok(());
            }
            poll = self.listen(&id, "")?;
        }
        Err(failure(format!("{POLLS} answers without the message")))
    }

    fn close_during_poll(&mut self) -> io::Result<()> {
        let channel = self.side_channel();
        let id = self.connect(&channel)?;
        self.listen(&id, "&callback=take").map(drop)
    }

    fn do_not_read(&mut self) -> io::Result<()> {
        let id = self.connect(LARGE)?;
        let _socket = self.websocket(&id, false)?;
        (0..OVERFLOWING).try_for_each(|_| self.publish(LARGE, LONG_BYTES))
    }

    fn side_channel(&self) -> String {
        format!("side{}", self.count % SIDE_CHANNELS)
    }

    fn user(&self) -> usize {
        self.count % USERS
    }

    fn call(&mut self, path: &str, body: &str) -> io::Result<()> {
        self.backend.call(&[request("POST", path, body)]).map(drop)
    }

    /// Sends the /connect call of the next client and returns the id of its connection.
    fn connect(&mut self, channel: &str) -> io::Result<String> {
        let (user, count) = (self.user(), self.count);
        let body = format!(
            r#"{{"username":"v{user}","channels":["{channel}"],"user_state":{{"n":{count}}},"state_public_keys":["n"],
            "info":{{"include_users":false,"include_history":false}}}}"#
        );
        let answer = self.backend.call(&[request("POST", "/connect", &body)])?.concat();
        let id = answer.split_once(r#""conn_id""#).and_then(|(_, rest)| rest.split('"').nth(1));
        id.map(str::to_owned).ok_or_else(|| failure(format!("no conn_id in {answer}")))
    }

    /// Publishes a message to a channel, and a private one to this client's user.
    fn publish(&mut self, channel: &str, bytes: usize) -> io::Result<()> {
        let (user, fill) = (self.user(), "x".repeat(bytes));
        let body = format!(
            r#"[{{"user":"s","channel":"{channel}","message":{{"{FILL}":"{fill}"}}}},
            {{"user":"s","pm_users":["v{user}"],"message":{{"private":true}}}}]"#
        );
        self.call("/message", &body)
    }

    fn websocket(&mut self, id: &str, deflate: bool) -> io::Result<TcpStream> {
        let mut socket = self.dialer.dial(self.server)?;
        let offer = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let head = format!(
            "GET /ws?conn_id={id} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             {offer}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(head.as_bytes())?;
        let answer = read_until(&mut socket, b"\r\n\r\n")?;
        match welcome(&answer) {
            Some(_) => Ok(socket),
            None => Err(failure(format!("refused: {}", String::from_utf8_lossy(&answer)))),
        }
    }

    fn listen(&mut self, id: &str, callback: &str) -> io::Result<TcpStream> {
        let mut poll = self.dialer.dial(self.server)?;
        let head = format!("GET /listen?conn_id={id}{callback} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        poll.write_all(head.as_bytes()).map(|()| poll)
    }
}

/// Reads up to the end of these bytes, one by one, so that the following ones remain for the next read.
fn read_until(socket: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(end) {
        match socket.read(&mut byte)? {
            0 => return Err(failure(format!("closed after {:?}", String::from_utf8_lossy(&bytes)))),
            _ => bytes.push(byte[0]),
        }
    }
    Ok(bytes)
}

/// The body of the answer to a poll.
fn answer(poll: &mut TcpStream) -> io::Result<String> {
    let (mut answers, mut answer) = (Answers::default(), None);
    let mut buffer = [0; 4096];
    loop {
        match poll.read(&mut buffer)? {
            0 => return Err(failure("closed during a poll")),
            count => answers.feed(&buffer[..count], |status, body| {
                answer = Some((status, String::from_utf8_lossy(body).into_owned()));
            })?,
        }
        match answer.take() {
            Some((200, body)) => return Ok(body),
            Some((status, body)) => return Err(failure(format!("{status}: {body}"))),
            None => {}
        }
    }
}

fn ignore_closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}
