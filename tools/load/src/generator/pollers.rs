//! Clients that long-poll, on one thread. Each polls again as soon as it is answered.

use super::backend::{Answers, Backend};
use super::failure;
use super::frames::{DIGITS, digits_at};
use super::handshake::{conn_id, send_connects};
use super::socket::Dialer;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Connections that are set up together.
const BATCH: usize = 100;

struct Poller {
    stream: TcpStream,
    request: Vec<u8>,
    answers: Answers,
}

/// Long-polling clients, each on a kept-alive connection.
pub struct Pollers {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    list: Vec<Poller>,
    /// Polls that were answered with messages, and with empty lists.
    pub answered: u64,
    pub empty: u64,
    /// Other answers than 200.
    pub refused: u64,
}

impl Pollers {
    /// Connects this many to a channel and sends their first polls.
    pub fn subscribe(server: SocketAddr, channel: &str, count: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut dialer = Dialer::default();
        let mut backend = Backend::new(server)?;
        let mut list = Vec::with_capacity(count);
        for start in (0..count).step_by(BATCH) {
            let batch = start..count.min(start + BATCH);
            send_connects(&mut backend, |_| channel.to_owned(), batch.clone())?;
            for index in batch {
                let request =
                    format!("GET /listen?conn_id={} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", conn_id(index));
                let mut stream = dialer.dial(server)?;
                stream.write_all(request.as_bytes())?;
                stream.set_nonblocking(true)?;
                let mut stream = TcpStream::from_std(stream);
                poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
                list.push(Poller { stream, request: request.into_bytes(), answers: Answers::default() });
            }
        }
        let (events, buffer) = (Events::with_capacity(1024), vec![0; 64 << 10]);
        Ok(Self { poll, events, buffer, list, answered: 0, empty: 0, refused: 0 })
    }

    /// Waits for an event, reads all that has arrived and polls again. `take` receives each message's subscriber and
    /// number. Returns whether there was an event.
    pub fn turn(&mut self, timeout: Duration, mut take: impl FnMut(usize, u32)) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let index = event.token().0;
            let poller = &mut self.list[index];
            loop {
                let count = match poller.stream.read(&mut self.buffer) {
                    Ok(0) => return Err(failure("the server closed the connection of a poll")),
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                let mut due = 0;
                let (answered, empty, refused) = (&mut self.answered, &mut self.empty, &mut self.refused);
                poller.answers.feed(&self.buffer[..count], |status, body| {
                    due += 1;
                    *refused += u64::from(status != 200);
                    let numbers = numbers(body, |number| take(index, number));
                    *(if numbers > 0 { &mut *answered } else { &mut *empty }) += 1;
                })?;
                for _ in 0..due {
                    poller.stream.write_all(&poller.request)?;
                }
            }
        }
        Ok(!self.events.is_empty())
    }
}

/// Processes the messages of an answer and returns their number.
fn numbers(mut body: &[u8], mut take: impl FnMut(u32)) -> usize {
    let mut count = 0;
    while let Some(place) = digits_at(body) {
        let digits = body.get(place..place + DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
            take(number);
            count += 1;
        }
        body = &body[place..];
    }
    count
}
