//! The sources of settings together: files, environment and command line.

use std::path::{Path, PathBuf};

use channelstream::config::{
    AllowedPeers, Inputs, Loaded, Override, Secret, SettingsError, load, make, renew, shown,
};

/// A directory that is removed at the end of the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings").join(name);
        // An earlier run may have left something at the path that is not a file.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    fn inputs(&self, variables: &[(&str, &str)]) -> Inputs {
        let environment = variables.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        Inputs { environment, directory: self.0.clone(), ..Inputs::default() }
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
        load(&self.inputs(variables))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn flag(key: &str, value: &str) -> Override {
    Override { key: key.into(), value: value.into(), flag: format!("--{key}") }
}

fn problems(result: Result<Loaded, SettingsError>) -> Vec<String> {
    result.unwrap_err().problems
}

const RHODECODE: &str = include_str!("../data/rhodecode.ini");

#[test]
fn empty_sources_give_the_defaults() {
    let loaded = Directory::new("defaults", &[]).load(&[]).unwrap();
    assert_eq!((loaded.settings.host.as_str(), loaded.settings.port), ("127.0.0.1", 8000));
    assert!(loaded.sources.is_empty() && loaded.warnings.is_empty() && loaded.file.is_none());
    assert!(loaded.settings.demo_enabled() && loaded.settings.validate().is_ok());
}

#[test]
fn empty_cookie_secret_is_generated() {
    let directory = Directory::new("cookie", &[]);
    let cookie = || directory.load(&[("CHANNELSTREAM_COOKIE_SECRET", "")]).unwrap().settings.cookie_secret;
    assert!(cookie().expose().len() >= 32);
    assert_ne!(cookie(), cookie());
}

#[test]
fn flags_override_environment_and_environment_overrides_the_file() {
    let directory =
        Directory::new("weight", &[("channelstream.toml", "port = 1\nworkers = 1\nhost = '::1'\n")]);
    let mut inputs = directory.inputs(&[("CHANNELSTREAM_PORT", "2"), ("CHANNELSTREAM_WORKERS", "2")]);
    inputs.overrides = vec![flag("port", "3")];
    let loaded = load(&inputs).unwrap();
    let settings = &loaded.settings;
    assert_eq!((settings.host.as_str(), settings.workers, settings.port), ("::1", 2, 3));
    let sources = ["host", "workers", "port"].map(|key| loaded.sources[key].as_str());
    assert_eq!(sources, ["channelstream.toml", "CHANNELSTREAM_WORKERS", "--port"]);
}

#[test]
fn flag_then_environment_then_directory_name_the_file() {
    let files = [("channelstream.toml", "port = 1"), ("env.toml", "port = 2"), ("flag.toml", "port = 3")];
    let directory = Directory::new("files", &files);
    assert_eq!(directory.load(&[]).unwrap().settings.port, 1);
    let variables = [("CHANNELSTREAM_CONFIG", "env.toml")];
    assert_eq!(directory.load(&variables).unwrap().settings.port, 2);
    let inputs = Inputs { config: Some("flag.toml".into()), ..directory.inputs(&variables) };
    assert_eq!(load(&inputs).unwrap().settings.port, 3);
    assert!(
        problems(directory.load(&[("CHANNELSTREAM_CONFIG", "none.toml")]))[0]
            .starts_with("none.toml: cannot be")
    );
}

#[test]
fn error_lists_all_problems_of_a_toml_file() {
    let text = "prot = 1\nport = 70000\nworkers = 'x'\nallow_cors = [1]\ndebug = 1\nhttp_scheme = 'ftp'\n";
    let problems = problems(Directory::new("problems", &[("channelstream.toml", text)]).load(&[]));
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(problems.contains(&"port: 70000 is not a port (0-65535) (from channelstream.toml)".into()));
    assert!(problems.contains(&"prot: unknown setting, did you mean port? (from channelstream.toml)".into()));
}

#[test]
fn error_of_broken_toml_names_the_line_and_no_secret() {
    for text in ["port = 1\nsecret = \"hush\nx", "\nsecret = hush\n", "a=1\nsecret = 'a'\nsecret = 'hush'"] {
        let problem =
            problems(Directory::new("broken", &[("channelstream.toml", text)]).load(&[])).join("\n");
        assert!(problem.starts_with("channelstream.toml: line ") && !problem.contains("hush"), "{problem}");
    }
}

#[test]
fn secrets_are_read_from_every_source() {
    let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>();
    let toml = |text: &str| {
        Directory::new("secrets", &[("channelstream.toml", text)]).load(&[]).map(|l| l.settings.secrets)
    };
    assert_eq!(toml("secrets = ['a', 'b']").unwrap(), secrets(&["a", "b"]));
    assert_eq!(toml("secret = 'a'").unwrap(), secrets(&["a"]));
    assert!(toml("secret = 'a'\nsecrets = ['b']").is_err() && toml("secrets = []").is_err());
    let directory = Directory::new("secrets-env", &[]);
    let variable = |name, value| directory.load(&[(name, value)]).unwrap().settings.secrets;
    assert_eq!(variable("CHANNELSTREAM_SECRET", "a,b\nc"), secrets(&["a,b\nc"]));
    assert_eq!(variable("CHANNELSTREAM_SECRETS", "a\nb\n"), secrets(&["a", "b"]));
    assert_eq!(variable("CHANNELSTREAM_SECRETS", "[\"a\", \"b\"]"), secrets(&["a", "b"]));
}

#[test]
fn ini_file_of_rhodecode_gives_the_same_settings_as_in_the_original() {
    let directory = Directory::new("rhodecode", &[("rc.ini", RHODECODE), ("channelstream.toml", "port = 1")]);
    let loaded = directory.load(&[("CHANNELSTREAM_INI", "rc.ini")]).unwrap();
    let settings = &loaded.settings;
    assert_eq!((settings.host.as_str(), settings.port), ("0.0.0.0", 9800));
    let peers = ["127.0.0.1", "172.18.0.4"].map(|peer| peer.parse().unwrap()).to_vec();
    assert_eq!(settings.allow_posting_from, AllowedPeers::Only(peers));
    assert_eq!(settings.secrets, [Secret::new("100%secret")]);
    assert!(!settings.enforce_https && settings.http_scheme.is_none());
    assert!(settings.cookie_secret.expose().len() >= 32);
    assert!(settings.validate().is_ok() && !settings.demo_enabled());
    let warnings = loaded.warnings.join("\n");
    assert!(
        warnings.contains("demo: ignored") && warnings.contains("statsd_host: unknown setting"),
        "{warnings}"
    );
}

#[test]
fn ini_file_replaces_the_environment() {
    let directory = Directory::new("aside", &[("a.ini", "[channelstream]\nworkers = 2\nsecret=\n")]);
    let variables =
        [("CHANNELSTREAM_PORT", "9"), ("CHANNELSTREAM_SECRET", "hush"), ("CHANNELSTREAM_INI", "x.ini")];
    let mut inputs = Inputs { ini: Some("a.ini".into()), ..directory.inputs(&variables) };
    inputs.overrides = vec![flag("workers", "3"), flag("demo", "on")];
    let loaded = load(&inputs).unwrap();
    assert_eq!(
        (loaded.settings.host.as_str(), loaded.settings.port, loaded.settings.workers),
        ("0.0.0.0", 8000, 3)
    );
    assert!(!loaded.settings.demo_enabled());
    let warnings = loaded.warnings.join("\n");
    assert!(
        warnings.contains("CHANNELSTREAM_PORT, CHANNELSTREAM_SECRET, CHANNELSTREAM_INI: ignored"),
        "{warnings}"
    );
    assert!(
        warnings.contains("demo: ignored") && warnings.contains("SECURITY: secrets and admin_secret"),
        "{warnings}"
    );
    assert!(!warnings.contains("hush"));
    assert!(loaded.settings.validate().is_ok(), "an existing deployment must start");
}

#[test]
fn ini_file_is_lenient_like_the_original() {
    let text = "[channelstream]\nhost = 127.0.0.1\ndebug = maybe\nvalidate_requests = nope\nhttp_scheme = auto\n\
                allow_posting_from = localhost, 0.0.0.0\nsignature_checker = channelstream.utils.DefaultSigner\n";
    let loaded =
        Directory::new("forgiving", &[("a.ini", text)]).load(&[("CHANNELSTREAM_INI", "a.ini")]).unwrap();
    assert!(!loaded.settings.debug && !loaded.settings.check_signature_age);
    assert_eq!(loaded.settings.allow_posting_from, AllowedPeers::Any);
    assert_eq!(loaded.warnings.len(), 3, "{:?}", loaded.warnings);
}

#[test]
fn ini_file_without_proxies_causes_a_warning_about_headers() {
    let warnings = |text: &str| {
        let directory = Directory::new("proxies", &[("a.ini", text)]);
        let warnings = directory.load(&[("CHANNELSTREAM_INI", "a.ini")]).unwrap().warnings;
        warnings.iter().filter(|warning| warning.starts_with("trusted_proxies: empty")).count()
    };
    assert_eq!(warnings("[channelstream]\nhost = 127.0.0.1\n"), 1);
    assert_eq!(warnings("[channelstream]\nhost = 127.0.0.1\ntrusted_proxies =\n"), 1);
    assert_eq!(warnings("[channelstream]\nhost = 127.0.0.1\ntrusted_proxies = 127.0.0.1\n"), 0);
    let directory = Directory::new("no_ini", &[("channelstream.toml", "trusted_proxies = []")]);
    assert_eq!(directory.load(&[]).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn invalid_ini_file_is_refused() {
    let ini = |text| {
        problems(Directory::new("refused", &[("a.ini", text)]).load(&[("CHANNELSTREAM_INI", "a.ini")]))
    };
    assert_eq!(ini("[channelstream]\nport = x"), ["port: \"x\" is not a port (0-65535) (from a.ini)"]);
    assert_eq!(ini("[other]\n"), ["a.ini: there is no section [channelstream]"]);
    assert!(
        ini("[channelstream]\nsignature_checker = my.Signer")[0]
            .starts_with("signature_checker: \"my.Signer\"")
    );
    assert_eq!(ini("[channelstream]\nsecret = hu%sh"), ["a.ini: secret: a percent sign is written %%"]);
}

#[test]
fn flags_override_the_file_named_in_the_environment() {
    let directory = Directory::new("both", &[("a.ini", "[channelstream]"), ("a.toml", "port = 1")]);
    let inputs = directory.inputs(&[("CHANNELSTREAM_INI", "a.ini")]);
    let loaded = load(&Inputs { config: Some("a.toml".into()), ..inputs }).unwrap();
    assert!(loaded.settings.ini.is_none() && loaded.settings.port == 1);
    assert_eq!(loaded.warnings, ["CHANNELSTREAM_INI: ignored, because the command line names another file"]);
}

#[test]
fn blank_variables_change_nothing() {
    let directory =
        Directory::new("blank", &[("channelstream.toml", "port = 1\ncheck_signature_age = true")]);
    let blank = [
        "PORT",
        "CHECK_SIGNATURE_AGE",
        "SECRET",
        "HOST",
        "LOG_LEVEL",
        "INI",
        "CONFIG",
        "DEMO",
        "SIGNATURE_CHECKER",
    ];
    let names = blank.map(|name| format!("CHANNELSTREAM_{name}"));
    let loaded = directory.load(&names.each_ref().map(|name| (name.as_str(), ""))).unwrap();
    assert!(loaded.settings.port == 1 && loaded.settings.check_signature_age);
    // An empty secret is reported: probably a variable in its place was not set.
    assert_eq!(loaded.warnings, ["secret: it is empty and counts as not given (from CHANNELSTREAM_SECRET)"]);
    let closed = directory.load(&[("CHANNELSTREAM_ALLOW_POSTING_FROM", "")]).unwrap();
    assert_eq!(closed.settings.allow_posting_from, AllowedPeers::Only(Vec::new()));
}

#[test]
fn ping_interval_must_be_shorter_than_the_pong_timeout() {
    let loaded = Directory::new("pings", &[]).load(&[("CHANNELSTREAM_PONG_TIMEOUT", "20000")]).unwrap();
    assert!(loaded.warnings[0].starts_with("pong_timeout: 20000 is not longer than ping_interval_ms"));
}

/// Old names of settings with their new names, and a value that is not the default.
const OLD_NAMES: [(&str, &str, &str); 6] = [
    ("socket_idle_timeout_ms", "pong_timeout", "70000"),
    ("connection_idle_timeout_ms", "unattached_timeout", "70000"),
    ("part_delay_ms", "leave_delay", "70000"),
    ("drain_spread_ms", "shutdown_spread", "4000"),
    ("worker_lag_ms", "watchdog_timeout", "70000"),
    ("validate_requests", "check_signature_age", "false"),
];

/// Gives one or more settings, written as in TOML, through each kind of source; the second part names the source in messages.
fn through_each_source(given: &[(&str, &str)]) -> Vec<(Result<Loaded, SettingsError>, String)> {
    let plain: Vec<_> = given.iter().map(|(key, value)| (*key, value.trim_matches('"'))).collect();
    let lines = |given: &[(&str, &str)]| {
        given.iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>()
    };
    let pairs: Vec<_> = given.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
    let variables: Vec<_> =
        plain.iter().map(|(key, value)| (format!("CHANNELSTREAM_{}", key.to_uppercase()), *value)).collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let ini = format!("[channelstream]\nhost = 127.0.0.1\n{}", lines(&plain));
    let directory = Directory::new("each-source", &[("a.toml", &lines(given)), ("a.ini", &ini)]);
    let inputs = directory.inputs(&[]);
    let overrides = plain.iter().map(|(key, value)| flag(key, value)).collect();
    vec![
        (load(&Inputs { config: Some("a.toml".into()), ..inputs.clone() }), "a.toml".into()),
        (load(&Inputs { ini: Some("a.ini".into()), ..inputs.clone() }), "a.ini".into()),
        (make(&inputs, Some(&format!("{{{}}}", pairs.join(", "))), "::1"), "JSON".into()),
        (directory.load(&variables), variables[0].0.to_owned()),
        (load(&Inputs { overrides, ..inputs }), format!("--{}", given[0].0)),
    ]
}

/// A setting as `check-config` prints it.
fn printed(loaded: &Loaded, key: &str) -> String {
    shown(&loaded.settings).into_iter().find(|setting| setting.key == key).unwrap().value
}

#[test]
fn times_and_sizes_accept_units_in_every_source() {
    for (key, text, value) in [
        ("grace_time_ms", "\"90s\"", "90000"),
        ("pong_timeout", "\"1min 30s\"", "90000"),
        ("part_delay_ms", "\"250ms\"", "250"),
        ("max_body_bytes", "\"64KiB\"", "65536"),
    ] {
        for (loaded, source) in through_each_source(&[(key, text)]) {
            let key = if key == "part_delay_ms" { "leave_delay" } else { key };
            assert_eq!(printed(&loaded.unwrap(), key), value, "{key} from {source}");
        }
    }
    for (key, text, refused) in [
        (
            "leave_delay",
            "\"2 parsecs\"",
            "is not a duration (0-3600000 ms, or with a unit: 250ms, 10s, 5min, 2h)",
        ),
        ("max_head_bytes", "\"1MiB\"", "is not a size (4096-60000 bytes, or with a unit: 64KiB, 8MiB, 1GiB)"),
        ("port", "\"8KiB\"", "is not a port (0-65535)"),
    ] {
        for (loaded, source) in through_each_source(&[(key, text)]) {
            assert_eq!(problems(loaded), [format!("{key}: {text} {refused} (from {source})")]);
        }
    }
}

#[test]
fn old_names_are_accepted_in_every_source_with_a_note() {
    for (old, new, value) in OLD_NAMES {
        for (loaded, source) in through_each_source(&[(old, value)]) {
            let loaded = loaded.unwrap();
            assert_eq!((printed(&loaded, new).as_str(), &loaded.sources[new]), (value, &source), "{old}");
            let note = format!("{old}: this is the old name of {new} (from {source})");
            assert_eq!(loaded.notes, [note], "{old}");
        }
        for (loaded, source) in through_each_source(&[(new, value)]) {
            assert_eq!(loaded.unwrap().notes, Vec::<String>::new(), "{new} from {source}");
        }
    }
}

#[test]
fn a_source_that_gives_a_setting_under_both_names_is_refused() {
    for (old, new, value) in OLD_NAMES {
        for (loaded, source) in through_each_source(&[(old, value), (new, value)]) {
            let problem = problems(loaded).concat();
            let both = format!("{old}: {new} is given too and means the same setting, give one of the two");
            assert!(problem.starts_with(&both), "{source}: {problem}");
        }
    }
    // A later source overrides an earlier one, whatever name each of them uses.
    let directory = Directory::new("both-sources", &[("channelstream.toml", "part_delay_ms = 1\n")]);
    let loaded = directory.load(&[("CHANNELSTREAM_LEAVE_DELAY", "2")]).unwrap();
    assert_eq!((loaded.settings.leave_delay, loaded.notes.len()), (2, 1));
}

#[test]
fn make_builds_a_file_from_environment_and_json() {
    let directory = Directory::new("make", &[("channelstream.toml", "port = 1")]);
    let inputs = directory.inputs(&[("CHANNELSTREAM_PORT", "2"), ("CHANNELSTREAM_WORKERS", "2")]);
    let json = r#"{"port": "3", "debug": true, "allow_cors": ["a", "b"], "admin_user": null, "gc": 1, "secrets": ["é"]}"#;
    let made = make(&inputs, Some(json), "0.0.0.0").unwrap();
    let settings = &made.settings;
    assert_eq!((settings.host.as_str(), settings.port, settings.workers), ("0.0.0.0", 3, 2));
    assert!(settings.debug && settings.allow_cors == ["a", "b"] && settings.admin_user == "admin");
    assert!(
        settings.cookie_secret.expose().is_empty(),
        "a file must not contain a secret that is generated at each start"
    );
    assert_eq!(made.warnings, ["gc: unknown setting, ignored (from JSON)"]);
    for (json, reason) in
        [("[]", "JSON: not"), ("{\"port\": 1e9}", "port: "), ("{\"port\": 70000}", "port: 70000")]
    {
        assert!(problems(make(&inputs, Some(json), "::1"))[0].starts_with(reason), "{json}");
    }
    // Null means that the name is not given, so these are not two names of one setting.
    assert!(make(&inputs, Some(r#"{"secret": null, "secrets": ["é"]}"#), "::1").is_ok());
}

/// Ways to name a file; "directory" stands for the file in the working directory.
const WAYS: [&str; 5] = ["directory", "-c", "CHANNELSTREAM_CONFIG", "-i", "CHANNELSTREAM_INI"];

/// The inputs that name `channelstream.toml` in this directory; an INI file may also have this name.
fn named(directory: &Directory, way: &str) -> Inputs {
    let name = "channelstream.toml";
    let inputs = directory.inputs(&[]);
    match way {
        "directory" => inputs,
        "-c" => Inputs { config: Some(name.into()), ..inputs },
        "-i" => Inputs { ini: Some(name.into()), ..inputs },
        variable => directory.inputs(&[(variable, name)]),
    }
}

const TOML: &str = "secrets = ['own one', 'own two']\nadmin_user = 'root'\nadmin_secret = 'own'\ncookie_secret = 'own'\nport = 9\n";
const INI: &str = "[channelstream]\nhost = 127.0.0.1\nsecret = own one\nadmin_user = root\nadmin_secret = own\n\
                   cookie_secret = own\nport = 9\n";

fn complete_file(way: &str) -> &'static str {
    if way == "-i" || way == "CHANNELSTREAM_INI" { INI } else { TOML }
}

/// Replaces the file with something else.
type Spoil = fn(&Path);

/// The things that may be at the path, and the text that reports each of them.
const KINDS: [(&str, Spoil, &str); 7] = [
    ("directory", |path| std::fs::create_dir(path).unwrap(), "it is a directory"),
    ("link to nothing", |path| symlink("nowhere", path), "No such file"),
    ("link to itself", |path| symlink("channelstream.toml", path), "symbolic link"),
    ("link to a directory", |path| symlink(".", path), "it is a directory"),
    ("too large", |path| std::fs::write(path, "#".repeat((1 << 20) + 1)).unwrap(), "larger than 1 MiB"),
    ("not a text", |path| std::fs::write(path, b"port = 1 # \xff\n").unwrap(), "not UTF-8"),
    ("socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()), ""),
];

fn symlink(target: &str, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

fn remove(path: &Path) {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        std::fs::remove_dir(path).unwrap();
    } else {
        let _ = std::fs::remove_file(path);
    }
}

#[test]
fn anything_at_the_path_counts_as_a_file() {
    for way in WAYS {
        let directory = Directory::new(&format!("kinds{way}"), &[]);
        let (path, inputs) = (directory.0.join("channelstream.toml"), named(&directory, way));
        for (kind, spoil, why) in KINDS {
            remove(&path);
            spoil(&path);
            let problem = problems(load(&inputs)).concat();
            let names = problem.starts_with("channelstream.toml: cannot be read: ") && problem.contains(why);
            assert!(names, "{way}, {kind}: {problem}");
        }
        remove(&path);
        match way {
            "directory" => assert!(load(&inputs).unwrap().file.is_none()),
            _ => assert!(problems(load(&inputs))[0].ends_with("cannot be read: it does not exist"), "{way}"),
        }
    }
}

#[test]
fn failed_look_up_does_not_count_as_a_missing_file() {
    let directory = Directory::new("looking", &[("file", "port = 1\n")]);
    let too_long = "x".repeat(300);
    for (below, why) in [("file", "Not a directory"), (too_long.as_str(), "too long")] {
        let inputs = Inputs { directory: directory.0.join(below), ..Inputs::default() };
        let problem = problems(load(&inputs)).concat();
        assert!(
            problem.starts_with("channelstream.toml: cannot be read: ") && problem.contains(why),
            "{problem}"
        );
    }
}

#[test]
fn empty_file_is_reported_at_the_start() {
    for text in ["", " \n\n"] {
        let loaded = Directory::new("empty", &[("channelstream.toml", text)]).load(&[]).unwrap();
        assert_eq!(loaded.warnings, ["channelstream.toml: the file is empty and gives no setting"]);
    }
    let ini = Directory::new("empty-ini", &[("a.ini", "")]).load(&[("CHANNELSTREAM_INI", "a.ini")]);
    assert_eq!(problems(ini), ["a.ini: there is no section [channelstream]"]);
    let marked = Directory::new("marked", &[("channelstream.toml", "\u{feff}port = 3\n")]);
    assert_eq!(marked.load(&[]).unwrap().settings.port, 3, "a byte order mark is not a setting");
}

#[test]
fn pipe_is_read_once() {
    use std::os::fd::AsRawFd;
    for (text, ini) in [(TOML, false), (INI, true)] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
        drop(writer);
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        let inputs = match ini {
            true => Inputs { ini: Some(path), ..Inputs::default() },
            false => Inputs { config: Some(path), ..Inputs::default() },
        };
        let loaded = load(&inputs).unwrap();
        assert_eq!((loaded.settings.port, &loaded.settings.secrets[0]), (9, &Secret::new("own one")));
        let problem = renew(&loaded, "127.0.0.1").unwrap_err().to_string();
        assert!(problem.contains("it is not a regular file"), "{problem}");
    }
}

#[test]
fn pipe_without_a_writer_does_not_block_the_start() {
    let directory = Directory::new("pipe", &[]);
    let path = directory.0.join("channelstream.toml");
    remove(&path);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (begun, inputs) = (std::time::Instant::now(), WAYS.map(|way| named(&directory, way)));
    let readings = inputs.map(|inputs| std::thread::spawn(move || problems(load(&inputs)).concat()));
    for reading in readings {
        assert_eq!(reading.join().unwrap(), "channelstream.toml: cannot be read: no answer within 5 s");
    }
    assert!(begun.elapsed().as_secs() < 20, "they wait in parallel");
}

/// Starts with a complete file, changes it and reloads. Returns the secrets, or the text of the error.
fn reload_after(way: &str, change: impl Fn(&Path)) -> Result<String, String> {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let directory = Directory::new(&format!("again-{number}"), &[("channelstream.toml", complete_file(way))]);
    let loaded = load(&named(&directory, way)).unwrap();
    let path = directory.0.join("channelstream.toml");
    change(&path);
    let renewed = renew(&loaded, "127.0.0.1").map_err(|error| error.to_string())?;
    Ok(secrets_of(&renewed.loaded))
}

fn secrets_of(loaded: &Loaded) -> String {
    let settings = &loaded.settings;
    let secrets = settings.secrets.iter().map(Secret::expose).collect::<Vec<_>>().join(",");
    let (admin, cookie) = (settings.admin_secret.expose(), settings.cookie_secret.expose());
    format!("{secrets} {} {admin} {cookie}", settings.admin_user)
}

#[test]
fn reload_refuses_everything_but_a_complete_file() {
    for way in WAYS {
        for (kind, spoil, why) in KINDS {
            let problem = reload_after(way, |path| {
                remove(path);
                spoil(path);
            });
            let problem = problem.expect_err(kind);
            assert!(
                problem.starts_with("channelstream.toml: ") && problem.contains(why),
                "{way}, {kind}: {problem}"
            );
        }
        let problem = reload_after(way, remove).unwrap_err();
        let why = if way == "directory" { "the file does not exist any more" } else { "it does not exist" };
        assert!(problem.starts_with("channelstream.toml: ") && problem.contains(why), "{way}: {problem}");
        let pipe = |path: &Path| {
            remove(path);
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        assert!(reload_after(way, pipe).unwrap_err().contains("it is not a regular file"), "{way}");
        for text in ["", "\n"] {
            let problem = reload_after(way, |path| std::fs::write(path, text).unwrap()).unwrap_err();
            assert!(
                problem.contains("the file is empty") || problem.contains("there is no section"),
                "{problem}"
            );
        }
        let same = reload_after(way, |_| ()).unwrap();
        assert!(same.starts_with("own one") && same.ends_with(" root own own"), "{same}");
    }
}

#[test]
fn truncated_file_changes_no_secret() {
    for way in ["-c", "-i"] {
        let (whole, same) = (complete_file(way), reload_after(way, |_| ()).unwrap());
        for length in 0..whole.len() {
            let cut = reload_after(way, |path| std::fs::write(path, &whole[..length]).unwrap());
            assert!(cut.is_err() || cut == Ok(same.clone()), "{way}, {length} bytes: {cut:?}");
        }
    }
}

#[test]
fn reload_is_refused_if_a_setting_has_lost_its_source() {
    for (way, key, line) in [
        ("-c", "secrets", "secrets = ['own one', 'own two']\n"),
        ("-c", "admin_user", "admin_user = 'root'\n"),
        ("-c", "admin_secret", "admin_secret = 'own'\n"),
        ("-c", "cookie_secret", "cookie_secret = 'own'\n"),
        ("-i", "secrets", "secret = own one\n"),
        ("-i", "admin_secret", "admin_secret = own\n"),
    ] {
        let problem =
            reload_after(way, |path| std::fs::write(path, complete_file(way).replace(line, "")).unwrap())
                .unwrap_err();
        let lost = format!("{key}: channelstream.toml gave a value before, and no source gives one now");
        assert!(problem.starts_with(&lost), "{problem}");
    }
    // A setting that a reload does not apply may disappear.
    let shorter = reload_after("-c", |path| std::fs::write(path, TOML.replace("port = 9\n", "")).unwrap());
    assert_eq!(shorter, Ok("own one,own two root own own".into()));
}

#[test]
fn reload_never_replaces_a_custom_secret_with_a_well_known_one() {
    for (way, own, known) in [
        ("-c", "['own one', 'own two']", "['secret']"),
        ("-c", "['own one', 'own two']", "['own three', ' secret ']"),
        ("-c", "admin_secret = 'own'", "admin_secret = 'admin_secret'"),
        ("-c", "admin_secret = 'own'", "allow_default_secrets = true\nadmin_secret = 'admin_secret'"),
        ("-i", "own one", "secret"),
        ("-i", "admin_secret = own", "admin_secret = admin_secret"),
    ] {
        let problem =
            reload_after(way, |path| std::fs::write(path, complete_file(way).replace(own, known)).unwrap());
        assert!(
            problem.as_ref().is_err_and(|text| text.contains("the well-known default is refused")),
            "{problem:?}"
        );
    }
}

#[test]
fn blanks_around_secrets_are_removed_with_a_warning() {
    for blanks in ["own ", " own", "own\n", "own\r", "own\r\n", "\town "] {
        let quoted = toml::Value::from(blanks).to_string();
        let mut sources = Vec::new();
        for key in ["secret", "secrets", "admin_secret", "admin_user", "cookie_secret"] {
            let list = if key == "secrets" { format!("[{quoted}]") } else { quoted.clone() };
            let files = [("channelstream.toml", format!("{key} = {list}\n"))];
            let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
            sources.push((key, Directory::new("blanks-file", &files).load(&[])));
            let (directory, variable) =
                (Directory::new("blanks", &[]), format!("CHANNELSTREAM_{}", key.to_uppercase()));
            if key != "secrets" || blanks.trim_end_matches(['\n', '\r']) != "own" || blanks == "own\r" {
                // Several secrets are one on each line, so the end of a line is not a blank.
                sources.push((key, directory.load(&[(&variable, blanks)])));
                let overrides = vec![flag(key, blanks)];
                sources.push((key, load(&Inputs { overrides, ..directory.inputs(&[]) })));
            }
        }
        for (key, loaded) in sources {
            let loaded = loaded.unwrap();
            let settings = &loaded.settings;
            let value = match key {
                "admin_user" => settings.admin_user.as_str(),
                "admin_secret" => settings.admin_secret.expose(),
                "cookie_secret" => settings.cookie_secret.expose(),
                _ => settings.secrets[0].expose(),
            };
            assert_eq!(value, "own", "{key} = {blanks:?}");
            let warned =
                loaded.warnings.iter().any(|text| text.starts_with(&format!("{key}: blanks at its ends")));
            assert!(warned, "{key} = {blanks:?}: {:?}", loaded.warnings);
        }
    }
    let only = Directory::new("only-blanks", &[("channelstream.toml", "admin_secret = ' '\n")]);
    assert!(problems(only.load(&[]))[0].starts_with("admin_secret: it must not be empty"));
}

const PATTERNS: &str = "port = 7\n[[channels]]\nmatch = 'a*'\nframes = 5\n";

#[test]
fn patterns_of_channels_come_from_a_toml_file_only() {
    let directory = Directory::new("patterns", &[("channelstream.toml", PATTERNS)]);
    let loaded = directory.load(&[("CHANNELSTREAM_CHANNELS", "a")]).unwrap();
    assert_eq!((loaded.settings.port, loaded.settings.channels.rules("ab").frames), (7, Some(5)));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.starts_with("channels: unknown setting, ignored, patterns of channels are tables"));
    let mut inputs = directory.inputs(&[]);
    inputs.overrides = vec![flag("channels", "a")];
    assert!(
        problems(load(&inputs))[0].starts_with("channels: unknown setting, patterns of channels are tables")
    );
}

#[test]
fn mistakes_in_patterns_are_reported_with_their_line_beside_others() {
    let text = "prot = 1\n[[channels]]\nmatch = 'a'\n\n[[channels]]\nmatch = 'b'\nfixed = ['frames']\n";
    let directory = Directory::new("wrong-patterns", &[("channelstream.toml", text)]);
    let problems = problems(directory.load(&[]));
    assert!(problems[0].starts_with("channelstream.toml: line 7: unknown variant `frames`"), "{problems:?}");
    assert!(problems[1].starts_with("prot: unknown setting"), "{problems:?}");
}

#[test]
fn changed_patterns_require_a_restart() {
    let directory = Directory::new("new-patterns", &[("channelstream.toml", PATTERNS)]);
    let before = directory.load(&[]).unwrap();
    std::fs::write(directory.0.join("channelstream.toml"), PATTERNS.replace("= 5", "= 6")).unwrap();
    let renewed = renew(&before, "127.0.0.1").unwrap();
    assert_eq!(renewed.needs_restart, ["channels"]);
    assert_eq!(renewed.loaded.settings.channels.rules("ab").frames, Some(5));
}
