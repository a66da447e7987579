//! The composition root: the only place that starts actors and assigns them to threads.

pub mod dispatcher;
mod accept;
mod drain;
mod listener;
mod open_files;
mod panics;
mod reload;
mod fd_reserve;
pub mod signals;
pub mod threads;
mod watchdog;
mod workers;

use crate::auth::Gate;
use crate::auth::public_paths::Exposure;
use crate::broker::batched_mailbox::{BatchedMailbox, MailboxSender};
use crate::broker::channel::state::Retention;
use crate::broker::channel::{HubSenders, Hubs};
use crate::broker::drain::{Drain, Stage};
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::handle::{HubHandle, HubParts};
use crate::broker::hub::messages::ToHub;
use crate::broker::private_messages::PrivateMessages;
use crate::broker::private_messages::state::PrivateMessagesState;
use crate::broker::registry::limits::RegistryLimits;
use crate::broker::registry::messages::Publish;
use crate::broker::registry::state::{ConnectionTimes, RegistryState};
use crate::broker::registry::{Registry, RegistryParts};
use crate::config::{Loaded, Settings, SettingsError};
use crate::connection::body_pieces;
use crate::connection::timed_socket::TimedSocket;
use crate::console;
use crate::console::endpoints::Console;
use crate::console::sampler::Sampler;
use crate::demo::sockets::DemoSockets;
use crate::demo::{self, Demo};
use crate::http::fast_path::FastPath;
use crate::http::{middleware, routes};
use crate::limits::addresses::Addresses;
use crate::limits::rate::PublishRates;
use crate::limits::responses::Responses;
use crate::limits::unauthenticated::UnauthenticatedBodies;
use crate::protocol::event::Encoder;
use crate::protocol::ids::HubId;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::log_sums;
use crate::telemetry::recorder::Recorder;
use crate::telemetry::thread_health::ThreadHealth;
use crate::transports::websocket::upgrade::Upgrade;
use actix::{Actor, Addr, Message};
use actix_http::{Extensions, HttpService, KeepAlive};
use actix_rt::{ArbiterHandle, System};
use actix_service::{ServiceFactory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use dispatcher::NewConnection;
pub use drain::Stopper;
use listener::{Listener, Listeners};
use signals::Signals;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Connections that may receive the reason for their rejection at the same time; more are closed without an answer.
const MAX_REJECTIONS: usize = 256;

/// Everything that exists once in the process.
struct Core {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    in_flight: Arc<InFlight>,
    hubs: Arc<Hubs>,
    /// The mailboxes of the hubs, by hub number.
    hub_mailboxes: Vec<Arc<BatchedMailbox<ToHub>>>,
    published: Arc<BatchedMailbox<Publish>>,
    drain: Arc<Drain>,
    thread_health: Arc<ThreadHealth>,
    gate: Arc<Gate>,
    responses: Arc<Responses>,
    unauthenticated_bodies: Arc<UnauthenticatedBodies>,
    rates: Arc<PublishRates>,
    /// Counts the sockets of each client address, if they are limited.
    addresses: Option<Arc<Addresses>>,
    console: Arc<Console>,
    registry: OnceLock<Addr<Registry>>,
    registry_thread: OnceLock<ArbiterHandle>,
    demo: OnceLock<Arc<Demo>>,
    next_hub: AtomicU16,
    /// Permits for connections that are not websockets (yet).
    http_permits: Arc<Semaphore>,
    num_http_permits: usize,
    /// Permits for connections that are being rejected.
    rejection_permits: Arc<Semaphore>,
    /// Receives the result when the server has ended.
    ended: UnboundedSender<io::Result<()>>,
    started: Instant,
}

impl Core {
    fn new(
        settings: Settings,
        workers: usize,
        listeners: usize,
        ended: UnboundedSender<io::Result<()>>,
    ) -> Self {
        let settings = Arc::new(settings);
        let num_http_permits = workers.saturating_mul(settings.max_http_connections);
        // Each listener holds two permits: its own, and one for the connection that it waits for. No listener waits
        // for the permit of another one.
        let num_http_permits =
            num_http_permits.saturating_add((2 * listeners).saturating_sub(1)).min(Semaphore::MAX_PERMITS);
        let hubs = Arc::new(Hubs::new(workers));
        let in_flight = Arc::new(in_flight(&settings));
        Self {
            responses: Responses::new(in_flight.clone()),
            unauthenticated_bodies: UnauthenticatedBodies::new(
                in_flight.clone(),
                unauthenticated_body_bytes(&settings),
            ),
            in_flight,
            counters: Arc::default(),
            console: Arc::new(Console::new(hubs.clone(), Recorder::new(settings.recorder_bytes))),
            hubs,
            hub_mailboxes: (0..workers).map(|_| BatchedMailbox::new()).collect(),
            published: BatchedMailbox::new(),
            drain: Arc::default(),
            thread_health: Arc::new(ThreadHealth::new(workers)),
            gate: Arc::new(Gate::new(settings.clone())),
            addresses: Addresses::new(settings.max_sockets_per_address, settings.connect_rate_per_address),
            rates: Arc::new(PublishRates::new(settings.publish_rate_per_secret)),
            registry: OnceLock::new(),
            registry_thread: OnceLock::new(),
            demo: OnceLock::new(),
            next_hub: AtomicU16::new(0),
            http_permits: Arc::new(Semaphore::new(num_http_permits)),
            num_http_permits,
            rejection_permits: Arc::new(Semaphore::new(MAX_REJECTIONS)),
            ended,
            started: Instant::now(),
            settings,
        }
    }

    /// Starts registry, private message streams and sampler on the current thread, once.
    fn start_registry(&self) -> Addr<Registry> {
        let start = || {
            let settings = &self.settings;
            Sampler::new(self.console.clone(), self.counters.clone(), self.in_flight.clone()).start();
            let hubs = self.hub_mailboxes.iter().map(|mailbox| self.sender(mailbox)).collect();
            let hubs = Arc::new(HubSenders::new(hubs));
            let encoder = Encoder { date: settings.date_in_frames };
            let private_messages = PrivateMessagesState::new(encoder, settings.user_frames);
            let private_messages =
                PrivateMessages::new(private_messages, hubs.clone(), self.in_flight.clone()).start();
            let state = RegistryState::new(ConnectionTimes {
                idle: settings.unattached_timeout,
                part: settings.leave_delay,
                grace: settings.grace_time_ms,
                user_idle: settings.user_idle_timeout_ms,
            })
            .with_limits(RegistryLimits::from(&**settings));
            let parts = RegistryParts {
                state,
                encoder,
                retention: Retention { frames: settings.channel_frames, history: settings.max_history_size },
                hubs,
                published: self.published.clone(),
                private_messages,
                counters: self.counters.clone(),
                in_flight: self.in_flight.clone(),
            };
            let mailbox = settings.registry_mailbox;
            let registry = Registry::create(|context| {
                context.set_mailbox_capacity(mailbox);
                Registry::new(parts)
            });
            self.published.set_receiver(registry.clone());
            registry
        };
        self.registry.get_or_init(start).clone()
    }

    /// Starts the demo's actors on the current thread, once; none outside demo mode.
    fn start_demo(&self) -> Option<Arc<Demo>> {
        let start = || Arc::new(Demo::start(self.settings.clone(), self.in_flight.clone()));
        self.settings.demo_enabled().then(|| self.demo.get_or_init(start).clone())
    }

    /// A sender from the current thread (a worker's or the registry's) to the actor that reads this mailbox.
    fn sender<M: Message<Result = ()> + Send + 'static>(
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
    fn start_hub(&self, registry: &Addr<Registry>) -> HubHandle {
        let id = HubId(self.next_hub.fetch_add(1, Ordering::Relaxed));
        let (handle, addr) = HubHandle::start(HubParts {
            id,
            settings: self.settings.clone(),
            counters: self.counters.clone(),
            in_flight: self.in_flight.clone(),
            recorder: self.console.recorder.clone(),
            attach: registry.clone().recipient(),
            published: self.published.clone(),
            detached: registry.clone().recipient(),
        });
        // The hub of a restarted worker has a number that is not in the table.
        if let Some(mailbox) = self.hub_mailboxes.get(usize::from(id.0)) {
            mailbox.set_receiver(addr.clone());
        }
        self.hubs.set(id, addr);
        handle
    }

    fn broker(&self, registry: Addr<Registry>) -> BrokerHandle {
        BrokerHandle {
            settings: self.settings.clone(),
            registry,
            publisher: self.sender(&self.published),
            counters: self.counters.clone(),
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

/// A running server.
pub struct Running {
    /// The address that it listens on: the first one of its host.
    pub address: SocketAddr,
    /// The separate address for backends and operators, if there is one: the first one of `internal_host`.
    pub internal_address: Option<SocketAddr>,
    core: Arc<Core>,
    threads: Vec<ArbiterHandle>,
    ended: UnboundedReceiver<io::Result<()>>,
}

/// Binds and starts a server on the current actix system.
///
/// # Errors
/// An address cannot be bound, or the system refuses a thread.
pub fn start(settings: Settings) -> io::Result<Running> {
    let listeners = Listeners::bind(&settings)?;
    start_on(listeners, settings)
}

fn num_workers(settings: &Settings) -> usize {
    match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    }
}

fn start_on(listeners: Listeners, settings: Settings) -> io::Result<Running> {
    let workers = num_workers(&settings);
    let address = listener::addresses(&listeners.first)?.first().copied();
    let address = address.ok_or_else(|| io::Error::other("no address to listen on"))?;
    let internal_address = listener::addresses(&listeners.internal)?.first().copied();
    // The two others are the registry and the watchdog.
    threads::check_available(workers + 2)?;
    let (end, ended) = unbounded_channel();
    let core = Arc::new(Core::new(settings, workers, listeners.count(), end));
    if workers > 1 {
        start_registry_on_its_own_thread(&core)?;
    }
    let threads = workers::start(&core, listeners, workers)?;
    let names = (1..).map(|number| format!("worker {number}"));
    let registry = core.registry_thread.get().map(|thread| ("registry".to_owned(), thread.clone()));
    watchdog::start(&core, names.zip(threads.iter().cloned()).chain(registry).collect())?;
    Ok(Running { address, internal_address, core, threads, ended })
}

/// Used with several workers. A single worker shares its thread with the registry, which saves two hops between threads
/// for every broadcast.
fn start_registry_on_its_own_thread(core: &Arc<Core>) -> io::Result<()> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = threads::start("cs-registry".to_owned())?;
    let for_thread = core.clone();
    thread.spawn_fn(move || {
        for_thread.start_registry();
        let _ = ready.send(());
    });
    let _ = core.registry_thread.set(thread);
    let _ = is_ready.recv();
    Ok(())
}

/// The services of the current thread for an address with this exposure: one for HTTP connections, one for websocket
/// handshakes.
fn http_service(
    core: &Arc<Core>,
    broker: &web::Data<BrokerHandle>,
    hub: &HubHandle,
    exposure: Exposure,
) -> (
    impl ServiceFactory<
        NewConnection,
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    > + use<>,
    Upgrade,
) {
    let (broker, hub) = (broker.clone(), hub.clone());
    let gate = web::Data::from(core.gate.clone());
    let console = web::Data::from(core.console.clone());
    let demo = core.start_demo().map(web::Data::from);
    let upgrade = Upgrade {
        gate: gate.clone(),
        broker: broker.clone(),
        hub: hub.clone(),
        routes: demo.clone().map(|demo| Rc::new(DemoSockets { gate: gate.clone(), demo }) as _),
        exposure,
    };
    let fast_path = FastPath { gate: gate.clone(), broker: broker.clone(), exposure };
    let app = move || {
        App::new()
            .app_data(gate.clone())
            .app_data(broker.clone())
            .app_data(hub.clone())
            .app_data(console.clone())
            .app_data(exposure)
            .wrap(actix_web::middleware::from_fn(middleware::process))
            .configure(routes::backends)
            .configure(routes::browsers)
            .configure(console::figures)
            .configure(console::endpoints::configure)
            .configure(demo::configure(demo))
    };
    let (drain, handshakes) = (core.drain.clone(), upgrade.clone());
    let settings = &core.settings;
    let http = HttpService::build()
        .on_connect_ext(|io: &TimedSocket, data: &mut Extensions| _ = data.insert(io.deadline.clone()))
        // The deadline tracker limits the time for a head, and does so for every request, not only for the first one of
        // a connection.
        .client_request_timeout(Duration::ZERO)
        // It limits the time between two requests as well.
        .keep_alive(if settings.keep_alive_ms == 0 { KeepAlive::Disabled } else { KeepAlive::Os })
        .h1_write_buffer_size(body_pieces::WRITE_BUFFER)
        // A client that has finished sending still receives its answer. Polls detect clients that have disconnected.
        .h1_allow_half_closed(true)
        .graceful_shutdown_signal(move || drain.reached(Stage::Ending))
        .upgrade(fn_service(move |(request, framed)| upgrade.clone().handle(request, framed)))
        .finish(fast_path.wrap(map_config(app(), |_| AppConfig::default())));
    (http, handshakes)
}

impl Running {
    /// A handle that stops the server from another task or thread.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(self.core.clone(), self.threads.clone())
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// The error of a worker that could not start.
    pub async fn wait(mut self) -> io::Result<()> {
        self.ended.recv().await.unwrap_or(Ok(()))
    }
}

/// Runs a server until SIGTERM or SIGINT stops it. On SIGHUP it applies changed secrets.
pub fn run(loaded: Loaded) -> ExitCode {
    panics::abort_on_panic();
    let ended = run_until_stopped(loaded);
    log_sums::log_last_sums();
    let Err(error) = ended else { return ExitCode::SUCCESS };
    log::error!("{error}");
    match error.get_ref().is_some_and(|inner| inner.is::<SettingsError>()) {
        true => ExitCode::from(SettingsError::EXIT_CODE),
        false => ExitCode::FAILURE,
    }
}

fn run_until_stopped(loaded: Loaded) -> io::Result<()> {
    open_files::raise_limit();
    open_files::check_available(&loaded.settings, num_workers(&loaded.settings))?;
    let runtime = threads::runtime()?;
    let system = System::with_tokio_rt(|| runtime);
    let ended = system.block_on(serve(loaded));
    // Dropping it would wait for threads that block, such as one that reads the settings from a disk that hangs.
    std::mem::forget(system);
    ended
}

async fn serve(loaded: Loaded) -> io::Result<()> {
    // The handlers are installed before the server shows that it runs, so that it can be stopped from then on.
    let mut signals = Signals::new()?;
    let settings = loaded.settings.clone();
    let (listeners, settings) = tokio::select! {
        // A DNS server that does not answer delays the start, but does not block the signals.
        bound = threads::run_blocking("cs-listen", move || Listeners::from_service_manager_or_bind(settings)) => bound??,
        Some(name) = signals.stop.recv() => {
            log::info!("{name}: stopping before the server listens");
            return Ok(());
        }
    };
    let (demo, host) = (settings.demo_enabled(), settings.host.clone());
    if let Some(note) = settings.well_known_note() {
        log::info!("{note}");
    }
    let (first, internal) = (urls(&listeners.first)?, urls(&listeners.internal)?);
    let running = start_on(listeners, settings)?;
    actix_rt::spawn(signals.user.log_each());
    actix_rt::spawn(reload::on_each_signal(signals.hangups, loaded, host, running.core.gate.clone()));
    if !internal.is_empty() {
        log::info!("listening for backends and operators on {internal}");
    }
    log::info!("listening on {first}{}", if demo { " (demo mode)" } else { "" });
    let stopper = running.stopper();
    actix_rt::spawn(async move {
        while let Some(name) = signals.stop.recv().await {
            if stopper.has_started() {
                stopper.end_now(&format!("{name} for the second time"));
            } else {
                log::info!("{name}: stopping");
                actix_rt::spawn(stopper.clone().stop());
            }
        }
    });
    running.wait().await
}

fn urls(listeners: &[Listener]) -> io::Result<String> {
    let addresses = listener::addresses(listeners)?;
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}/")).collect();
    Ok(urls.join(" and "))
}

#[cfg(test)]
mod tests;
