//! The limit of open files. Every connection is one, and the usual soft limit of 1,024 is for programs that call
//! `select`; the hard limit is what the operator meant.

use crate::config::Settings;
use std::io;

/// A limit below this is worth a warning: it is the default of many containers and shells, and no choice.
const FEW: u64 = 4_096;
/// Files of a thread that runs actors: two of its event loop, one for signals, its ring.
const OF_THREAD: usize = 4;
/// Files that exist once: those of the main thread and its signals.
const OF_PROCESS: usize = 6;
/// Files of an address: the socket that listens and the reserve, for IPv4 and IPv6.
const OF_ADDRESS: usize = 4;
/// With room for fewer clients a server is of no use.
const CLIENTS: usize = 16;

/// Raises the soft limit to the hard one, and logs what is in force.
pub fn raise() {
    match raised() {
        Ok(limit) if limit < FEW => log::warn!(
            "at most {limit} open files, connections included; raise the limit (ulimit -n, LimitNOFILE) for more than a \
             few clients"
        ),
        Ok(limit) => log::info!("at most {limit} open files, connections included"),
        Err(error) => log::warn!("the limit of open files stays as it is: {error}"),
    }
}

fn raised() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Opens as many files as the server and a few clients need, and closes them again: runtimes that find none panic.
///
/// # Errors
/// The system refuses one of them.
pub fn try_out(settings: &Settings, workers: usize) -> io::Result<()> {
    let addresses = 1 + usize::from(settings.internal_host.is_some());
    // The registry has a thread of its own.
    let count = OF_PROCESS + (workers + 1) * OF_THREAD + addresses * OF_ADDRESS + CLIENTS;
    // Each pipe is two files, and needs none on a disk.
    let opened: io::Result<Vec<_>> = (0..count.div_ceil(2)).map(|_| io::pipe()).collect();
    // Closed before anything is said.
    opened.map(drop).map_err(|error| {
        let text = format!(
            "cannot open {count} files, which {workers} workers and {CLIENTS} clients need (limit of open files, ulimit -n, \
             LimitNOFILE; setting workers): {error}"
        );
        io::Error::new(error.kind(), text)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = super::raised().unwrap();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, soft), (limit, hard));
    }
}
