//! What `check-config` reports about the Redis of a node: whether the node can use it, and what may lose data.

use std::time::Duration;

use tokio::runtime;

use super::engine_server::{AskError, ServerState, problem};
use super::report::Report;
use crate::broker::engine::link::access::{Access, Election};
use crate::config::{EngineSetting, Settings, SettingsError};

/// Adds what the servers at `engine_url` report, if the settings name Redis. An error marks the command as failed.
pub(super) fn add_engine(report: Report, settings: &Settings) -> Report {
    if settings.engine == EngineSetting::Embedded {
        return report;
    }
    let access = match Access::of(settings) {
        Ok(access) => access,
        Err(error) => return report.with_errors(&error),
    };
    match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(check(report, settings, &access)),
        Err(error) => report.with_failures(&[format!("Redis cannot be asked: {error}")]),
    }
}

/// Asks all servers: those of the addresses, or the one that the Sentinels name.
async fn check(mut report: Report, settings: &Settings, access: &Access) -> Report {
    let mut servers: Vec<_> = access.servers().map(|url| (url.to_string(), access.server(url))).collect();
    if servers.is_empty() {
        let election = access.ask_sentinels(true).await;
        report = add_sentinels(report, &election);
        let Some((url, master)) = election.winner() else { return report };
        servers.push((format!("{url}: {master}"), access.master_at(url, master)));
    }
    let limit = Duration::from_millis(settings.engine_timeout_ms);
    let (mut states, mut has_master) = (Vec::new(), false);
    for (name, server) in servers {
        let state = ServerState::ask(access, server, limit).await;
        has_master |= state.as_ref().is_ok_and(ServerState::is_master);
        states.push((name, state));
    }
    let report = states.into_iter().fold(report, |report, (name, state)| match state {
        Ok(state) => state.add_to(report, &name, settings.engine_wait_replicas),
        Err(AskError::Refused(reason)) => report.with_errors(&problem(&name, &reason)),
        // Another server is in use meanwhile.
        Err(AskError::Unreachable(reason)) if has_master => {
            report.with_warnings(&[format!("engine_url: {name}: {reason}")])
        }
        Err(AskError::Unreachable(reason)) => {
            report.with_failures(&[format!("engine_url: {name}: {reason}")])
        }
    });
    if has_master || report.exit_code != 0 {
        return report;
    }
    report.with_errors(&SettingsError::new("engine_url: no server there is a master"))
}

/// Adds which master each Sentinel names.
fn add_sentinels(mut report: Report, election: &Election) -> Report {
    let has_master = election.winner().is_some();
    for (url, answer) in &election.answers {
        match answer {
            Ok(master) => report.out.push_str(&format!("# {url}: the master is {master}\n")),
            // The others suffice meanwhile.
            Err(reason) if has_master => {
                report = report.with_warnings(&[format!("engine_url: {url}: {reason}")]);
            }
            Err(reason) => report = report.with_failures(&[format!("engine_url: {url}: {reason}")]),
        }
    }
    report
}
