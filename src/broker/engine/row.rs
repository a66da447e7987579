//! Rows of connections, as scripts return them. Pure.

use super::call::{Call, NodeNumber};
use super::reply::Reply;
use crate::protocol::ids::Stamp;

/// The record of a connection in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The node that runs the timers of the connection; 0 if there is none.
    pub owner: NodeNumber,
    /// Tells the owners of the connection apart.
    pub generation: u64,
    pub user: String,
    pub data: Vec<u8>,
    pub is_owner_alive: bool,
}

impl ConnectionRow {
    /// Reads a reply of `find`. The outer value is `None` if it is malformed, the inner one if there is no row.
    pub fn read(reply: &Reply) -> Option<Option<Self>> {
        if *reply == Reply::Nil {
            return Some(None);
        }
        let [owner, generation, user, data, is_owner_alive] = reply.list()? else { return None };
        Some(Some(Self {
            owner: owner.number()?,
            generation: generation.number()?,
            user: user.text()?.to_owned(),
            data: data.bytes()?.to_vec(),
            is_owner_alive: is_owner_alive.number()? == 1,
        }))
    }
}

/// What the last owner of a connection had delivered, for a connection that had a session then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerMark {
    /// Everything up to this stamp.
    pub delivered: Stamp,
    /// How far the connection had received its streams, if it had not received everything.
    pub received: Option<Vec<u8>>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The connection is new, and belongs to the node.
    New { generation: u64 },
    /// The connection was the node's before.
    Own { generation: u64, data: Vec<u8> },
    /// The connection belongs to the node now.
    Taken { generation: u64, data: Vec<u8>, mark: Option<OwnerMark> },
    /// Another node is the owner, and alive.
    Other { owner: NodeNumber, generation: u64, data: Vec<u8> },
    /// The connection belongs to another user.
    Foreign,
    /// The user has too many connections.
    Full,
}

impl Ownership {
    /// Reads a reply of `claim`. `None` if it is malformed.
    pub fn read(reply: &Reply) -> Option<Self> {
        let (kind, rest) = reply.list()?.split_first()?;
        Some(match (kind.bytes()?, rest) {
            (b"NEW", [generation]) => Self::New { generation: generation.number()? },
            (b"OWN", [generation, data]) => {
                Self::Own { generation: generation.number()?, data: data.bytes()?.to_vec() }
            }
            (b"TAKEN", [generation, data, mark @ ..]) => Self::Taken {
                generation: generation.number()?,
                data: data.bytes()?.to_vec(),
                mark: read_mark(mark.first())?,
            },
            (b"OTHER", [owner, generation, data]) => Self::Other {
                owner: owner.number()?,
                generation: generation.number()?,
                data: data.bytes()?.to_vec(),
            },
            (b"FOREIGN", []) => Self::Foreign,
            (b"FULL", []) => Self::Full,
            _ => return None,
        })
    }

    /// The call with which the node gives up what it has got, if a request ends before the connection is there.
    pub fn given_up_by(&self, conn: &str) -> Option<Call> {
        let conn = conn.to_owned();
        match self {
            Self::New { generation } => Some(Call::End { rows: vec![(conn, *generation)] }),
            Self::Own { generation, .. } | Self::Taken { generation, .. } => {
                Some(Call::Release { conn, generation: Some(*generation), data: Vec::new() })
            }
            Self::Other { .. } | Self::Foreign | Self::Full => None,
        }
    }
}

fn read_mark(mark: Option<&Reply>) -> Option<Option<OwnerMark>> {
    match mark {
        None | Some(Reply::Nil) => Some(None),
        Some(Reply::List(parts)) => match parts.as_slice() {
            [delivered, received] => Some(Some(OwnerMark {
                delivered: Stamp(delivered.number()?),
                received: Some(received.bytes()?.to_vec()).filter(|received| !received.is_empty()),
            })),
            _ => None,
        },
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: &str, rest: &[Reply]) -> Reply {
        Reply::List([&[Reply::Bytes(kind.into())], rest].concat())
    }

    #[test]
    fn each_reply_has_its_meaning() {
        let seven = || Reply::Number(7);
        let data = || Reply::Bytes(b"data".to_vec());
        let mark = Reply::List(vec![Reply::Number(9), Reply::Bytes(b"mark".to_vec())]);
        let empty = Reply::List(vec![Reply::Number(9), Reply::Bytes(Vec::new())]);
        let of_others = Some(OwnerMark { delivered: Stamp(9), received: None });
        let of_laggard = Some(OwnerMark { delivered: Stamp(9), received: Some(b"mark".to_vec()) });
        let taken = |mark| Ownership::Taken { generation: 7, data: b"data".to_vec(), mark };
        let cases = [
            (list("NEW", &[seven()]), Ownership::New { generation: 7 }),
            (list("OWN", &[seven(), data()]), Ownership::Own { generation: 7, data: b"data".to_vec() }),
            (list("TAKEN", &[seven(), data()]), taken(None)),
            (list("TAKEN", &[seven(), data(), Reply::Nil]), taken(None)),
            (list("TAKEN", &[seven(), data(), mark]), taken(of_laggard)),
            (list("TAKEN", &[seven(), data(), empty]), taken(of_others)),
            (
                list("OTHER", &[seven(), seven(), data()]),
                Ownership::Other { owner: 7, generation: 7, data: b"data".to_vec() },
            ),
            (list("FOREIGN", &[]), Ownership::Foreign),
            (list("FULL", &[]), Ownership::Full),
        ];
        for (reply, expected) in cases {
            assert_eq!(Ownership::read(&reply), Some(expected));
        }
        assert_eq!(Ownership::read(&list("TAKEN", &[seven(), data(), data()])), None);
        assert_eq!(Ownership::read(&Reply::Status("FENCED".into())), None);

        let row = [seven(), seven(), data(), data(), Reply::Number(1)];
        let row = ConnectionRow::read(&Reply::List(row.to_vec())).unwrap().unwrap();
        assert_eq!((row.owner, row.user.as_str(), row.is_owner_alive), (7, "data", true));
        assert_eq!(ConnectionRow::read(&Reply::Nil), Some(None));
        assert_eq!(ConnectionRow::read(&list("NEW", &[seven()])), None);
    }
}
