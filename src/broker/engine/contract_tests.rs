//! The contract: random calls have the same replies, mail and keys on a real Redis as on the model.
//!
//! Redis gets the scripts with two changes: the test sets the clock, and reads the mail from keys.

use super::call::{Call, Count, Item, NodeNumber, Once, Retention, ScriptSettings};
use super::entry::{read_answers, read_mail};
use super::model::{Keys, Model, Reply, Stored};
use super::record::Record;
use super::scripts::Script;
use crate::fixtures::payload;
use crate::protocol::ids::Epoch;
use crate::protocol::message::{Delete, Delivery, Edit, Message};
use crate::protocol::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use redis::{Connection, Value, cmd};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;

const PREFIX: &str = "cs:{0}:";
const RETENTION: Retention = Retention { channel_frames: 8, user_frames: 3, history: 4 };
const NODES: std::ops::Range<NodeNumber> = 1..4;
const START_LIMIT: Duration = Duration::from_secs(20);

/// A Redis of its own, without a port.
struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("channelstream-redis-{}", Uuid::new_v4().as_simple()));
        std::fs::create_dir(&folder).unwrap();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed (tests/run installs it)");
        Self { process, folder }
    }

    fn connect(&self) -> Connection {
        let client = redis::Client::open(format!("redis+unix://{}/socket", self.folder.display())).unwrap();
        let until = Instant::now() + START_LIMIT;
        loop {
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < until, "Redis does not listen: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A partition in a real Redis.
struct Partition {
    connection: Connection,
    hashes: HashMap<Script, String>,
    _server: Server,
}

fn replace(source: &str, from: &str, to: &str) -> String {
    assert!(source.contains(from), "the scripts no longer contain {from}");
    source.replace(from, to)
}

impl Partition {
    fn start() -> Self {
        let server = Server::start();
        let mut connection = server.connect();
        let load = |script: Script| {
            let source = replace(
                &script.source(),
                "redis.call('TIME')",
                "{ 0, redis.call('GET', prefix .. 'clock') }",
            );
            let source = replace(
                &source,
                "redis.call('SPUBLISH', prefix .. 'box:'",
                "redis.call('APPEND', prefix .. 'mail:'",
            );
            let hash = cmd("SCRIPT").arg("LOAD").arg(source).query(&mut connection).unwrap();
            (script, hash)
        };
        let hashes = Script::ALL.map(load).into_iter().collect();
        Self { connection, hashes, _server: server }
    }

    fn ask<T: redis::FromRedisValue>(&mut self, parts: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        parts.iter().for_each(|part| _ = command.arg(*part));
        command.query(&mut self.connection).unwrap()
    }

    fn run(&mut self, call: &Call, clock: u64) -> (Reply, BTreeMap<NodeNumber, Vec<u8>>) {
        let () = self.ask(&["SET", &format!("{PREFIX}clock"), &clock.to_string()]);
        let mut command = cmd("EVALSHA");
        command.arg(&self.hashes[&call.script()]).arg(1).arg(PREFIX);
        call.arguments().0.iter().for_each(|argument| _ = command.arg(argument));
        let reply = command.query(&mut self.connection).unwrap_or_else(|error| panic!("{error}: {call:?}"));
        let mail = NODES.filter_map(|node| {
            let mail: Option<Vec<u8>> = self.ask(&["GETDEL", &format!("{PREFIX}mail:{node}")]);
            Some((node, mail?))
        });
        (convert(reply), mail.collect())
    }

    fn keys(&mut self) -> Keys {
        let names: Vec<String> = self.ask(&["KEYS", "*"]);
        let stored = names.into_iter().map(|name| {
            let kind: String = self.ask(&["TYPE", &name]);
            let stored = match kind.as_str() {
                "string" => Stored::Text(self.ask(&["GET", &name])),
                "hash" => Stored::Hash(self.ask(&["HGETALL", &name])),
                "list" => Stored::List(self.ask(&["LRANGE", &name, "0", "-1"])),
                _ => Stored::Set(self.ask(&["SMEMBERS", &name])),
            };
            (name.strip_prefix(PREFIX).expect("all keys have the prefix").to_owned(), stored)
        });
        stored.filter(|(name, _)| name != "clock").collect()
    }
}

fn convert(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::SimpleString(text) => Reply::Status(text),
        Value::Okay => Reply::Status("OK".into()),
        Value::Int(number) => Reply::Number(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::Array(values) => Reply::List(values.into_iter().map(convert).collect()),
        other => panic!("{other:?}"),
    }
}

/// The members of a read stream have no order.
fn sorted(call: &Call, reply: Reply) -> Reply {
    match (call, reply) {
        (Call::Read { .. }, Reply::List(mut parts)) => {
            if let Some(Reply::List(members)) = parts.pop() {
                let mut pairs: Vec<_> = members.chunks(2).map(<[Reply]>::to_vec).collect();
                pairs.sort_by_key(|pair| format!("{pair:?}"));
                parts.push(Reply::List(pairs.concat()));
            }
            Reply::List(parts)
        }
        (_, reply) => reply,
    }
}

fn node() -> impl Strategy<Value = NodeNumber> {
    NODES
}

fn stream() -> impl Strategy<Value = String> {
    select(&["ca", "cb", "cc", "ux", "uy"][..]).prop_map(str::to_owned)
}

fn channel() -> impl Strategy<Value = String> {
    select(&["ca", "cb", "cc"][..]).prop_map(str::to_owned)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch::new)
}

fn once() -> impl Strategy<Value = Once> {
    (1_u128..3, 1_u64..30).prop_map(|(boot, number)| Once { boot: Uuid::from_u128(boot), number })
}

fn message_id() -> impl Strategy<Value = Uuid> {
    (1_u128..5).prop_map(Uuid::from_u128)
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let names = || prop::collection::vec(select(&["x", "y"][..]).prop_map(str::to_owned), 0..2);
    (names(), names(), prop::bool::weighted(0.2)).prop_map(|(pm_users, exclude_users, no_history)| Delivery {
        channel: Some("c".into()),
        pm_users,
        exclude_users,
        no_history,
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    (1_i64..1000).prop_map(Timestamp::from_unix_micros)
}

fn text() -> impl Strategy<Value = Option<crate::protocol::value::Payload>> {
    prop::option::of("[a-z]{1,5}".prop_map(|text| payload(&format!("{{\"t\":\"{text}\"}}"))))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    (message_id(), time(), "[a-z]{1,3}", text(), delivery()).prop_map(
        |(uuid, timestamp, user, message, delivery)| {
            let message = Message { uuid, timestamp, user, message, delivery };
            Record::Message { message, edited: None }.encode()
        },
    )
}

fn change() -> impl Strategy<Value = Vec<u8>> {
    let edit =
        (message_id(), prop::option::of(time()), prop::option::of("[a-z]{1,3}"), text(), time(), delivery());
    let edit = edit.prop_map(|(uuid, timestamp, user, message, edited, delivery)| {
        let edit = Edit { uuid, timestamp, user, message, edited, delivery };
        Record::Edit { edit, is_of_deleted: false }.encode()
    });
    let delete = (message_id(), delivery())
        .prop_map(|(uuid, delivery)| Record::Delete(Delete { uuid, delivery }).encode());
    prop_oneof![3 => edit, 2 => delete]
}

fn settings() -> impl Strategy<Value = ScriptSettings> {
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.7), 0_u32..6).prop_map(
        |(notify_presence, store_history, store_frames, history_size)| ScriptSettings {
            notify_presence,
            store_history,
            store_frames,
            history_size,
        },
    )
}

fn append() -> impl Strategy<Value = Call> {
    let item = (stream(), message(), prop::option::weighted(0.3, select(&["k", "l"][..])));
    let item = item.prop_map(|(stream, record, key)| Item {
        stream,
        record,
        idempotency_key: key.map(str::to_owned),
    });
    (node(), once(), epoch(), prop::collection::vec(item, 1..6)).prop_map(|(node, once, epoch, items)| {
        Call::Append { node, once, epoch, key_window_ms: 60_000, retention: RETENTION, items }
    })
}

fn set() -> impl Strategy<Value = Call> {
    let count = (stream(), select(&["x", "y", "z\u{e9}"][..]), 0_u32..3, "[a-z]{0,3}")
        .prop_map(|(stream, user, connections, view)| Count { stream, user: user.into(), connections, view });
    let counts = prop::collection::vec(count, 0..5);
    let interests = prop::collection::vec((stream(), prop::bool::weighted(0.7)), 0..3);
    (node(), prop::bool::weighted(0.1), epoch(), settings(), any::<u128>(), counts, interests).prop_map(
        |(node, is_quiet, epoch, settings, uuid, counts, interests)| Call::Set {
            node,
            is_quiet,
            epoch,
            settings,
            uuid: Uuid::from_u128(uuid),
            retention: RETENTION,
            counts,
            interests,
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let adopt = (node(), 0_u64..4, select(&["r", "s"][..]), epoch())
        .prop_map(|(node, known_term, run, epoch)| Call::Adopt { node, known_term, run: run.into(), epoch });
    let enlist = (node(), 0..4_u32).prop_map(|(number, earlier)| Call::Enlist { number, earlier });
    let report = (node(), epoch(), prop::collection::vec(stream(), 0..3))
        .prop_map(|(node, epoch, streams)| Call::Report { node, epoch, streams });
    let change =
        (node(), once(), epoch(), stream(), change()).prop_map(|(node, once, epoch, stream, record)| {
            Call::Change { node, once, epoch, retention: RETENTION, stream, record }
        });
    let configure = (node(), epoch(), channel(), settings()).prop_map(|(node, epoch, stream, settings)| {
        let record = Record::Settings(format!("{settings:?}")).encode();
        Call::Configure { node, epoch, retention: RETENTION, stream, settings, record }
    });
    let read = (stream(), 0_u64..20, any::<bool>(), any::<bool>(), select(&[1, 200, 1 << 20][..])).prop_map(
        |(stream, after, with_history, with_members, max_bytes)| Call::Read {
            stream,
            after,
            with_history,
            with_members,
            max_bytes,
        },
    );
    let sweep = (node(), prop::bool::weighted(0.2), any::<u128>()).prop_map(|(node, is_quiet, uuid)| {
        Call::Sweep { node, is_quiet, uuid: Uuid::from_u128(uuid), retention: RETENTION }
    });
    prop_oneof![
        1 => adopt, 2 => enlist, 2 => report, 12 => append(), 8 => change, 2 => configure, 12 => set(), 4 => read, 1 => sweep
    ]
}

/// A call and the change of the clock before it, which may go back.
fn steps() -> impl Strategy<Value = Vec<(Call, i64)>> {
    let first = Call::Adopt { node: 0, known_term: 0, run: "r".into(), epoch: Epoch::new(1) };
    let enlisted = NODES.map(|number| Call::Enlist { number, earlier: 0 });
    let beginning: Vec<_> = std::iter::once(first).chain(enlisted).map(|call| (call, 1)).collect();
    prop::collection::vec((call(), -5_i64..20), 1..60)
        .prop_map(move |steps| [beginning.clone(), steps].concat())
}

#[test]
fn scripts_do_what_the_model_does() {
    let mut partition = Partition::start();
    let config = ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let partition = std::cell::RefCell::new(&mut partition);
    let compared = runner.run(&steps(), |steps| {
        let mut partition = partition.borrow_mut();
        let () = partition.ask(&["FLUSHALL"]);
        let mut model = Model::new(1_000_000);
        for (call, passed) in steps {
            model.clock = model.clock.saturating_add_signed(passed);
            let (reply, mail) = partition.run(&call, model.clock);
            let expected = model.run(&call);
            let reply = sorted(&call, reply);
            prop_assert_eq!((&reply, &mail), (&expected.0, &expected.1), "{:?}", call);
            prop_assert!(mail.values().all(|mail| read_mail(mail).is_some()));
            if let Reply::Bytes(answers) = reply {
                prop_assert!(read_answers(&answers).is_some_and(|answers| !answers.is_empty()));
            }
        }
        prop_assert_eq!(partition.keys(), model.keys());
        Ok(())
    });
    compared.unwrap();
}
