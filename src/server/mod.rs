//! The composition root: the only place that starts actors and assigns them to threads.

pub(crate) mod dispatcher;
mod accept;
mod core;
mod drain;
mod engine;
mod listener;
mod open_files;
mod panics;
pub(crate) mod signals;
pub(crate) mod threads;
mod watchdog;
mod workers;

use self::core::Core;
use crate::auth::tokens::TokenVerifier;
use crate::broker::engine::link;
use crate::config::{Loaded, Settings, SettingsError};
use crate::telemetry::log_sums;
use actix_rt::{ArbiterHandle, System};
pub use drain::Stopper;
use listener::{Listener, Listeners};
use signals::Signals;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

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
    let (verifier, warnings) = TokenVerifier::load(&settings).map_err(io::Error::other)?;
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let workers = num_workers(&settings);
    let address = listener::addresses(&listeners.first)?.first().copied();
    let address = address.ok_or_else(|| io::Error::other("no address to listen on"))?;
    let internal_address = listener::addresses(&listeners.internal)?.first().copied();
    // The two others are the registry and the watchdog.
    threads::check_available(workers + 2)?;
    let (end, ended) = unbounded_channel();
    let link = engine::link_settings(&settings).map_err(io::Error::other)?.map(link::open);
    let core = Arc::new(Core::new(settings, workers, listeners.count(), link, end));
    core.gate.replace_token_verifier(verifier);
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
    actix_rt::spawn(signals::reload_on_each(signals.hangups, loaded, host, running.core.gate.clone()));
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
