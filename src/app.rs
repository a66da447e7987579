//! The composition root: the only place that starts actors and knows threads.

mod accept;
mod open_files;
mod workers;

use crate::admin;
use crate::admin::console::Console;
use crate::admin::sampler::Sampler;
use crate::channel::state::Keeping;
use crate::channel::{HubSenders, Hubs};
use crate::demo::{self, Demo};
use crate::edge::arrival::Arrival;
use crate::edge::express::Express;
use crate::edge::upgrade::Upgrade;
use crate::edge::{middleware, routes};
use crate::gate::Gate;
use crate::gate::backend::Backend;
use crate::handoff::{Handoff, Sender};
use crate::hub::handle::{HubHandle, HubParts};
use crate::hub::messages::ToHub;
use crate::ids::HubId;
use crate::inbox::Inboxes;
use crate::inbox::state::InboxState;
use crate::observe::Counters;
use crate::observe::pressure::Pressure;
use crate::observe::recorder::Recorder;
use crate::registry::messages::{Close, Publish};
use crate::registry::state::{RegistryState, Times};
use crate::registry::{Registry, RegistryParts};
use crate::settings::{Loaded, Settings};
use crate::wire::event::Encoder;
use actix::{Actor, Addr, Message};
use actix_http::HttpService;
use actix_rt::{Arbiter, ArbiterHandle, System};
use actix_service::{ServiceFactory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::web::PayloadConfig;
use actix_web::{App, web};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch};

/// Connections the kernel holds for us while all workers are busy.
const BACKLOG: i32 = 4096;
/// Connections that a worker serves at a time at most, websockets apart; the kernel holds others back.
const CONNECTIONS: usize = 25_600;

/// Everything that exists once.
struct Core {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    pressure: Arc<Pressure>,
    hubs: Arc<Hubs>,
    /// What hubs are told, by number.
    told: Vec<Arc<Handoff<ToHub>>>,
    published: Arc<Handoff<Publish>>,
    draining: Arc<AtomicBool>,
    gate: Arc<Gate>,
    console: Arc<Console>,
    registry: OnceLock<Addr<Registry>>,
    registry_thread: OnceLock<ArbiterHandle>,
    demo: OnceLock<Arc<Demo>>,
    next_hub: AtomicU16,
    /// Places for connections that are not websockets, or not yet.
    room: Arc<Semaphore>,
    places: u32,
    /// Turns true when nobody is let in any more and those who only wait for a next request shall go.
    ending: watch::Sender<bool>,
    /// Hears once that the server has ended, and how.
    ended: UnboundedSender<io::Result<()>>,
    started: Instant,
}

impl Core {
    fn new(settings: Settings, workers: usize, ended: UnboundedSender<io::Result<()>>) -> Self {
        let settings = Arc::new(settings);
        let places = u32::try_from(workers.saturating_mul(CONNECTIONS)).unwrap_or(u32::MAX);
        let hubs = Arc::new(Hubs::new(workers));
        Self {
            pressure: Arc::new(Pressure::new(
                settings.registry_mailbox,
                settings.channel_mailbox,
                settings.max_pending_bytes,
            )),
            counters: Arc::default(),
            console: Arc::new(Console::new(hubs.clone(), Recorder::new(settings.recorder_bytes))),
            hubs,
            told: (0..workers).map(|_| Handoff::new()).collect(),
            published: Handoff::new(),
            draining: Arc::default(),
            gate: Arc::new(Gate::new(settings.clone())),
            registry: OnceLock::new(),
            registry_thread: OnceLock::new(),
            demo: OnceLock::new(),
            next_hub: AtomicU16::new(0),
            room: Arc::new(Semaphore::new(places as usize)),
            places,
            ending: watch::Sender::new(false),
            ended,
            started: Instant::now(),
            settings,
        }
    }

    /// Starts registry, inboxes and sampler on the current thread, once.
    fn start_registry(&self) -> Addr<Registry> {
        let start = || {
            let settings = &self.settings;
            Sampler::new(self.console.clone(), self.counters.clone(), self.pressure.clone()).start();
            let hubs = self.told.iter().map(|told| self.sender(told)).collect();
            let hubs = Arc::new(HubSenders::new(hubs));
            let encoder = Encoder { date: settings.date_in_frames };
            let inboxes = InboxState::new(encoder, settings.user_frames);
            let inboxes = Inboxes::new(inboxes, hubs.clone(), self.pressure.clone()).start();
            let state = RegistryState::new(Times {
                idle: settings.connection_idle_timeout_ms,
                part: settings.part_delay_ms,
                grace: settings.grace_time_ms,
                user_idle: settings.user_idle_timeout_ms,
            });
            let parts = RegistryParts {
                state,
                encoder,
                keeping: Keeping { frames: settings.channel_frames, history: settings.max_history_size },
                hubs,
                inboxes,
                counters: self.counters.clone(),
                pressure: self.pressure.clone(),
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
        let start = || Arc::new(Demo::start(self.settings.clone(), self.pressure.clone()));
        self.settings.demo_enabled().then(|| self.demo.get_or_init(start).clone())
    }

    /// The way from the current thread, a worker's or the registry's, to the other.
    fn sender<M: Message<Result = ()> + Send + 'static>(&self, handoff: &Arc<Handoff<M>>) -> Sender<M> {
        if self.told.len() == 1 {
            Sender::within_thread(handoff.clone())
        } else {
            Sender::between_threads(handoff.clone())
        }
    }

    /// Starts a hub on the current worker's thread.
    fn start_hub(&self, registry: &Addr<Registry>) -> HubHandle {
        let id = HubId(self.next_hub.fetch_add(1, Ordering::Relaxed));
        let (handle, addr) = HubHandle::start(HubParts {
            id,
            settings: self.settings.clone(),
            counters: self.counters.clone(),
            pressure: self.pressure.clone(),
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

    fn backend(&self, registry: Addr<Registry>) -> Backend {
        Backend {
            settings: self.settings.clone(),
            registry,
            publisher: self.sender(&self.published),
            counters: self.counters.clone(),
            pressure: self.pressure.clone(),
            started: self.started,
            draining: self.draining.clone(),
        }
    }
}

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    core: Arc<Core>,
    threads: Vec<ArbiterHandle>,
    ended: UnboundedReceiver<io::Result<()>>,
}

/// Binds and starts a server on the current actix system.
///
/// # Errors
/// The address cannot be listened on.
pub fn start(settings: Settings) -> io::Result<Running> {
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let listener = bind(&settings.host, settings.port)?;
    let address = listener.local_addr()?;
    let (end, ended) = unbounded_channel();
    let core = Arc::new(Core::new(settings, workers, end));
    if workers > 1 {
        start_registry_on_its_own_thread(&core);
    }
    let threads = workers::start(&core, listener, workers);
    Ok(Running { address, core, threads, ended })
}

/// With several workers the registry has a thread of its own; with one it shares that worker's, which saves two
/// hops between threads for every broadcast.
fn start_registry_on_its_own_thread(core: &Arc<Core>) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = Arbiter::new().handle();
    let for_thread = core.clone();
    thread.spawn_fn(move || {
        for_thread.start_registry();
        let _ = ready.send(());
    });
    let _ = core.registry_thread.set(thread);
    let _ = is_ready.recv();
}

/// What serves the connections of the current thread, and what serves its handshakes.
fn http_service(
    core: &Arc<Core>,
) -> (
    impl ServiceFactory<
        Arrival,
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    > + use<>,
    Upgrade,
) {
    let registry = core.start_registry();
    let hub = core.start_hub(&registry);
    let gate = web::Data::from(core.gate.clone());
    let console = web::Data::from(core.console.clone());
    let backend = web::Data::new(core.backend(registry));
    let demo = core.start_demo().map(web::Data::from);
    let upgrade =
        Upgrade { gate: gate.clone(), backend: backend.clone(), hub: hub.clone(), demo: demo.clone() };
    let express = Express { gate: gate.clone(), backend: backend.clone() };
    let max_body = core.settings.max_body_bytes;
    let app = move || {
        App::new()
            .app_data(gate.clone())
            .app_data(backend.clone())
            .app_data(hub.clone())
            .app_data(console.clone())
            .app_data(PayloadConfig::new(max_body))
            .wrap(actix_web::middleware::from_fn(middleware::pass))
            .configure(routes::backends)
            .configure(routes::browsers)
            .configure(admin::figures)
            .configure(admin::console::configure)
            .configure(demo::configure(demo))
    };
    let (ending, handshakes) = (core.ending.subscribe(), upgrade.clone());
    let http = HttpService::build()
        // A client that hangs up in the middle of a poll is noticed at once.
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || {
            let mut ending = ending.clone();
            async move { _ = ending.wait_for(|ending| *ending).await }
        })
        .upgrade(fn_service(move |(request, framed)| upgrade.clone().handle(request, framed)))
        .finish(express.before(map_config(app(), |_| AppConfig::default())));
    (http, handshakes)
}

fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{host} has no address"));
    for address in (host, port).to_socket_addrs()? {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server takes its port back at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Sockets of the connections inherit it: what is written goes out at once.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Running {
    /// A handle that stops the server from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper { core: self.core.clone(), threads: self.threads.clone() }
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// A worker's that could not begin.
    pub async fn wait(mut self) -> io::Result<()> {
        self.ended.recv().await.unwrap_or(Ok(()))
    }
}

/// Stops a server.
#[derive(Clone)]
pub struct Stopper {
    core: Arc<Core>,
    threads: Vec<ArbiterHandle>,
}

impl Stopper {
    /// Says goodbye to every session, lets requests finish within the limit, and ends.
    pub async fn stop(self) {
        self.core.draining.store(true, Ordering::Relaxed);
        if let Some(registry) = self.core.registry.get() {
            // Goodbyes follow what was accepted.
            self.core.published.flush();
            registry.do_send(Close);
        }
        if let Some(demo) = self.core.demo.get() {
            demo.close();
        }
        let limit = Duration::from_millis(self.core.settings.shutdown_timeout_ms);
        let _ = tokio::time::timeout(limit / 2, self.sessions_are_gone()).await;
        self.core.ending.send_replace(true);
        let _ = tokio::time::timeout(limit, self.core.room.acquire_many(self.core.places)).await;
        for thread in self.threads.iter().chain(self.core.registry_thread.get()) {
            thread.stop();
        }
        let _ = self.core.ended.send(Ok(()));
    }

    /// Goodbyes and the answers of polls are under way; peers take a moment to answer.
    async fn sessions_are_gone(&self) {
        while self.core.pressure.sessions.get() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs a server until it is told to stop by SIGTERM or SIGINT.
pub fn run(loaded: Loaded) -> ExitCode {
    match System::new().block_on(serve(loaded.settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> io::Result<()> {
    open_files::raise();
    let demo = settings.demo_enabled();
    let (host, port) = (settings.host.clone(), settings.port);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}"));
    // Before anybody can know that the server runs: whoever stops it then must find it listening for that, too.
    let stop_signal = stop_signal()?;
    let running = start(settings).map_err(named)?;
    log::info!("listening on http://{}/{}", running.address, if demo { " (demo mode)" } else { "" });
    let stopper = running.stopper();
    actix_rt::spawn(async move {
        // Not among the arguments of the line: they are not looked at where the line is not logged.
        let name = stop_signal.await;
        log::info!("{name}: stopping");
        stopper.stop().await;
    });
    running.wait().await
}

/// Resolves to the name of the first signal to stop that comes from now on.
fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
