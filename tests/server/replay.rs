//! Plays every recorded exchange of the original against this server.

use crate::support::nodes::Cluster;
use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use channelstream_replay::{Deliberate, Options, Target, play_file, read_cases};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/transcripts.jsonl");

/// As the original is started: it trusts the headers of proxies.
fn recorded(workers: usize) -> Settings {
    Settings { workers, ini: Some("recorded.ini".into()), ..settings() }
}

/// A case whose answers show what the node has that answers, and list the nodes.
const OF_ONE_NODE: &str = "admin_json";

async fn replay(target: &Target, cases: Vec<String>) {
    let list = include_str!("../data/differences.toml");
    let options = Options {
        cases,
        deliberate: Deliberate::read(list).expect("the list of differences is well-formed"),
        // The machine may be busy with other work for seconds.
        late: 20.0,
        ..Options::default()
    };
    let report = play_file(RECORDINGS.as_ref(), target, &options).await;
    assert!(report.is_clean(), "{report}");
}

/// Each request of a case goes to the next node.
async fn replay_nodes(nodes: usize) {
    let cluster = Cluster::start(nodes, &recorded(1));
    let mut urls = cluster.servers.iter().map(TestServer::url);
    let first = Target::new(urls.next().expect("a node"));
    let cases = std::fs::read_to_string(RECORDINGS).expect("the recordings are there");
    let cases = read_cases(&cases).expect("the recordings are well-formed");
    let names = cases.into_iter().map(|case| case.name).filter(|name| name != OF_ONE_NODE);
    replay(&Target { others: urls.collect(), ..first }, names.collect()).await;
}

#[actix_web::test]
async fn one_worker_answers_like_the_original() {
    let server = TestServer::start(recorded(1));
    replay(&Target::new(server.url()), Vec::new()).await;
}

#[actix_web::test]
async fn two_workers_answer_like_the_original() {
    let server = TestServer::start(recorded(2));
    replay(&Target::new(server.url()), Vec::new()).await;
}

#[actix_web::test]
async fn a_node_on_redis_answers_like_the_original() {
    replay_nodes(1).await;
}

#[actix_web::test]
async fn three_nodes_in_turn_answer_like_the_original() {
    replay_nodes(3).await;
}
