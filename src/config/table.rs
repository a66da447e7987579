//! The table of all settings: sentence, name, type, default and kind of each. The struct [`Settings`], the sample file
//! `channelstream.toml` and the page `docs/settings.md` are made from it.

use std::net::IpAddr;

use super::channel_rules::ChannelPatterns;
use super::engine::{ENGINE, ENGINE_PREFIX, EngineSetting, NODE_NAME};
use super::engine_url::{ENGINE_URLS, EngineUrl};
use super::kind::{FLAG, Given, KindInfo, PORT, duration, number, size};
use super::kind_list::{ALGORITHMS, AllowedPeers, NETWORKS, ORIGINS, PEERS, SECRETS, WORDS};
use super::kind_text::{
    BLANKS, DEMO_MODE, DemoSetting, HOST, LOG_LEVEL, OPTIONAL_HOST, OPTIONAL_SECRET, OPTIONAL_TEXT, PASSWORD,
    SCHEME, Secret, TEXT,
};
use super::origin::AllowedOrigins;
use jsonwebtoken::Algorithm;

/// One row of the table.
pub(super) struct Key {
    /// Name of the field, and the key in files.
    pub name: &'static str,
    /// The name that it had before, which is still accepted.
    pub old_name: Option<&'static str>,
    /// Heading above it in the sample file and on the reference page.
    pub group: &'static str,
    /// The sentence about it.
    pub doc: &'static str,
    /// Reads a value into the settings. Adds a note about each part of the value that it ignores.
    pub read: fn(&mut Settings, Given<'_>, &mut Vec<String>) -> Result<(), String>,
    /// The value as it is written into a file.
    pub show: fn(&Settings) -> toml::Value,
    /// The value for people to read, with masked secrets.
    pub for_people: fn(&Settings) -> String,
    /// What it accepts, and how its values are treated.
    pub info: fn() -> KindInfo,
}

impl Key {
    /// The setting with this name or old name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name || key.old_name == Some(name))
    }

    /// Checks a value that may have been set in code, by reading what would be written.
    pub fn check(&self, settings: &Settings) -> Result<(), String> {
        let mut notes = Vec::new();
        (self.read)(&mut settings.clone(), Given::Typed(&(self.show)(settings)), &mut notes)?;
        match notes.iter().any(|note| note == BLANKS) {
            true => Err("it must not have blanks at its ends".into()),
            false => Ok(()),
        }
    }

    /// The value, if it is a number.
    pub fn number(&self, settings: &Settings) -> Option<i64> {
        (self.show)(settings).as_integer()
    }

    pub fn is_equal(&self, one: &Settings, other: &Settings) -> bool {
        (self.show)(one) == (self.show)(other)
    }
}

/// `group { /// sentence. field was old_name: type = default => kind; }`
macro_rules! settings {
    ($($group:literal {
        $($(#[doc = $doc:literal])+ $name:ident $(was $old_name:ident)?: $type:ty = $default:expr => $kind:expr;)+
    })+) => {
        /// All settings of a server. Field names are the keys of `channelstream.toml`.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($($(#[doc = $doc])+ pub $name: $type,)+)+
            /// The rules for channels by pattern, which only a TOML file can give.
            pub channels: ChannelPatterns,
            /// The INI file that the settings were read from, if any.
            pub ini: Option<std::path::PathBuf>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($($name: $default,)+)+ channels: ChannelPatterns::default(), ini: None }
            }
        }

        /// All settings in the order of the sample file.
        pub(super) static KEYS: &[Key] = &[$($(Key {
            name: stringify!($name),
            old_name: [$(stringify!($old_name))?].first().copied(),
            group: $group,
            doc: concat!($($doc),+),
            read: |settings, given, notes| {
                settings.$name = $kind.read(given, notes)?;
                Ok(())
            },
            show: |settings| $kind.show(&settings.$name),
            for_people: |settings| $kind.for_people(&settings.$name),
            info: || $kind.info(),
        },)+)+];
    };
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const GIBIBYTE: i64 = 1 << 30;

settings! {
    "Server" {
        /// Address to listen on: an IPv4 or IPv6 address, or a name, which stands for all its addresses.
        host: String = "127.0.0.1".into() => HOST;
        /// TCP port to listen on; 0 lets the system choose.
        port: u16 = 8000 => PORT;
        /// Second address, for the signed API, the admin pages and the metrics, which the first one then does not serve; empty for none.
        internal_host: Option<String> = None => OPTIONAL_HOST;
        /// TCP port of the second address; 0 lets the system choose.
        internal_port: u16 = 8001 => PORT;
        /// Worker threads; 0 means one per core.
        workers: usize = 0 => number(0, 1_024);
        /// Send to many sockets with one system call (io_uring), where the kernel (Linux 6.1 or newer) allows it.
        io_uring: bool = true => FLAG;
        /// A thread that does not respond for this long is reported in the log, by a counter and by `/health/ready`; 0 turns the watchdog off. A plain number is in ms.
        watchdog_timeout was worker_lag_ms: u64 = 2_000 => duration(0, HOUR_MS);
        /// Level of the messages that the server logs; libraries log warnings at most. The environment variable RUST_LOG overrides it.
        log_level: String = "info".into() => LOG_LEVEL;
        /// Log at debug level, whatever `log_level` is.
        debug: bool = false => FLAG;
        /// Demo mode with its front page; auto turns it on for requests from this machine, while the server listens on loopback only and has the default secrets, no `trusted_proxies`, no `internal_host` and no `allowed_origins`. It is off while `engine` is redis.
        demo: DemoSetting = DemoSetting::Auto => DEMO_MODE;
        /// Longest time that a stop may take, in ms.
        shutdown_timeout_ms: u64 = 5_000 => duration(0, HOUR_MS);
        /// When the server stops, it closes the sessions one after the other over this time, or over half of `shutdown_timeout_ms` if that is less; 0 closes all of them immediately. A plain number is in ms.
        shutdown_spread was drain_spread_ms: u64 = 2_000 => duration(0, HOUR_MS);
    }
    "Access" {
        /// Secrets that sign API requests; all of them are accepted, and `channelstream sign` uses the first one.
        secrets: Vec<Secret> = vec![Secret::new("secret")] => SECRETS;
        /// Start with the well-known default secrets although the address is not loopback, and accept them from every machine; when off, they are accepted in requests from this machine only.
        allow_default_secrets: bool = false => FLAG;
        /// Refuse signatures older than 60 s.
        check_signature_age was validate_requests: bool = true => FLAG;
        /// Refuse signatures that are valid for any request; those that are bound to one request are always accepted.
        require_bound_signatures: bool = false => FLAG;
        /// Peer addresses that may call the signed API; 127.0.0.1 and ::1 are equivalent, 0.0.0.0 allows all, an empty list allows none.
        allow_posting_from: AllowedPeers = AllowedPeers::Only(vec![IpAddr::from([127, 0, 0, 1])]) => PEERS;
        /// Origins, or parts of them, that receive Access-Control-Allow-Origin; an empty list means all.
        allow_cors: Vec<String> = Vec::new() => WORDS;
        /// Origins whose pages may open websockets and poll, such as https://*.example.com; an empty list means all.
        allowed_origins: AllowedOrigins = AllowedOrigins::default() => ORIGINS;
        /// Networks of the proxies whose headers the server trusts for the client's address, the prefix and the scheme.
        trusted_proxies: Vec<ipnet::IpNet> = Vec::new() => NETWORKS;
        /// Name for signing in to the admin pages.
        admin_user: String = "admin".into() => TEXT;
        /// Password for signing in to the admin pages.
        admin_secret: Secret = Secret::new("admin_secret") => PASSWORD;
        /// Key that signs the admin cookie; if it is empty, the server makes a random one at each start, and several nodes agree on one.
        cookie_secret: Secret = Secret::new("") => OPTIONAL_SECRET;
        /// Answer plain HTTP with 406.
        enforce_https: bool = false => FLAG;
        /// Scheme of generated URLs; if it is empty, the request determines it.
        http_scheme: Option<String> = None => SCHEME;
    }
    "Tokens" {
        /// Algorithms of the connection tokens (JWT) that the server accepts; an empty list means that it accepts none. HS256 uses `secrets`, the others need `token_public_key` or `token_jwks`.
        token_algorithms: Vec<Algorithm> = vec![Algorithm::HS256] => ALGORITHMS;
        /// File with the public key (PEM) that verifies tokens, read again on a reload; empty for none.
        token_public_key: Option<String> = None => OPTIONAL_TEXT;
        /// File with up to 100 public keys (JWKS) that verify tokens, read again on a reload; the token's `kid` selects the key; empty for none.
        token_jwks: Option<String> = None => OPTIONAL_TEXT;
        /// Audience that the claim `aud` must contain, in tokens that have the claim.
        token_audience: String = "channelstream".into() => TEXT;
        /// Issuer that the claim `iss` of each token must equal; if it is empty, the server does not check the issuer.
        token_issuer: Option<String> = None => OPTIONAL_TEXT;
        /// Refuse websockets, event streams and polls without a token.
        require_tokens: bool = false => FLAG;
    }
    "Connections" {
        /// Interval of the heartbeat on each websocket and event stream, in ms; 0 turns it off, except for clients that receive cursors with it.
        heartbeat_interval_ms: u64 = 5_000 => duration(0, HOUR_MS);
        /// Interval of websocket pings, in ms; 0 turns them off.
        ping_interval_ms: u64 = 25_000 => duration(0, HOUR_MS);
        /// The server closes a websocket that sends nothing, not even a pong, for this long, and an event stream whose data is not acknowledged; 0 means never. A plain number is in ms.
        pong_timeout was socket_idle_timeout_ms: u64 = 60_000 => duration(0, DAY_MS);
        /// A connection without a websocket or poll for this long leaves its channels. A plain number is in ms.
        unattached_timeout was connection_idle_timeout_ms: u64 = 15_000 => duration(1, DAY_MS);
        /// Time between the close of a websocket and its `parted` event. A plain number is in ms.
        leave_delay was part_delay_ms: u64 = 500 => duration(0, HOUR_MS);
        /// Shortest reconnect delay of clients of server-sent events, in ms; each waits up to twice as long. Their connections stay present for twice this time, in addition to `leave_delay`.
        sse_retry_ms: u64 = 1_000 => duration(100, 60_000);
        /// How long a connection that left may return with the same id, in ms.
        grace_time_ms: u64 = 30_000 => duration(0, DAY_MS);
        /// How long a long-poll waits for its first message, in ms.
        poll_wait_ms: u64 = 5_000 => duration(0, HOUR_MS);
        /// How long a long-poll continues to collect messages after its first one, in ms.
        poll_batch_window_ms: u64 = 25 => duration(0, HOUR_MS);
        /// The server deletes a user that has no connection for this long, in ms.
        user_idle_timeout_ms: u64 = 86_400_000 => duration(0, 366 * DAY_MS);
    }
    "Frames" {
        /// Frames that a channel stores for catch-up.
        channel_frames: usize = 100 => number(0, 1_000_000);
        /// Private frames that are stored for each user's catch-up.
        user_frames: usize = 50 => number(0, 1_000_000);
        /// Offer permessage-deflate to websockets that request it; each broadcast is compressed once for all of them.
        compression: bool = true => FLAG;
        /// Frames shorter than this are sent uncompressed, in bytes.
        compression_threshold_bytes: usize = 256 => size(0, GIBIBYTE);
        /// Frames contain `date`, equal to `timestamp`.
        date_in_frames: bool = true => FLAG;
    }
    "Publishing" {
        /// Longest time that a request waits for its receipts, in ms; then it is answered without those that are missing.
        receipt_timeout_ms: u64 = 2_000 => duration(1, 60_000);
        /// How long an `Idempotency-Key` is stored, from its first request on, in ms.
        publish_window_ms: u64 = 300_000 => duration(1_000, DAY_MS);
    }
    "Engine" {
        /// Where the state of channels and users is: in this process, or in Redis, so that several servers (nodes) act as one.
        engine: EngineSetting = EngineSetting::Embedded => ENGINE;
        /// Addresses of Redis, such as redis://10.0.0.5:6379, rediss://redis.example.org:6379 (TLS) or redis+unix:///run/redis.sock; of several, a node uses one that is a master. Or addresses of all Sentinels, such as redis+sentinel://10.0.0.5:26379/main. An address may contain a password.
        engine_url: Vec<EngineUrl> = Vec::new() => ENGINE_URLS;
        /// File with the password of Redis; empty for none.
        engine_password_file: Option<String> = None => OPTIONAL_TEXT;
        /// File with the certificates (PEM) of the authorities that may sign the certificate of Redis; empty for those of the system.
        engine_ca_file: Option<String> = None => OPTIONAL_TEXT;
        /// File with the certificate (PEM) that this node shows Redis; empty for none.
        engine_cert_file: Option<String> = None => OPTIONAL_TEXT;
        /// File with the private key (PEM) of `engine_cert_file`.
        engine_key_file: Option<String> = None => OPTIONAL_TEXT;
        /// What the names of all keys in Redis begin with; servers with different prefixes can share one Redis.
        engine_prefix: String = "cs:".into() => ENGINE_PREFIX;
        /// How long a request waits for Redis, in ms; then it is answered 503.
        engine_timeout_ms: u64 = 2_000 => duration(100, 60_000);
        /// Interval of the beats with which a node shows the others that it works, in ms.
        engine_beat_ms: u64 = 1_000 => duration(100, 60_000);
        /// A node that sends no beat for this long counts as dead, and the users that only it serves leave, in ms; at least three times `engine_beat_ms`.
        engine_dead_ms: u64 = 3_000 => duration(300, HOUR_MS);
        /// The users of a node that stops in an orderly way leave only after this time, in ms, so that their clients can return to another node, or to the same one, without an event.
        restart_grace_ms: u64 = 15_000 => duration(0, HOUR_MS);
        /// Number of replicas that must have a message or another change before it is answered; with fewer the answer is 503, and the change may have taken effect.
        engine_wait_replicas: usize = 0 => number(0, 8);
        /// Bytes that may wait for Redis, and bytes from Redis that may wait for this node; above the former the API answers 503, above the latter the node reads again what it has missed.
        engine_pending_bytes: usize = 64 << 20 => size(1 << 20, 1 << 40);
        /// Redis forgets a channel that has no members and is not used for this long, in ms; 0 means never.
        engine_channel_idle_ms: u64 = 604_800_000 => duration(0, 366 * DAY_MS);
        /// Name of this node in the console and the metrics; if it is empty, the host name of the machine.
        node_name: Option<String> = None => NODE_NAME;
    }
    "Limits" {
        /// Maximum number of open websockets, long-polls and event streams; 0 means as many as the system allows.
        max_sessions: usize = 0 => number(0, 1 << 32);
        /// Maximum number of HTTP connections that each worker serves at a time; others wait to be accepted.
        max_http_connections: usize = 25_600 => number(1, 16_777_216);
        /// Maximum number of open sockets from one client address (IPv6: from one /64 network); 0 means no limit.
        max_sockets_per_address: usize = 0 => number(0, 1 << 32);
        /// New sockets accepted per second from one client address (IPv6: from one /64 network); 0 means no limit.
        connect_rate_per_address: usize = 0 => number(0, 1_000_000);
        /// Maximum number of connections, with or without a socket; 0 means no limit.
        max_connections: usize = 0 => number(0, 1 << 32);
        /// Maximum number of connections of one user, with or without a socket; 0 means no limit.
        max_connections_per_user: usize = 0 => number(0, 1 << 32);
        /// Maximum number of channels of one connection; 0 means no limit.
        max_channels_per_connection: usize = 10_000 => number(0, 1 << 32);
        /// Maximum number of channels, which exist until the server ends; 0 means no limit.
        max_channels: usize = 1_000_000 => number(0, 1 << 32);
        /// Messages, edits and deletions accepted per second for one secret; 0 means no limit.
        publish_rate_per_secret: usize = 0 => number(0, 1_000_000_000);
        /// Messages, edits and deletions stored with an `Idempotency-Key`; when it is reached, requests with a new key are answered 503.
        max_idempotency_keys: usize = 100_000 => number(1, 10_000_000);
        /// Longest name of a channel, in characters.
        max_channel_name_length: usize = 256 => number(1, 65_536);
        /// Longest name of a user, in characters.
        max_user_name_length: usize = 512 => number(1, 65_536);
        /// Longest name of a public state key, in characters.
        max_state_key_length: usize = 256 => number(1, 65_536);
        /// Maximum number of keys of one user's state; 0 means no limit.
        max_user_state_keys: usize = 10_000 => number(0, 1 << 32);
        /// Largest state of one user, keys and values, in bytes; 0 means no limit.
        max_user_state_bytes: usize = 1 << 20 => size(0, GIBIBYTE);
        /// Largest head of a request: its first line and its headers, in bytes.
        max_head_bytes: usize = 32 << 10 => size(4_096, 60_000);
        /// Time for the head of a request to arrive, from its first byte, in ms; 0 means no limit.
        header_timeout_ms: u64 = 5_000 => duration(0, HOUR_MS);
        /// Time from the head of a request with a body to its answer, in ms; 0 means no limit.
        body_timeout_ms: u64 = 60_000 => duration(0, HOUR_MS);
        /// Time for the client to receive an answer, in ms; 0 means no limit.
        answer_timeout_ms: u64 = 60_000 => duration(0, HOUR_MS);
        /// How long an HTTP connection may wait for its next request, in ms; 0 means that each is closed after its answer.
        keep_alive_ms: u64 = 75_000 => duration(0, HOUR_MS);
        /// Largest request body, in bytes.
        max_body_bytes: usize = 8 << 20 => size(1_024, GIBIBYTE);
        /// Deepest nesting of a JSON body.
        max_json_depth: usize = 64 => number(4, 127);
        /// Maximum number of items of any list or mapping in a request.
        max_list_items: usize = 10_000 => number(1, 10_000_000);
        /// Maximum number of positions with which a client returns.
        max_positions: usize = 1_000 => number(1, 10_000);
        /// Maximum number of channels that one request names.
        max_channels_per_request: usize = 1_000 => number(1, 1_000_000);
        /// Largest event frame sent to clients, in bytes; with `engine = "redis"` the default is 256 KiB, because each frame passes through Redis to every node that needs it.
        max_frame_bytes: usize = 4 << 20 => size(1_024, GIBIBYTE);
        /// Largest websocket message accepted from a client, in bytes.
        max_client_message_bytes: usize = 64 << 10 => size(125, GIBIBYTE);
        /// Maximum number of bytes queued for one session; the server closes a session that exceeds it.
        max_queued_bytes: usize = 1 << 20 => size(4_096, GIBIBYTE);
        /// Maximum number of frames queued for one session; the server closes a session that exceeds it.
        max_queued_frames: usize = 16_384 => number(16, 1 << 31);
        /// Maximum number of bytes queued for all sessions; above it the server closes those with the longest queues; 0 means no limit. Another quarter of it, and at least 16 MiB, is for large responses that wait for their clients.
        max_total_queued_bytes: usize = 1 << 30 => size(0, 1 << 40);
        /// Messages in the registry's mailbox; when it is full, the API answers 503.
        registry_mailbox: usize = 16_384 => number(1, 16_777_216);
        /// Messages in a channel's mailbox; when it is full, the API answers 503.
        channel_mailbox: usize = 16_384 => number(1, 16_777_216);
        /// Bytes of frames in flight to sessions, above which the API answers 503; a frame counts once for each worker that sends it.
        max_pending_bytes: usize = 256 << 20 => size(65_536, 1 << 40);
        /// Bytes of all request bodies in flight, above which the API answers 503; never less than the largest body. Another eighth of it is for senders that have not proven that they have a secret.
        max_pending_body_bytes: usize = 256 << 20 => size(65_536, 1 << 40);
        /// Maximum memory for what the console records of connections and channels, in bytes; 0 turns recording off.
        recorder_bytes: usize = 4 << 20 => size(0, GIBIBYTE);
        /// Maximum number of bound signatures stored against replays, each for up to 120 s; further ones are answered 503.
        max_remembered_signatures: usize = 1_000_000 => number(1_000, 100_000_000);
        /// Maximum number of users with a block.
        max_blocks: usize = 100_000 => number(1, 10_000_000);
        /// Largest connection token, in bytes.
        max_token_bytes: usize = 8_192 => size(256, 65_536);
        /// Maximum number of messages in a channel's history, whatever `history_size` is.
        max_history_size: usize = 10_000 => number(0, 100_000_000);
    }
}
