//! The users that are present in the streams of the model, and their states.

use super::streams::is_channel;
use super::{Member, Model, Reply, Total, User, bytes, number};
use crate::broker::engine::call::{Count, NodeNumber};
use crate::broker::engine::record::{MemberView, Record};
use crate::protocol::time::Timestamp;

fn read_view(view: &[u8]) -> MemberView {
    MemberView::read(view).unwrap()
}

impl Model {
    pub(super) fn set(&mut self, count: &Count, is_quiet: bool) {
        self.open(&count.stream);
        let is_there = self.streams.contains_key(&count.stream);
        if is_there || (count.connections > 0 && self.open_or_begin(&count.stream, 0)) {
            let Count { stream, user, connections, present, view } = count;
            self.count(self.sender.node, stream, user, (*connections, *present), view, is_quiet);
        }
    }

    /// What a stream shows of a user that joins.
    fn shown(&self, user: &str, view: &[u8]) -> Member {
        let (version, view) = self.users.get(user).map_or((0, view), |user| (user.version, &user.view));
        Member { connections: 0, version, view: view.to_vec() }
    }

    pub(super) fn count(
        &mut self,
        node: NodeNumber,
        name: &str,
        user: &str,
        stated: (u32, u32),
        view: &[u8],
        is_quiet: bool,
    ) {
        let counts = &mut self.own.entry(node).or_default().counts;
        let key = (name.to_owned(), user.to_owned());
        let held = match stated {
            (0, 0) => counts.remove(&key),
            _ => counts.insert(key, stated),
        };
        let ((connections, present), (before, present_before)) = (stated, held.unwrap_or((0, 0)));
        self.count_present(name, i64::from(present) - i64::from(present_before));
        if connections == before {
            return;
        }
        let shown = self.shown(user, view);
        let stream = self.streams.get_mut(name).unwrap();
        let member = stream.members.get(user).cloned().unwrap_or(shown);
        let after = member.connections + connections - before;
        match after {
            0 => drop(stream.members.remove(user)),
            _ => drop(stream.members.insert(user.into(), Member { connections: after, ..member.clone() })),
        }
        stream.connections = stream.connections + connections - before;
        stream.numbers += 1;
        let (is_joined, is_parted) = (member.connections == 0, after == 0);
        stream.users = stream.users + u32::from(is_joined) - u32::from(is_parted);
        match stream.connections {
            0 => self.plan_removal(name),
            _ => drop(self.expiry.remove(&format!("s{name}"))),
        }
        match is_joined || is_parted {
            true => self.send_presence(name, user, &member, is_joined, is_quiet),
            false => self.note(name, &Record::Numbers.encode()),
        }
    }

    fn count_present(&mut self, name: &str, by: i64) {
        let stream = self.streams.get_mut(name).unwrap();
        let before = stream.present;
        stream.present = before.checked_add_signed(by).unwrap();
        let users = i64::from(stream.present > 0) - i64::from(before > 0);
        if by != 0 {
            self.add_total(Total::Connections, by);
            self.add_total(Total::Users, users);
        }
    }

    fn send_presence(&mut self, name: &str, user: &str, member: &Member, is_joined: bool, is_quiet: bool) {
        let event = Record::Presence {
            uuid: self.next_uuid(),
            timestamp: Timestamp::from_unix_micros(self.clock as i64),
            user: user.into(),
            view: read_view(&member.view),
            is_joined,
        };
        let settings = self.streams[name].settings;
        match settings.notify_presence && !settings.quiet_presence && !is_quiet {
            true => _ = self.append(name, &event.encode()),
            false => self.note(name, &event.encode()),
        }
    }

    pub(super) fn read_user(&self, user: &str) -> Reply {
        let user = self.users.get(user);
        user.map_or(Reply::Nil, |user| Reply::List(vec![number(user.version), bytes(&user.record)]))
    }

    pub(super) fn set_user(
        &mut self,
        user: &str,
        expected: u64,
        record: &[u8],
        view: &[u8],
        changed: &Option<String>,
    ) -> Reply {
        if self.users.get(user).map_or(0, |user| user.version) != expected {
            return self.read_user(user);
        }
        let version = self.next_stamp();
        self.users.insert(user.into(), User { version, view: view.to_vec(), record: record.to_vec() });
        let is_in = |name: &String| is_channel(name) && self.streams[name].members.contains_key(user);
        let channels: Vec<_> = self.streams.keys().filter(|name| is_in(name)).cloned().collect();
        for name in channels {
            self.open(&name);
            let stream = self.streams.get_mut(&name).unwrap();
            let is_event = changed.is_some() && stream.settings.notify_state;
            let member = stream.members.get_mut(user).unwrap();
            (member.version, member.view) = (version, view.to_vec());
            let event = Record::State {
                uuid: self.next_uuid(),
                timestamp: Timestamp::from_unix_micros(self.clock as i64),
                user: user.into(),
                view: read_view(view),
                changed: changed.clone(),
            };
            match is_event {
                true => _ = self.append(&name, &event.encode()),
                false => self.note(&name, &event.encode()),
            }
        }
        let private = format!("u{user}");
        self.open(&private);
        if self.streams.contains_key(&private) {
            self.note(&private, &Record::User { version, record: record.to_vec() }.encode());
        }
        if self.streams.get(&private).is_none_or(|stream| stream.connections == 0) {
            self.plan_removal(&private);
        }
        number(version)
    }
}
