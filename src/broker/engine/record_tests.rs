//! Records as they are written and read.

use super::*;
use crate::protocol::message::Delivery;
use crate::protocol::value::Payload;
use bytes::Bytes;
use proptest::prelude::*;

fn time() -> impl Strategy<Value = Timestamp> {
    let offset = prop::option::of(-1_439_i16..1_440);
    (1_i64..4_000_000_000_000_000, offset)
        .prop_map(|(micros, offset)| Timestamp::from_parts(micros, offset).unwrap())
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let names = || prop::collection::vec(".{0,4}", 0..3);
    (names(), names(), any::<bool>()).prop_map(|(pm_users, exclude_users, no_history)| Delivery {
        channel: Some("c".into()),
        pm_users,
        exclude_users,
        no_history,
    })
}

fn payload() -> impl Strategy<Value = Option<Payload>> {
    prop::option::of(
        "[a-z]{0,9}".prop_map(|text| Payload::from_compact(Bytes::from(format!("{{\"a\":\"{text}\"}}")))),
    )
}

fn record() -> impl Strategy<Value = Record> {
    let uuid = || any::<u128>().prop_map(Uuid::from_u128);
    let message = (uuid(), time(), ".{0,5}", payload(), delivery(), prop::option::of(time())).prop_map(
        |(uuid, timestamp, user, message, delivery, edited)| Record::Message {
            message: Message { uuid, timestamp, user, message, delivery },
            edited,
        },
    );
    let edit = (
        uuid(),
        prop::option::of(time()),
        prop::option::of(".{0,5}"),
        payload(),
        time(),
        delivery(),
        any::<bool>(),
    )
        .prop_map(|(uuid, timestamp, user, message, edited, delivery, is_of_deleted)| Record::Edit {
            edit: Edit { uuid, timestamp, user, message, edited, delivery },
            is_of_deleted,
        });
    let delete = (uuid(), delivery()).prop_map(|(uuid, delivery)| Record::Delete(Delete { uuid, delivery }));
    let presence = (uuid(), time(), ".{0,5}", view(), any::<bool>()).prop_map(
        |(uuid, timestamp, user, view, is_joined)| Record::Presence {
            uuid,
            timestamp,
            user,
            view,
            is_joined,
        },
    );
    let state = (uuid(), time(), ".{0,5}", view(), prop::option::of(".{0,9}")).prop_map(
        |(uuid, timestamp, user, view, changed)| Record::State { uuid, timestamp, user, view, changed },
    );
    prop_oneof![message, edit, delete, presence, state, report()]
}

fn view() -> impl Strategy<Value = MemberView> {
    (".{0,9}", ".{0,9}").prop_map(|(state, public_state)| MemberView { state, public_state })
}

fn report() -> impl Strategy<Value = Record> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..9);
    let joined = prop::collection::vec((".{0,4}", view()), 0..3);
    let diff = (time(), joined, prop::collection::vec(".{0,4}", 0..3), any::<u32>());
    let previous = (any::<u64>(), any::<u64>())
        .prop_map(|(epoch, offset)| Position { epoch: Epoch::new(epoch), offset });
    prop_oneof![
        ".{0,20}".prop_map(Record::Settings),
        Just(Record::Numbers),
        diff.prop_map(|(timestamp, joined, parted, users)| Record::Diff { timestamp, joined, parted, users }),
        (time(), any::<u32>(), any::<u32>())
            .prop_map(|(timestamp, users, connections)| { Record::Count { timestamp, users, connections } }),
        (any::<u64>(), bytes()).prop_map(|(version, record)| Record::User { version, record }),
        previous.prop_map(|previous| Record::EpochEnd { previous }),
        (".{0,5}", bytes()).prop_map(|(user, record)| Record::Block { user, record }),
    ]
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in record()) {
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes, Some("c")), Some(record.clone()));
        let later = [&bytes[..], &[1, 0, 0, 0, 7]].concat();
        prop_assert_eq!(Record::decode(&later, Some("c")), Some(record), "a field of a later version");
    }

    #[test]
    fn a_part_of_a_record_is_none(record in record(), cut in any::<prop::sample::Index>()) {
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes[..cut.index(bytes.len())], None), None);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let _ = Record::decode(&bytes, None);
        let _ = Record::decode(&[&[1, MESSAGE], &bytes[..]].concat(), None);
    }
}
