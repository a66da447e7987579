//! Where connections come in: sockets of our own, or one that the service manager keeps open across restarts.

use crate::config::{Settings, is_loopback};
use listenfd::ListenFd;
use nix::errno::Errno;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// Connections the kernel holds for us while all workers are busy.
const BACKLOG: i32 = 4096;
/// Attempts to find a port that is free at all addresses of a name.
const ATTEMPTS: u32 = 16;

/// All sockets that listen.
pub struct Listeners {
    /// For everybody, or for browsers if there are others: one for each address of `host`.
    pub first: Vec<Listener>,
    /// For backends and operators, if that is apart.
    pub internal: Vec<Listener>,
}

impl Listeners {
    /// Listens where the settings say.
    ///
    /// # Errors
    /// It cannot.
    pub fn bind(settings: &Settings) -> io::Result<Self> {
        Self::beside(bind(&settings.host, settings.port)?, settings)
    }

    /// The same, with a first socket that the service manager hands over, if it does; see
    /// [`Listener::handed_over`].
    ///
    /// # Errors
    /// As there.
    pub fn handed_over_or_bound(settings: Settings) -> io::Result<(Self, Settings)> {
        let mut sockets = ListenFd::from_env();
        if sockets.len() == 0 {
            return Ok((Self::bind(&settings)?, settings));
        }
        let (first, settings) = Listener::handed_over(&mut sockets, settings)?;
        Ok((Self::beside(vec![first], &settings)?, settings))
    }

    fn beside(first: Vec<Listener>, settings: &Settings) -> io::Result<Self> {
        let internal = settings.internal_host.as_ref();
        let internal = internal.map(|host| bind(host, settings.internal_port)).transpose()?;
        Ok(Self { first, internal: internal.unwrap_or_default() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.first.len() + self.internal.len()
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
    /// Takes the socket that the service manager hands over (systemd's `LISTEN_FDS`). The settings come back with the
    /// address that is in force.
    ///
    /// # Errors
    /// What is handed over is no listening TCP socket, or its address needs other settings.
    fn handed_over(sockets: &mut ListenFd, mut settings: Settings) -> io::Result<(Self, Settings)> {
        let wrong =
            |error| io::Error::other(format!("the socket that was handed over (LISTEN_FDS): {error}"));
        let socket = sockets.take_tcp_listener(0).map_err(wrong)?;
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

/// Where these listen.
///
/// # Errors
/// The system does not say.
pub fn addresses(listeners: &[Listener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(|listener| listener.socket.local_addr()).collect()
}

/// Listens at every address of the host, on one port.
fn bind(host: &str, port: u16) -> io::Result<Vec<Listener>> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}"));
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs().map_err(named)? {
        // The settings were judged by the name.
        let is_as_judged = !is_loopback(host) || address.ip().to_canonical().is_loopback();
        if is_as_judged && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let sockets = bind_all(&addresses).map_err(named)?;
    Ok(sockets.into_iter().map(|socket| Listener { socket, is_shared: false }).collect())
}

/// Listens at all of these. Where the system chooses the port, it is one that is free at all of them.
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

/// An address that this machine does not have (`::1` without IPv6) is left out, unless it has none of them.
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
                    log::info!("{address} is left out, because this machine does not have it: {error}");
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
    // A restarted server takes its port back at once.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && has_both {
        // Else `::` takes the port of `0.0.0.0` as well.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // Sockets of the connections inherit it: what is written goes out at once.
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
    fn an_address_that_the_machine_lacks_is_left_out() {
        let sockets = bind_all(&local(&["192.0.2.1", "127.0.0.1"], 0)).unwrap();
        assert_eq!(sockets.len(), 1);
        let error = bind_all(&local(&["192.0.2.1"], 0)).unwrap_err();
        assert!(is_missing(&error), "{error}");
    }

    #[test]
    fn a_port_that_is_taken_at_one_address_is_an_error() {
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
