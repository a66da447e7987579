//! Random pushes, writes and closes, against a plain list of the unsent rest of each frame.

use super::*;
use crate::protocol::frame_batch::IdBase;
use crate::protocol::ids::{ChannelId, Stamp};
use proptest::prelude::*;

const STREAM: Stream = Stream::Channel(ChannelId(1));
const BYTES: usize = 60;
const FRAMES: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    /// A frame of the stream, or a control frame if it has no mark.
    Push {
        bytes: usize,
        marked: bool,
    },
    /// A frame of a catch-up.
    PushExempt {
        bytes: usize,
    },
    /// Frames of which the socket already accepted the first bytes, if the queue was empty.
    PushRest {
        lengths: Vec<usize>,
        taken: usize,
    },
    Advance {
        bytes: usize,
    },
    CountPartial,
    KeepPartial,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || 1usize..20;
    prop_oneof![
        4 => (bytes(), any::<bool>()).prop_map(|(bytes, marked)| Step::Push { bytes, marked }),
        2 => bytes().prop_map(|bytes| Step::PushExempt { bytes }),
        2 => (proptest::collection::vec(bytes(), 1..4), 0usize..40)
            .prop_map(|(lengths, taken)| Step::PushRest { lengths, taken }),
        6 => (1usize..40).prop_map(|bytes| Step::Advance { bytes }),
        1 => Just(Step::CountPartial),
        1 => Just(Step::KeepPartial),
        1 => Just(Step::Clear),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Left {
    bytes: Vec<u8>,
    offset: Option<Offset>,
    is_partial: bool,
}

#[derive(Debug, Default)]
struct Model {
    left: Vec<Left>,
    /// Bytes of catch-ups since the queue was last empty.
    exempt: usize,
    offset: Offset,
}

impl Model {
    /// Bytes that differ from frame to frame, and the offset of the frame.
    fn frame(&mut self, bytes: usize) -> (Bytes, Offset) {
        self.offset += 1;
        let mixed = (0..bytes).map(|at| (self.offset as usize * 31 + at) as u8);
        (mixed.collect(), self.offset)
    }

    fn push(&mut self, bytes: &[u8], offset: Option<Offset>, is_partial: bool) {
        self.left.push(Left { bytes: bytes.to_vec(), offset, is_partial });
    }

    fn bytes(&self) -> usize {
        self.left.iter().map(|left| left.bytes.len()).sum()
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 && !self.left.is_empty() {
            let first = &mut self.left[0];
            let taken = bytes.min(first.bytes.len());
            first.bytes.drain(..taken);
            first.is_partial = true;
            bytes -= taken;
            if first.bytes.is_empty() {
                self.left.remove(0);
            }
        }
    }

    fn has_max_frames(&self) -> bool {
        self.exempt == 0 && self.left.len() >= FRAMES
    }
}

fn act(queue: &mut Queue, model: &mut Model, step: Step) {
    match step {
        Step::Push { bytes, marked } => {
            let (bytes, offset) = model.frame(bytes);
            model.push(&bytes, marked.then_some(offset), false);
            let mark = marked.then_some(Mark { stream: STREAM, offset });
            queue.push(Queued::new(bytes, mark));
        }
        Step::PushExempt { bytes } => {
            let (bytes, offset) = model.frame(bytes);
            model.push(&bytes, Some(offset), false);
            model.exempt += bytes.len();
            queue.push_exempt(Queued::new(bytes, Some(Mark { stream: STREAM, offset })));
        }
        Step::PushRest { lengths, taken } => {
            // The socket cannot have accepted bytes of frames behind waiting ones.
            let taken = if model.left.is_empty() { taken } else { 0 };
            let (mut all, mut ends) = (Vec::new(), Vec::new());
            for length in lengths {
                let (bytes, offset) = model.frame(length);
                let sent = taken.saturating_sub(all.len()).min(length);
                if sent < length {
                    model.push(&bytes[sent..], Some(offset), sent > 0);
                }
                all.extend_from_slice(&bytes);
                ends.push((all.len(), offset));
            }
            queue.push_rest(&FrameBatch::of(STREAM, IdBase::at(Stamp::default()), ends, all.into()), taken);
        }
        Step::Advance { bytes } => {
            // The kernel never accepts more than is queued.
            let bytes = bytes.min(model.bytes());
            model.advance(bytes);
            queue.advance(bytes);
        }
        Step::CountPartial => {
            model.left.iter_mut().take(1).filter(|left| left.is_partial).for_each(|left| left.offset = None);
            queue.count_partial_as_delivered();
        }
        Step::KeepPartial => {
            model.left.truncate(1);
            model.left.retain(|left| left.is_partial);
            model.exempt = 0;
            queue.keep_partial();
        }
        Step::Clear => {
            let clean = !model.left.iter().any(|left| left.is_partial);
            model.left.clear();
            assert_eq!(queue.clear(), clean);
        }
    }
    if model.left.is_empty() {
        model.exempt = 0;
    }
}

fn check(queue: &Queue, model: &Model) {
    let left = |item: &Queued| Left {
        bytes: item.bytes.to_vec(),
        offset: item.mark.map(|mark| mark.offset),
        is_partial: item.is_partial,
    };
    assert_eq!(queue.items().map(left).collect::<Vec<_>>(), model.left);
    assert_eq!((queue.bytes(), queue.is_empty()), (model.bytes(), model.left.is_empty()));
    assert_eq!((queued_here(), frames_here()), (model.bytes(), model.left.len()));
    assert_eq!(queue.first_offset(STREAM), model.left.iter().find_map(|left| left.offset));
    assert_eq!(queue.first_offset(Stream::Private), None);
    assert_eq!(queue.has_max_frames(), model.has_max_frames());
    let room = (BYTES + model.exempt).checked_sub(model.bytes());
    for more in [1, 20, room.unwrap_or(0), room.unwrap_or(0) + 1] {
        let fits = room.is_some_and(|room| more <= room) && !model.has_max_frames();
        assert_eq!(queue.has_room(more), fits, "{more} more bytes");
    }
}

proptest! {
    #[test]
    fn a_queue_behaves_like_a_plain_list(steps in proptest::collection::vec(step(), 0..120)) {
        let (mut queue, mut model) = (Queue::new(QueueCapacity::new(BYTES, FRAMES)), Model::default());
        for step in steps {
            act(&mut queue, &mut model, step);
            check(&queue, &model);
        }
        drop(queue);
        prop_assert_eq!((queued_here(), frames_here()), (0, 0));
    }
}
