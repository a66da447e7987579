//! The web application's side: signed requests, one kept-alive connection, pipelined.

use super::failure;
use super::server::SECRET;
use super::socket::Dialer;
use channelstream_signing::sign_now;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection that was idle for this long is not reused: servers close idle ones, ours after 5 s.
pub const IDLE: Duration = Duration::from_secs(3);

/// A signed request, ready to be sent.
pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let signature = sign_now(SECRET, path);
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         x-channelstream-secret: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Parses answers that arrive in pieces.
#[derive(Debug, Default)]
pub struct Answers {
    buffer: Vec<u8>,
}

impl Answers {
    /// Adds bytes, and passes on status and body of each complete answer.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        let mut done = 0;
        while let Some((status, body, end)) = answer(&self.buffer[done..])? {
            take(status, &self.buffer[done + body..done + end]);
            done += end;
        }
        self.buffer.drain(..done);
        Ok(())
    }
}

/// Status, beginning of the body and end of the first answer.
fn answer(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let Some(body) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..body]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse::<usize>().ok());
    match (status, length) {
        (Some(status), Some(length)) if bytes.len() >= body + length => {
            Ok(Some((status, body, body + length)))
        }
        (Some(_), Some(_)) => Ok(None),
        _ => Err(failure(format!("an answer without status or length: {head}"))),
    }
}

/// A connection for calls with a wait for each answer.
pub struct Backend {
    server: SocketAddr,
    stream: TcpStream,
    answers: Answers,
    used: Instant,
}

impl Backend {
    /// Connects.
    pub fn new(server: SocketAddr) -> io::Result<Self> {
        let stream = Dialer::default().dial(server)?;
        Ok(Self { server, stream, answers: Answers::default(), used: Instant::now() })
    }

    /// Sends all requests at once, and returns the bodies of their answers. Any status except 200 is an error.
    pub fn call(&mut self, requests: &[Vec<u8>]) -> io::Result<Vec<String>> {
        if self.used.elapsed() > IDLE {
            *self = Self::new(self.server)?;
        }
        self.stream.write_all(&requests.concat())?;
        let mut bodies = Vec::with_capacity(requests.len());
        let mut refused = None;
        let mut buffer = vec![0; 64 << 10];
        while bodies.len() < requests.len() {
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(failure("the server closed the connection"));
            }
            self.answers.feed(&buffer[..count], |status, body| {
                let body = String::from_utf8_lossy(body).into_owned();
                if status != 200 {
                    refused = Some(format!("{status}: {body}"));
                }
                bodies.push(body);
            })?;
        }
        self.used = Instant::now();
        refused.map_or(Ok(bodies), |text| Err(failure(text)))
    }

    /// One line of /admin/debug.
    pub fn counter(&mut self, name: &str) -> io::Result<u64> {
        self.counters([name]).map(|[value]| value)
    }

    /// Lines of /admin/debug, from a single request. A name with a comma at its end is the sum of all lines that begin so.
    pub fn counters<const N: usize>(&mut self, names: [&str; N]) -> io::Result<[u64; N]> {
        let text = self.call(&[request("GET", "/admin/debug", "")])?.concat();
        let mut values = [0; N];
        for (value, name) in values.iter_mut().zip(names) {
            let is_meant =
                |line: &str| if name.ends_with(',') { line.starts_with(name) } else { line == name };
            let lines =
                text.lines().filter_map(|line| line.split_once(": ")).filter(|(line, _)| is_meant(line));
            let found: Vec<u64> = lines.filter_map(|(_, value)| value.parse().ok()).collect();
            if found.is_empty() {
                return Err(failure(format!("no {name} in {text}")));
            }
            *value = found.iter().sum();
        }
        Ok(values)
    }
}
