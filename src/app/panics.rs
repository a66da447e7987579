//! A panic ends the process.
//!
//! An actor that is gone while others go on would make a server that looks alive. Nothing here is proven to be isolated
//! from the rest, so it holds for every thread. Release builds abort anyway (`panic = "abort"`); this holds whatever the
//! profile, and tells the log why.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

/// From now on a panic on any thread is logged, and ends the process at once by SIGABRT.
pub fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        report(panic);
        std::process::abort();
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let text = format!("thread {name} {panic}\nthe process ends\n{}", Backtrace::capture());
    if log::log_enabled!(log::Level::Error) {
        log::error!("{text}");
    } else {
        eprintln!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use crate::app::tests::{PATIENCE, Server};
    use crate::channel::Channel;
    use crate::hub::Hub;
    use crate::registry::Registry;
    use crate::registry::messages::ListChannels;
    use actix::{Actor, Handler, Message};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Which part of the server panics in the child.
    const PART: &str = "CHANNELSTREAM_TEST_PANIC_OF";

    /// Makes an actor panic; only tests know it.
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

    /// The first worker's hub, which starts with it.
    fn hub_of(server: &Server) -> actix::Addr<Hub> {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(hub) = server.core.hubs.get(crate::ids::HubId(0)) {
                return hub.clone();
            }
            std::thread::yield_now();
        }
        panic!("no hub has started");
    }

    /// In a process of its own: a server, one part of which panics.
    fn child(part: &str) {
        super::end_the_process();
        let server = Server::start(Server::settings());
        let registry = server.core.registry.get().unwrap();
        match part {
            "registry" => registry.do_send(Fail("registry")),
            "hub" => hub_of(&server).do_send(Fail("hub")),
            "channel" => {
                let _peer = server.enter();
                let found = registry.send(ListChannels { names: None, exclude: Vec::new() });
                let found = actix_rt::System::new().block_on(found).unwrap();
                found[0].addr.do_send(Fail("channel"));
            }
            _ => drop(server.core.registry_thread.get().unwrap().spawn_fn(|| fail(Fail("thread")))),
        }
        std::thread::sleep(PATIENCE);
    }

    #[test]
    fn a_panic_anywhere_ends_the_process() {
        if let Ok(part) = std::env::var(PART) {
            return child(&part);
        }
        for part in ["registry", "channel", "hub", "thread"] {
            let this = "app::panics::tests::a_panic_anywhere_ends_the_process";
            let ended = Command::new(std::env::current_exe().unwrap())
                .args([this, "--exact", "--nocapture"])
                .env(PART, part)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.signal(), Some(6), "{part}: {:?} {text}", ended.status);
            assert!(text.contains("panicked at src/app/panics.rs"), "{part}: {text}");
            assert!(text.contains(&format!("{part} fails")), "{part}: {text}");
            assert!(text.contains("the process ends"), "{part}: {text}");
        }
    }
}
