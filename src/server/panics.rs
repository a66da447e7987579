//! A panic ends the process.
//!
//! If one actor ended while the others continued, the server would look alive and not work. No part is proven to be
//! isolated from the rest, so this applies to every thread. Release builds abort anyway (`panic = "abort"`); the hook
//! aborts in every profile, and logs the reason.

use super::threads;
use crate::telemetry::log_queue::LOG_QUEUE;
use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

/// Installs a hook: a panic on any thread is logged, and ends the process immediately by SIGABRT.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        report(panic);
        std::process::abort();
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let text = format!("thread {} {panic}\nthe process ends\n{}", threads::own_name(), Backtrace::capture());
    if !LOG_QUEUE.is_open() {
        eprintln!("{text}");
        return;
    }
    LOG_QUEUE.accept_only_this_thread();
    if log::log_enabled!(log::Level::Error) {
        log::error!("{text}");
    } else {
        LOG_QUEUE.push(format!("{text}\n").as_bytes());
    }
    // Has a time limit, so that a log reader that stalls does not keep the process alive.
    LOG_QUEUE.drain();
}

#[cfg(test)]
mod tests {
    use super::super::tests::PATIENCE;
    use super::super::tests::Server;
    use crate::broker::channel::Channel;
    use crate::broker::hub::Hub;
    use crate::broker::registry::Registry;
    use crate::broker::registry::messages::Ask;
    use crate::config::Settings;
    use actix::{Actor, Context, Handler, Message};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Names the part of the server that panics in the child process.
    const PART: &str = "CHANNELSTREAM_TEST_PANIC_OF";

    /// If set, the child process logs more than its queue holds.
    const LOGS: &str = "CHANNELSTREAM_TEST_LOGS";

    /// Makes an actor panic. Exists only in tests.
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Fail(&'static str);

    fn fail(Fail(part): Fail) {
        panic!("{part} fails");
    }

    impl Handler<Fail> for Registry {
        type Result = ();
        fn handle(&mut self, message: Fail, _: &mut <Self as Actor>::Context) {
            fail(message);
        }
    }

    impl Handler<Fail> for Channel {
        type Result = ();
        fn handle(&mut self, message: Fail, _: &mut <Self as Actor>::Context) {
            fail(message);
        }
    }

    impl Handler<Fail> for Hub {
        type Result = ();
        fn handle(&mut self, message: Fail, _: &mut <Self as Actor>::Context) {
            fail(message);
        }
    }

    /// Waits for the hub of the first worker.
    fn hub_of(server: &Server) -> actix::Addr<Hub> {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(hub) = server.core.hubs.get(crate::protocol::ids::HubId(0)) {
                return hub.clone();
            }
            std::thread::yield_now();
        }
        panic!("no hub has started");
    }

    /// Runs in a separate process: a server, one part of which panics.
    fn child(part: &str) {
        if std::env::var_os(LOGS).is_some() {
            crate::cli::logging::start_writing().unwrap();
            crate::cli::logging::start(&Settings::default());
            (0..100_000).for_each(|n| log::info!("line {n}"));
        }
        super::abort_on_panic();
        let server = Server::start(Server::settings());
        let registry = server.core.registry.get().unwrap();
        match part {
            "registry" => registry.do_send(Fail("registry")),
            "hub" => hub_of(&server).do_send(Fail("hub")),
            "channel" => {
                let _peer = server.connect();
                let found = registry.send(Ask(|registry: &mut Registry, _: &mut Context<Registry>| {
                    registry.list_channels(None, &[])
                }));
                let found = actix_rt::System::new().block_on(found).unwrap();
                found[0].addr().do_send(Fail("channel"));
            }
            _ => drop(server.core.registry_thread.get().unwrap().spawn_fn(|| fail(Fail("thread")))),
        }
        std::thread::sleep(PATIENCE);
    }

    fn this_test_as_child(part: &str) -> Command {
        let this = "server::panics::tests::a_panic_anywhere_ends_the_process";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([this, "--exact", "--nocapture"]).env(PART, part).stdout(std::process::Stdio::null());
        command
    }

    #[test]
    fn a_panic_is_logged_before_the_lines_that_wait_for_a_slow_reader() {
        let ended = this_test_as_child("thread").env(LOGS, "1").output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.signal(), Some(6), "{:?}", ended.status);
        assert!(text.contains("thread fails") && text.contains("the process ends"), "{} bytes", text.len());
    }

    #[test]
    fn a_panic_does_not_wait_for_a_log_that_is_not_read() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut child = this_test_as_child("thread").env(LOGS, "1").stderr(writer).spawn().unwrap();
        let begun = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "the process stays");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        assert_eq!(status.signal(), Some(6), "{status:?}");
    }

    #[test]
    fn a_panic_anywhere_ends_the_process() {
        if let Ok(part) = std::env::var(PART) {
            return child(&part);
        }
        for part in ["registry", "channel", "hub", "thread"] {
            let ended = this_test_as_child(part).output().unwrap();
            let text = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.signal(), Some(6), "{part}: {:?} {text}", ended.status);
            assert!(text.contains("panicked at src/server/panics.rs"), "{part}: {text}");
            assert!(text.contains(&format!("{part} fails")), "{part}: {text}");
            assert!(text.contains("the process ends"), "{part}: {text}");
        }
    }
}
