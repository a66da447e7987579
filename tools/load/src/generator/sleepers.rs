//! Clients that subscribe and then never read.

use super::backend::Backend;
use super::failure;
use super::handshake::{Transport, connect, welcome};
use super::socket::Dialer;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Small, so that unread bytes fill the server's side early.
const RECEIVE_BUFFER: usize = 8 << 10;
/// A socket that is silent for this long counts as open.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the description of the module.
pub struct Sleepers(Vec<TcpStream>);

impl Sleepers {
    /// Connects this many, whose users are numbered from `first` on.
    pub fn subscribe(server: SocketAddr, channel: &str, first: usize, count: usize) -> io::Result<Self> {
        let mut dialer = Dialer::with_receive_buffer(RECEIVE_BUFFER);
        let mut backend = Backend::new(server)?;
        let mut streams = Vec::with_capacity(count);
        for handshake in
            connect(&mut backend, |_| channel.to_owned(), first..first + count, Transport::Websocket)?
        {
            let mut stream = dialer.dial(server)?;
            stream.write_all(&handshake)?;
            // Reads the answer byte by byte, and nothing after it.
            let mut answer = Vec::new();
            while welcome(&answer).is_none() {
                let mut byte = [0];
                if stream.read(&mut byte)? == 0 {
                    return Err(failure("refused"));
                }
                answer.push(byte[0]);
            }
            streams.push(stream);
        }
        Ok(Self(streams))
    }

    /// The number of sockets that the server has closed. Reads all that the kernels still hold, so call it once, at the
    /// end.
    pub fn num_closed(&mut self) -> io::Result<usize> {
        let mut count = 0;
        let mut buffer = vec![0; 64 << 10];
        for stream in &mut self.0 {
            stream.set_read_timeout(Some(PATIENCE))?;
            let ended = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                    Err(_) => break true,
                }
            };
            count += usize::from(ended);
        }
        Ok(count)
    }
}
