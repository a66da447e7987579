//! HTTP/1.1 by hand: requests as bytes, so that a test can send half of one, send several at a time, or hang up.

use super::within;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON: every answer that callers read is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether another request may follow on the same connection.
    pub fn keeps_alive(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Sends a request on a connection of its own.
pub async fn ask(at: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let all = [headers, &[("connection", "close")]].concat();
    Wire::open(at).await.ask(method, target, &all, body.as_bytes()).await
}

/// One connection.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("the server listens")
    }

    pub async fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = within(TcpStream::connect(address)).await?;
        // Bytes that a test writes separately must arrive separately.
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.get_mut().write_all(bytes.as_ref())).await.expect("the server reads");
    }

    /// Like `write`, for a server that may have closed the connection.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within(self.stream.get_mut().write_all(bytes.as_ref())).await
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.write(request(method, target, headers, body)).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        self.try_reply().await.expect("the server answers")
    }

    /// Returns `None` if the server closes the connection before an answer is complete.
    pub async fn try_reply(&mut self) -> Option<Reply> {
        within(self.read_reply()).await.ok().flatten()
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Option<Reply> {
        within(self.read_head()).await.ok().flatten()
    }

    async fn read_head(&mut self) -> std::io::Result<Option<Reply>> {
        let Some(first) = self.line().await? else { return Ok(None) };
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut headers = Vec::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        Ok(Some(Reply { status, headers, body: Vec::new() }))
    }

    async fn read_reply(&mut self) -> std::io::Result<Option<Reply>> {
        let Some(mut reply) = self.read_head().await? else { return Ok(None) };
        let status = reply.status;
        if status == 101 || status == 304 {
            return Ok(Some(reply));
        }
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        reply.body.resize(length.unwrap_or_else(|| panic!("no length in {reply:?}")), 0);
        self.stream.read_exact(&mut reply.body).await?;
        Ok(Some(reply))
    }

    async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).await?;
        Ok((count > 0).then(|| line.trim_end().to_owned()))
    }

    /// Whether the server closes the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        within(self.stream.read_u8()).await.is_err()
    }

    pub fn into_stream(self) -> BufReader<TcpStream> {
        self.stream
    }
}

/// A request's bytes.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: localhost\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}
