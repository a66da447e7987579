//! The contract: random calls have the same replies, mail and keys on a real Redis as on the model.

mod calls;
mod lives;
mod partition;

use super::call::Call;
use super::entry::{read_answers, read_mail};
use super::model::{Model, is_temporary};
use super::reply::Reply;
use super::snapshot::StreamSnapshot;
use calls::{CURRENT, FIRST_ENTRY, Step};
use partition::Partition;
use proptest::prelude::*;

/// What a real clock shows: numbers of this size must keep all their digits.
const START_US: u64 = 1_700_000_000_000_000;

/// Puts the numbers that Redis has drawn in the place of [`CURRENT`], and sizes in that of [`FIRST_ENTRY`].
fn resolve(mut call: Call, model: &Model) -> Call {
    let current = |given: u64, number: u64| if given == CURRENT { number } else { given };
    if let Call::Read { stream, after, max_bytes, .. } | Call::Follow { stream, after, max_bytes } = &mut call
        && *max_bytes == FIRST_ENTRY
    {
        *max_bytes = model.entry_size(stream, *after);
    }
    match call {
        Call::SetUser { user, expected, record, view, changed } => {
            let expected = current(expected, model.version(&user));
            Call::SetUser { user, expected, record, view, changed }
        }
        Call::Release { conn, generation, data } => {
            let generation = generation.map(|generation| current(generation, model.owner(&conn).1));
            Call::Release { conn, generation, data }
        }
        Call::Store { mut rows } => {
            rows.iter_mut()
                .for_each(|row| row.generation = current(row.generation, model.owner(&row.conn).1));
            Call::Store { rows }
        }
        Call::End { mut rows } => {
            rows.iter_mut()
                .for_each(|(conn, generation)| *generation = current(*generation, model.owner(conn).1));
            Call::End { rows }
        }
        call => call,
    }
}

/// Hashes and sets have no order.
fn sorted(call: &Call, reply: Reply) -> Reply {
    let size = match call {
        Call::Read { .. } | Call::Follow { .. } | Call::Blocks { .. } => 2,
        Call::Channels { .. } => 1,
        _ => return reply,
    };
    let Reply::List(mut parts) = reply else { return reply };
    if let Some(Reply::List(items)) = parts.pop() {
        let mut groups: Vec<_> = items.chunks(size).map(<[Reply]>::to_vec).collect();
        groups.sort_by_key(|group| group[0].bytes().map(<[u8]>::to_vec));
        parts.push(Reply::List(groups.concat()));
    }
    Reply::List(parts)
}

/// What nodes do with a reply.
fn read(call: &Call, reply: &Reply) {
    match (call, reply) {
        (_, Reply::Status(_)) => {}
        (Call::Append { .. } | Call::Change { .. }, Reply::Bytes(answers)) => {
            assert!(read_answers(answers).is_some_and(|answers| !answers.is_empty()), "{answers:?}");
        }
        (Call::Read { .. } | Call::Follow { .. }, reply) => {
            assert!(StreamSnapshot::read(reply).is_some(), "{reply:?}");
        }
        _ => {}
    }
}

fn compare(partition: &mut Partition, steps: Vec<Step>) -> Result<(), TestCaseError> {
    partition.clear();
    let mut model = Model::new(START_US, steps[0].sender);
    for Step { call, sender, passed } in steps {
        model.clock = model.clock.saturating_add_signed(passed);
        let call = resolve(call, &model);
        let (reply, mail) = partition.run(&call, &sender, model.clock);
        let reply = sorted(&call, reply);
        let expected = model.run(&call, &sender);
        prop_assert_eq!((&reply, &mail), (&expected.0, &expected.1), "{:?} {:?}", call, sender);
        read(&call, &reply);
        prop_assert!(mail.values().all(|mail| read_mail(mail).is_some()));
    }
    let (keys, temporary) = partition.keys();
    let expected = model.keys();
    let expected_temporary: Vec<_> = expected.keys().filter(|key| is_temporary(key)).cloned().collect();
    prop_assert_eq!(keys, expected);
    prop_assert_eq!(temporary, expected_temporary);
    Ok(())
}

#[test]
fn scripts_do_what_the_model_does() {
    let partition = std::cell::RefCell::new(Partition::start());
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&calls::steps(), |steps| compare(&mut partition.borrow_mut(), steps)).unwrap();
}

/// Redis returns a large hash in parts, and Lua unpacks a few thousand values at most.
#[test]
fn a_large_node_is_stated_and_swept_in_parts() {
    const MEMBERS: usize = 2_500;
    let (mut partition, mut model) = (Partition::start(), None);
    let mut sweeps = 0;
    for Step { call, sender, passed } in lives::large_node(MEMBERS) {
        let model = model.get_or_insert_with(|| Model::new(START_US, sender));
        model.clock = model.clock.saturating_add_signed(passed);
        let expected = model.run(&call, &sender).0;
        let mut reply = partition.run(&call, &sender, model.clock).0;
        while let (Call::Sweep { .. }, Reply::Number(1..)) = (&call, &reply) {
            sweeps += 1;
            reply = partition.run(&call, &sender, model.clock).0;
        }
        assert_eq!(reply, expected, "{:?}", call.script());
    }
    assert!(sweeps > 10, "{sweeps}");
    assert_eq!(partition.keys().0, model.unwrap().keys());
}

/// The functions of the library share variables. What a call that failed has left in them must not be seen by the next one.
#[test]
fn a_call_that_fails_leaves_nothing_to_the_next_one() {
    let mut partition = Partition::start();
    let lives::Failure { before, fails, spoiled, after } = lives::failure();
    let mut model = Model::new(START_US, before[0].sender);
    let mut step = |partition: &mut Partition, Step { call, sender, passed }: Step| {
        model.clock = model.clock.saturating_add_signed(passed);
        let (reply, mail) = partition.run(&call, &sender, model.clock);
        assert_eq!((sorted(&call, reply), mail), model.run(&call, &sender), "{call:?}");
    };
    before.into_iter().for_each(|before| step(&mut partition, before));
    partition.spoil(spoiled);
    let error = partition.try_run(&fails.call, &fails.sender, START_US + 900).unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    partition.remove(spoiled);
    after.into_iter().for_each(|after| step(&mut partition, after));
    assert_eq!(partition.keys().0, model.keys());
}
