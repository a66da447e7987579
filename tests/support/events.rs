//! A client of server-sent events that reads blocks as the server writes them.

use super::http::{Reply, Wire};
use super::within;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;

/// A block of an event stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<Value>,
    pub retry: Option<u64>,
    pub has_comment: bool,
}

impl Block {
    /// A block that only sets the id.
    pub fn is_cursor(&self) -> bool {
        self.id.is_some() && self.data.is_none()
    }

    /// The only element of the list of an event.
    pub fn element(&self) -> &Value {
        let list = self.data.as_ref().and_then(Value::as_array).expect("a list");
        assert_eq!(list.len(), 1, "one element an event: {list:?}");
        &list[0]
    }
}

/// The half that reads.
pub struct EventReader(BufReader<ReadHalf<BufReader<TcpStream>>>);
/// The half that writes.
pub type EventWriter = WriteHalf<BufReader<TcpStream>>;

/// Requests an event stream on this connection. Returns the answer without its body if it is not one.
pub async fn open(
    mut wire: Wire,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<(Reply, EventReader, EventWriter), Reply> {
    wire.write(super::http::request("GET", target, headers, b"")).await;
    read(wire).await
}

/// Reads the answer to such a request.
pub async fn read(wire: Wire) -> Result<(Reply, EventReader, EventWriter), Reply> {
    try_read(wire).await.expect("the server answers")
}

/// Returns `None` if the server closes the connection before it answers.
pub async fn try_read(mut wire: Wire) -> Option<Result<(Reply, EventReader, EventWriter), Reply>> {
    let head = wire.head().await?;
    if head.status != 200 {
        return Some(Err(head));
    }
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("transfer-encoding"), None, "the end of the connection ends the body");
    let (read, write) = split(wire.into_stream());
    Some(Ok((head, EventReader(BufReader::new(read)), write)))
}

impl EventReader {
    /// The next block; `None` when the server has closed the stream, or in the middle of a block.
    pub async fn next(&mut self) -> Option<Block> {
        let mut block = Block::default();
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line).await {
                Ok(1..) if line.ends_with('\n') => {}
                _ => return None,
            }
            let line = line.strip_suffix('\n').unwrap_or_default();
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "" => return Some(block),
                ":" => block.has_comment = true,
                "id" => assert_eq!(block.id.replace(value.into()), None),
                "event" => assert_eq!(block.event.replace(value.into()), None),
                "data" => assert_eq!(block.data.replace(serde_json::from_str(value).expect("JSON")), None),
                "retry" => assert_eq!(block.retry.replace(value.parse().expect("a number")), None),
                _ => panic!("the line {line:?}"),
            }
        }
    }

    /// Waits until bytes have arrived, or the stream has ended.
    pub async fn ready(&mut self) {
        let _ = self.0.fill_buf().await;
    }

    /// The next block, which must arrive.
    pub async fn expect(&mut self) -> Block {
        within(self.next()).await.expect("the stream is open")
    }

    /// The next block with data or an id.
    pub async fn expect_content(&mut self) -> Block {
        loop {
            let block = self.expect().await;
            if block.data.is_some() || block.id.is_some() {
                return block;
            }
        }
    }
}
