//! The table of all settings: sentence, name, type, default and kind, each said once. The struct, the sample file
//! `channelstream.toml` and the page `docs/settings.md` are made from it.

use std::net::IpAddr;

use super::key::{Key, settings};
use super::kind::{FlagKind, PORT, ValueKind, number};
use super::kind_list::{Networks, Origins, Peers, SecretList, Words};
use super::kind_text::{DemoMode, Host, LogLevel, MaybeHost, Scheme, SecretText, Text};
use super::origin::AllowedOrigins;
use super::values::{AllowedPeers, DemoSetting, Secret};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const GIBIBYTE: i64 = 1 << 30;

settings! {
    "Server" {
        /// Address to listen on: an IPv4 or IPv6 address, or a name, which stands for all its addresses.
        host: String = "127.0.0.1".into() => Host;
        /// TCP port to listen on; 0 lets the system choose.
        port: u16 = 8000 => PORT;
        /// Second address, for the signed API, the admin pages and figures, which the first one then does not have; empty for none.
        internal_host: Option<String> = None => MaybeHost;
        /// TCP port of the second address; 0 lets the system choose.
        internal_port: u16 = 8001 => PORT;
        /// Worker threads; 0 means one per core.
        workers: usize = 0 => number(0, 1_024);
        /// Send to many sockets by one system call (io_uring), where the kernel (Linux 6.1 or newer) allows it.
        io_uring: bool = true => FlagKind;
        /// A thread that does not answer for this long is told by log, counter and `/health/ready`, in ms; 0 turns the watchdog off.
        watchdog_timeout was worker_lag_ms: u64 = 2_000 => number(0, HOUR_MS);
        /// How much the server logs; libraries log warnings at most. The environment variable RUST_LOG overrides it.
        log_level: String = "info".into() => LogLevel;
        /// Log at debug level whatever `log_level` says.
        debug: bool = false => FlagKind;
        /// Demo mode with its front page; auto turns it on for requests of this machine, while the server listens on loopback only and has the default secrets, no `trusted_proxies`, no `internal_host` and no `allowed_origins`.
        demo: DemoSetting = DemoSetting::Auto => DemoMode;
        /// Longest time a stop may take, in ms.
        shutdown_timeout_ms: u64 = 5_000 => number(0, HOUR_MS);
        /// When the server stops, sessions are sent away one after the other over this time, in ms, or over half of `shutdown_timeout_ms` if that is less; 0 sends all away at once.
        shutdown_spread was drain_spread_ms: u64 = 2_000 => number(0, HOUR_MS);
    }
    "Access" {
        /// Secrets that sign API requests; all are accepted, the first one signs.
        secrets: Vec<Secret> = vec![Secret::new("secret")] => SecretList;
        /// Start with the well-known default secrets although the address is not loopback, and accept them from everywhere; when off, they count for requests of this machine only.
        allow_default_secrets: bool = false => FlagKind;
        /// Refuse signatures older than 60 s.
        check_signature_age was validate_requests: bool = true => FlagKind;
        /// Refuse the signatures that are good for any request; those bound to one request are always accepted.
        require_bound_signatures: bool = false => FlagKind;
        /// Peer addresses that may call the signed API; 127.0.0.1 and ::1 stand for each other, 0.0.0.0 allows all, an empty list none.
        allow_posting_from: AllowedPeers = AllowedPeers::Only(vec![IpAddr::from([127, 0, 0, 1])]) => Peers;
        /// Origins, or parts of them, that get Access-Control-Allow-Origin; an empty list means all.
        allow_cors: Vec<String> = Vec::new() => Words;
        /// Origins whose pages may open websockets and poll, such as https://*.example.com; an empty list means all.
        allowed_origins: AllowedOrigins = AllowedOrigins::default() => Origins;
        /// Networks of the proxies whose headers count: about the client's address, the prefix and the scheme.
        trusted_proxies: Vec<ipnet::IpNet> = Vec::new() => Networks;
        /// Name that signs in to the admin pages.
        admin_user: String = "admin".into() => Text;
        /// Password that signs in to the admin pages.
        admin_secret: Secret = Secret::new("admin_secret") => SecretText { optional: false };
        /// Key that signs the admin cookie; when empty one is made at random at each start.
        cookie_secret: Secret = Secret::new("") => SecretText { optional: true };
        /// Answer plain HTTP with 406.
        enforce_https: bool = false => FlagKind;
        /// Scheme forced into generated URLs; when empty the request tells it.
        http_scheme: Option<String> = None => Scheme;
    }
    "Connections" {
        /// Interval of the `[]` heartbeat on each websocket, in ms; 0 turns it off.
        heartbeat_interval_ms: u64 = 5_000 => number(0, HOUR_MS);
        /// Interval of websocket pings, in ms; 0 turns them off.
        ping_interval_ms: u64 = 25_000 => number(0, HOUR_MS);
        /// A websocket that sends nothing, not even a pong, for this long is closed, in ms; 0 means never.
        pong_timeout was socket_idle_timeout_ms: u64 = 60_000 => number(0, DAY_MS);
        /// A connection without socket and poll for this long leaves its channels, in ms.
        unattached_timeout was connection_idle_timeout_ms: u64 = 15_000 => number(1, DAY_MS);
        /// Pause between a socket's close and its `parted` event, in ms.
        leave_delay was part_delay_ms: u64 = 500 => number(0, HOUR_MS);
        /// How long a connection that left may come back under the same id, in ms.
        grace_time_ms: u64 = 30_000 => number(0, DAY_MS);
        /// How long a long-poll waits for its first message, in ms.
        poll_wait_ms: u64 = 5_000 => number(0, HOUR_MS);
        /// How long a long-poll goes on collecting after its first message, in ms.
        poll_batch_window_ms: u64 = 25 => number(0, HOUR_MS);
        /// A user without connections is forgotten after this, in ms.
        user_idle_timeout_ms: u64 = 86_400_000 => number(0, 366 * DAY_MS);
    }
    "Frames" {
        /// Frames a channel keeps for catch-up.
        channel_frames: usize = 100 => number(0, 1_000_000);
        /// Private frames kept for each user's catch-up.
        user_frames: usize = 50 => number(0, 1_000_000);
        /// Offer permessage-deflate to websockets that ask for it; each broadcast is compressed once for all of them.
        compression: bool = true => FlagKind;
        /// Frames shorter than this are sent uncompressed, in bytes.
        compression_threshold_bytes: usize = 256 => number(0, GIBIBYTE);
        /// Frames carry `date`, equal to `timestamp`.
        date_in_frames: bool = true => FlagKind;
    }
    "Limits" {
        /// Most websockets and long-polls open at a time; 0 means as many as the system allows.
        max_sessions: usize = 0 => number(0, 1 << 32);
        /// Most HTTP connections each worker serves at a time; others wait to be let in.
        max_http_connections: usize = 25_600 => number(1, 16_777_216);
        /// Most sockets open at a time from one client address (IPv6: from one /64 network); 0 means no limit.
        max_sockets_per_address: usize = 0 => number(0, 1 << 32);
        /// New sockets taken in a second from one client address (IPv6: from one /64 network); 0 means no limit.
        connect_rate_per_address: usize = 0 => number(0, 1_000_000);
        /// Most connections kept, with or without a socket; 0 means no limit.
        max_connections: usize = 0 => number(0, 1 << 32);
        /// Most connections kept for one user, with or without a socket; 0 means no limit.
        max_connections_per_user: usize = 0 => number(0, 1 << 32);
        /// Most channels that one connection is in; 0 means no limit.
        max_channels_per_connection: usize = 10_000 => number(0, 1 << 32);
        /// Most channels; they are kept until the server ends; 0 means no limit.
        max_channels: usize = 1_000_000 => number(0, 1 << 32);
        /// Messages, edits and deletions taken in a second for one secret; 0 means no limit.
        publish_rate_per_secret: usize = 0 => number(0, 1_000_000_000);
        /// Longest name of a channel, in characters.
        max_channel_name_length: usize = 256 => number(1, 65_536);
        /// Longest name of a user, in characters.
        max_user_name_length: usize = 512 => number(1, 65_536);
        /// Longest name of a public state key, in characters.
        max_state_key_length: usize = 256 => number(1, 65_536);
        /// Most keys of one user's state; 0 means no limit.
        max_user_state_keys: usize = 10_000 => number(0, 1 << 32);
        /// Most bytes of one user's state, keys and values; 0 means no limit.
        max_user_state_bytes: usize = 1 << 20 => number(0, GIBIBYTE);
        /// Largest head of a request: its first line and its headers, in bytes.
        max_head_bytes: usize = 32 << 10 => number(4_096, 60_000);
        /// Time for the head of a request, from its first byte, in ms; 0 means no limit.
        header_timeout_ms: u64 = 5_000 => number(0, HOUR_MS);
        /// Time from the head of a request with a body to its answer, in ms; 0 means no limit.
        body_timeout_ms: u64 = 60_000 => number(0, HOUR_MS);
        /// Time for an answer to be taken, in ms; 0 means no limit.
        answer_timeout_ms: u64 = 60_000 => number(0, HOUR_MS);
        /// How long an HTTP connection may wait for its next request, in ms; 0 means that each is closed after its answer.
        keep_alive_ms: u64 = 75_000 => number(0, HOUR_MS);
        /// Largest request body, in bytes.
        max_body_bytes: usize = 8 << 20 => number(1_024, GIBIBYTE);
        /// Deepest nesting of a JSON body.
        max_json_depth: usize = 64 => number(4, 127);
        /// Most items of any list or mapping in a request.
        max_list_items: usize = 10_000 => number(1, 10_000_000);
        /// Most channels named in one request.
        max_channels_per_request: usize = 1_000 => number(1, 1_000_000);
        /// Largest event frame sent to clients, in bytes.
        max_frame_bytes: usize = 4 << 20 => number(1_024, GIBIBYTE);
        /// Largest websocket message accepted from a client, in bytes.
        max_client_message_bytes: usize = 64 << 10 => number(125, GIBIBYTE);
        /// Most bytes queued for one session before it is closed.
        max_queued_bytes: usize = 1 << 20 => number(4_096, GIBIBYTE);
        /// Most frames queued for one session before it is closed.
        max_queued_frames: usize = 16_384 => number(16, 1 << 31);
        /// Most bytes queued for all sessions before those with the longest queues are closed; 0 means no limit. A quarter as much again, and at least 16 MiB, is for large responses that wait for their clients.
        max_total_queued_bytes: usize = 1 << 30 => number(0, 1 << 40);
        /// Messages the registry's mailbox holds before the API answers 503.
        registry_mailbox: usize = 16_384 => number(1, 16_777_216);
        /// Messages a channel's mailbox holds before the API answers 503.
        channel_mailbox: usize = 16_384 => number(1, 16_777_216);
        /// Bytes of frames on their way to sessions before the API answers 503; each worker's share counts.
        max_pending_bytes: usize = 256 << 20 => number(65_536, 1 << 40);
        /// Bytes of request bodies under way, in all, before the API answers 503; never less than one body may have. An eighth as much again is for senders that have not proven that they have a secret.
        max_pending_body_bytes: usize = 256 << 20 => number(65_536, 1 << 40);
        /// Most memory for what the console records of connections and channels, in bytes; 0 turns recording off.
        recorder_bytes: usize = 4 << 20 => number(0, GIBIBYTE);
        /// Most bound signatures remembered against replays, for up to 120 s each; further ones are answered 503.
        max_remembered_signatures: usize = 1_000_000 => number(1_000, 100_000_000);
        /// Most messages a channel's history keeps, whatever `history_size` says.
        max_history_size: usize = 10_000 => number(0, 100_000_000);
    }
}
