//! Recovery: what a returning client has of a stream, and whether the stream still holds everything after it. Pure.

use super::channel::buffer::{Buffer, Place};
use super::hub::messages::{Attaching, Recovery, Subscription};
use crate::protocol::event::Encoder;
use crate::protocol::ids::{Epoch, Offset, Position, Stamp, UserId};
use crate::protocol::position::{LossReason, Since};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// The return of a session that asked for positions, the same for all streams of its connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Resume {
    pub since: Arc<Since>,
    /// The stamp that the connection took when it was created.
    pub born: Stamp,
    /// The last stamp when the session attached. The catch-up covers everything up to it.
    pub attached: Stamp,
}

/// A member of a stream, when it gets a session.
pub struct Subscriber<'a> {
    /// The name of the channel, empty for a private stream.
    pub name: &'a Arc<str>,
    pub user: UserId,
    pub position: Position,
    /// Where the stream was when the connection subscribed. It may have been subscribed before, so that a client with an
    /// older position may miss frames.
    pub joined: Place,
    /// How far the server has delivered the stream to the connection.
    pub cursor: Offset,
    pub buffer: &'a mut Buffer,
}

/// The answer to a returning client about one stream, in its form on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    #[serde(serialize_with = "as_text")]
    pub epoch: Epoch,
    /// What the client has, as far as the server can know.
    pub from: Offset,
    /// The position of the stream. Catch-up ends here, then live frames follow.
    pub offset: Offset,
    /// Every frame after `from` follows that was meant for the user.
    pub recovered: bool,
    #[serde(flatten)]
    pub loss: Option<Loss>,
    /// Frames after this offset follow, as far as the stream keeps them. Not below `from` if the client has recovered.
    #[serde(skip)]
    pub replay_after: Offset,
    /// The connection subscribed after the moment of the client's cursor.
    #[serde(skip)]
    pub is_new: bool,
}

/// A loss that the server cannot exclude.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub reason: LossReason,
    /// Frames in between may be missing, if the server knows the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// Frames after `after`, up to and including `upto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub after: Offset,
    pub upto: Offset,
}

fn as_text<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(epoch)
}

/// What the client has of a stream.
enum Has {
    UpTo(Offset),
    /// It gave a moment that the stream cannot place: before it subscribed, and before the oldest kept frame.
    Older,
    /// It gave only positions of another life.
    Foreign,
    /// It gave a position that the stream has not reached.
    Ahead,
}

impl Subscriber<'_> {
    /// Finds what the session receives first: the answer, if it asked for positions, and the frames that its client misses.
    pub fn subscribe(self, attaching: Option<Attaching>, encoder: Encoder) -> Subscription {
        let (part, resume) = attaching.map_or((None, None), |of| (Some(of.part), of.resume));
        let recovery = resume.map(|resume| {
            let verdict = self.judge(&resume);
            Box::new(Recovery { resume, name: self.name.clone(), verdict })
        });
        let (user, through) = (self.user, self.position.offset);
        let (from, catchup) = match &recovery {
            None => (self.cursor, self.buffer.since(self.cursor, user, encoder)),
            Some(recovery) => {
                let from = recovery.verdict.replay_after;
                (from, self.buffer.since_without_deleted(from, user, encoder))
            }
        };
        Subscription { user, from, through, catchup, part, recovery }
    }

    /// Finds where the catch-up starts, and whether it is complete.
    fn judge(&self, resume: &Resume) -> Verdict {
        let verdict = match self.find(resume) {
            Has::UpTo(from) => self.judge_from(from),
            Has::Older => self.lost(self.joined.offset, LossReason::JoinedLater, None),
            Has::Foreign => self.lost(0, LossReason::Epoch, None),
            Has::Ahead => self.lost(0, LossReason::Ahead, None),
        };
        let is_new = resume.since.own_cursor().is_some_and(|cursor| cursor.stamp < self.joined.stamp);
        Verdict { is_new, ..verdict }
    }

    /// The greatest of what the client's position, the frame of its cursor and the stamp of its cursor prove.
    fn find(&self, resume: &Resume) -> Has {
        let entry = resume.since.positions.get(&**self.name);
        let cursor = resume.since.own_cursor();
        let frame = cursor.and_then(|cursor| cursor.frame);
        let own_epoch = |position: &Position| position.epoch == self.position.epoch;
        let exact = [entry.copied(), frame].into_iter().flatten().filter(own_epoch);
        let exact = exact.map(|position| position.offset).max();
        if exact.is_some_and(|offset| offset > self.position.offset) {
            return Has::Ahead;
        }
        let at_moment = cursor.map(|cursor| self.find_moment(cursor.stamp));
        match (exact, at_moment) {
            (Some(exact), Some(Has::UpTo(offset))) => Has::UpTo(exact.max(offset)),
            (Some(exact), _) => Has::UpTo(exact),
            (None, Some(has)) => has,
            (None, None) if entry.is_some() || resume.since.cursor.is_some() => Has::Foreign,
            (None, None) => Has::UpTo(self.cursor),
        }
    }

    fn find_moment(&self, stamp: Stamp) -> Has {
        match self.buffer.offset_at(stamp) {
            Some(offset) => Has::UpTo(offset),
            // It was subscribed at that moment, so it has at least what came before it subscribed.
            None if stamp >= self.joined.stamp => Has::UpTo(self.joined.offset),
            None => Has::Older,
        }
    }

    fn judge_from(&self, from: Offset) -> Verdict {
        let floor = self.buffer.floor();
        let (reason, upto) = if from < self.joined.offset {
            (LossReason::JoinedLater, self.joined.offset.max(floor.place.offset))
        } else if from < floor.place.offset {
            let reason = if floor.is_unkept { LossReason::NotKept } else { LossReason::Evicted };
            (reason, floor.place.offset)
        } else {
            let Position { epoch, offset } = self.position;
            return Verdict {
                epoch,
                from,
                offset,
                recovered: true,
                loss: None,
                replay_after: from,
                is_new: false,
            };
        };
        self.lost(from, reason, Some(Gap { after: from, upto }))
    }

    fn lost(&self, from: Offset, reason: LossReason, gap: Option<Gap>) -> Verdict {
        let Position { epoch, offset } = self.position;
        let replay_after = match reason {
            LossReason::Evicted | LossReason::NotKept | LossReason::JoinedLater => {
                from.max(self.joined.offset)
            }
            LossReason::Epoch | LossReason::Ahead => self.joined.offset,
        };
        let loss = Some(Loss { reason, gap });
        Verdict { epoch, from, offset, recovered: false, loss, replay_after, is_new: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::hub::messages::Stamped;
    use crate::fixtures::{ENCODER, message};
    use crate::protocol::frame::Audience;
    use crate::protocol::ids::ServerEpoch;
    use crate::protocol::position::{Cursor, KnownCursor};
    use serde_json::json;

    const EPOCH: Epoch = Epoch::new(7);
    const SERVER: ServerEpoch = ServerEpoch::new(3);
    const MEMBER: Place = Place { offset: 2, stamp: Stamp(25) };

    /// Frames 1 to `last` with the stamps 10, 20 and so on, of which the last `kept` are kept.
    fn buffer(last: Offset, kept: usize) -> Buffer {
        let mut buffer = Buffer::default();
        for offset in 1..=last {
            let frame = Arc::new(ENCODER.message(&message(1), None, Audience::all()).0);
            buffer.push(Stamped { offset, stamp: Stamp(offset * 10), frame }, None, kept);
        }
        buffer
    }

    fn at(epoch: Epoch, offset: Offset) -> Option<Position> {
        Some(Position { epoch, offset })
    }

    fn moment(stamp: u64, frame: Option<Position>) -> Option<KnownCursor> {
        Some(KnownCursor::Own(Cursor { server: SERVER, stamp: Stamp(stamp), frame }))
    }

    fn judge(buffer: &mut Buffer, cursor: Option<KnownCursor>, position: Option<Position>) -> Verdict {
        let positions = position.into_iter().map(|position| ("c".into(), position)).collect();
        let resume =
            Resume { since: Arc::new(Since { cursor, positions }), born: Stamp(0), attached: Stamp(99) };
        let position = Position { epoch: EPOCH, offset: 9 };
        let (name, user) = (&"c".into(), UserId(1));
        Subscriber { name, user, position, joined: MEMBER, cursor: 8, buffer }.judge(&resume)
    }

    fn summary(verdict: &Verdict) -> (Offset, Offset, Option<LossReason>) {
        (verdict.from, verdict.replay_after, verdict.loss.as_ref().map(|loss| loss.reason))
    }

    #[test]
    fn the_greatest_proof_counts() {
        let mut buffer = buffer(9, 7);
        let mut answer = |cursor, position| summary(&judge(&mut buffer, cursor, position));
        assert_eq!(answer(None, at(EPOCH, 5)), (5, 5, None), "a position");
        assert_eq!(answer(moment(69, None), None), (6, 6, None), "a moment between two frames");
        assert_eq!(answer(moment(70, None), at(EPOCH, 5)), (7, 7, None), "the moment is later");
        assert_eq!(answer(moment(30, at(EPOCH, 6)), None), (6, 6, None), "the frame of the cursor is later");
        assert_eq!(answer(moment(30, at(Epoch::new(8), 6)), None), (3, 3, None), "that of another stream");
        assert_eq!(
            answer(None, None),
            (8, 8, None),
            "the server's own cursor, for a client that gives nothing"
        );
    }

    #[test]
    fn a_loss_has_its_reason() {
        let mut buffer = buffer(9, 4);
        let mut answer = |cursor, position| summary(&judge(&mut buffer, cursor, position));
        let (other, none) = (Epoch::new(8), None);
        assert_eq!(answer(None, at(EPOCH, 4)), (4, 4, Some(LossReason::Evicted)));
        assert_eq!(answer(None, at(EPOCH, 5)), (5, 5, None), "the floor itself is enough");
        assert_eq!(answer(None, at(EPOCH, 10)), (0, 2, Some(LossReason::Ahead)));
        assert_eq!(answer(None, at(other, 8)), (0, 2, Some(LossReason::Epoch)));
        assert_eq!(answer(Some(KnownCursor::Foreign), none), (0, 2, Some(LossReason::Epoch)));
        assert_eq!(answer(None, at(EPOCH, 1)), (1, 2, Some(LossReason::JoinedLater)));
        assert_eq!(answer(moment(30, None), none), (2, 2, Some(LossReason::Evicted)), "subscribed by then");
        assert_eq!(answer(moment(15, None), none), (2, 2, Some(LossReason::JoinedLater)));
        let mut gap = |position| judge(&mut buffer, None, position).loss.unwrap().gap;
        assert_eq!(gap(at(EPOCH, 4)), Some(Gap { after: 4, upto: 5 }));
        assert_eq!(gap(at(EPOCH, 1)), Some(Gap { after: 1, upto: 5 }));
        assert_eq!(gap(at(other, 4)), None);
    }

    #[test]
    fn frames_that_are_not_kept_are_a_loss_of_their_own() {
        let mut buffer = buffer(9, 4);
        buffer.clear();
        assert_eq!(summary(&judge(&mut buffer, None, at(EPOCH, 8))), (8, 8, Some(LossReason::NotKept)));
        assert_eq!(summary(&judge(&mut buffer, None, at(EPOCH, 9))), (9, 9, None));
    }

    #[test]
    fn a_verdict_has_the_form_of_the_wire() {
        let mut buffer = buffer(9, 4);
        let mut verdict = |offset| serde_json::to_value(judge(&mut buffer, None, at(EPOCH, offset))).unwrap();
        let recovered = json!({"epoch": "00000007", "from": 6, "offset": 9, "recovered": true});
        assert_eq!(verdict(6), recovered);
        let lost = json!({"epoch": "00000007", "from": 3, "offset": 9, "recovered": false, "reason": "evicted",
            "gap": {"after": 3, "upto": 5}});
        assert_eq!(verdict(3), lost);
    }
}
