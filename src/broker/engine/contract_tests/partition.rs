//! A partition in a real Redis. Its scripts have two changes: the test sets the clock, and reads the mail from keys.

use super::super::call::{Call, NodeNumber, Sender};
use super::super::local_redis_tests::LocalRedis;
use super::super::model::{Keys, Stored};
use super::super::reply::Reply;
use super::super::scripts::LIBRARY;
use super::calls::NODES;
use redis::{Connection, FromRedisValue, RedisResult, Value, cmd, pipe};
use std::collections::BTreeMap;

const PREFIX: &str = "cs:{0}:";
const CLOCK: &str = "cs:{0}:clock";

pub struct Partition {
    connection: Connection,
    _server: LocalRedis,
}

fn replace(source: &str, from: &str, to: &str) -> String {
    assert!(source.contains(from), "the scripts no longer contain {from}");
    source.replace(from, to)
}

/// The source with the clock and the mailboxes of the test. A mailbox has one subscriber.
fn testable() -> String {
    let source =
        replace(&LIBRARY.source, "redis.call('TIME')", "{ 0, redis.call('GET', prefix .. 'clock') }");
    let publish = "redis.call('SPUBLISH', prefix .. 'box:' .. to, mail)";
    let store = "redis.call('APPEND', prefix .. 'mail:' .. to, mail) > 0 and 1";
    replace(&source, publish, store)
}

impl Partition {
    pub fn start() -> Self {
        let server = LocalRedis::start();
        let mut connection = server.connect();
        let loaded = cmd("FUNCTION").arg("LOAD").arg(testable()).query::<String>(&mut connection);
        loaded.unwrap_or_else(|error| panic!("{error}"));
        Self { connection, _server: server }
    }

    fn ask<T: FromRedisValue>(&mut self, parts: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        parts.iter().for_each(|part| _ = command.arg(*part));
        command.query(&mut self.connection).unwrap()
    }

    pub fn clear(&mut self) {
        let () = self.ask(&["FLUSHALL"]);
    }

    /// Gives a key of the partition another type, so that calls that use it fail.
    pub fn spoil(&mut self, key: &str) {
        let () = self.ask(&["SET", &format!("{PREFIX}{key}"), "spoiled"]);
    }

    pub fn remove(&mut self, key: &str) {
        let removed: bool = self.ask(&["DEL", &format!("{PREFIX}{key}")]);
        assert!(removed, "{key}");
    }

    pub fn run(
        &mut self,
        call: &Call,
        sender: &Sender,
        clock: u64,
    ) -> (Reply, BTreeMap<NodeNumber, Vec<u8>>) {
        self.try_run(call, sender, clock).unwrap_or_else(|error| panic!("{error}: {call:?}"))
    }

    /// An error is that of the script.
    pub fn try_run(
        &mut self,
        call: &Call,
        sender: &Sender,
        clock: u64,
    ) -> RedisResult<(Reply, BTreeMap<NodeNumber, Vec<u8>>)> {
        let mut commands = pipe();
        commands.cmd("SET").arg(CLOCK).arg(clock).ignore();
        commands.cmd("FCALL").arg(call.script().function()).arg(1).arg(PREFIX);
        call.arguments(sender).0.iter().for_each(|argument| _ = commands.arg(argument));
        for node in NODES {
            commands.cmd("GETDEL").arg(format!("{PREFIX}mail:{node}"));
        }
        let replies: Vec<Value> = commands.query(&mut self.connection)?;
        let mut replies = replies.into_iter().map(|value| Reply::read(value).unwrap());
        let reply = replies.next().unwrap();
        let mail = NODES.into_iter().zip(replies);
        Ok((reply, mail.filter_map(|(node, mail)| Some((node, mail.bytes()?.to_vec()))).collect()))
    }

    /// All keys, and the names of those that Redis itself removes after a while.
    pub fn keys(&mut self) -> (Keys, Vec<String>) {
        let mut names: Vec<String> = self.ask(&["KEYS", "*"]);
        names.retain(|name| name != CLOCK);
        names.sort();
        let (mut keys, mut temporary) = (Keys::new(), Vec::new());
        for name in names {
            let short = name.strip_prefix(PREFIX).expect("all keys have the prefix").to_owned();
            if self.ask::<i64>(&["PTTL", &name]) > 0 {
                temporary.push(short.clone());
            }
            keys.insert(short, self.value(&name));
        }
        (keys, temporary)
    }

    fn value(&mut self, name: &str) -> Stored {
        let kind: String = self.ask(&["TYPE", name]);
        match kind.as_str() {
            "string" => Stored::Text(self.ask(&["GET", name])),
            "hash" => Stored::Hash(self.ask(&["HGETALL", name])),
            "list" => Stored::List(self.ask(&["LRANGE", name, "0", "-1"])),
            "zset" => Stored::Scores(self.ask(&["ZRANGE", name, "0", "-1", "WITHSCORES"])),
            _ => Stored::Set(self.ask(&["SMEMBERS", name])),
        }
    }
}
