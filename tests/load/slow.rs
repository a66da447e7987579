//! Clients that never read, among others that do.

use crate::ALONE;
use channelstream_load::generator::backend::Backend;
use channelstream_load::generator::crowd::Crowd;
use channelstream_load::generator::drive::paced;
use channelstream_load::generator::ledger::Ledger;
use channelstream_load::generator::process::{memory, peak, reset_peak};
use channelstream_load::generator::publisher::Publisher;
use channelstream_load::generator::server::Server;
use channelstream_load::generator::sleepers::Sleepers;
use std::io;
use std::time::{Duration, Instant};

const READERS: usize = 100;
const SLEEPERS: usize = 100;
/// Together more than kernels store for a socket whose peer does not read.
const BROADCASTS: u32 = 200;
const BYTES: usize = 64 << 10;
/// Several times the duration of one broadcast to all on a busy machine.
const INTERVAL: Duration = Duration::from_millis(25);
/// The longest delivery, in µs. A reader that waits for a slow client exceeds it, the slowest test machine does not.
const LONGEST_US: u32 = 5_000_000;

fn sleepers_affect_no_reader() -> io::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let program = env!("CARGO_BIN_EXE_channelstream");
    let server = Server::channelstream(program, &["max_queued_bytes=262144"], None)?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, "crowd", READERS)?;
    let mut sleepers = Sleepers::subscribe(server.address, "crowd", READERS, SLEEPERS)?;
    let mut publisher = Publisher::rest(server.address, "crowd", BYTES)?;
    crowd.add_publisher(0, &mut publisher)?;
    let before = memory(server.pid())?.anonymous;
    reset_peak(server.pid())?;

    let mut ledger = Ledger::new(READERS);
    let mut latencies = paced(&mut crowd, &mut publisher, &mut ledger, BROADCASTS, INTERVAL)?;
    assert!(ledger.is_clean(BROADCASTS), "{}", ledger.describe(BROADCASTS));
    assert_eq!((crowd.seen.closed, crowd.seen.unexpected, publisher.refused), (0, 0, 0));
    latencies.sort_unstable();
    let slowest = latencies.last().copied().unwrap_or(0);
    assert!(slowest < LONGEST_US, "a delivery took {slowest} µs");

    let mut backend = Backend::new(server.address)?;
    let closed = backend.counter("sessions closed, too slow")?;
    assert_eq!(closed, SLEEPERS as u64, "sessions counted as too slow");
    assert_eq!(sleepers.num_closed()?, SLEEPERS, "sockets that the server closed");
    let highest = peak(server.pid())?;
    let after = memory_within(&server, before + (24 << 20))?;
    println!(
        "{} MiB before, {} MiB at the peak, {} MiB afterwards",
        before >> 20,
        highest >> 20,
        after >> 20
    );
    Ok(())
}

/// Waits until the memory is at most this, and fails if it remains larger.
fn memory_within(server: &Server, bound: u64) -> io::Result<u64> {
    let begin = Instant::now();
    loop {
        let now = memory(server.pid())?.anonymous;
        if now <= bound {
            return Ok(now);
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "{now} bytes are held, {bound} were expected");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_hundred_clients_that_never_read_delay_no_reader_and_are_closed() {
    let _alone = ALONE.blocking_lock();
    sleepers_affect_no_reader().expect("server and clients run");
}
