//! The console's endpoints: paginated lists, single objects, commands.

pub(crate) mod channels;
pub(crate) mod users;
pub(crate) mod secrets;
pub(crate) mod limits;
pub(crate) mod connections;
pub mod commands;
pub mod record;
pub(crate) mod recording;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use actix_web::web;

use super::read;
use super::session::MAX_AGE_S;
use super::sign_in_records::{EndedSessions, FailedSignIns};
use crate::auth::guard::now_unix;
use crate::http::polled::PolledResponses;
use crate::telemetry::Counters;
use crate::telemetry::LastSeen;
use crate::telemetry::recorder::Recorder;
use crate::telemetry::series::Series;

/// State of the console; one instance for the whole server, shared as `web::Data<Console>`.
#[derive(Debug)]
pub struct Console {
    /// Cached responses to polling clients.
    pub answers: PolledResponses,
    pub recorder: Arc<Recorder>,
    pub started: Instant,
    series: Mutex<Series>,
    failed_sign_ins: Mutex<FailedSignIns>,
    ended: Mutex<EndedSessions>,
    last_seen: Mutex<LastSeen>,
}

impl Console {
    /// Creates the console of a server with this recorder.
    pub fn new(recorder: Recorder) -> Self {
        Self {
            answers: PolledResponses::default(),
            recorder: Arc::new(recorder),
            started: Instant::now(),
            series: Mutex::default(),
            failed_sign_ins: Mutex::default(),
            ended: Mutex::default(),
            last_seen: Mutex::default(),
        }
    }

    /// The time series of the figures.
    pub fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time at which each failure count last increased, to the second.
    pub fn last_seen(&self, counters: &Counters) -> MutexGuard<'_, LastSeen> {
        let mut last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        last_seen.look(counters.failure_counts(), now_unix());
        last_seen
    }

    /// The failed attempts to sign in.
    pub fn failed_sign_ins(&self) -> MutexGuard<'_, FailedSignIns> {
        self.failed_sign_ins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends sign-ins that have ended at another node.
    pub fn end_stated_sign_ins(&self, ids: impl IntoIterator<Item = u128>) {
        self.ended().add_stated(ids, now_unix(), MAX_AGE_S);
    }

    /// The sign-ins that a sign-out has ended.
    pub fn ended(&self) -> MutexGuard<'_, EndedSessions> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/admin/channels.json").route(read().to(channels::channels)))
        .service(web::resource("/admin/channel.json").route(read().to(channels::channel)))
        .service(web::resource("/admin/users.json").route(read().to(users::users)))
        .service(web::resource("/admin/user.json").route(read().to(users::user)))
        .service(web::resource("/admin/connections.json").route(read().to(connections::connections)))
        .service(web::resource("/admin/connection.json").route(read().to(connections::connection)))
        .service(web::resource("/admin/secrets.json").route(read().to(secrets::secrets)))
        .service(web::resource("/admin/limits.json").route(read().to(limits::limits)))
        .service(web::resource("/admin/recording.json").route(read().to(recording::recording)))
        .service(web::resource("/admin/record").route(web::post().to(record::record)))
        .service(web::resource("/admin/message").route(web::post().to(commands::send)))
        .service(web::resource("/admin/channel_config").route(web::post().to(commands::configure)))
        .service(web::resource("/admin/disconnect").route(web::post().to(commands::disconnect)))
        .service(web::resource("/admin/disconnect_user").route(web::post().to(commands::disconnect_user)));
}
