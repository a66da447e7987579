//! The script of each call, and its arguments, in the order that each script describes. Pure.

use super::call::{Call, ChannelToOpen, Count, EngineConstants, KeyedPart, KeyedRequest, Sender};
use super::scripts::Script;

/// Arguments of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(pub Vec<Vec<u8>>);

impl Arguments {
    fn text(mut self, text: impl ToString) -> Self {
        self.0.push(text.to_string().into_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.push(bytes.to_vec());
        self
    }

    fn flag(self, flag: bool) -> Self {
        self.text(u8::from(flag))
    }

    fn each<T>(self, items: &[T], add: impl Fn(Self, &T) -> Self) -> Self {
        items.iter().fold(self, add)
    }

    fn part(self, part: Option<KeyedPart>) -> Self {
        self.bytes(&part.map_or(Vec::new(), KeyedPart::encode))
    }

    fn channel(self, channel: &ChannelToOpen) -> Self {
        let settings = channel.settings;
        let head = self.text(&channel.stream).text(channel.uuid);
        let head = head.text(settings.flags()).text(settings.history_size).text(settings.frames_or_default());
        head.text(&channel.text).text(channel.offset)
    }
}

impl EngineConstants {
    /// All values as `u64`, little endian; `common.lua` reads them.
    fn encode(&self) -> Vec<u8> {
        let values = [
            self.retention.channel_frames.into(),
            self.retention.user_frames.into(),
            self.retention.history.into(),
            self.key_window_ms,
            self.max_channels.into(),
            self.max_blocks.into(),
            self.user_idle_ms,
            self.channel_idle_ms,
            self.grace_ms,
            self.beat_ms,
            self.dead_ms,
        ];
        values.map(u64::to_le_bytes).concat()
    }
}

impl KeyedPart {
    /// What identifies the request apart from its key, its time in µs since 1970, the number of the part, and the key;
    /// `once.lua` reads it.
    fn encode(self) -> Vec<u8> {
        let Self { request: KeyedRequest { key, fingerprint, time }, number } = self;
        let head = [&fingerprint.to_le_bytes()[..], &time.unix_micros().to_le_bytes(), &number.to_le_bytes()];
        [&head.concat()[..], format!("{key:032x}").as_bytes()].concat()
    }
}

impl Count {
    /// The number that scripts store: the connections, and 2^24 for each present one. The sum of both over all nodes is
    /// less than that.
    pub fn stated(&self) -> u64 {
        const MOST: u32 = (1 << 24) - 1;
        u64::from(self.connections.min(MOST)) + (u64::from(self.present.min(MOST)) << 24)
    }
}

impl Sender {
    /// What all scripts begin with.
    fn head(&self) -> Arguments {
        let head = Arguments::default().text(self.node).bytes(&self.settings.encode());
        head.text(self.epoch).bytes(self.seed.as_bytes())
    }

    fn numbered_head(&self) -> Arguments {
        self.head().text(self.boot.as_simple()).text(self.number)
    }
}

impl Call {
    pub fn script(&self) -> Script {
        match self {
            Self::Adopt { .. } => Script::Adopt,
            Self::Enlist { .. } => Script::Enlist,
            Self::Report { .. } => Script::Report,
            Self::Append { .. } => Script::Append,
            Self::Change { .. } => Script::Change,
            Self::Open { .. } => Script::Open,
            Self::Configure { .. } => Script::Configure,
            Self::Follow { .. } => Script::Follow,
            Self::Unfollow { .. } => Script::Unfollow,
            Self::Set { .. } => Script::Set,
            Self::Read { .. } => Script::Read,
            Self::Announce { .. } => Script::Announce,
            Self::ReadUser { .. } => Script::ReadUser,
            Self::SetUser { .. } => Script::SetUser,
            Self::Sweep { .. } => Script::Sweep,
            Self::Beat { .. } => Script::Beat,
            Self::Leave { .. } => Script::Leave,
            Self::Nodes => Script::Nodes,
            Self::Expire => Script::Expire,
            Self::Send { .. } => Script::Send,
            Self::Claim { .. } => Script::Claim,
            Self::Release { .. } => Script::Release,
            Self::Find { .. } => Script::Find,
            Self::Store { .. } => Script::Store,
            Self::End { .. } => Script::End,
            Self::Mark { .. } => Script::Mark,
            Self::SetBlock { .. } => Script::SetBlock,
            Self::Unblock { .. } => Script::Unblock,
            Self::Blocks { .. } => Script::Blocks,
            Self::Channels { .. } => Script::Channels,
            Self::Summaries { .. } => Script::Summaries,
            Self::Tally { .. } => Script::Tally,
            Self::UseOnce { .. } => Script::UseOnce,
            Self::SignOuts { .. } => Script::SignOuts,
            Self::CookieSecret { .. } => Script::CookieSecret,
        }
    }

    pub fn arguments(&self, sender: &Sender) -> Arguments {
        let head = sender.head();
        match self {
            Self::Adopt { known_term, run, stamp } => head.text(known_term).text(run).text(stamp.0),
            Self::Enlist { earlier, info } => head.text(earlier).text(info),
            Self::Report { stamp, streams } => {
                head.text(stamp.0).each(streams, |all, (stream, offset)| all.text(stream).text(offset))
            }
            Self::Append { items } => sender
                .numbered_head()
                .each(items, |all, item| all.text(&item.stream).bytes(&item.record).part(item.part)),
            Self::Change { stream, record, part } => {
                sender.numbered_head().text(stream).bytes(record).part(*part)
            }
            Self::Open { channels } => head.each(channels, Arguments::channel),
            Self::Configure { channel } => head.channel(channel),
            Self::Follow { stream, after, max_bytes } => head.text(stream).text(after).text(max_bytes),
            Self::Unfollow { streams } | Self::Summaries { streams } => {
                head.each(streams, |all, stream| all.text(stream))
            }
            Self::Set { is_quiet, counts } => head.flag(*is_quiet).each(counts, |all, count| {
                all.text(&count.stream).text(&count.user).text(count.stated()).bytes(&count.view)
            }),
            Self::Read { stream, after, with_history, with_members, max_bytes } => {
                head.text(stream).text(after).text(max_bytes).flag(*with_history).flag(*with_members)
            }
            Self::Announce { stream, after, record } => head.text(stream).text(after).bytes(record),
            Self::ReadUser { user } | Self::Unblock { user } => head.text(user),
            Self::SetUser { user, expected, record, view, changed } => {
                let head = head.text(user).text(expected).bytes(record).bytes(view);
                head.text(changed.as_deref().unwrap_or_default())
            }
            Self::Sweep { node, is_quiet } => head.text(node).flag(*is_quiet),
            Self::Beat { info } => head.text(info.as_deref().unwrap_or_default()),
            Self::Leave { stay_ms } => head.text(stay_ms),
            Self::Nodes | Self::Expire => head,
            Self::Send { to, bytes } => head.text(to).bytes(bytes),
            Self::Claim { conn, user, data, most } => head.text(conn).text(user).bytes(data).text(most),
            Self::UseOnce { name } => head.text(name),
            Self::SignOuts { since, ended } => {
                head.text(since).each(ended, |all, id| all.text(format_args!("{id:032x}")))
            }
            Self::CookieSecret { proposal } => head.text(proposal.expose()),
            Self::Release { conn, generation, data } => head
                .text(conn)
                .text(generation.map_or(String::new(), |number| number.to_string()))
                .bytes(data),
            Self::Find { conn } => head.text(conn),
            Self::Store { rows } => {
                head.each(rows, |all, row| all.text(&row.conn).text(row.generation).bytes(&row.data))
            }
            Self::End { rows } => head.each(rows, |all, (conn, generation)| all.text(conn).text(generation)),
            Self::Mark { delivered, laggards } => head
                .text(delivered.0)
                .each(laggards, |all, laggard| all.text(&laggard.conn).bytes(&laggard.received)),
            Self::SetBlock { user, record, until_ms } => head.text(user).bytes(record).text(until_ms),
            Self::Blocks { cursor } | Self::Channels { cursor } => head.text(cursor),
            Self::Tally { messages, queued } => {
                head.text(sender.boot.as_simple()).text(messages).text(queued)
            }
        }
    }
}
