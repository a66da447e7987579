//! Where connections come in: a socket of our own, or one that the service manager keeps open across restarts.

use crate::settings::Settings;
use listenfd::ListenFd;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// Connections the kernel holds for us while all workers are busy.
const BACKLOG: i32 = 4096;

/// All sockets that listen.
pub struct Listeners {
    /// For everybody, or for browsers if there is another one.
    pub first: Listener,
    /// For backends and operators, if that is apart.
    pub internal: Option<Listener>,
}

impl Listeners {
    /// Listens where the settings say.
    ///
    /// # Errors
    /// It cannot.
    pub fn bind(settings: &Settings) -> io::Result<Self> {
        Self::beside(Listener::bind(&settings.host, settings.port)?, settings)
    }

    /// The same, with a first socket that the service manager hands over, if it does; see
    /// [`Listener::handed_over_or_bound`].
    ///
    /// # Errors
    /// As there.
    pub fn handed_over_or_bound(settings: Settings) -> io::Result<(Self, Settings)> {
        let (first, settings) = Listener::handed_over_or_bound(settings)?;
        Ok((Self::beside(first, &settings)?, settings))
    }

    fn beside(first: Listener, settings: &Settings) -> io::Result<Self> {
        let internal = settings.internal_host.as_ref();
        let internal = internal.map(|host| Listener::bind(host, settings.internal_port)).transpose()?;
        Ok(Self { first, internal })
    }
}

/// A socket that listens.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Somebody else keeps it open as well: who waits in its queue when we stop is for our successor.
    pub is_shared: bool,
}

impl Listener {
    /// Listens there.
    ///
    /// # Errors
    /// It cannot.
    pub fn bind(host: &str, port: u16) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}"))
        };
        Ok(Self { socket: bind(host, port).map_err(named)?, is_shared: false })
    }

    /// Takes the socket that the service manager hands over (systemd's `LISTEN_FDS`), else listens where the settings
    /// say. The settings come back with the address that is in force.
    ///
    /// # Errors
    /// It cannot listen, what is handed over is no listening TCP socket, or its address needs other settings.
    pub fn handed_over_or_bound(mut settings: Settings) -> io::Result<(Self, Settings)> {
        let mut handed_over = ListenFd::from_env();
        if handed_over.len() == 0 {
            return Ok((Self::bind(&settings.host, settings.port)?, settings));
        }
        let wrong =
            |error| io::Error::other(format!("the socket that was handed over (LISTEN_FDS): {error}"));
        let socket = handed_over.take_tcp_listener(0).map_err(wrong)?;
        let socket = socket.ok_or_else(|| io::Error::other("no socket was handed over (LISTEN_FDS)"))?;
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
        let address = socket.local_addr().map_err(wrong)?;
        (settings.host, settings.port) = (address.ip().to_string(), address.port());
        // Well-known secrets are refused on an address that other machines reach, whoever has chosen it.
        settings.validate().map_err(io::Error::other)?;
        Ok((Self { socket, is_shared: true }, settings))
    }
}

fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{host} has no address"));
    for address in (host, port).to_socket_addrs()? {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server takes its port back at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Sockets of the connections inherit it: what is written goes out at once.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
