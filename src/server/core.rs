//! The core of a running server: everything that exists once in the process, and the start of the actors.

use crate::auth::Gate;
use crate::broker::batched_mailbox::{BatchedMailbox, MailboxSender};
use crate::broker::channel::state::Retention;
use crate::broker::channel::{HubSenders, Hubs};
use crate::broker::drain::Drain;
use crate::broker::engine::link::{Link, LinkHandle};
use crate::broker::handle::cluster::listing::answer_listings;
use crate::broker::handle::nodes::Nodes;
use crate::broker::handle::{Actors, BrokerHandle};
use crate::broker::hub::handle::{HubHandle, HubParts};
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::PrivateMessages;
use crate::broker::private_messages::state::PrivateMessagesState;
use crate::broker::registry::limits::RegistryLimits;
use crate::broker::registry::messages::Publish;
use crate::broker::registry::state::{ConnectionTimes, RegistryState};
use crate::broker::registry::{Registry, RegistryParts};
use crate::broker::stamps::Stamps;
use crate::config::Settings;
use crate::console::endpoints::Console;
use crate::console::sampler::Sampler;
use crate::demo::Demo;
use crate::limits::addresses::Addresses;
use crate::limits::rate::PublishRates;
use crate::limits::responses::Responses;
use crate::limits::unauthenticated::UnauthenticatedBodies;
use crate::protocol::event::Encoder;
use crate::protocol::ids::{HubId, ServerEpoch};
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::recorder::Recorder;
use crate::telemetry::thread_health::ThreadHealth;
use actix::{Actor, Addr, Message};
use actix_rt::ArbiterHandle;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, channel};

/// Connections that may receive the reason for their rejection at the same time; more are closed without an answer.
const MAX_REJECTIONS: usize = 256;

/// Questions of other nodes about lists that may wait.
const LISTING_QUESTIONS: usize = 64;

/// Everything that exists once in the process.
pub(super) struct Core {
    pub settings: Arc<Settings>,
    pub counters: Arc<Counters>,
    pub in_flight: Arc<InFlight>,
    pub hubs: Arc<Hubs>,
    /// The mailboxes of the hubs, by hub number.
    pub hub_mailboxes: Vec<Arc<BatchedMailbox<ToHub>>>,
    pub published: Arc<BatchedMailbox<Publish>>,
    pub drain: Arc<Drain>,
    pub thread_health: Arc<ThreadHealth>,
    pub gate: Arc<Gate>,
    pub responses: Arc<Responses>,
    pub unauthenticated_bodies: Arc<UnauthenticatedBodies>,
    pub rates: Arc<PublishRates>,
    /// Counts the sockets of each client address, if they are limited.
    pub addresses: Option<Arc<Addresses>>,
    pub console: Arc<Console>,
    /// The link to Redis until the registry starts it, and the way to it. `None` if this process decides by itself.
    pub link: Option<Mutex<Option<Link>>>,
    pub link_handle: Option<LinkHandle>,
    /// The nodes that Redis knows.
    pub nodes: Option<Arc<Nodes>>,
    pub registry: OnceLock<Addr<Registry>>,
    pub registry_thread: OnceLock<ArbiterHandle>,
    pub demo: OnceLock<Arc<Demo>>,
    pub next_hub: AtomicU16,
    /// Permits for connections that are not websockets (yet).
    pub http_permits: Arc<Semaphore>,
    pub num_http_permits: usize,
    /// Permits for connections that are being rejected.
    pub rejection_permits: Arc<Semaphore>,
    /// Receives the result when the server has ended.
    pub ended: UnboundedSender<io::Result<()>>,
    /// This life of the server, for cursors.
    pub epoch: ServerEpoch,
    pub started: Instant,
}

impl Core {
    pub fn new(
        settings: Settings,
        workers: usize,
        listeners: usize,
        link: Option<(LinkHandle, Link)>,
        ended: UnboundedSender<io::Result<()>>,
    ) -> Self {
        let settings = Arc::new(settings);
        let (link_handle, link) = link.unzip();
        let num_http_permits = workers.saturating_mul(settings.max_http_connections);
        // Each listener holds two permits: its own, and one for the connection that it waits for. No listener waits
        // for the permit of another one.
        let num_http_permits =
            num_http_permits.saturating_add((2 * listeners).saturating_sub(1)).min(Semaphore::MAX_PERMITS);
        let hubs = Arc::new(Hubs::new(workers));
        let gate = Arc::new(Gate::new(settings.clone()));
        let in_flight = in_flight(&settings).with_idempotency_keys(gate.idempotency.stored().clone());
        let (in_flight, counters) = (Arc::new(in_flight), Arc::<Counters>::default());
        let rates = Arc::new(PublishRates::new(settings.publish_rate_per_secret));
        Self {
            responses: Responses::new(in_flight.clone()),
            unauthenticated_bodies: UnauthenticatedBodies::new(
                in_flight.clone(),
                unauthenticated_body_bytes(&settings),
            ),
            in_flight,
            nodes: link_handle
                .clone()
                .map(|link| Arc::new(Nodes::new(link, &settings, counters.clone(), rates.clone()))),
            counters,
            console: Arc::new(Console::new(Recorder::new(settings.recorder_bytes))),
            hubs,
            hub_mailboxes: (0..workers).map(|_| BatchedMailbox::new()).collect(),
            published: BatchedMailbox::new(),
            drain: Arc::default(),
            thread_health: Arc::new(ThreadHealth::new(workers)),
            gate,
            addresses: Addresses::new(settings.max_sockets_per_address, settings.connect_rate_per_address),
            rates,
            link_handle,
            link: link.map(|link| Mutex::new(Some(link))),
            registry: OnceLock::new(),
            registry_thread: OnceLock::new(),
            demo: OnceLock::new(),
            next_hub: AtomicU16::new(0),
            http_permits: Arc::new(Semaphore::new(num_http_permits)),
            num_http_permits,
            rejection_permits: Arc::new(Semaphore::new(MAX_REJECTIONS)),
            ended,
            epoch: ServerEpoch::new(rand::random()),
            started: Instant::now(),
            settings,
        }
    }

    /// Starts registry, private message streams and sampler on the current thread, once.
    pub fn start_registry(&self) -> Addr<Registry> {
        let start = || {
            let settings = &self.settings;
            let (console, counters) = (self.console.clone(), self.counters.clone());
            Sampler::new(console, counters, self.in_flight.clone(), self.gate.clone())
                .with_nodes(self.nodes.clone(), self.drain.clone())
                .start();
            let hubs = self.hub_mailboxes.iter().map(|mailbox| self.sender(mailbox)).collect();
            let hubs = Arc::new(HubSenders::new(hubs));
            let encoder = Encoder { date: settings.date_in_frames };
            let stamps = Arc::new(if self.link.is_some() { Stamps::following() } else { Stamps::default() });
            let private_messages =
                PrivateMessagesState::new(encoder, settings.user_frames, rand::make_rng(), stamps.clone())
                    .following(self.link.is_some());
            let private_messages =
                PrivateMessages::new(private_messages, hubs.clone(), self.in_flight.clone()).start();
            let state = RegistryState::new(ConnectionTimes {
                idle: settings.unattached_timeout,
                part: settings.leave_delay,
                reconnect_delay: 2 * settings.sse_retry_ms,
                grace: settings.grace_time_ms,
                user_idle: settings.user_idle_timeout_ms,
            })
            .with_stamps(stamps)
            .with_limits(RegistryLimits::from(&**settings))
            .with_patterns(settings.channels.clone());
            let (listings, questions) = channel(LISTING_QUESTIONS);
            let parts = RegistryParts {
                state,
                encoder,
                retention: Retention { frames: settings.channel_frames, history: settings.max_history_size },
                hubs,
                published: self.published.clone(),
                private_messages,
                counters: self.counters.clone(),
                in_flight: self.in_flight.clone(),
                recorder: self.console.recorder.clone(),
                link: self.link_handle.clone(),
                listings: self.link_handle.as_ref().map(|_| listings),
            };
            let mailbox = settings.registry_mailbox;
            let registry = Registry::create(|context| {
                context.set_mailbox_capacity(mailbox);
                Registry::new(parts)
            });
            self.published.set_receiver(registry.clone());
            self.start_link(&registry);
            if self.link_handle.is_some() {
                actix_rt::spawn(answer_listings(self.broker(registry.clone()), questions));
            }
            registry
        };
        self.registry.get_or_init(start).clone()
    }

    /// Starts the link on the current thread, which is the registry's.
    fn start_link(&self, registry: &Addr<Registry>) {
        let link =
            self.link.as_ref().and_then(|link| link.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(link) = link else { return };
        let registry = registry.clone();
        actix_rt::spawn(link.run(move |event| registry.do_send(event)));
    }

    /// Starts the demo's actors on the current thread, once; none outside demo mode.
    pub fn start_demo(&self) -> Option<Arc<Demo>> {
        let start = || Arc::new(Demo::start(self.settings.clone(), self.in_flight.clone()));
        self.settings.demo_enabled().then(|| self.demo.get_or_init(start).clone())
    }

    /// A sender from the current thread (a worker's or the registry's) to the actor that reads this mailbox.
    pub fn sender<M: Message<Result = ()> + Send + 'static>(
        &self,
        mailbox: &Arc<BatchedMailbox<M>>,
    ) -> MailboxSender<M> {
        if self.hub_mailboxes.len() == 1 {
            MailboxSender::within_thread(mailbox.clone())
        } else {
            MailboxSender::between_threads(mailbox.clone())
        }
    }

    /// Starts a hub on the current worker's thread.
    pub fn start_hub(&self, registry: &Addr<Registry>) -> HubHandle {
        let id = HubId(self.next_hub.fetch_add(1, Ordering::Relaxed));
        let (handle, addr) = HubHandle::start(HubParts {
            id,
            settings: self.settings.clone(),
            counters: self.counters.clone(),
            in_flight: self.in_flight.clone(),
            recorder: self.console.recorder.clone(),
            attach: registry.clone().recipient(),
            published: self.published.clone(),
            server: self.epoch,
            detached: registry.clone().recipient(),
        });
        // The hub of a restarted worker has a number that is not in the table.
        if let Some(mailbox) = self.hub_mailboxes.get(usize::from(id.0)) {
            mailbox.set_receiver(addr.clone());
        }
        self.hubs.set(id, addr);
        handle
    }

    pub fn broker(&self, registry: Addr<Registry>) -> BrokerHandle {
        BrokerHandle {
            settings: self.settings.clone(),
            actors: Actors::new(
                registry,
                self.sender(&self.published),
                self.hubs.clone(),
                self.link_handle.clone(),
            )
            .with_nodes(self.nodes.clone()),
            counters: self.counters.clone(),
            recorder: self.console.recorder.clone(),
            in_flight: self.in_flight.clone(),
            responses: self.responses.clone(),
            unauthenticated_bodies: self.unauthenticated_bodies.clone(),
            rates: self.rates.clone(),
            addresses: self.addresses.clone(),
            started: self.started,
            drain: self.drain.clone(),
            thread_health: self.thread_health.clone(),
        }
    }
}

/// The limit for the request bodies of all unauthenticated senders together, in bytes: an eighth of the limit for all
/// bodies, and at least one body of the largest size.
fn unauthenticated_body_bytes(settings: &Settings) -> usize {
    (settings.max_pending_body_bytes / 8).max(settings.max_body_bytes)
}

/// The smallest limit for large responses that wait for their clients, in bytes.
const MIN_RESPONSE_BYTES: usize = 16 << 20;

/// All counters of work in flight, with their limits.
fn in_flight(settings: &Settings) -> InFlight {
    let responses = match settings.max_total_queued_bytes {
        0 => usize::MAX,
        // The minimum keeps one response that its client still reads from blocking all others.
        bytes => (bytes / 4).max(MIN_RESPONSE_BYTES),
    };
    InFlight::new(
        settings.registry_mailbox,
        settings.channel_mailbox,
        settings.max_pending_bytes,
        // A body of the largest size must pass, at least while no other one is in flight.
        settings.max_pending_body_bytes.max(settings.max_body_bytes.saturating_add(1)),
    )
    .with_response_limit(responses)
}
