//! The composition root: the only place that starts actors and knows threads.

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
use crate::broker::batched_mailbox::{Handoff, MailboxSender};
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
use crate::demo::{self, Demo};
use crate::http::fast_path::FastPath;
use crate::http::{middleware, routes};
use crate::limits::addresses::Addresses;
use crate::limits::in_flight::InFlight;
use crate::limits::rate::PublishRates;
use crate::limits::responses::Responses;
use crate::limits::unproven::Unproven;
use crate::protocol::event::Encoder;
use crate::protocol::ids::HubId;
use crate::telemetry::Counters;
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
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Connections that are told why they are refused, at a time; more are closed without a word.
const TURNED_AWAY: usize = 256;

/// Everything that exists once.
struct Core {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    in_flight: Arc<InFlight>,
    hubs: Arc<Hubs>,
    /// What hubs are told, by number.
    told: Vec<Arc<Handoff<ToHub>>>,
    published: Arc<Handoff<Publish>>,
    drain: Arc<Drain>,
    thread_health: Arc<ThreadHealth>,
    gate: Arc<Gate>,
    responses: Arc<Responses>,
    unproven: Arc<Unproven>,
    rates: Arc<PublishRates>,
    /// The sockets of each client address, if they are limited.
    addresses: Option<Arc<Addresses>>,
    console: Arc<Console>,
    registry: OnceLock<Addr<Registry>>,
    registry_thread: OnceLock<ArbiterHandle>,
    demo: OnceLock<Arc<Demo>>,
    next_hub: AtomicU16,
    /// Places for connections that are not websockets, or not yet.
    room: Arc<Semaphore>,
    places: usize,
    /// Places for connections that are being refused.
    turning_away: Arc<Semaphore>,
    /// Hears once that the server has ended, and how.
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
        let places = workers.saturating_mul(settings.max_http_connections);
        // Each listener takes two: its own, and one for the connection that it waits for. None waits for another one's.
        let places = places.saturating_add((2 * listeners).saturating_sub(1)).min(Semaphore::MAX_PERMITS);
        let hubs = Arc::new(Hubs::new(workers));
        let in_flight = Arc::new(in_flight(&settings));
        Self {
            responses: Responses::new(in_flight.clone()),
            unproven: Unproven::new(in_flight.clone(), unproven_body_bytes(&settings)),
            in_flight,
            counters: Arc::default(),
            console: Arc::new(Console::new(hubs.clone(), Recorder::new(settings.recorder_bytes))),
            hubs,
            told: (0..workers).map(|_| Handoff::new()).collect(),
            published: Handoff::new(),
            drain: Arc::default(),
            thread_health: Arc::new(ThreadHealth::new(workers)),
            gate: Arc::new(Gate::new(settings.clone())),
            addresses: Addresses::new(settings.max_sockets_per_address, settings.connect_rate_per_address),
            rates: Arc::new(PublishRates::new(settings.publish_rate_per_secret)),
            registry: OnceLock::new(),
            registry_thread: OnceLock::new(),
            demo: OnceLock::new(),
            next_hub: AtomicU16::new(0),
            room: Arc::new(Semaphore::new(places)),
            places,
            turning_away: Arc::new(Semaphore::new(TURNED_AWAY)),
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
            let hubs = self.told.iter().map(|told| self.sender(told)).collect();
            let hubs = Arc::new(HubSenders::new(hubs));
            let encoder = Encoder { date: settings.date_in_frames };
            let inboxes = PrivateMessagesState::new(encoder, settings.user_frames);
            let inboxes = PrivateMessages::new(inboxes, hubs.clone(), self.in_flight.clone()).start();
            let state = RegistryState::new(ConnectionTimes {
                idle: settings.unattached_timeout,
                part: settings.leave_delay,
                grace: settings.grace_time_ms,
                user_idle: settings.user_idle_timeout_ms,
            })
            .bounded(RegistryLimits::from(&**settings));
            let parts = RegistryParts {
                state,
                encoder,
                keeping: Retention { frames: settings.channel_frames, history: settings.max_history_size },
                hubs,
                published: self.published.clone(),
                inboxes,
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

    /// The way from the current thread, a worker's or the registry's, to the other.
    fn sender<M: Message<Result = ()> + Send + 'static>(
        &self,
        handoff: &Arc<Handoff<M>>,
    ) -> MailboxSender<M> {
        if self.told.len() == 1 {
            MailboxSender::within_thread(handoff.clone())
        } else {
            MailboxSender::between_threads(handoff.clone())
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
        // A worker that is started again has a number that nobody knows.
        if let Some(told) = self.told.get(usize::from(id.0)) {
            told.set_receiver(addr.clone());
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
            unproven: self.unproven.clone(),
            rates: self.rates.clone(),
            addresses: self.addresses.clone(),
            started: self.started,
            drain: self.drain.clone(),
            thread_health: self.thread_health.clone(),
        }
    }
}

/// How many bytes the bodies of all senders that have proven nothing may have: an eighth of what others may have, and
/// never less than one body.
fn unproven_body_bytes(settings: &Settings) -> usize {
    (settings.max_pending_body_bytes / 8).max(settings.max_body_bytes)
}

/// Bytes of large responses that may wait for their clients at least.
const LEAST_RESPONSES: usize = 16 << 20;

/// All gauges, with their bounds.
fn in_flight(settings: &Settings) -> InFlight {
    let responses = match settings.max_total_queued_bytes {
        0 => usize::MAX,
        // However small it is: a response that is being read must not stand in the way of others.
        bytes => (bytes / 4).max(LEAST_RESPONSES),
    };
    InFlight::new(
        settings.registry_mailbox,
        settings.channel_mailbox,
        settings.max_pending_bytes,
        // One that is as large as it may be must pass, at least while no other is under way.
        settings.max_pending_body_bytes.max(settings.max_body_bytes.saturating_add(1)),
    )
    .bounding_responses(responses)
}

/// A server that runs.
pub struct Running {
    /// Where it listens: the first address of its host.
    pub address: SocketAddr,
    /// Where it listens for backends and operators, if that is apart: the first address of that host.
    pub internal_address: Option<SocketAddr>,
    core: Arc<Core>,
    threads: Vec<ArbiterHandle>,
    ended: UnboundedReceiver<io::Result<()>>,
}

/// Binds and starts a server on the current actix system.
///
/// # Errors
/// The address cannot be listened on, or the system has not enough threads.
pub fn start(settings: Settings) -> io::Result<Running> {
    let listeners = Listeners::bind(&settings)?;
    start_on(listeners, settings)
}

/// How many workers there are.
fn workers_of(settings: &Settings) -> usize {
    match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    }
}

fn start_on(listeners: Listeners, settings: Settings) -> io::Result<Running> {
    let workers = workers_of(&settings);
    let address = listener::addresses(&listeners.first)?.first().copied();
    let address = address.ok_or_else(|| io::Error::other("no address to listen on"))?;
    let internal_address = listener::addresses(&listeners.internal)?.first().copied();
    // Workers, the registry, the watchdog.
    threads::try_out(workers + 2)?;
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

/// With several workers the registry has a thread of its own; with one it shares that worker's, which saves two
/// hops between threads for every broadcast.
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

/// What serves the connections of the current thread at an address for this, and what serves its handshakes.
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
        demo: demo.clone(),
        exposure,
    };
    let express = FastPath { gate: gate.clone(), broker: broker.clone(), exposure };
    let app = move || {
        App::new()
            .app_data(gate.clone())
            .app_data(broker.clone())
            .app_data(hub.clone())
            .app_data(console.clone())
            .app_data(exposure)
            .wrap(actix_web::middleware::from_fn(middleware::pass))
            .configure(routes::backends)
            .configure(routes::browsers)
            .configure(console::figures)
            .configure(console::endpoints::configure)
            .configure(demo::configure(demo))
    };
    let (drain, handshakes) = (core.drain.clone(), upgrade.clone());
    let settings = &core.settings;
    let http = HttpService::build()
        .on_connect_ext(|io: &TimedSocket, data: &mut Extensions| _ = data.insert(io.watch.clone()))
        // Heads have our own limit, which holds for every request and not for a connection's first alone.
        .client_request_timeout(Duration::ZERO)
        // So has the time between two requests.
        .keep_alive(if settings.keep_alive_ms == 0 { KeepAlive::Disabled } else { KeepAlive::Os })
        .h1_write_buffer_size(body_pieces::WRITE_BUFFER)
        // A client that has finished sending gets its answer. Polls notice those that have hung up.
        .h1_allow_half_closed(true)
        .graceful_shutdown_signal(move || drain.reached(Stage::Ending))
        .upgrade(fn_service(move |(request, framed)| upgrade.clone().handle(request, framed)))
        .finish(express.before(map_config(app(), |_| AppConfig::default())));
    (http, handshakes)
}

impl Running {
    /// A handle that stops the server from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(self.core.clone(), self.threads.clone())
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// A worker's that could not begin.
    pub async fn wait(mut self) -> io::Result<()> {
        self.ended.recv().await.unwrap_or(Ok(()))
    }
}

/// Runs a server until SIGTERM or SIGINT stops it. At SIGHUP it takes over secrets that have changed.
pub fn run(loaded: Loaded) -> ExitCode {
    panics::end_the_process();
    let ended = run_to_the_end(loaded);
    log_sums::log_last_sums();
    let Err(error) = ended else { return ExitCode::SUCCESS };
    log::error!("{error}");
    match error.get_ref().is_some_and(|inner| inner.is::<SettingsError>()) {
        true => ExitCode::from(SettingsError::EXIT_CODE),
        false => ExitCode::FAILURE,
    }
}

fn run_to_the_end(loaded: Loaded) -> io::Result<()> {
    open_files::raise();
    open_files::try_out(&loaded.settings, workers_of(&loaded.settings))?;
    let runtime = threads::runtime()?;
    let system = System::with_tokio_rt(|| runtime);
    let ended = system.block_on(serve(loaded));
    // Dropped, it would wait for threads that block, such as one that reads settings from a disk that hangs.
    std::mem::forget(system);
    ended
}

async fn serve(loaded: Loaded) -> io::Result<()> {
    // Before anything shows that the server runs: who stops it then must find its handlers installed.
    let mut signals = Signals::new()?;
    let settings = loaded.settings.clone();
    let (listeners, settings) = tokio::select! {
        // A name server that does not answer holds up the start only.
        bound = threads::apart("cs-listen", move || Listeners::handed_over_or_bound(settings)) => bound??,
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
    actix_rt::spawn(reload::at_each(signals.hangups, loaded, host, running.core.gate.clone()));
    if !internal.is_empty() {
        log::info!("listening for backends and operators on {internal}");
    }
    log::info!("listening on {first}{}", if demo { " (demo mode)" } else { "" });
    let stopper = running.stopper();
    actix_rt::spawn(async move {
        while let Some(name) = signals.stop.recv().await {
            if stopper.has_begun() {
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
