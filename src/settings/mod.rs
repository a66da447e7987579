//! Everything that can be set, with one default and one sentence each.

use std::net::IpAddr;
use std::path::PathBuf;

/// A secret: compares in constant time where it matters, and never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for computing with it; never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who may call the signed API, by address of the socket's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPeers {
    /// `0.0.0.0` stands in the list: everybody with a good signature.
    Any,
    /// Exactly these addresses; an empty list allows nobody.
    Only(Vec<IpAddr>),
}

/// When demo mode is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// On when the server listens on loopback only and was not started from an INI file.
    Auto,
    /// Always on.
    On,
    /// Never on.
    Off,
}

/// All settings of a server. Field names are the keys of `channelstream.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on.
    pub host: String,
    /// TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Worker threads; 0 means one per core.
    pub workers: usize,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Log at debug level whatever `log_level` says (the original's key).
    pub debug: bool,

    /// Secrets that sign API requests; all are accepted, the first one signs.
    pub secrets: Vec<Secret>,
    /// Start with the well-known default secrets although the address is not loopback.
    pub allow_default_secrets: bool,
    /// Refuse signatures older than 60 s.
    pub validate_requests: bool,
    /// Peer addresses that may call the signed API.
    pub allow_posting_from: AllowedPeers,
    /// Origins (parts of them) that get `Access-Control-Allow-Origin`; empty means all.
    pub allow_cors: Vec<String>,
    /// Networks whose forwarded headers tell the client's address.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Name that signs in to the admin pages.
    pub admin_user: String,
    /// Password that signs in to the admin pages.
    pub admin_secret: Secret,
    /// Key that signs the admin cookie; made at random when not given.
    pub cookie_secret: Secret,
    /// Answer plain HTTP with 406.
    pub enforce_https: bool,
    /// `http` or `https`: forced into generated URLs.
    pub http_scheme: Option<String>,
    /// Demo mode.
    pub demo: Demo,

    /// Interval of the `[]` heartbeat on each websocket, in ms; 0 turns it off.
    pub heartbeat_interval_ms: u64,
    /// Interval of websocket pings, in ms; 0 turns them off.
    pub ping_interval_ms: u64,
    /// A websocket that sends nothing, not even a pong, for this long is closed, in ms; 0 never.
    pub socket_idle_timeout_ms: u64,
    /// A connection without socket and poll for this long leaves its channels, in ms.
    pub connection_idle_timeout_ms: u64,
    /// Pause between a socket's close and `parted`, in ms.
    pub part_delay_ms: u64,
    /// How long a connection that left may come back under the same id, in ms.
    pub grace_time_ms: u64,
    /// How long a long-poll waits for a first message, in ms.
    pub poll_wait_ms: u64,
    /// How long a long-poll goes on collecting after its first message, in ms.
    pub poll_batch_window_ms: u64,
    /// A user without connections is forgotten after this, in ms.
    pub user_idle_timeout_ms: u64,
    /// Frames a channel keeps for catch-up.
    pub channel_frames: usize,
    /// Private frames kept for each user's catch-up.
    pub user_frames: usize,
    /// Frames carry `date`, equal to `timestamp`.
    pub date_in_frames: bool,

    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Deepest nesting of a JSON body.
    pub max_json_depth: usize,
    /// Most items of any list or mapping in a request.
    pub max_list_items: usize,
    /// Most channels named in one request.
    pub max_channels_per_request: usize,
    /// Largest event frame sent to clients, in bytes.
    pub max_frame_bytes: usize,
    /// Largest websocket message accepted from a client, in bytes.
    pub max_client_message_bytes: usize,
    /// Most bytes queued for one session before it is closed.
    pub max_queued_bytes: usize,
    /// Messages the registry's mailbox holds before the API answers 503.
    pub registry_mailbox: usize,
    /// Messages a channel's mailbox holds before the API answers 503.
    pub channel_mailbox: usize,
    /// Longest time a stop may take, in ms.
    pub shutdown_timeout_ms: u64,

    /// The INI file the settings came from, if any.
    pub ini: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8000,
            workers: 0,
            log_level: "info".into(),
            debug: false,
            secrets: vec![Secret::new("secret")],
            allow_default_secrets: false,
            validate_requests: true,
            allow_posting_from: AllowedPeers::Only(vec![IpAddr::from([127, 0, 0, 1])]),
            allow_cors: Vec::new(),
            trusted_proxies: Vec::new(),
            admin_user: "admin".into(),
            admin_secret: Secret::new("admin_secret"),
            cookie_secret: Secret::new(""),
            enforce_https: false,
            http_scheme: None,
            demo: Demo::Auto,
            heartbeat_interval_ms: 5_000,
            ping_interval_ms: 25_000,
            socket_idle_timeout_ms: 60_000,
            connection_idle_timeout_ms: 15_000,
            part_delay_ms: 500,
            grace_time_ms: 30_000,
            poll_wait_ms: 5_000,
            poll_batch_window_ms: 25,
            user_idle_timeout_ms: 86_400_000,
            channel_frames: 100,
            user_frames: 50,
            date_in_frames: true,
            max_body_bytes: 8 << 20,
            max_json_depth: 64,
            max_list_items: 10_000,
            max_channels_per_request: 1_000,
            max_frame_bytes: 4 << 20,
            max_client_message_bytes: 64 << 10,
            max_queued_bytes: 1 << 20,
            registry_mailbox: 16_384,
            channel_mailbox: 16_384,
            shutdown_timeout_ms: 5_000,
            ini: None,
        }
    }
}
