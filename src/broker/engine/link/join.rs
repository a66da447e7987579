//! How a node joins: it connects, checks the server, loads the scripts, and gets or keeps its number.

use super::super::call::{Call, NodeNumber, Sender};
use super::super::reply::Reply;
use super::super::scripts::{LIBRARY, LIBRARY_PREFIX};
use super::access::{Access, Candidate};
use super::connection::{self, Connection, answer, command, is_loaded, load_command};
use super::handle::Shared;
use super::liveness::{Adopted, Attempt};
use super::problems::describe;
use super::pushes::{PushSender, Pushes};
use super::server_info::ServerInfo;
use super::{LinkSettings, run};
use crate::protocol::ids::Epoch;
use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value, cmd};
use std::sync::Arc;
use tokio::time::timeout;
use uuid::Uuid;

/// The connection that a link had before.
#[derive(Clone, Debug)]
pub struct Former {
    /// The run id of the server.
    pub run: String,
    /// The server's id of the connection.
    pub client: i64,
}

/// What an attempt needs.
#[derive(Debug)]
pub struct Joining {
    pub settings: Arc<LinkSettings>,
    pub shared: Arc<Shared>,
    pub attempt: Attempt,
    pub former: Option<Former>,
    pub boot: Uuid,
    /// What other nodes show of this one, as JSON.
    pub info: String,
    /// The number of the attempt, which selects the address.
    pub count: u32,
}

/// A node that has joined.
pub struct Joined {
    pub connection: Connection,
    pub adopted: Adopted,
    pub attempt: Attempt,
    pub former: Former,
    /// Name, version and address of the server.
    pub server: String,
}

/// Why an attempt failed.
#[derive(Debug)]
pub struct JoinError {
    /// For the log. Contains no secret.
    pub text: String,
    /// The attempt, if Redis may have learned the fresh number.
    pub enlisted: Option<Attempt>,
}

impl From<String> for JoinError {
    fn from(text: String) -> Self {
        Self { text, enlisted: None }
    }
}

/// The server, as it describes itself.
struct Server {
    run: String,
    name: String,
    client: i64,
}

/// A conversation before the node has joined.
struct Talk {
    redis: MultiplexedConnection,
    partition: String,
    sender: Sender,
}

impl Joining {
    /// Joins, or fails within some seconds.
    pub async fn join(self) -> Result<Joined, JoinError> {
        let candidate = self.settings.access.candidate(self.count).await?;
        let address = candidate.server.addr().to_string();
        let joined = self.join_at(candidate, &address).await;
        joined.map_err(|error| JoinError { text: format!("{address}: {}", error.text), ..error })
    }

    async fn join_at(self, candidate: Candidate, address: &str) -> Result<Joined, JoinError> {
        let Candidate { server, master } = candidate;
        let pushes = Pushes::new(self.settings.pending_bytes);
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_push_sender(PushSender(pushes.clone()));
        let redis = self.settings.access.connect(server, &config).await;
        let redis = redis.map_err(|error| describe(&error))?;
        let mut talk = Talk { redis, partition: self.settings.partition(), sender: self.sender() };
        let server = talk.check().await?;
        talk.end_former(self.former.as_ref(), &server).await?;
        talk.load().await?;
        let adopted = talk.adopt(&self, &server).await?;
        self.report(&mut talk, &adopted).await?;
        self.enlist(&mut talk, &adopted).await?;
        let settings = self.settings.clone();
        let moved = master.map(|master| Access::until_moved(settings, master).boxed());
        Ok(Joined {
            connection: Connection::new(talk.redis, pushes, moved),
            adopted,
            attempt: self.attempt,
            former: Former { run: server.run, client: server.client },
            server: format!("{} at {address}", server.name),
        })
    }

    fn sender(&self) -> Sender {
        Sender {
            node: self.attempt.node,
            boot: self.boot,
            number: 0,
            epoch: Epoch::new(rand::random()),
            seed: Uuid::new_v4(),
            settings: self.settings.constants,
        }
    }

    /// States which streams have lost entries, so that their epochs end before any node appends to them.
    async fn report(&self, talk: &mut Talk, adopted: &Adopted) -> Result<(), JoinError> {
        if !self.attempt.must_report(adopted) {
            return Ok(());
        }
        let streams = self.shared.seen.streams_after(adopted.base);
        self.shared.counters.reported_streams.add(streams.len() as u64);
        Ok(talk.require_ok(&Call::Report { stamp: self.shared.seen.greatest(), streams }).await?)
    }

    /// Subscribes to the mailbox, and makes a new number known if the node needs one.
    async fn enlist(&self, talk: &mut Talk, adopted: &Adopted) -> Result<(), JoinError> {
        let must_enlist = self.attempt.must_enlist(adopted);
        let node = if must_enlist { self.attempt.fresh } else { self.attempt.node };
        talk.sender.node = node;
        talk.subscribe(node).await?;
        if !must_enlist {
            return Ok(());
        }
        let call = Call::Enlist { earlier: self.attempt.node, info: self.info.clone() };
        let enlisted = talk.require_ok(&call).await;
        enlisted.map_err(|text| JoinError { text, enlisted: Some(self.attempt.clone()) })
    }
}

impl Talk {
    /// Runs commands. The errors of single ones are values.
    async fn send(&mut self, commands: Vec<Cmd>) -> Result<Vec<Value>, String> {
        let values = timeout(run::UNANSWERED_LIMIT, connection::run(&mut self.redis, commands)).await;
        values.map_err(|_| "Redis does not answer")?.map_err(|error| describe(&error))
    }

    /// Runs commands. An error of one of them is an error of all.
    async fn ask(&mut self, commands: Vec<Cmd>) -> Result<Vec<Value>, String> {
        let values = self.send(commands).await?;
        let error = values.iter().find_map(|value| match value {
            Value::ServerError(error) => {
                Some(format!("{} {}", error.code(), error.details().unwrap_or_default()))
            }
            _ => None,
        });
        error.map_or(Ok(values), Err)
    }

    async fn call(&mut self, call: &Call) -> Result<Reply, String> {
        let values = self.ask(vec![command(&self.partition, call, &self.sender)]).await?;
        let reply = values.into_iter().next().and_then(Reply::read);
        reply.ok_or_else(|| format!("malformed reply of the script {:?}", call.script()))
    }

    async fn require_ok(&mut self, call: &Call) -> Result<(), String> {
        let reply = self.call(call).await?;
        if reply.is_ok() { Ok(()) } else { Err(format!("{:?} was refused: {reply:?}", call.script())) }
    }

    /// Checks what the server is, and its role.
    async fn check(&mut self) -> Result<Server, String> {
        let role = cmd("ROLE");
        let mut info = cmd("INFO");
        info.arg("server");
        let mut client = cmd("CLIENT");
        client.arg("ID");
        let commands = vec![info, role, client];
        let values = self.ask(commands).await?;
        let [info, Value::Array(role), Value::Int(client)] = values.as_slice() else {
            return Err("the server does not describe itself as Redis does".into());
        };
        let info = ServerInfo::read(&text(info).unwrap_or_default());
        if let Some(problem) = info.problem() {
            return Err(problem);
        }
        let (run, name) = (info.get("run_id").to_owned(), info.version());
        match role.first().and_then(text).as_deref() {
            Some("master") => Ok(Server { run, name, client: *client }),
            Some(role) => Err(format!("the server is not a master, its role is {role}")),
            None => Err("the server does not state its role".into()),
        }
    }

    /// Ends the former connection in the server, so that no call of it that the server has not read yet runs after
    /// the calls of this one.
    async fn end_former(&mut self, former: Option<&Former>, server: &Server) -> Result<(), String> {
        let Some(former) = former.filter(|former| former.run == server.run) else {
            return Ok(());
        };
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(former.client);
        // Without the permission the node works as well, except in this rare case.
        let ended = timeout(run::UNANSWERED_LIMIT, self.redis.send_packed_command(&kill)).await;
        ended.map_err(|_| "Redis does not answer")?.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Loads the library of scripts, if the server does not have it. Then removes those of other releases, so that they do
    /// not pile up: a node that still uses one loads it again.
    async fn load(&mut self) -> Result<(), String> {
        let mut list = cmd("FUNCTION");
        list.arg("LIST").arg("LIBRARYNAME").arg(format!("{LIBRARY_PREFIX}*"));
        let libraries = self.ask(vec![list]).await?.iter().flat_map(library_names).collect::<Vec<_>>();
        if libraries.contains(&LIBRARY.name) {
            return Ok(());
        }
        let remove = |library: &String| {
            let mut remove = cmd("FUNCTION");
            remove.arg("DELETE").arg(library);
            remove
        };
        let commands = std::iter::once(load_command()).chain(libraries.iter().map(remove)).collect();
        // Another node may have removed one of them meanwhile.
        let answers = self.send(commands).await?.into_iter().map(answer);
        match answers.take(1).find(|loaded| !is_loaded(loaded)) {
            Some(Err(failure)) => Err(failure.text),
            _ => Ok(()),
        }
    }

    async fn adopt(&mut self, joining: &Joining, server: &Server) -> Result<Adopted, String> {
        let (known_term, stamp) = (joining.attempt.known_term, joining.shared.seen.greatest());
        let reply = self.call(&Call::Adopt { known_term, run: server.run.clone(), stamp }).await?;
        Adopted::read(&reply).ok_or_else(|| format!("malformed reply to Adopt: {reply:?}"))
    }

    async fn subscribe(&mut self, node: NodeNumber) -> Result<(), String> {
        let mut subscribe = cmd("SSUBSCRIBE");
        subscribe.arg(format!("{}box:{node}", self.partition));
        self.ask(vec![subscribe]).await.map(drop)
    }
}

/// The names in an answer to FUNCTION LIST.
fn library_names(list: &Value) -> Vec<String> {
    let Value::Array(libraries) = list else { return Vec::new() };
    let name = |library: &Value| {
        let Value::Map(fields) = library else { return None };
        let field = fields.iter().find(|(field, _)| text(field).as_deref() == Some("library_name"))?;
        text(&field.1)
    };
    libraries.iter().filter_map(name).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}
