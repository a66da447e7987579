//! Connections that publish without waiting, to our API and to the baseline.

use super::backend::{Answers, IDLE, request};
use super::failure;
use super::frames::{self, content};
use super::socket::Dialer;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Signatures are valid for a minute.
const FRESH: Duration = Duration::from_secs(20);

/// A request with positions for numbers.
struct Template {
    bytes: Vec<u8>,
    places: Vec<usize>,
    /// The position of a numbered channel's digits. Lists go to a channel without a number.
    channel_place: Option<usize>,
    made: Instant,
}

enum Language {
    /// POST /message, with a template for each length of list.
    Rest { channel: String, content: String, templates: Vec<Template> },
    /// Commands of the baseline: the number of the first frame, the count, whether to join waiting frames, and the
    /// channel.
    Raw { join: bool },
}

/// A connection that publishes.
pub struct Publisher {
    server: SocketAddr,
    stream: TcpStream,
    registered: Option<(Registry, Token)>,
    /// A new connection needs no hello.
    renewable: bool,
    used: Instant,
    language: Language,
    out: Vec<u8>,
    answers: Answers,
    /// Requests without an answer yet.
    pub unanswered: usize,
    /// Answers other than 200.
    pub refused: u64,
}

impl Publisher {
    /// A publisher through our API, whose messages have a content of this many bytes.
    pub fn rest(server: SocketAddr, channel: &str, bytes: usize) -> io::Result<Self> {
        let (channel, content) = (channel.to_owned(), content(bytes));
        Self::new(server, b"", Language::Rest { channel, content, templates: Vec::new() })
    }

    /// The same requests to the baseline, which sends this answer to each.
    pub fn rest_to_raw(server: SocketAddr, channel: &str, bytes: usize, answer: &[u8]) -> io::Result<Self> {
        let mut publisher = Self::rest(server, channel, bytes)?;
        let length = publisher.template(1)?.bytes.len();
        let mut hello = b"R".to_vec();
        hello.extend_from_slice(&(length as u32).to_be_bytes());
        hello.extend_from_slice(&(answer.len() as u32).to_be_bytes());
        hello.extend_from_slice(answer);
        publisher.stream.write_all(&hello)?;
        publisher.renewable = false;
        Ok(publisher)
    }

    /// Commands the baseline to write this frame.
    pub fn raw(server: SocketAddr, frame: &[u8], join: bool) -> io::Result<Self> {
        let mut hello = b"C".to_vec();
        hello.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        hello.extend_from_slice(frame);
        Self::new(server, &hello, Language::Raw { join })
    }

    fn new(server: SocketAddr, hello: &[u8], language: Language) -> io::Result<Self> {
        let mut stream = Dialer::default().dial(server)?;
        stream.write_all(hello)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            server,
            stream: TcpStream::from_std(stream),
            registered: None,
            renewable: hello.is_empty(),
            used: Instant::now(),
            language,
            out: Vec::new(),
            answers: Answers::default(),
            unanswered: 0,
            refused: 0,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.registered = Some((registry.try_clone()?, token));
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Replaces a connection that the server may be closing at this moment.
    fn renew(&mut self) -> io::Result<()> {
        let stream = Dialer::default().dial(self.server)?;
        stream.set_nonblocking(true)?;
        self.stream = TcpStream::from_std(stream);
        self.answers = Answers::default();
        match self.registered.take() {
            Some((registry, token)) => self.register(&registry, token),
            None => Ok(()),
        }
    }

    /// Prepares `count` messages from this number on as one request, which [`Publisher::flush`] sends.
    pub fn queue(&mut self, number: u32, count: u32) -> io::Result<()> {
        self.queue_to(0, number, count)
    }

    /// The same to the channel of this index. The publisher's channel must be a numbered one, or the index must be 0.
    pub fn queue_to(&mut self, channel: u32, number: u32, count: u32) -> io::Result<()> {
        if let Language::Raw { join } = self.language {
            self.out.extend_from_slice(&number.to_be_bytes());
            self.out.extend_from_slice(&(count as u16).to_be_bytes());
            self.out.extend_from_slice(&u16::from(join).to_be_bytes());
            self.out.extend_from_slice(&channel.to_be_bytes());
            return Ok(());
        }
        let index = self.template_index(count)?;
        if self.unanswered == 0 && self.renewable && self.used.elapsed() > IDLE {
            self.renew()?;
        }
        self.used = Instant::now();
        if let Language::Rest { templates, .. } = &mut self.language {
            let template = &mut templates[index];
            for (place, number) in template.places.iter().zip(number..) {
                frames::renumber(&mut template.bytes, *place, number);
            }
            if let Some(place) = template.channel_place {
                frames::renumber(&mut template.bytes, place, channel);
            }
            self.out.extend_from_slice(&template.bytes);
            self.unanswered += 1;
        }
        Ok(())
    }

    /// Sends what is prepared, as far as the socket accepts it.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads answers and continues sending.
    pub(super) fn send_and_receive(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                // It was idle for too long.
                Ok(0) if self.unanswered == 0 && self.renewable && self.used.elapsed() > IDLE => {
                    return Ok(());
                }
                Ok(0) => {
                    let (unanswered, refused) = (self.unanswered, self.refused);
                    let text = "the server closed the connection of its backend";
                    return Err(failure(format!("{text}: {unanswered} unanswered, {refused} refused")));
                }
                Ok(count) => {
                    let (unanswered, refused) = (&mut self.unanswered, &mut self.refused);
                    self.answers.feed(&buffer[..count], |status, _| {
                        *unanswered = unanswered.saturating_sub(1);
                        *refused += u64::from(status != 200);
                    })?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn template(&mut self, count: u32) -> io::Result<&Template> {
        let index = self.template_index(count)?;
        match &self.language {
            Language::Rest { templates, .. } => Ok(&templates[index]),
            Language::Raw { .. } => Err(failure("the baseline has no requests")),
        }
    }

    /// Finds or makes the request of `count` messages. Replaces an old one.
    fn template_index(&mut self, count: u32) -> io::Result<usize> {
        let Language::Rest { channel, content, templates } = &mut self.language else {
            return Err(failure("the baseline has no requests"));
        };
        let known = templates.iter().position(|template| template.places.len() == count as usize);
        match known {
            Some(index) if templates[index].made.elapsed() < FRESH => return Ok(index),
            Some(index) => drop(templates.swap_remove(index)),
            None => {}
        }
        let message = format!(r#"{{"user":"bench","channel":"{channel}","message":{content}}}"#);
        let body = format!("[{}]", vec![message; count as usize].join(","));
        let bytes = request("POST", "/message", &body);
        let mut places = Vec::new();
        while places.len() < count as usize {
            let from = places.last().copied().unwrap_or(0);
            let place =
                frames::digits_at(&bytes[from..]).ok_or_else(|| failure("a message without number"))?;
            places.push(from + place);
        }
        let channel_place = frames::channel_digits_at(&bytes).filter(|_| count == 1);
        templates.push(Template { bytes, places, channel_place, made: Instant::now() });
        Ok(templates.len() - 1)
    }
}
