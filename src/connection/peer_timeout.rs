//! The time limit for a peer that is not asked for answers: its kernel must acknowledge what is sent.

use tokio::net::TcpStream;

/// Lets the kernel end a connection whose peer acknowledges no data for this long, in ms (`TCP_USER_TIMEOUT`, RFC 5482,
/// and tcp(7)). 0 means no limit.
pub fn limit_unacknowledged(socket: &TcpStream, ms: u64) {
    // On failure the kernel's own limit applies, which is about 15 minutes.
    #[cfg(target_os = "linux")]
    if ms > 0 {
        let limit = std::time::Duration::from_millis(ms);
        let _ = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(limit));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, ms);
}
