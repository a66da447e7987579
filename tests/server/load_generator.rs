//! The parts of the load generator. A fault that it overlooks would show in no benchmark.

use channelstream_load::generator::arrivals::Arrivals;
use channelstream_load::generator::backend::Answers;
use channelstream_load::generator::drive::Plan;
use channelstream_load::generator::frames::{
    Finder, Frame, Kind, content, digits_at, first, first_event, renumber,
};
use channelstream_load::generator::handshake::Transport;
use channelstream_load::generator::held::Held;
use channelstream_load::generator::ledger::Ledger;
use channelstream_load::generator::memory::{ALLOWANCE, Around};
use channelstream_load::generator::meter::{Cost, counter};
use channelstream_load::generator::presence::PresenceLog;
use channelstream_load::generator::process::Memory;
use channelstream_load::generator::trace::Calls;
use channelstream_load::report::{Memories, Quantiles, Spread, line, verdict};
use std::time::Duration;

#[test]
fn kinds_of_frames_are_distinguished() {
    assert_eq!(first(b"\x81\x02[]\x89\x00"), Some(Frame { kind: Kind::Text, start: 2, end: 4 }));
    assert_eq!(first(b"\x89\x00"), Some(Frame { kind: Kind::Ping, start: 2, end: 2 }));
    assert_eq!(first(b"\x81\x03[]"), None);
    assert_eq!(first(b"\x81"), None);
    assert_eq!(first(b"\x81\x7e\x01"), None);
    let long = [&b"\x81\x7e\x01\x00"[..], &[b'x'; 256]].concat();
    assert_eq!(first(&long), Some(Frame { kind: Kind::Text, start: 4, end: 260 }));
}

#[test]
fn blocks_of_event_streams_are_distinguished() {
    fn kind(text: &str) -> (Kind, &str) {
        let frame = first_event(text.as_bytes()).unwrap();
        (frame.kind, &text[frame.start..frame.end])
    }
    assert_eq!(kind("id: 1a.b\ndata: [1]\n\ndata: [2]\n\n"), (Kind::Text, "[1]\n\n"));
    assert_eq!(kind("event: attached\ndata: [{}]\n\n"), (Kind::Text, "[{}]\n\n"));
    assert_eq!(kind("id: 1a.b\n\n"), (Kind::Id, "1a.b\n\n"));
    assert_eq!(kind("retry: 1370\n:\n\n").0, Kind::Comment);
    assert_eq!(kind(":\n\n").0, Kind::Comment);
    assert_eq!(kind("retry: 5\nevent: end\ndata: {}\n\n").0, Kind::Close);
    assert_eq!(kind("nonsense\n\n").0, Kind::Other);
    for incomplete in ["", "id: 1", "data: [1]\n", "id: 1\ndata: [1]"] {
        assert_eq!(first_event(incomplete.as_bytes()), None, "{incomplete}");
    }
}

#[test]
fn an_event_stream_is_open_after_its_first_block() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let welcome = |text: &str| Transport::Events.welcome(text.as_bytes());
    assert_eq!(welcome(&format!("{head}retry: 9\n:\n\ndata: []\n\n")), Some(head.len() + 12));
    assert_eq!(welcome(&format!("{head}retry: 9\n")), None);
    assert_eq!(welcome("HTTP/1.1 401 Unauthorized\r\n\r\nretry: 9\n:\n\n"), None);
    assert_eq!(Transport::Positions.welcome(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81"), Some(36));
    assert_eq!(Transport::Websocket.welcome(head.as_bytes()), None);
}

/// A log of two members that receive these events, the second one without the last one if `short` is set.
fn presence(events: &[&str], short: bool) -> PresenceLog {
    let mut log = PresenceLog::new(2);
    for (index, event) in events.iter().enumerate() {
        let text = format!("[{{\"type\":\"presence{event}}}]");
        assert!(log.note(0, text.as_bytes()), "{text}");
        if !short || index + 1 < events.len() {
            assert!(log.note(1, text.as_bytes()));
        }
    }
    log
}

#[test]
fn faults_of_presence_are_found() {
    let names = || ["ada", "bob"].into_iter().map(str::to_owned);
    let ada = r#"","user":"ada","message":{"action":"joined"}"#;
    let bob = r#"","user":"bob","message":{"action":"joined"}"#;
    let both =
        r#":diff","joined":[{"user":"bob","state":{}},{"user":"ada","state":{}}],"parted":[],"users":5"#;
    let parted = r#":diff","joined":[],"parted":["bob"],"users":4"#;
    let again = r#":diff","joined":[{"user":"bob","state":{}}],"parted":[],"users":5"#;
    for clean in [&[ada, bob][..], &[both], &[both, parted, again]] {
        let log = presence(clean, false);
        assert!(log.all_know(2) && log.frames() as usize == clean.len());
        assert_eq!(log.faults(names(), 3), Vec::<String>::new(), "{clean:?}");
    }
    for (faulty, users) in [(&[ada][..], 1), (&[ada, ada, bob], 3), (&[both, parted], 1), (&[ada, both], 3)] {
        let log = presence(faulty, false);
        assert!(log.all_know(users) && !log.faults(names(), 3).is_empty(), "{faulty:?}");
    }
    assert_eq!(presence(&[both], false).faults(names(), 4), ["5 users stated, 6 are present"]);
    let log = presence(&[ada, bob], true);
    assert!(!log.all_know(2));
    assert_eq!(log.faults(names(), 3), ["1 members received other events than the first"]);
    let mut log = PresenceLog::new(1);
    for other in [r#"[{"type":"message"}]"#, r#"[{"type":"presence:count","users":2}]"#] {
        assert!(!log.note(0, other.as_bytes()), "{other}");
    }
}

#[test]
fn numbers_are_written_and_read() {
    let mut text = format!("[{}]", content(64)).into_bytes();
    assert_eq!(text.len(), 66);
    let place = digits_at(&text).unwrap();
    let mut finder = Finder::default();
    for number in [0, 1, 4_294_967_295] {
        renumber(&mut text, place, number);
        assert_eq!(finder.number(&text), Some(number));
        assert_eq!(finder.number(&[b"    ", &text[..]].concat()), Some(number), "elsewhere");
    }
    assert_eq!(finder.number(b"[]"), None);
    assert_eq!(finder.number(br#"{"n":"12"}"#), None);
}

fn ledger(notes: &[(usize, u32)]) -> Ledger {
    let mut ledger = Ledger::new(2);
    notes.iter().for_each(|(subscriber, number)| ledger.note(*subscriber, *number));
    ledger
}

#[test]
fn each_fault_is_found() {
    assert!(ledger(&[(0, 0), (0, 1), (1, 0), (1, 1)]).is_clean(2));
    assert!(!ledger(&[(0, 0), (0, 1), (1, 0)]).is_clean(2), "the last one is missing");
    assert!(!ledger(&[(0, 0), (0, 1), (1, 1)]).is_clean(2), "one in between is missing");
    assert!(!ledger(&[(0, 0), (0, 1), (1, 1), (1, 0)]).is_clean(2), "out of order");
    assert!(!ledger(&[(0, 0), (0, 0), (1, 0)]).is_clean(1), "twice");
    let faulty = ledger(&[(0, 0), (0, 2), (0, 1), (1, 0)]);
    assert_eq!((faulty.skipped, faulty.late, faulty.completed()), (1, 1, 1));
}

#[test]
fn answers_may_arrive_in_pieces() {
    let text =
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    let mut answers = Answers::default();
    let mut got = Vec::new();
    for byte in text {
        answers.feed(&[*byte], |status, body| got.push((status, body.to_vec()))).unwrap();
    }
    assert_eq!(got, [(200, b"ok".to_vec()), (503, Vec::new())]);
    assert!(answers.feed(b"nonsense\r\n\r\n", |_, _| {}).is_err());
}

#[test]
fn messages_may_overtake_only_those_of_other_connections() {
    let arrivals = |numbers: &[u32]| {
        let mut arrivals = Arrivals::new(2);
        [0, 1, 0, 1].iter().for_each(|connection| arrivals.expect(*connection));
        numbers.iter().for_each(|number| arrivals.note(*number));
        arrivals.faults(4)
    };
    assert!(arrivals(&[0, 1, 2, 3]).is_empty());
    assert!(arrivals(&[1, 3, 0, 2]).is_empty(), "connections overtake each other");
    assert_eq!(arrivals(&[2, 0, 1, 3]), ["1 out of order"]);
    assert_eq!(arrivals(&[0, 1, 1, 3]), ["1 lost", "1 repeated"]);
    assert_eq!(arrivals(&[0, 1, 2, 3, 4]), ["1 never sent"]);
    assert!(Arrivals::new(8).faults(0).is_empty(), "no listener");
}

#[test]
fn memory_that_is_not_released_is_a_fault() {
    let memory = |anonymous| Memory { rss: anonymous + (3 << 20), anonymous };
    let around = |after| Around {
        before: memory(9 << 20),
        peak: 20 << 20,
        after: memory(after),
        settled: Duration::ZERO,
    };
    assert_eq!(around(1 << 20).fault(), None);
    assert_eq!(around((9 << 20) + ALLOWANCE).fault(), None);
    let fault = around((9 << 20) + ALLOWANCE + 1024).fault().unwrap();
    let mut memories = Memories::default();
    assert_eq!(memories.add(&around(10 << 20)), None);
    assert!(memories.add(&around(15 << 20)).is_some());
    assert_eq!(memories.cells(), ["12.0", "20.0", "18.0", "0.0"]);
    assert_eq!(
        fault,
        format!("memory was not released: 9216 KiB before, {} KiB after", 9217 + (ALLOWANCE >> 10))
    );
}

#[test]
fn everything_that_remains_is_found() {
    let before = Held {
        memory: 9 << 20,
        descriptors: 8,
        threads: 7,
        users: 6,
        connections: 5,
        channels: 4,
        sessions: 3,
        queued: 0,
    };
    assert!(Held { memory: before.memory + ALLOWANCE, ..before }.is_as(&before));
    for after in [
        Held { memory: before.memory + ALLOWANCE + 1, ..before },
        Held { descriptors: 9, ..before },
        Held { threads: 8, ..before },
        Held { users: 7, ..before },
        Held { connections: 4, ..before },
        Held { channels: 5, ..before },
        Held { sessions: 4, ..before },
        Held { queued: 1, ..before },
    ] {
        assert!(!after.is_as(&before), "{after:?}");
    }
    let peak = before.most(&Held { users: 9, queued: 2, ..Held::default() });
    assert_eq!(peak, Held { users: 9, queued: 2, ..before });
}

#[test]
fn system_calls_are_counted_with_what_they_send() {
    let mut calls = Calls::default();
    let nowhere = "0x7ffe 0x7f00";
    calls.note(&format!("{} 0x9 0x7f01 0x11d 0x4000 0x0 0x0 {nowhere}", libc::SYS_sendto));
    let before = calls.clone();
    for _ in 0..3 {
        calls.note(&format!("{} 0x6 0x80 0x80 0x1 0x0 0x8 {nowhere}", libc::SYS_io_uring_enter));
    }
    calls.note(&format!("{} 0x9 0x7f01 0x11d 0x4000 0x0 0x0 {nowhere}", libc::SYS_sendto));
    calls.note("1000000 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0");
    let since = calls.since(&before);
    assert_eq!((since.total(), since.sends), (5, 3 * 128 + 1));
    let named = since.by_frequency();
    assert_eq!(named[0], ("io_uring_enter".to_owned(), 3));
    assert!(named.contains(&("sendto".to_owned(), 1)), "{named:?}");
    assert!(named.contains(&("number 1000000".to_owned(), 1)), "{named:?}");
    assert_eq!(calls.since(&calls), Calls::default());
}

#[test]
fn counters_of_the_kernel_are_found_by_name() {
    let text =
        "TcpExt: SyncookiesSent TCPOrigDataSent TCPHystart\nTcpExt: 0 4711 7\nIpExt: InNoRoutes\nIpExt: 5\n";
    assert_eq!(counter(text, "TcpExt:", "TCPOrigDataSent"), Some(4711));
    assert_eq!(counter(text, "IpExt:", "InNoRoutes"), Some(5));
    assert_eq!(counter(text, "IpExt:", "TCPOrigDataSent"), None);
    assert_eq!(counter("", "TcpExt:", "TCPOrigDataSent"), None);
}

#[test]
fn shares_of_a_core_are_shares_of_the_elapsed_time() {
    let (server_ns, generator_ns) = (1_500_000, 500_000);
    let cost = Cost { elapsed: Duration::from_millis(2), server_ns, generator_ns, segments: 0, sleeps: 0 };
    assert_eq!((cost.server_busy(), cost.generator_busy()), (75.0, 25.0));
}

#[test]
fn a_burst_is_the_number_of_messages_that_are_sent_together() {
    assert_eq!([Plan::Window(1), Plan::Window(16), Plan::List(10)].map(Plan::burst), [1, 16, 10]);
}

#[test]
fn a_spread_shows_median_minimum_and_maximum() {
    let mut spread = Spread::default();
    assert_eq!(spread.to_string(), "-");
    [3.0, 1.0, 2.0].iter().for_each(|value| spread.add(*value));
    assert_eq!(spread.to_string(), "2.00 (1.00-3.00)");
    assert_eq!(format!("{:.0}", spread.times(10.0)), "20 (10-30)");
    assert_eq!(format!("{:.1}", spread.median()), "2.0");
}

#[test]
fn quantiles_are_computed_for_each_run() {
    let mut quantiles = Quantiles::default();
    quantiles.add(&mut (1..=1000).rev().map(|n| n * 1000).collect::<Vec<u32>>());
    quantiles.add(&mut [1_500]);
    assert_eq!(quantiles.p50.to_string(), "501.00 (1.50-501.00)");
    assert_eq!(quantiles.p99.to_string(), "991.00 (1.50-991.00)");
    assert_eq!(quantiles.max.to_string(), "1000.00 (1.50-1000.00)");
}

#[test]
fn tables_are_markdown_with_columns_of_one_width() {
    let cells = ["ours".to_owned(), "4.11 µs".to_owned(), "a cell that is too wide".to_owned()];
    assert_eq!(line(&[6, 8, 4], &cells), "|   ours |  4.11 µs | a cell that is too wide |");
    assert_eq!(verdict(&[]), "clean");
    assert_eq!(verdict(&["2 lost".to_owned(), "1 repeated".to_owned()]), "NOT CLEAN: 2 lost; 1 repeated");
}
