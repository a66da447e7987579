//! The baseline: a bare epoll server that does one write(2) of a prepared frame for each delivery, and nothing else.
//!
//! The first byte of a connection is its role:
//!
//! * `S`: a subscriber. The number of its channel follows.
//! * `C`: a control, which sends the frame and then commands.
//! * `R`: a backend, which sends the length of its requests and the answer to each.
//! * `W`: a control, which sends the answers to a websocket's handshake and to its close frame.
//! * `G`: such a handshake.

use super::generator::failure;
use super::generator::frames::{digits_at, renumber};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

const LISTENER: Token = Token(usize::MAX);
/// The length of a control's command, in bytes.
const COMMAND: usize = 12;

enum Role {
    Unknown,
    Subscriber(usize),
    Control,
    Backend {
        length: usize,
        answer: Vec<u8>,
    },
    /// A websocket, once its handshake is complete.
    Websocket,
}

/// What happens to a connection after its input was processed.
#[derive(PartialEq)]
enum After {
    GoOn,
    Close,
}

struct Peer {
    stream: TcpStream,
    role: Role,
    input: Vec<u8>,
}

#[derive(Default)]
struct Raw {
    peers: Vec<Option<Peer>>,
    /// The subscribers of each channel.
    subscribers: Vec<Vec<usize>>,
    frame: Vec<u8>,
    digits: usize,
    numbered: u32,
    /// The answers to a websocket's handshake and to its close frame.
    welcome: Vec<u8>,
    close_answer: Vec<u8>,
}

/// Serves until it is killed.
pub fn serve() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    eprintln!("listening on http://{}/", listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut raw = Raw::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                raw.accept(&listener, &poll)?;
            } else {
                raw.read(event.token().0, &mut buffer)?;
            }
        }
    }
}

impl Raw {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let token = Token(self.peers.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    self.peers.push(Some(Peer { stream, role: Role::Unknown, input: Vec::new() }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        // Taken out of the table meanwhile, because processing its input writes to the others.
        let Some(mut peer) = self.peers[index].take() else { return Ok(()) };
        loop {
            match peer.stream.read(buffer) {
                Ok(0) => break self.unsubscribe(index, &peer),
                Ok(count) => {
                    peer.input.extend_from_slice(&buffer[..count]);
                    if self.process_input(index, &mut peer)? == After::Close {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.peers[index] = Some(peer);
                    break;
                }
                Err(_) => break self.unsubscribe(index, &peer),
            }
        }
        Ok(())
    }

    fn unsubscribe(&mut self, index: usize, peer: &Peer) {
        if let Role::Subscriber(channel) = peer.role {
            self.subscribers[channel].retain(|subscriber| *subscriber != index);
        }
    }

    fn process_input(&mut self, index: usize, peer: &mut Peer) -> io::Result<After> {
        if matches!(peer.role, Role::Unknown) && !self.determine_role(index, peer)? {
            return Ok(After::GoOn);
        }
        match &peer.role {
            Role::Unknown | Role::Subscriber(_) => {}
            Role::Control => {
                let whole = peer.input.len() / COMMAND * COMMAND;
                let commands: Vec<u8> = peer.input.drain(..whole).collect();
                self.command(&commands)?;
            }
            Role::Backend { length, answer } => {
                let count = peer.input.len() / length;
                peer.input.drain(..count * length);
                peer.stream.write_all(&answer.repeat(count))?;
                if !self.subscribers.iter().all(Vec::is_empty) {
                    self.publish(count)?;
                }
            }
            // Clients send only a close frame.
            Role::Websocket if !peer.input.is_empty() => {
                peer.stream.write_all(&self.close_answer)?;
                return Ok(After::Close);
            }
            Role::Websocket => {}
        }
        Ok(After::GoOn)
    }

    /// Writes the next frames to the subscribers of the first channel.
    fn publish(&mut self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| {
            self.numbered += 1;
            self.write(0, &self.numbered_frame(self.numbered - 1))
        })
    }

    /// Determines the role of a connection. False while it is unknown.
    fn determine_role(&mut self, index: usize, peer: &mut Peer) -> io::Result<bool> {
        match peer.input.first() {
            None => return Ok(false),
            Some(b'S') => {
                let Some(channel) = number(&peer.input, 1) else { return Ok(false) };
                peer.role = Role::Subscriber(channel);
                if channel >= self.subscribers.len() {
                    self.subscribers.resize_with(channel + 1, Vec::new);
                }
                self.subscribers[channel].push(index);
                peer.stream.write_all(b"+")?;
            }
            Some(b'C') => {
                let Some((frame, used)) = block(&peer.input, 1) else { return Ok(false) };
                self.digits = digits_at(frame).ok_or_else(|| failure("a frame without number"))?;
                self.frame = frame.to_vec();
                peer.role = Role::Control;
                peer.input.drain(..used);
            }
            Some(b'W') => {
                let Some((welcome, used)) = block(&peer.input, 1) else { return Ok(false) };
                let Some((close_answer, end)) = block(&peer.input, used) else { return Ok(false) };
                (self.welcome, self.close_answer) = (welcome.to_vec(), close_answer.to_vec());
                peer.role = Role::Control;
                peer.input.drain(..end);
                peer.stream.write_all(b"+")?;
            }
            Some(b'G') => {
                if !peer.input.ends_with(b"\r\n\r\n") {
                    return Ok(false);
                }
                peer.role = Role::Websocket;
                peer.input.clear();
                peer.stream.write_all(&self.welcome)?;
            }
            Some(_) => {
                let Some(length) = number(&peer.input, 1) else { return Ok(false) };
                let Some((answer, used)) = block(&peer.input, 5) else { return Ok(false) };
                peer.role = Role::Backend { length, answer: answer.to_vec() };
                peer.input.drain(..used);
            }
        }
        Ok(true)
    }

    /// Executes commands that arrived together. Those with the join flag share one write, to the channel of the last
    /// one.
    fn command(&mut self, commands: &[u8]) -> io::Result<()> {
        let (mut joined, mut joined_for) = (Vec::new(), 0);
        for command in commands.as_chunks::<COMMAND>().0 {
            let &[a, b, c, d, e, f, _, join, g, h, i, j] = command;
            let (first, channel) =
                (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([g, h, i, j]) as usize);
            for number in first..first + u32::from(u16::from_be_bytes([e, f])) {
                let frame = self.numbered_frame(number);
                if join == 0 {
                    self.write(channel, &frame)?;
                } else {
                    joined.extend_from_slice(&frame);
                    joined_for = channel;
                }
            }
        }
        if joined.is_empty() { Ok(()) } else { self.write(joined_for, &joined) }
    }

    fn numbered_frame(&self, number: u32) -> Vec<u8> {
        let mut frame = self.frame.clone();
        renumber(&mut frame, self.digits, number);
        frame
    }

    fn write(&self, channel: usize, bytes: &[u8]) -> io::Result<()> {
        for index in self.subscribers.get(channel).into_iter().flatten() {
            if let Some(peer) = &self.peers[*index] {
                let written = (&peer.stream).write(bytes)?;
                if written < bytes.len() {
                    return Err(failure("a subscriber's socket is full; the baseline has no queues"));
                }
            }
        }
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk) as usize)
}

/// The bytes after the length at `at`, and their end.
fn block(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + 4 + number(bytes, at)?;
    bytes.get(at + 4..end).map(|block| (block, end))
}
