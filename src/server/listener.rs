//! The sockets that listen: those that the server opens, or one that the service manager keeps open across restarts.

use crate::config::{Settings, is_loopback};
use listenfd::ListenFd;
use nix::errno::Errno;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// Connections that the kernel queues while all workers are busy.
const BACKLOG: i32 = 4096;
/// Attempts to find a port that is free on all addresses of a name.
const ATTEMPTS: u32 = 16;

/// All sockets that listen.
pub struct Listeners {
    /// One for each address of `host`: for all clients, or only for browsers if `internal` is not empty.
    pub first: Vec<Listener>,
    /// For backends and operators, if `internal_host` is set.
    pub internal: Vec<Listener>,
}

impl Listeners {
    /// Listens on the addresses that the settings name.
    ///
    /// # Errors
    /// An address cannot be resolved or bound.
    pub fn bind(settings: &Settings) -> io::Result<Self> {
        Self::with_internal(bind(&settings.host, settings.port)?, settings)
    }

    /// Does the same as [`Listeners::bind`], but uses a first socket that the service manager passes, if there is one;
    /// see [`Listener::from_service_manager`].
    ///
    /// # Errors
    /// The errors of both.
    pub fn from_service_manager_or_bind(settings: Settings) -> io::Result<(Self, Settings)> {
        let mut sockets = ListenFd::from_env();
        if sockets.len() == 0 {
            return Ok((Self::bind(&settings)?, settings));
        }
        let (first, settings) = Listener::from_service_manager(&mut sockets, settings)?;
        Ok((Self::with_internal(vec![first], &settings)?, settings))
    }

    fn with_internal(first: Vec<Listener>, settings: &Settings) -> io::Result<Self> {
        let internal = settings.internal_host.as_ref();
        let internal = internal.map(|host| bind(host, settings.internal_port)).transpose()?;
        Ok(Self { first, internal: internal.unwrap_or_default() })
    }

    pub fn count(&self) -> usize {
        self.first.len() + self.internal.len()
    }
}

/// A socket that listens.
pub struct Listener {
    pub socket: TcpListener,
    /// The service manager keeps the socket open as well: the next server accepts the connections that wait in its
    /// queue when this one stops.
    pub is_shared: bool,
}

impl Listener {
    /// Uses the socket that the service manager passes (systemd's `LISTEN_FDS`), and returns the settings with its
    /// address.
    ///
    /// # Errors
    /// The socket is not a listening TCP socket, or its address needs other settings.
    fn from_service_manager(sockets: &mut ListenFd, mut settings: Settings) -> io::Result<(Self, Settings)> {
        let wrong = |error| {
            io::Error::other(format!("the socket passed by the service manager (LISTEN_FDS): {error}"))
        };
        let socket = sockets.take_tcp_listener(0).map_err(wrong)?;
        let socket =
            socket.ok_or_else(|| io::Error::other("the service manager passed no socket (LISTEN_FDS)"))?;
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
        let address = socket.local_addr().map_err(wrong)?;
        (settings.host, settings.port) = (address.ip().to_string(), address.port());
        // Well-known secrets are refused on an address that other machines reach, also if the service manager chose it.
        settings.validate().map_err(io::Error::other)?;
        Ok((Self { socket, is_shared: true }, settings))
    }
}

/// The addresses of these sockets.
///
/// # Errors
/// The system does not report one of them.
pub fn addresses(listeners: &[Listener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(|listener| listener.socket.local_addr()).collect()
}

/// Listens on every address of the host, all with one port.
fn bind(host: &str, port: u16) -> io::Result<Vec<Listener>> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}"));
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs().map_err(named)? {
        // The settings were validated for the name: an address of a loopback name must be a loopback address.
        let is_as_validated = !is_loopback(host) || address.ip().to_canonical().is_loopback();
        if is_as_validated && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let sockets = bind_all(&addresses).map_err(named)?;
    Ok(sockets.into_iter().map(|socket| Listener { socket, is_shared: false }).collect())
}

/// Listens on all these addresses. If the system chooses the port, it is one that is free on all of them.
fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let chooses = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
    let mut attempts = if chooses { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_once(addresses) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            bound => return bound,
        }
    }
}

/// Listens on all these addresses. An address that this machine does not have (`::1` without IPv6) is skipped; it is
/// an error only if the machine has none of them.
fn bind_once(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let has_both = addresses.iter().any(SocketAddr::is_ipv4);
    let (mut bound, mut port) = (Vec::new(), 0);
    let mut missing = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        let mut address = *address;
        if address.port() == 0 {
            address.set_port(port);
        }
        match bind_to(address, has_both) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                bound.push(listener);
            }
            Err(error) if is_missing(&error) => {
                if addresses.len() > 1 {
                    log::info!("not listening on {address}, because this machine does not have it: {error}");
                }
                missing = error;
            }
            Err(error) if addresses.len() > 1 => {
                return Err(io::Error::new(error.kind(), format!("{address}: {error}")));
            }
            Err(error) => return Err(error),
        }
    }
    if bound.is_empty() { Err(missing) } else { Ok(bound) }
}

/// Whether this machine has no such address.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT)
    )
}

fn bind_to(address: SocketAddr, has_both: bool) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server can use its port again immediately.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && has_both {
        // Otherwise `::` occupies the port of `0.0.0.0` as well.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // Accepted sockets inherit this option: written bytes are sent immediately.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(texts: &[&str], port: u16) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), port)).collect()
    }

    #[test]
    fn all_addresses_of_a_name_have_one_port() {
        let sockets = bind_all(&local(&["::1", "127.0.0.1"], 0)).unwrap();
        let bound: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        assert!(bound.iter().all(|address| address.port() == bound[0].port() && address.port() != 0));
        assert!(bound.iter().any(SocketAddr::is_ipv4), "{bound:?}");
    }

    #[test]
    fn an_address_that_the_machine_lacks_is_skipped() {
        let sockets = bind_all(&local(&["192.0.2.1", "127.0.0.1"], 0)).unwrap();
        assert_eq!(sockets.len(), 1);
        let error = bind_all(&local(&["192.0.2.1"], 0)).unwrap_err();
        assert!(is_missing(&error), "{error}");
    }

    #[test]
    fn a_port_that_is_in_use_on_one_address_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind_all(&local(&["127.0.0.2", "127.0.0.1"], port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("127.0.0.1:{port}: ")), "{error}");
    }

    #[test]
    fn unspecified_addresses_of_both_families_do_not_collide() {
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        assert!(!bind_all(&local(&["::", "0.0.0.0"], port)).unwrap().is_empty());
    }
}
