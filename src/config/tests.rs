//! Layers, names and forms of settings.

use std::io::Write;
use std::time::Duration;

use super::*;
use crate::telemetry::otlp::Protocol;
use crate::telemetry::otlp::Signal;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("writes");
    file
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn source_of(config: &Config, name: &str) -> (String, Source) {
    let value = config.values.iter().find(|value| value.setting.name() == name).expect("a setting");
    (value.text.clone(), value.source.clone())
}

#[test]
fn defaults_are_valid_and_documented() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!(config.values.len(), SETTINGS.len());
    assert_eq!(config.settings.server.listen.to_string(), "127.0.0.1:4400");
    assert_eq!(config.settings.limits.body, 16 << 20);
    assert_eq!(config.settings.storage.durability, Durability::Strict);
    let reference = markdown();
    for setting in SETTINGS {
        assert!(reference.contains(&format!("`{}`", setting.variable())), "{} is not in the reference", setting.name());
        assert!(setting.help.ends_with('.'), "{}: help is a sentence", setting.name());
    }
}

#[test]
fn later_layers_win() {
    let toml = file("[server]\nlisten = \"127.0.0.1:1\"\n[shards]\ncount = 2\n[limits]\nbody = \"1MiB\"\nconnections = 5\n");
    let mut sources = Sources { file: Some(toml.path().to_owned()), ..Sources::default() };
    sources.environment =
        variables(&[("FACTUM_SERVER__LISTEN", "127.0.0.1:2"), ("FACTUM_LIMITS__BODY", "2MiB"), ("PATH", "x"), ("FACTUM_URL", "y")]);
    sources.flags = vec![("server.listen", "127.0.0.1:3".to_owned())];
    let config = load(&sources).unwrap();
    assert_eq!(source_of(&config, "server.listen"), ("127.0.0.1:3".to_owned(), Source::Flag("--listen")));
    assert_eq!(source_of(&config, "limits.body"), ("2MiB".to_owned(), Source::Environment("FACTUM_LIMITS__BODY".to_owned())));
    assert_eq!(source_of(&config, "limits.connections"), ("5".to_owned(), Source::File(toml.path().to_owned())));
    assert_eq!(source_of(&config, "log.level").1, Source::Default);
    assert_eq!(config.settings.server.listen.port(), 3);
    assert_eq!(config.settings.shards.count, Some(2));
    assert_eq!(config.settings.limits.body, 2 << 20);
}

#[test]
fn the_short_log_variable_sets_the_level_and_the_long_one_wins() {
    let mut sources = Sources { environment: variables(&[("FACTUM_LOG", "debug")]), ..Sources::default() };
    assert_eq!(load(&sources).unwrap().settings.log.level, "debug");
    sources.environment.insert(0, ("FACTUM_LOG__LEVEL".to_owned(), "warn".to_owned()));
    assert_eq!(load(&sources).unwrap().settings.log.level, "warn");
}

fn check_unknown(toml: &str, environment: &[(&str, &str)], expected: &str) {
    let toml = file(toml);
    let sources = Sources { file: Some(toml.path().to_owned()), environment: variables(environment), ..Sources::default() };
    let message = load(&sources).expect_err("an unknown name is refused").to_string();
    assert!(message.contains(expected), "{message:?} lacks {expected:?}");
}

#[test]
fn unknown_names_are_errors_with_the_nearest_name() {
    check_unknown("[server]\nlisen = \"x\"\n", &[], "did you mean server.listen?");
    check_unknown("[sever]\nlisten = \"x\"\n", &[], "did you mean server.listen?");
    check_unknown("[limits]\ndurability = \"strict\"\n", &[], "did you mean storage.durability?");
    check_unknown("listen = \"x\"\n", &[], "did you mean server.listen?");
    check_unknown("[server]\nzzzzzzzzzzzz = 1\n", &[], "`factum config` lists all");
    check_unknown("", &[("FACTUM_LIMITS__BODDY", "1")], "did you mean FACTUM_LIMITS__BODY?");
}

fn check_bad(name: &str, text: &str, expected: &str) {
    let sources = Sources { environment: vec![(name.to_owned(), text.to_owned())], ..Sources::default() };
    let message = load(&sources).expect_err("a bad value is refused").to_string();
    assert!(message.contains(expected) && message.contains(name), "{message:?} lacks {expected:?}");
}

#[test]
fn bad_values_say_what_would_be_right() {
    check_bad("FACTUM_SERVER__LISTEN", "4400", "IP address and a port");
    check_bad("FACTUM_LIMITS__BODY", "64 furlongs", "64MiB");
    check_bad("FACTUM_LIMITS__EVENT", "17MiB", "between 1.0 KiB and 16.0 MiB");
    check_bad("FACTUM_LIMITS__HEADER_READ_TIMEOUT", "10", "250ms");
    check_bad("FACTUM_STORAGE__DURABILITY", "maybe", "strict or relaxed");
    check_bad("FACTUM_SERVER__INSECURE", "yes", "true or false");
    check_bad("FACTUM_SHARDS__COUNT", "0", "from 1 to");
    check_bad("FACTUM_SHARDS__STRATEGY", "fair", "hash, ring, range, geo");
    check_bad("FACTUM_SHARDS__WEIGHTS", "1,two", "whole numbers");
    check_bad("FACTUM_SHARDS__SPLITS", "[1]", "array of texts");
    check_bad("FACTUM_SHARDS__REGIONS", "[{\"name\":\"eu\",\"shards\":[0],\"key\":[]}]", "unknown field `key`");
    check_bad("FACTUM_SHARDS__DEFAULT_REGION", "", "must name a region");
    check_bad("FACTUM_LOG__LEVEL", "info,a=b=c=d", "");
}

#[test]
fn a_file_that_is_named_must_be_there_and_the_usual_one_need_not() {
    let gone = PathBuf::from("/nonexistent/factum.toml");
    assert!(matches!(load(&Sources { file: Some(gone.clone()), ..Sources::default() }), Err(Error::File { .. })));
    assert!(load(&Sources { file_if_present: Some(gone), ..Sources::default() }).is_ok());
    let broken = file("[server\n");
    assert!(matches!(load(&Sources { file: Some(broken.path().to_owned()), ..Sources::default() }), Err(Error::File { .. })));
    let array = file("[server]\nlisten = [1]\n");
    assert!(matches!(load(&Sources { file: Some(array.path().to_owned()), ..Sources::default() }), Err(Error::File { .. })));
}

#[test]
fn shards_are_spread_by_lists_and_tables() {
    let toml = file(
        "[shards]\nstrategy = \"geo\"\ndefault_region = \"eu\"\n\
        [[shards.regions]]\nname = \"eu\"\nshards = [0, 1]\n[[shards.regions]]\nname = \"us\"\nshards = [2]\nkeys = [\"us-*\"]\n",
    );
    let shards = load(&Sources { file: Some(toml.path().to_owned()), ..Sources::default() }).unwrap().settings.shards;
    assert_eq!((shards.strategy, shards.count), (Some(StrategyName::Geo), None));
    let us = RegionSettings { name: "us".to_owned(), shards: vec![2], keys: vec!["us-*".to_owned()] };
    assert_eq!((shards.regions.len(), shards.regions.last()), (2, Some(&us)));
    let of_file = |text: &str| {
        let toml = file(text);
        load(&Sources { file: Some(toml.path().to_owned()), ..Sources::default() }).map(|config| config.settings.shards)
    };
    let of_environment = |pairs: &[(&str, &str)]| {
        load(&Sources { environment: variables(pairs), ..Sources::default() }).map(|config| config.settings.shards)
    };
    // What belongs to one strategy names it.
    let ring = of_file("[shards]\nweights = [2, 1]\n").unwrap();
    assert_eq!((ring.strategy, ring.weights.as_slice()), (Some(StrategyName::Ring), &[2, 1][..]));
    assert_eq!(of_environment(&[("FACTUM_SHARDS__WEIGHTS", "2, 1")]).unwrap(), ring);
    let range = of_file("[shards]\nsplits = [\"g\", \"n,o\"]\n").unwrap();
    assert_eq!((range.strategy, range.splits), (Some(StrategyName::Range), vec!["g".to_owned(), "n,o".to_owned()]));
    assert_eq!(of_environment(&[("FACTUM_SHARDS__SPLITS", "g, n")]).unwrap().splits, ["g", "n"]);
    let splitting = of_file("[shards]\nsplit_above_events = 1_000_000\nsplit_above_appends_per_second = 500\nmax_shards = 8\n").unwrap();
    assert_eq!((splitting.strategy, splitting.split_above_events), (Some(StrategyName::Range), Some(1_000_000)));
    assert_eq!((splitting.split_above_appends_per_second, splitting.max_shards), (Some(500), 8));
    assert_eq!((range.split_above_events, range.max_shards), (None, 16));
    let other = of_file("[shards]\nstrategy = \"geo\"\nsplit_above_events = 5\n").unwrap_err().to_string();
    assert!(other.contains("shards.split_above_events") && other.contains("belongs to the strategy range"), "{other}");
    for (name, bad) in [("SPLIT_ABOVE_EVENTS", "0"), ("SPLIT_ABOVE_APPENDS_PER_SECOND", "many"), ("MAX_SHARDS", "257")] {
        let refused = of_environment(&[(&format!("FACTUM_SHARDS__{name}"), bad)]).unwrap_err().to_string();
        assert!(refused.contains("must be a whole number from 1"), "{refused}");
    }
    let both = of_file("[shards]\nstrategy = \"hash\"\nweights = [2, 1]\n").unwrap_err().to_string();
    assert!(both.contains("shards.weights") && both.contains("belongs to the strategy ring"), "{both}");
}

#[test]
fn tables_within_sections_have_longer_names() {
    let toml = file("[auth]\nenabled = true\n[auth.shared_secret]\nfile = \"a\"\n");
    let mut sources = Sources { file: Some(toml.path().to_owned()), ..Sources::default() };
    assert_eq!(load(&sources).unwrap().settings.auth.shared_secret.file, Some("a".into()));
    sources.environment = variables(&[("FACTUM_AUTH__SHARED_SECRET__FILE", "b")]);
    let config = load(&sources).unwrap();
    assert_eq!(source_of(&config, "auth.shared_secret.file").0, "b");
    assert!(config.settings.auth.enabled);
    check_unknown("[auth.shared_secret]\nfil = 1\n", &[], "did you mean auth.shared_secret.file?");
    check_unknown("[auth]\nenable = true\n", &[], "did you mean auth.enabled?");
}

#[test]
fn arrays_of_tables_are_lists() {
    let one = "[[auth.issuers]]\nissuer = \"https://a.example/\"\naudience = \"factum\"\njwks_url = \"https://a.example/keys\"\n";
    let with = |text: &str| {
        let toml = file(text);
        load(&Sources { file: Some(toml.path().to_owned()), ..Sources::default() })
    };
    let two = format!("{one}algorithms = [\"RS256\"]\n{}", one.replace("a.example", "b.example"));
    let issuers = with(&two).unwrap().settings.auth.issuers;
    assert_eq!((issuers.len(), issuers[0].algorithms.len(), issuers[1].algorithms.len()), (2, 1, 3));
    for (bad, expected) in [
        (format!("{one}jwks_uri = \"x\"\n"), "did you mean jwks_url?"),
        (one.replace("audience", "#"), "audience is missing"),
        (format!("{one}algorithms = [\"HS256\"]\n"), "none of RS256"),
        (format!("{one}{one}"), "stands twice"),
        ("[auth]\nissuers = \"x\"\n".to_owned(), "[[auth.issuers]]"),
        ("[[server.listen]]\na = 1\n".to_owned(), "IP address"),
    ] {
        let message = with(&bad).expect_err("a bad table is refused").to_string();
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn secrets_are_not_told() {
    let sources = Sources { environment: variables(&[("FACTUM_AUTH__KEY", "hush-hush")]), ..Sources::default() };
    let config = load(&sources).unwrap();
    assert_eq!(config.settings.auth.key.as_ref().map(Secret::expose), Some("hush-hush"));
    assert!(!format!("{config:?}").contains("hush-hush"));
}

#[test]
fn sizes_and_times_are_read() {
    for (text, expected) in [("1", 1), ("64MiB", 64 << 20), ("10 kB", 10_000), ("1_000", 1_000), ("2gib", 2 << 30)] {
        assert_eq!(parse_bytes(text), Ok(expected), "{text}");
    }
    for text in ["", "MiB", "1.5MiB", "-1", "99999999999TiB"] {
        assert!(parse_bytes(text).is_err(), "{text}");
    }
    for (text, expected) in [("250ms", 250_000), ("10s", 10_000_000), ("5min", 300_000_000), ("7us", 7)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_micros(expected)), "{text}");
    }
    for text in ["", "10", "s", "1.5s", "10 parsecs"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    assert_eq!(bytes_text(1_536), "1.5 KiB");
    assert_eq!(duration_text(Duration::from_micros(1_500)), "1.50 ms");
}

#[test]
fn telemetry_is_a_share_and_a_place() {
    let toml = file("[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\nsample = 0.25\nslow = \"250ms\"\n");
    let telemetry = load(&Sources { file: Some(toml.path().to_owned()), ..Sources::default() }).unwrap().settings.telemetry;
    assert_eq!((telemetry.otlp_endpoint.as_deref(), telemetry.sample_of_a_million), (Some("http://127.0.0.1:4318"), 250_000));
    assert_eq!((telemetry.slow, telemetry.metrics), (Duration::from_millis(250), true));
    let set = |name: &str, text: &str| {
        let environment = variables(&[(&format!("FACTUM_TELEMETRY__{name}"), text)]);
        load(&Sources { environment, ..Sources::default() }).map(|config| config.settings.telemetry)
    };
    for (text, expected) in [("0", 0), ("1", 1_000_000), ("1.0", 1_000_000), ("0.000001", 1)] {
        assert_eq!(set("SAMPLE", text).unwrap().sample_of_a_million, expected, "{text}");
    }
    for text in ["", "1.5", "2", "-0.1", "0.", ".5", "0.0000001", "half", "1e-3"] {
        assert!(matches!(set("SAMPLE", text), Err(Error::BadValue { .. })), "{text}");
    }
    assert_eq!(set("OTLP_ENDPOINT", "https://collector").unwrap().otlp_endpoint.as_deref(), Some("https://collector"));
    assert_eq!(set("OTLP_PROTOCOL", "grpc").unwrap().otlp_protocol, Protocol::Grpc);
    assert_eq!(set("OTLP_SIGNALS", "logs, traces").unwrap().otlp_signals, [Signal::Logs, Signal::Traces]);
    for (name, text) in [("OTLP_PROTOCOL", "http"), ("OTLP_SIGNALS", "spans"), ("OTLP_SIGNALS", ""), ("OTLP_INTERVAL", "1ms")] {
        assert!(matches!(set(name, text), Err(Error::BadValue { .. })), "{name} {text}");
    }
    for text in ["", "127.0.0.1:4318", "ftp://a", "http://user:secret@a", "http://a?b=c", "http://"] {
        assert!(matches!(set("OTLP_ENDPOINT", text), Err(Error::BadValue { .. })), "{text}");
    }
}
