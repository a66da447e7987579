//! Where settings come from: files, environment and command line, as a whole.

// Helpers of tests count as tests: what fails there should fail the test.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use channelstream::settings::{AllowedPeers, Inputs, Loaded, Override, Secret, SettingsError, load, make};

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings").join(name);
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

const RHODECODE: &str = include_str!("data/rhodecode.ini");

#[test]
fn without_anything_there_are_the_defaults() {
    let loaded = Directory::new("defaults", &[]).load(&[]).unwrap();
    assert_eq!((loaded.settings.host.as_str(), loaded.settings.port), ("127.0.0.1", 8000));
    assert!(loaded.sources.is_empty() && loaded.warnings.is_empty() && loaded.file.is_none());
    assert!(loaded.settings.demo_enabled() && loaded.settings.validate().is_ok());
}

#[test]
fn an_empty_cookie_secret_is_made_at_random() {
    let directory = Directory::new("cookie", &[]);
    let cookie = || directory.load(&[("CHANNELSTREAM_COOKIE_SECRET", "")]).unwrap().settings.cookie_secret;
    assert!(cookie().expose().len() >= 32);
    assert_ne!(cookie(), cookie());
}

#[test]
fn file_environment_and_flags_grow_in_weight() {
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
fn the_file_is_named_by_flag_then_environment_then_directory() {
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
fn all_problems_of_a_toml_file_are_told_at_once() {
    let text = "prot = 1\nport = 70000\nworkers = 'x'\nallow_cors = [1]\ndebug = 1\nhttp_scheme = 'ftp'\n";
    let problems = problems(Directory::new("problems", &[("channelstream.toml", text)]).load(&[]));
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(problems.contains(&"port: 70000 is not a port (0-65535) (from channelstream.toml)".into()));
    assert!(problems.contains(&"prot: unknown setting, did you mean port? (from channelstream.toml)".into()));
}

#[test]
fn broken_toml_tells_the_line_and_no_secret() {
    for text in ["port = 1\nsecret = \"hush\nx", "\nsecret = hush\n", "a=1\nsecret = 'a'\nsecret = 'hush'"] {
        let problem =
            problems(Directory::new("broken", &[("channelstream.toml", text)]).load(&[])).join("\n");
        assert!(problem.starts_with("channelstream.toml: line ") && !problem.contains("hush"), "{problem}");
    }
}

#[test]
fn secrets_come_in_many_ways() {
    let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>();
    let toml = |text: &str| {
        Directory::new("secrets", &[("channelstream.toml", text)]).load(&[]).map(|l| l.settings.secrets)
    };
    assert_eq!(toml("secrets = ['a', 'b']").unwrap(), secrets(&["a", "b"]));
    assert_eq!(toml("secret = 'a'").unwrap(), secrets(&["a"]));
    assert!(toml("secret = 'a'\nsecrets = ['b']").is_err() && toml("secrets = []").is_err());
    let directory = Directory::new("secrets-env", &[]);
    let variable = |name, value| directory.load(&[(name, value)]).unwrap().settings.secrets;
    assert_eq!(variable("CHANNELSTREAM_SECRET", " a,b\nc "), secrets(&[" a,b\nc "]));
    assert_eq!(variable("CHANNELSTREAM_SECRETS", "a\nb\n"), secrets(&["a", "b"]));
    assert_eq!(variable("CHANNELSTREAM_SECRETS", "[\"a\", \"b\"]"), secrets(&["a", "b"]));
}

#[test]
fn rhodecodes_ini_starts_as_before() {
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
fn an_ini_puts_the_environment_aside() {
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
fn an_ini_is_forgiving_where_the_original_was() {
    let text = "[channelstream]\nhost = 127.0.0.1\ndebug = maybe\nvalidate_requests = nope\nhttp_scheme = auto\n\
                allow_posting_from = localhost, 0.0.0.0\nsignature_checker = channelstream.utils.DefaultSigner\n";
    let loaded =
        Directory::new("forgiving", &[("a.ini", text)]).load(&[("CHANNELSTREAM_INI", "a.ini")]).unwrap();
    assert!(!loaded.settings.debug && !loaded.settings.validate_requests);
    assert_eq!(loaded.settings.allow_posting_from, AllowedPeers::Any);
    assert_eq!(loaded.warnings.len(), 3, "{:?}", loaded.warnings);
}

#[test]
fn an_ini_without_proxies_is_warned_of_the_headers_that_count() {
    let warnings = |text: &str| {
        let directory = Directory::new("proxies", &[("a.ini", text)]);
        let warnings = directory.load(&[("CHANNELSTREAM_INI", "a.ini")]).unwrap().warnings;
        warnings.iter().filter(|warning| warning.starts_with("trusted_proxies: ")).count()
    };
    assert_eq!(warnings("[channelstream]\nhost = 127.0.0.1\n"), 1);
    assert_eq!(warnings("[channelstream]\nhost = 127.0.0.1\ntrusted_proxies =\n"), 1);
    assert_eq!(warnings("[channelstream]\nhost = 127.0.0.1\ntrusted_proxies = 127.0.0.1\n"), 0);
    let directory = Directory::new("no_ini", &[("channelstream.toml", "trusted_proxies = []")]);
    assert_eq!(directory.load(&[]).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn an_ini_is_refused_where_it_must_be() {
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
fn flags_name_their_ini_and_toml_before_the_environment() {
    let directory = Directory::new("both", &[("a.ini", "[channelstream]"), ("a.toml", "port = 1")]);
    let inputs = directory.inputs(&[("CHANNELSTREAM_INI", "a.ini")]);
    let loaded = load(&Inputs { config: Some("a.toml".into()), ..inputs }).unwrap();
    assert!(loaded.settings.ini.is_none() && loaded.settings.port == 1);
    assert_eq!(loaded.warnings, ["CHANNELSTREAM_INI: ignored, because the command line names another file"]);
}

#[test]
fn blank_variables_leave_what_is_there() {
    let directory = Directory::new("blank", &[("channelstream.toml", "port = 1\nvalidate_requests = true")]);
    let blank = [
        "PORT",
        "VALIDATE_REQUESTS",
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
    assert!(loaded.settings.port == 1 && loaded.settings.validate_requests && loaded.warnings.is_empty());
    let closed = directory.load(&[("CHANNELSTREAM_ALLOW_POSTING_FROM", "")]).unwrap();
    assert_eq!(closed.settings.allow_posting_from, AllowedPeers::Only(Vec::new()));
}

#[test]
fn pings_must_be_quicker_than_idleness() {
    let loaded =
        Directory::new("pings", &[]).load(&[("CHANNELSTREAM_SOCKET_IDLE_TIMEOUT_MS", "20000")]).unwrap();
    assert!(
        loaded.warnings[0].starts_with("socket_idle_timeout_ms: 20000 is not longer than ping_interval_ms")
    );
}

#[test]
fn a_file_is_made_from_environment_and_json() {
    let directory = Directory::new("make", &[("channelstream.toml", "port = 1")]);
    let inputs = directory.inputs(&[("CHANNELSTREAM_PORT", "2"), ("CHANNELSTREAM_WORKERS", "2")]);
    let json = r#"{"port": "3", "debug": true, "allow_cors": ["a", "b"], "admin_user": null, "gc": 1, "secrets": ["é"]}"#;
    let made = make(&inputs, Some(json), "0.0.0.0").unwrap();
    let settings = &made.settings;
    assert_eq!((settings.host.as_str(), settings.port, settings.workers), ("0.0.0.0", 3, 2));
    assert!(settings.debug && settings.allow_cors == ["a", "b"] && settings.admin_user == "admin");
    assert!(settings.cookie_secret.expose().is_empty(), "a file must not hold what is made at each start");
    assert_eq!(made.warnings, ["gc: unknown setting, ignored (from JSON)"]);
    for (json, reason) in
        [("[]", "JSON: not"), ("{\"port\": 1e9}", "port: "), ("{\"port\": 70000}", "port: 70000")]
    {
        assert!(problems(make(&inputs, Some(json), "::1"))[0].starts_with(reason), "{json}");
    }
}
