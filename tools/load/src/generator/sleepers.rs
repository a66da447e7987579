//! Clients that subscribe and then never read.

use super::backend::Backend;
use super::failure;
use super::handshake::{connect, welcome};
use super::socket::Dialer;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Small, so that the server feels early what is not read.
const RECEIVE_BUFFER: usize = 8 << 10;
/// A socket that is silent for this long has not been hung up on.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module's description.
pub struct Sleepers(Vec<TcpStream>);

impl Sleepers {
    /// Connects so many, whose users are numbered from `first` on.
    pub fn subscribe(server: SocketAddr, channel: &str, first: usize, count: usize) -> io::Result<Self> {
        let mut dialer = Dialer::with_receive_buffer(RECEIVE_BUFFER);
        let mut backend = Backend::new(server)?;
        let mut streams = Vec::with_capacity(count);
        for handshake in connect(&mut backend, |_| channel.to_owned(), first..first + count, false)? {
            let mut stream = dialer.dial(server)?;
            stream.write_all(&handshake)?;
            // Nothing but the answer: it is taken byte by byte.
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

    /// How many the server has hung up on. Reads, at last, all that the kernels still hold, so it is asked once, at
    /// the end.
    pub fn hung_up(&mut self) -> io::Result<usize> {
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
