//! Sockets of clients.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait during the set-up of a crowd.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connects sockets, each from the first of 127.0.0.1, 127.0.0.2 … that has a free port to a server's address.
#[derive(Debug, Default)]
pub struct Dialer {
    source: u8,
    receive_buffer: Option<usize>,
}

impl Dialer {
    /// A dialer whose sockets have a receive buffer of this size.
    pub fn with_receive_buffer(bytes: usize) -> Self {
        Self { source: 0, receive_buffer: Some(bytes) }
    }

    /// A new connection, blocking and without Nagle's delay.
    pub fn dial(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        loop {
            match self.try_dial(to) {
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && self.source < 200 => {
                    self.source += 1;
                }
                result => return result,
            }
        }
    }

    fn try_dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if self.source > 0 {
            let from = Ipv4Addr::new(127, 0, 0, 1 + self.source);
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.connect(&to.into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    }
}
