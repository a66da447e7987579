//! Plays every recorded exchange of the original against this server.

use crate::support::{TestServer, settings};
use channelstream_replay::{Deliberate, Options, Target, play_file};
use std::path::Path;

async fn replay(workers: usize) {
    // As the original is started: it trusts the headers of proxies.
    let ini = Some("recorded.ini".into());
    let server = TestServer::start(channelstream::config::Settings { workers, ini, ..settings() });
    let list = include_str!("../data/differences.toml");
    let options = Options {
        deliberate: Deliberate::read(list).expect("the list of differences is well-formed"),
        // The machine may be busy with other work for seconds.
        late: 20.0,
        ..Options::default()
    };
    let recordings = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/transcripts.jsonl"));
    let report = play_file(recordings, &Target::new(server.url()), &options).await;
    assert!(report.is_clean(), "{report}");
}

#[actix_web::test]
async fn one_worker_answers_like_the_original() {
    replay(1).await;
}

#[actix_web::test]
async fn two_workers_answer_like_the_original() {
    replay(2).await;
}
