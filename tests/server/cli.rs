//! The commands, run as operators run them.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn command(directory: &Path, program: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(directory).envs(variables.iter().copied()).args(arguments);
    command
}

/// Runs `channelstream` in an empty directory.
fn channelstream(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_channelstream");
    command(&directory("empty"), program, variables, arguments).output().unwrap()
}

fn utils(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_channelstream_utils");
    command(&directory("empty"), program, variables, arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An operator may forget either of the two secrets: the start and `check-config` name the forgotten one.
#[test]
fn server_names_a_well_known_secret_next_to_a_custom_one() {
    for (own, forgotten) in [("SECRET", "admin_secret"), ("ADMIN_SECRET", "secrets")] {
        let variable = format!("CHANNELSTREAM_{own}");
        let variables = [(variable.as_str(), "a text of one's own")];
        let checked = channelstream(&variables, &["check-config"]);
        let warned = format!("warning: {forgotten}: the well-known default is in force");
        assert!(checked.status.success() && err(&checked).contains(&warned), "{checked:?}");
        // The server cannot listen on this address: the start warns and ends.
        let started =
            channelstream(&variables, &["--host", "192.0.2.1", "--set", "allow_default_secrets=true"]);
        assert!(
            err(&started).contains(&format!("{forgotten}: the well-known default is in force")),
            "{started:?}"
        );
    }
    let known = out(&channelstream(&[], &["check-config"]));
    assert!(known.contains("# secrets and admin_secret: the well-known default is in force"), "{known}");
    assert_eq!(err(&channelstream(&[], &["check-config"])), "", "no secret is forgotten if all are defaults");
}

#[test]
fn command_prints_the_version() {
    let expected = format!("channelstream {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(out(&channelstream(&[], &["-v"])), expected);
    assert_eq!(out(&channelstream(&[], &["--version"])), expected);
}

#[test]
fn server_does_not_start_with_an_invalid_setting() {
    let output = channelstream(&[("CHANNELSTREAM_PORT", "70000")], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(err(&output), "error: port: 70000 is not a port (0-65535) (from CHANNELSTREAM_PORT)\n");
    let output = channelstream(&[], &["--port", "-1"]);
    assert_eq!(err(&output), "error: port: -1 is not a port (0-65535) (from --port)\n");
    assert!(err(&channelstream(&[], &["--set", "prot=1"])).contains("did you mean port?"));
    assert!(err(&channelstream(&[], &["--set", "hush"])).contains("expects KEY=VALUE"));
    assert!(err(&channelstream(&[], &["-i", "a", "-c", "b"])).contains("exclude each other"));
}

#[test]
fn server_accepts_default_secrets_only_on_loopback() {
    for host in ["0.0.0.0", "::", "push.example.org"] {
        let output = channelstream(&[], &["--host", host]);
        assert_eq!(output.status.code(), Some(78), "{host}");
        assert!(err(&output).contains("secrets: the well-known default is refused"), "{host}");
    }
    let allowed = [("CHANNELSTREAM_ALLOW_DEFAULT_SECRETS", "true")];
    assert!(channelstream(&allowed, &["check-config", "--host", "::"]).status.success());
    let own = [
        ("CHANNELSTREAM_SECRET", "a"),
        ("CHANNELSTREAM_ADMIN_SECRET", "b"),
        ("CHANNELSTREAM_HOST", "0.0.0.0"),
    ];
    assert!(channelstream(&own, &["check-config"]).status.success());
}

#[test]
fn check_config_prints_values_and_sources_but_no_secrets() {
    let variables = [
        ("CHANNELSTREAM_SECRET", "hush1"),
        ("CHANNELSTREAM_ADMIN_SECRET", "hush2"),
        ("CHANNELSTREAM_COOKIE_SECRET", "hush3"),
        ("CHANNELSTREAM_PORT", "tcp://10.0.0.1:8000"),
        ("CHANNELSTREAM_SERVICE_HOST", "10.0.0.1"),
    ];
    let output = channelstream(&variables, &["check-config", "--workers", "2", "--demo=off"]);
    let (text, notes) = (out(&output), err(&output));
    assert!(output.status.success());
    for line in
        ["port = 8000", "workers = 2  # from --workers", "secrets = ********  # from CHANNELSTREAM_SECRET"]
    {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    assert!(text.ends_with("# demo mode: off\n"));
    assert!(notes.starts_with("warning: CHANNELSTREAM_") && notes.contains("Kubernetes"), "{notes}");
    assert!(!text.contains("hush") && !notes.contains("hush"));
    assert!(out(&channelstream(&[], &["check-config"])).contains("# demo mode: on"));
}

#[test]
fn check_config_prints_the_rules_of_a_channel() {
    let directory = directory("patterns");
    let text = "channel_frames = 70\n[[channels]]\nmatch = 'a*'\nfixed = ['notify_state']\nlists_up_to = 5\n";
    std::fs::write(directory.join("channelstream.toml"), text).unwrap();
    let run = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_channelstream");
        let output = command(&directory, program, &[], arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        out(&output)
    };
    let rules = run(&["check-config", "--channel", "ab"]);
    assert!(
        rules.starts_with(
            "# channel: ab\nmatch = \"a*\"\nfixed = [\"notify_state\"]\nframes = 70\nframes_age_s = 0\n"
        ),
        "{rules}"
    );
    assert!(
        rules.contains("\nlists_up_to = 5\nflap_ms = 0\n\n[defaults]\nnotify_presence = false\n"),
        "{rules}"
    );
    let others = run(&["check-config", "--channel", "b"]);
    assert!(others.starts_with("# channel: b; no pattern matches it\nmatch = \"\"\n"), "{others}");
    assert!(run(&["check-config"]).contains("[[channels]]\nmatch = \"a*\"\n"));
}

#[test]
fn check_config_fails_if_the_server_would_not_start() {
    let output = channelstream(&[], &["check-config", "--host", "0.0.0.0"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        out(&output).contains("host = \"0.0.0.0\"  # from --host")
            && err(&output).contains("error: secrets: ")
    );
    assert_eq!(channelstream(&[], &["check-config", "-c", "none.toml"]).status.code(), Some(78));
}

/// A service manager should not restart a server with wrong settings; it may restart one whose port is in use.
#[test]
fn exit_codes_separate_wrong_settings_from_other_failures() {
    let codes = |arguments: &[&str]| channelstream(&[], arguments).status.code();
    for wrong in [
        &["--port", "x"][..],
        &["--set", "prot=1"],
        &["--set", "hush"],
        &["-c", "none.toml"],
        &["-i", "none.ini"],
        &["-c", "."],
        &["-i", "a", "-c", "b"],
        &["check-config", "--port", "x"],
        &["sign", "-c", "none.toml"],
        &["make-config", "-j", "[]"],
    ] {
        assert_eq!(codes(wrong), Some(78), "{wrong:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_eq!(codes(&["--port", &port]), Some(1));
    assert_eq!(codes(&["--no-such-flag"]), Some(2));
    assert!(out(&channelstream(&[], &["--help"])).contains("RestartPreventExitStatus=78"));
}

#[test]
fn server_does_not_start_if_the_settings_file_is_a_directory() {
    let directory = directory("is-directory");
    std::fs::create_dir_all(directory.join("channelstream.toml")).unwrap();
    for arguments in [&[][..], &["check-config"], &["-c", "channelstream.toml"]] {
        let output =
            command(&directory, env!("CARGO_BIN_EXE_channelstream"), &[], arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert_eq!(err(&output), "error: channelstream.toml: cannot be read: it is a directory\n");
    }
}

#[test]
fn check_config_warns_about_contradicting_settings() {
    let own = ["--set", "secrets=own", "--set", "admin_secret=own"];
    for (arguments, names) in [
        (["shutdown_spread=20000", "shutdown_timeout_ms=5000"], ["shutdown_spread: ", "shutdown_timeout_ms"]),
        (["ping_interval_ms=60000", "pong_timeout=30000"], ["pong_timeout: ", "ping_interval_ms"]),
        (["host=0.0.0.0", "workers=1"], ["host: ", "allowed_origins"]),
        (
            ["max_queued_bytes=9000", "max_total_queued_bytes=8000"],
            ["max_queued_bytes: ", "max_total_queued_bytes"],
        ),
        (
            ["max_body_bytes=2000000", "max_pending_body_bytes=100000"],
            ["max_body_bytes: ", "max_pending_body_bytes"],
        ),
    ] {
        let set = arguments.iter().flat_map(|argument| ["--set", argument]);
        let all = set.chain(own).chain(["check-config"]).collect::<Vec<_>>();
        let output = channelstream(&[], &all);
        let warned = err(&output).lines().any(|line| names.iter().all(|name| line.contains(name)));
        assert!(output.status.success() && warned, "{arguments:?}: {}", err(&output));
    }
    assert_eq!(err(&channelstream(&[], &["check-config"])), "");
}

#[test]
fn an_old_name_is_reported_at_debug_level_and_both_names_stop_the_start() {
    let start = |more: &[&str]| {
        // An address that cannot be listened on: the server logs, and ends.
        let arguments = [&["--host", "192.0.2.1", "--set", "allow_default_secrets=true"], more].concat();
        channelstream(&[("CHANNELSTREAM_PART_DELAY_MS", "7")], &arguments)
    };
    let note = "part_delay_ms: this is the old name of leave_delay (from CHANNELSTREAM_PART_DELAY_MS)";
    let debug = err(&start(&["--log-level", "debug"]));
    assert_eq!(
        debug.lines().filter(|line| line.contains(note) && line.contains("DEBUG")).count(),
        1,
        "{debug}"
    );
    assert!(!err(&start(&[])).contains("part_delay_ms"));
    let checked = |spread| channelstream(&[], &["--set", spread, "check-config"]);
    assert_eq!(err(&checked("drain_spread_ms=7")), "");
    let warned = err(&checked("drain_spread_ms=70000"));
    let note =
        "note: drain_spread_ms: this is the old name of shutdown_spread (from --set drain_spread_ms)\n";
    assert!(warned.starts_with(&format!("{note}warning: shutdown_spread: 70000 is more than ")), "{warned}");
    let both = channelstream(&[], &["--set", "part_delay_ms=1", "--set", "leave_delay=1", "check-config"]);
    assert_eq!(both.status.code(), Some(78));
    assert_eq!(
        err(&both),
        "error: part_delay_ms: leave_delay is given too and means the same setting, give one of the two \
         (from the command line)\n"
    );
}

#[test]
fn server_logs_the_warnings_of_an_ini_file() {
    let directory = directory("ini");
    let text = "[channelstream]\nport = 0\nsecret = hush\nadmin_secret = hush\nfoo = hush\n";
    std::fs::write(directory.join("a.ini"), text).unwrap();
    let variables = [("CHANNELSTREAM_PORT", "x"), ("CHANNELSTREAM_INI", "a.ini")];
    let program = env!("CARGO_BIN_EXE_channelstream");
    let mut child = command(&directory, program, &variables, &[]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let warnings: Vec<_> = lines.map_while(Result::ok).filter(|line| line.contains("WARN")).take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(warnings[0].contains("foo: unknown setting, ignored"), "{warnings:?}");
    assert!(warnings[1].contains("CHANNELSTREAM_PORT: ignored"), "{warnings:?}");
    assert!(!warnings.concat().contains("hush"));
}

#[test]
fn sign_and_verify_agree() {
    let signed = out(&channelstream(&[("CHANNELSTREAM_SECRETS", "a\nb")], &["sign", "/connect"]));
    let header = signed.lines().last().unwrap();
    let token = header
        .strip_prefix("x-channelstream-secret: /connect.")
        .map(|rest| format!("/connect.{rest}"))
        .unwrap();
    let output = channelstream(&[], &["verify", &token, "--secret", "a"]);
    assert!(output.status.success() && out(&output).starts_with("accepted: "));
    let output = channelstream(&[], &["verify", &token]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).starts_with("refused: its mac"), "{}", out(&output));
    // A misspelt flag is no text.
    for (command, flag) in [(&["sign", "--tokn"], "--token"), (&["verify", "--secrt"], "--secret")] {
        let output = channelstream(&[], command);
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains(flag), "{}", err(&output));
    }
    assert!(out(&channelstream(&[], &["sign", "--", "-x"])).contains("x-channelstream-secret: -x."));
    // `sign` also works with an address and secrets with which no server may start.
    let signed = out(&channelstream(&[("CHANNELSTREAM_HOST", "0.0.0.0")], &["sign", "--secret", "x"]));
    assert!(signed.lines().last().unwrap().starts_with("x-channelstream-secret: channelstream."));
    assert_eq!(channelstream(&[], &["sign", "a\nb"]).status.code(), Some(1));
}

#[test]
fn make_config_chooses_the_format_by_the_extension() {
    let directory = empty_directory("make");
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (toml, ini) = (path("a.toml"), path("a.ini"));
    let variables = [("CHANNELSTREAM_PORT", "9000"), ("CHANNELSTREAM_SECRET", "50%")];
    assert!(channelstream(&variables, &["make-config", "-o", &toml]).status.success());
    assert!(
        channelstream(&variables, &["make-config", "-o", &ini, "-j", "{\"debug\": true}"]).status.success()
    );
    let checked = out(&channelstream(&[], &["check-config", "-c", &toml]));
    assert!(checked.contains("port = 9000") && checked.contains("host = \"127.0.0.1\"\n"), "{checked}");
    let checked = out(&channelstream(&[], &["check-config", "-i", &ini]));
    assert!(checked.contains("debug = true") && checked.contains("host = \"0.0.0.0\""), "{checked}");
    let printed = out(&channelstream(&[], &["make-config"]));
    assert_eq!(printed, include_str!("../../channelstream.toml"));
    assert!(out(&channelstream(&[], &["make-config", "--format", "ini"])).starts_with("[channelstream]\n"));
    assert_eq!(channelstream(&[], &["make-config", "-o", "/none/x"]).status.code(), Some(1));
}

fn empty_directory(name: &str) -> PathBuf {
    let directory = directory(name);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// The files in this directory, including those of an interrupted write.
fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn make_config_writes_a_private_file_and_replaces_none() {
    use std::os::unix::fs::PermissionsExt;
    let programs = [
        (env!("CARGO_BIN_EXE_channelstream"), "make-config", "toml"),
        (env!("CARGO_BIN_EXE_channelstream"), "make-config", "ini"),
        (env!("CARGO_BIN_EXE_channelstream_utils"), "make_config", "ini"),
        (env!("CARGO_BIN_EXE_channelstream"), "make-config", "md"),
    ];
    for (program, make, ending) in programs {
        let directory = empty_directory("owned");
        let file = format!("a.{ending}");
        let path = directory.join(&file);
        let run = |more: &[&str]| {
            let arguments = [&[make, "-o", &file], more].concat();
            command(&directory, program, &[], &arguments).output().unwrap()
        };
        assert!(run(&[]).status.success());
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(), files(&directory)), (0o600, vec![file.clone()]));

        std::fs::write(&path, "# an operator's own file").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let again = run(&[]);
        assert_eq!(again.status.code(), Some(1));
        assert!(err(&again).contains("--force"), "{}", err(&again));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# an operator's own file");
        assert!(run(&["--force"]).status.success());
        assert!(!std::fs::read_to_string(&path).unwrap().contains("operator"));
        assert_eq!((mode(), files(&directory)), (0o600, vec![file.clone()]));
    }
}

#[test]
fn make_config_writes_random_secrets() {
    let directory = empty_directory("random");
    let secrets = |name: &str, variables: &[(&str, &str)]| {
        let program = env!("CARGO_BIN_EXE_channelstream");
        let made = command(&directory, program, variables, &["make-config", "-o", name]).output().unwrap();
        assert!(made.status.success(), "{}", err(&made));
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        let of =
            |key: &str| text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap().to_owned();
        (["secrets", "admin_secret", "cookie_secret"].map(of), err(&made))
    };
    let (one, printed) = secrets("one.toml", &[]);
    let (other, _) = secrets("other.toml", &[]);
    assert_eq!(printed, "made at random: secrets, admin_secret, cookie_secret\n");
    for (one, other) in one.iter().zip(&other) {
        assert!(one != other && one.len() > 60, "{one} {other}");
    }
    let (given, printed) =
        secrets("given.toml", &[("CHANNELSTREAM_SECRET", "given"), ("CHANNELSTREAM_ADMIN_SECRET", "b")]);
    assert_eq!(
        (given[0].as_str(), printed.as_str()),
        ("secrets = [\"given\"]", "made at random: cookie_secret\n")
    );
    let arguments = ["-c", "one.toml", "check-config", "--host", "0.0.0.0"];
    let checked = command(&directory, env!("CARGO_BIN_EXE_channelstream"), &[], &arguments).output().unwrap();
    assert!(checked.status.success(), "such a file may be used in public");
}

#[test]
fn make_config_replaces_only_files() {
    let directory = empty_directory("replaced");
    let make = |name: &str, more: &[&str]| {
        let arguments = [&["make-config", "-o", name], more].concat();
        command(&directory, env!("CARGO_BIN_EXE_channelstream"), &[], &arguments).output().unwrap()
    };
    std::fs::create_dir(directory.join("folder.toml")).unwrap();
    std::fs::write(directory.join("target.toml"), "old").unwrap();
    std::os::unix::fs::symlink("target.toml", directory.join("link.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere.toml", directory.join("dangling.toml")).unwrap();
    std::os::unix::fs::symlink("/dev/null", directory.join("null.toml")).unwrap();
    let before = files(&directory);
    for (name, more) in [
        ("folder.toml", &[][..]),
        ("folder.toml", &["--force"]),
        ("link.toml", &[]),
        ("dangling.toml", &[]),
        ("dangling.toml", &["--force"]),
        ("null.toml", &["--force"]),
        ("none/a.toml", &[]),
        ("none/a.toml", &["--force"]),
    ] {
        let refused = make(name, more);
        assert_eq!(refused.status.code(), Some(1), "{name} {more:?}");
        assert!(err(&refused).contains(&format!("error: {name}: ")), "{}", err(&refused));
        assert_eq!(files(&directory), before, "{name} {more:?}");
    }
    assert_eq!(std::fs::read_to_string(directory.join("target.toml")).unwrap(), "old");
    assert!(make("link.toml", &["--force"]).status.success());
    assert!(directory.join("link.toml").symlink_metadata().unwrap().is_symlink(), "the link remains");
    assert!(std::fs::read_to_string(directory.join("target.toml")).unwrap().contains("secrets = "));
    assert!(make("new.toml", &["--force"]).status.success());
    assert_eq!(make("new.toml", &["--force", "-o"]).status.code(), Some(2));
}

/// The next start would read the rest of a file as settings; an empty rest means the well-known secrets.
#[test]
fn make_config_leaves_no_partial_file_on_a_full_disk() {
    for (program, make, ending) in [
        (env!("CARGO_BIN_EXE_channelstream"), "make-config", "toml"),
        (env!("CARGO_BIN_EXE_channelstream_utils"), "make_config", "ini"),
    ] {
        let directory = empty_directory("no-room");
        let name = format!("a.{ending}");
        let make = |more: &str| {
            let script = format!("ulimit -f 0 && exec {program} {make} -o {name} {more}");
            command(&directory, "sh", &[("PATH", "/usr/bin:/bin")], &["-c", &script]).output().unwrap()
        };
        let output = make("");
        assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
        assert!(err(&output).contains(&format!("error: {name}: cannot be written")), "{}", err(&output));
        assert_eq!(files(&directory), Vec::<String>::new());
        std::fs::write(directory.join(&name), "old").unwrap();
        assert_eq!(make("--force").status.code(), Some(1));
        assert_eq!(files(&directory), [name.as_str()]);
        assert_eq!(std::fs::read_to_string(directory.join(&name)).unwrap(), "old");
    }
}

#[test]
fn make_config_fails_if_standard_output_is_full() {
    let script = format!("exec {} make-config >/dev/full", env!("CARGO_BIN_EXE_channelstream"));
    let output = command(&empty_directory("full"), "sh", &[("PATH", "/usr/bin:/bin")], &["-c", &script])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("standard output: cannot be written"), "{}", err(&output));
}

#[test]
fn make_config_converts_an_ini_file_into_toml() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rhodecode.ini");
    let text = out(&channelstream(&[], &["-i", source, "make-config"]));
    for line in
        ["port = 9800", "secrets = [\"100%secret\"]", "allow_posting_from = [\"127.0.0.1\", \"172.18.0.4\"]"]
    {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
}

#[test]
fn original_make_config_writes_every_setting() {
    let variables = [
        ("CHANNELSTREAM_HOST", "10.0.0.1"),
        ("CHANNELSTREAM_ALLOW_CORS", "a.example,b.example"),
        ("CHANNELSTREAM_DEBUG", "1"),
        ("CHANNELSTREAM_VALIDATE_REQUESTS", "0"),
        // The image names the file before it exists.
        ("CHANNELSTREAM_INI", "not-yet.ini"),
    ];
    let output = utils(&variables, &["make_config", "-j", "{\"port\": 8001}"]);
    let text = out(&output);
    let expected =
        ["host = 10.0.0.1", "allow_cors = a.example, b.example", "debug = true", "validate_requests = false"];
    for line in
        expected.into_iter().chain(["port = 8001", "secret = secret", "allow_posting_from = 127.0.0.1"])
    {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    assert_eq!(utils(&[], &["other"]).status.code(), Some(2));
    let file = empty_directory("utils").join("config.ini");
    assert!(utils(&[], &["-o", file.to_str().unwrap(), "make_config"]).status.success());
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("host = 0.0.0.0") && text.contains("\nsecret = secret\n"), "like the original");
}

#[test]
fn make_config_succeeds_if_its_reader_exits() {
    let program = env!("CARGO_BIN_EXE_channelstream");
    let mut command = command(&directory("empty"), program, &[], &["make-config"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut notes = String::new();
    child.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
    assert!(child.wait().unwrap().success() && notes.is_empty());
}

/// In an old version the wait for the stop signal was an argument of a log line: a server whose log level excluded that
/// line ended immediately.
#[test]
fn server_that_logs_nothing_runs_until_it_is_stopped() {
    for level in ["error", "warn"] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.to_string();
        let directory = directory(&format!("quiet-{level}"));
        let arguments = ["--port", &port, "--log-level", level];
        let program = env!("CARGO_BIN_EXE_channelstream");
        let mut server = command(&directory, program, &[], &arguments).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let ended = loop {
            let ended = server.try_wait().unwrap();
            if ended.is_some() || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok() {
                break ended;
            }
            assert!(std::time::Instant::now() < deadline, "{level}: it does not listen");
            std::thread::yield_now();
        };
        assert_eq!(ended, None, "{level}: it ended by itself");
        // A stop takes at most a second: a server that still runs after three was not stopping.
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!(server.try_wait().unwrap(), None, "{level}: it ended by itself");
        let stopped = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
        assert!(stopped.success(), "{level}: it ended by itself");
        assert!(server.wait().unwrap().success(), "{level}");
    }
}
