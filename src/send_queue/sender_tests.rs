use super::simulated::Socket;
use super::{FrameSender, PushResult, QueueCapacity, SendQueue, Sending};
use crate::fixtures::{ENCODER, message, pair, read_to_end, whole_frames};
use crate::protocol::frame::Audience;
use crate::protocol::frame_batch::{FrameBatch, IdBase};
use crate::protocol::ids::{Stamp, Stream};
use bytes::Bytes;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::rc::Rc;

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

/// Runs a test with both ways of sending.
fn with_each(test: impl AsyncFn(&mut FrameSender)) {
    for mut sender in [FrameSender::with_ring(), FrameSender::default()] {
        run(async { test(&mut sender).await });
    }
}

#[test]
fn each_socket_gets_its_own_bytes() {
    with_each(async |sender| {
        // More sockets than one call of a ring.
        let texts: Vec<String> = (0..150).map(|number| format!("for socket {number}")).collect();
        let mut pairs = Vec::new();
        for _ in &texts {
            pairs.push(pair().await);
        }
        let both = pairs.iter().zip(&texts);
        let batch: Vec<_> = both
            .map(|((server, _), text)| Sending { socket: server.as_fd(), bytes: text.as_bytes() })
            .collect();
        let taken: Vec<usize> = sender.send(&batch).into_iter().map(Result::unwrap).collect();
        assert_eq!(taken, texts.iter().map(String::len).collect::<Vec<_>>());
        for ((server, client), text) in pairs.into_iter().zip(texts) {
            drop(server);
            let mut input = Vec::new();
            read_to_end(client, &mut input);
            assert_eq!(input, text.as_bytes());
        }
    });
}

#[test]
fn a_full_socket_accepts_a_part_then_nothing_without_blocking() {
    with_each(async |sender| {
        let ((full, mut peer), (free, _peer)) = (pair().await, pair().await);
        let bytes = vec![b'x'; 4 << 20];
        let mut part = 0;
        let end = loop {
            let batch = [
                Sending { socket: full.as_fd(), bytes: &bytes },
                Sending { socket: free.as_fd(), bytes: b"short" },
            ];
            let taken = sender.send(&batch);
            assert_eq!(*taken[1].as_ref().unwrap(), 5);
            match &taken[0] {
                Ok(count) => part += count,
                Err(error) => break error.kind(),
            }
            assert!(part < bytes.len(), "a peer that does not read took all of it");
        };
        assert_eq!(end, ErrorKind::WouldBlock);
        drop(full);
        let mut input = Vec::new();
        peer.set_nonblocking(false).unwrap();
        peer.read_to_end(&mut input).unwrap();
        assert_eq!(input.len(), part);
    });
}

#[test]
fn a_broken_socket_fails_alone() {
    with_each(async |sender| {
        let ((broken, peer), (fine, mut reader)) = (pair().await, pair().await);
        socket2::SockRef::from(&broken).shutdown(std::net::Shutdown::Write).unwrap();
        let batch =
            [Sending { socket: broken.as_fd(), bytes: b"a" }, Sending { socket: fine.as_fd(), bytes: b"bc" }];
        let taken = sender.send(&batch);
        assert_eq!(taken[0].as_ref().unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(*taken[1].as_ref().unwrap(), 2);
        reader.set_nonblocking(false).unwrap();
        let mut input = [0; 2];
        reader.read_exact(&mut input).unwrap();
        assert_eq!(&input, b"bc");
        drop(peer);
    });
}

#[test]
fn an_empty_batch_sends_nothing() {
    with_each(async |sender| assert!(sender.send(&[]).is_empty()));
}

#[test]
fn a_second_send_to_a_socket_waits_for_the_result_of_the_first() {
    run(async {
        let (server, client) = pair().await;
        let send_queue = SendQueue::socket(server, QueueCapacity::new(1_000, 1_000), 0);
        let first = FrameBatch::of(
            Stream::Private,
            IdBase::at(Stamp::default()),
            vec![(3, 1)],
            Bytes::from_static(b"abc"),
        );
        let second = FrameBatch::of(
            Stream::Private,
            IdBase::at(Stamp::default()),
            vec![(3, 2)],
            Bytes::from_static(b"def"),
        );
        assert!(send_queue.ready(&first).is_some());
        assert!(send_queue.ready(&second).is_none(), "it could follow a part of the first");
        assert_eq!(send_queue.sent(&first, Ok(0)), PushResult::Accepted);
        assert!(send_queue.ready(&second).is_none(), "the first waits");
        assert_eq!(send_queue.push_live(&second, std::iter::empty()), PushResult::Accepted);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(send_queue.poll_flush(&mut context).is_ready());
        assert!(send_queue.ready(&first).is_some());
        drop(send_queue);
        let mut input = Vec::new();
        read_to_end(client, &mut input);
        assert_eq!(input, b"abcdef");
    });
}

/// A client that reads as fast as the server writes occupies the thread for one turn only.
#[test]
fn a_long_queue_is_written_in_several_turns() {
    let socket = Rc::new(Socket::default());
    socket.make_room(usize::MAX);
    let send_queue = SendQueue::simulated(socket.clone(), QueueCapacity::new(usize::MAX, usize::MAX));
    let frames: Vec<_> =
        (0..5_000).map(|number| ENCODER.message(&message(number), None, Audience::all()).0).collect();
    let stamped = || (1..).zip(&frames);
    assert_eq!(send_queue.push_catchup(Stream::Private, stamped()), PushResult::Accepted);
    let (mut turns, mut left) = (0, frames.len());
    while !send_queue.is_empty() {
        assert_eq!(send_queue.flush_catchup(), PushResult::Accepted);
        let now = send_queue.batch().len();
        assert!(left - now <= 1_024, "{} frames in one turn", left - now);
        (turns, left) = (turns + 1, now);
    }
    assert_eq!(turns, 5);
    let received = socket.received();
    let (all, rest) = whole_frames(&received);
    assert!(all.len() == frames.len() && rest.is_empty());
}
