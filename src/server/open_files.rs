//! The limit of open files. Every connection is one open file. The usual soft limit of 1,024 is meant for programs that
//! call `select`; the hard limit is the one that the operator chose.

use crate::config::Settings;
use std::io;

/// A lower limit causes a warning: it is the default of many containers and shells, and probably not intended.
const LOW_LIMIT: u64 = 4_096;
/// Files of a thread that runs actors: two of its event loop, one for signals, its ring.
const PER_THREAD: usize = 4;
/// Files that exist once: those of the main thread and its signals.
const PER_PROCESS: usize = 6;
/// Files of an address: the listening socket and the reserve, for IPv4 and IPv6.
const PER_ADDRESS: usize = 4;
/// The server does not start without room for this many clients.
const MIN_CLIENTS: usize = 16;

/// Raises the soft limit to the hard one, and logs the resulting limit.
pub fn raise_limit() {
    match raise_soft_limit() {
        Ok(limit) if limit < LOW_LIMIT => log::warn!(
            "at most {limit} open files, connections included; raise the limit (ulimit -n, LimitNOFILE) for more than a \
             few clients"
        ),
        Ok(limit) => log::info!("at most {limit} open files, connections included"),
        Err(error) => log::warn!("cannot raise the limit of open files: {error}"),
    }
}

fn raise_soft_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Opens as many files as the server and a few clients need, and closes them again: a runtime that cannot open its files
/// panics.
///
/// # Errors
/// The system refuses one of the files.
pub fn check_available(settings: &Settings, workers: usize) -> io::Result<()> {
    let addresses = 1 + usize::from(settings.internal_host.is_some());
    // One more thread for the registry.
    let count = PER_PROCESS + (workers + 1) * PER_THREAD + addresses * PER_ADDRESS + MIN_CLIENTS;
    // Each pipe is two open files, and needs no disk.
    let opened: io::Result<Vec<_>> = (0..count.div_ceil(2)).map(|_| io::pipe()).collect();
    // The files are closed before the error is reported.
    opened.map(drop).map_err(|error| {
        let text = format!(
            "cannot open {count} files, which {workers} workers and {MIN_CLIENTS} clients need (limit of open files, ulimit -n, \
             LimitNOFILE; setting workers): {error}"
        );
        io::Error::new(error.kind(), text)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = super::raise_soft_limit().unwrap();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, soft), (limit, hard));
    }
}
