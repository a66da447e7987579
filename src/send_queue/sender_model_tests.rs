//! Random batches to sockets that fill up and break, against a simple model of the bytes that each client must read.
//!
//! No memory checker observes the kernel's reads. Each buffer is therefore exactly as long as its contents, and is
//! overwritten and freed as soon as the call returns: if the kernel read beyond it or later, a client would receive
//! wrong bytes.

use super::{FrameSender, Sending};
use crate::fixtures::{pair, read_to_end};
use proptest::prelude::*;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::{LazyLock, Once};

/// One call of a ring sends at most 128.
const MORE_THAN_ONE_CALL: std::ops::Range<usize> = 129..140;
/// The byte with which buffers are overwritten. It is never sent.
const OVERWRITTEN: u8 = 0xFF;

#[derive(Clone, Debug)]
enum Step {
    /// Sends to `count` consecutive sockets, cycling through the lengths.
    Send { first: usize, count: usize, lengths: Vec<usize> },
    /// A client reads up to this many bytes.
    Read { peer: usize, bytes: usize },
    /// Breaks a socket: nothing more can be sent to it.
    Break { peer: usize },
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1usize..200, 1 => 2_000usize..300_000]
}

fn step() -> impl Strategy<Value = Step> {
    let lengths = proptest::collection::vec(length(), 1..6);
    prop_oneof![
        4 => (any::<usize>(), any::<usize>(), lengths)
            .prop_map(|(first, count, lengths)| Step::Send { first, count, lengths }),
        4 => (any::<usize>(), 1usize..300_000).prop_map(|(peer, bytes)| Step::Read { peer, bytes }),
        1 => any::<usize>().prop_map(|peer| Step::Break { peer }),
    ]
}

/// The bytes for a socket from a position of its stream: a pseudo-random sequence that repeats after some thousand
/// bytes, with a different start for each socket.
fn bytes(socket: usize, from: usize, count: usize) -> Vec<u8> {
    static SEQUENCE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mixed = |place: u64| (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 % OVERWRITTEN;
        (0..4_093).map(mixed).collect()
    });
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let rest = &SEQUENCE[(socket * 977 + from + bytes.len()) % SEQUENCE.len()..];
        bytes.extend_from_slice(&rest[..rest.len().min(count - bytes.len())]);
    }
    bytes
}

struct Peer {
    server: tokio::net::TcpStream,
    client: TcpStream,
    written: usize,
    read: usize,
    is_broken: bool,
}

impl Peer {
    fn take(&mut self, number: usize, input: &[u8]) {
        let expected = bytes(number, self.read, input.len());
        if input != expected {
            let wrong = input.iter().zip(&expected).position(|(read, expected)| read != expected);
            panic!("peer {number} read wrong bytes, {wrong:?} bytes after {}", self.read);
        }
        self.read += input.len();
        assert!(self.read <= self.written, "peer {number} read more than was accepted");
    }
}

fn send(sender: &mut FrameSender, peers: &mut [Peer], first: usize, count: usize, lengths: &[usize]) {
    let (all, count) = (peers.len(), count % (peers.len() + 1));
    let chosen: Vec<usize> = (0..count).map(|next| (first % all + next) % all).collect();
    let sized = chosen.iter().zip(lengths.iter().cycle());
    let mut buffers: Vec<Box<[u8]>> =
        sized.map(|(at, length)| bytes(*at, peers[*at].written, *length).into()).collect();
    let sending = |(at, bytes): (&usize, _)| Sending { socket: peers[*at].server.as_fd(), bytes };
    let batch: Vec<_> = chosen.iter().zip(buffers.iter().map(AsRef::as_ref)).map(sending).collect();
    let taken = sender.send(&batch);
    assert_eq!(taken.len(), count);
    drop(batch);
    let lengths: Vec<usize> = buffers.iter().map(|buffer| buffer.len()).collect();
    buffers.iter_mut().for_each(|buffer| buffer.fill(OVERWRITTEN));
    drop(buffers);
    for ((at, length), taken) in chosen.into_iter().zip(lengths).zip(taken) {
        let peer = &mut peers[at];
        match taken.map_err(|error| error.kind()) {
            Ok(taken) => {
                assert!(!peer.is_broken && (1..=length).contains(&taken), "{taken} of {length} bytes");
                peer.written += taken;
            }
            Err(ErrorKind::BrokenPipe) => assert!(peer.is_broken),
            Err(ErrorKind::WouldBlock) => {
                assert!(!peer.is_broken && peer.written > 0, "the socket is not full")
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn act(sender: &mut FrameSender, peers: &mut [Peer], step: &Step) {
    match step {
        Step::Send { first, count, lengths } => send(sender, peers, *first, *count, lengths),
        Step::Read { peer, bytes } => {
            let number = peer % peers.len();
            let peer = &mut peers[number];
            let mut input = vec![0; *bytes];
            match peer.client.read(&mut input) {
                Ok(count) => peer.take(number, &input[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        Step::Break { peer } => {
            let peer = &mut peers[peer % peers.len()];
            socket2::SockRef::from(&peer.server).shutdown(std::net::Shutdown::Write).unwrap();
            peer.is_broken = true;
        }
    }
}

async fn live(mut sender: FrameSender, num_peers: usize, steps: &[Step]) {
    let mut peers = Vec::new();
    for _ in 0..num_peers {
        let (server, client) = pair().await;
        peers.push(Peer { server, client, written: 0, read: 0, is_broken: false });
    }
    steps.iter().for_each(|step| act(&mut sender, &mut peers, step));
    for (number, mut peer) in peers.into_iter().enumerate() {
        let client = peer.client.try_clone().unwrap();
        socket2::SockRef::from(&peer.server).shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        read_to_end(client, &mut rest);
        peer.take(number, &rest);
        assert_eq!(peer.read, peer.written, "peer {number} misses bytes that were accepted");
    }
}

/// Reports once that io_uring is not available and therefore not tested.
fn report_missing_ring(sender: &FrameSender) {
    static ONCE: Once = Once::new();
    if !format!("{sender:?}").contains("Some(Ring)") {
        ONCE.call_once(|| eprintln!("io_uring is not available: tested without it"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn clients_read_exactly_the_accepted_bytes(
        num_peers in prop_oneof![6 => 1usize..9, 1 => MORE_THAN_ONE_CALL],
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let with_ring = FrameSender::with_ring();
        report_missing_ring(&with_ring);
        for sender in [with_ring, FrameSender::default()] {
            runtime.block_on(live(sender, num_peers, &steps));
        }
    }
}
