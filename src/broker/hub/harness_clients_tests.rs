//! The clients of a harness: what they read, how their sessions end, and what the recorder has of it.

use super::*;

impl Harness {
    pub async fn close(&mut self, index: u32, reason: CloseReason) {
        if let Some(session) = self.session(index) {
            let detached = self.table.close(session.key, reason, None).unwrap();
            self.closed.push((index, reason));
            self.end_session(index, detached).await;
        }
    }

    /// The client has disconnected: its session detaches.
    pub async fn detach(&mut self, index: u32) {
        if let Some(session) = self.session(index) {
            let detached = self.table.detach(session.key).unwrap();
            self.end_session(index, detached).await;
        }
    }

    /// The client receives the response of its poll, which ends the session.
    pub async fn answer_poll(&mut self, index: u32) {
        let Some(session) = self.session(index) else { return };
        session.send_queue.seal();
        let batch = session.send_queue.batch();
        session.send_queue.clear();
        batch.iter().for_each(|element| self.record_read(index, element));
        self.detach(index).await;
    }

    /// Delivers everything in flight. Then the reported cursors must equal what the client has received.
    async fn end_session(&mut self, index: u32, detached: Detached) {
        let mut session = self.connections[index as usize].session.take().unwrap();
        if self.sockets {
            // A closed session still writes its send queue; a session whose client has disconnected does not.
            while session.send_queue.closing().is_some() && !session.send_queue.is_empty() {
                flush(&session.send_queue).await;
                self.read_available(index, &mut session);
            }
            let Session { send_queue, client, mut input, .. } = session;
            drop(send_queue);
            read_to_end(client.unwrap(), &mut input);
            self.parse(index, &mut input);
        }
        let connection = &mut self.connections[index as usize];
        for (channel, cursor) in detached.cursors {
            if let Some(known) = connection.cursors.get_mut(&channel) {
                *known = cursor.max(*known);
            }
        }
        connection.private_cursor = detached
            .private_cursor
            .map_or(connection.private_cursor, |cursor| cursor.max(connection.private_cursor));
        for (channel, cursor) in &connection.cursors {
            let exact = self.ledger.is_complete_at(index, Stream::Channel(*channel), *cursor as usize);
            assert!(exact, "{index} does not stand at {cursor} of {channel:?}: {:?}", self.ledger);
        }
        let got = self.ledger.num_received(index, Stream::Private);
        assert_eq!(got as Offset, connection.private_cursor, "{index} in its private messages");
        self.ledger.discard_pending(index);
    }

    /// The client reads everything available.
    pub async fn read(&mut self, index: u32) {
        let Some(mut session) = self.connections[index as usize].session.take() else { return };
        if self.sockets {
            flush(&session.send_queue).await;
            self.read_available(index, &mut session);
        }
        self.connections[index as usize].session = Some(session);
    }

    fn read_available(&mut self, index: u32, session: &mut Session) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = session.client.as_mut().unwrap().read(&mut buffer) {
            session.input.extend_from_slice(&buffer[..count]);
        }
        self.parse(index, &mut session.input);
    }

    fn parse(&mut self, index: u32, input: &mut Vec<u8>) {
        let (frames, rest) = whole_frames(input);
        for (_, payload) in frames.iter().filter(|(opcode, _)| *opcode == 1) {
            self.record_read(index, &payload[1..payload.len() - 1]);
        }
        *input = rest.to_vec();
    }

    fn record_read(&mut self, index: u32, element: &[u8]) {
        let number = seen(element).number;
        let stream = self.ledger.stream_of(number);
        self.ledger.got(index, stream, number);
        self.received[index as usize].push(number);
    }

    /// The recorded outcome of each frame of a connection.
    pub fn outcomes(&self, index: u32) -> Vec<(u128, Outcome)> {
        let (mut after, mut outcomes) = (0, Vec::new());
        loop {
            let page = self.recorder.read_connection(Uuid::from_u128(index.into()), after).unwrap();
            assert_eq!(page.missed, 0);
            let Some(last) = page.entries.last() else { return outcomes };
            after = last.number;
            outcomes.extend(page.entries.into_iter().filter_map(|entry| match entry.event {
                ConnectionEvent::Frame { head, outcome, .. } => Some((head.uuid.as_u128(), outcome)),
                _ => None,
            }));
        }
    }

    /// Every message that a client has read is recorded as enqueued, and every message recorded as sent was read.
    pub(super) fn check_recording(&self, index: u32) {
        let (mut enqueued, mut sent) = (HashSet::new(), HashSet::new());
        for (number, outcome) in self.outcomes(index) {
            match outcome {
                Outcome::Sent => _ = sent.insert(number),
                Outcome::Queued(_) | Outcome::Collected | Outcome::CaughtUp => {}
                _ => continue,
            }
            enqueued.insert(number);
        }
        let received: HashSet<u128> = self.received[index as usize].iter().copied().collect();
        assert!(
            received.is_subset(&enqueued),
            "{index} received {received:?}, the recording has {enqueued:?}"
        );
        assert!(sent.is_subset(&received), "{index} received {received:?}, the recording has sent {sent:?}");
    }
}
