//! Do imports only go down? The table of `docs/architecture.md`, as a test.

use crate::source::Source;
use crate::source::code_only;
use crate::source::has_word;
use crate::source::root;
use crate::source::sources;

/// The modules of `src/`, from the socket inwards. A module may import from its own line and from those below it.
const LAYERS: &[&[&str]] = &[
    &["main", "cli"],
    &["server"],
    &["http"],
    &["auth"],
    &["database"],
    &["analytics"],
    &["projection"],
    &["aggregate"],
    &["schema"],
    &["script"],
    &["subscription"],
    &["shard"],
    &["definition", "config", "error"],
    &["telemetry"],
];

/// What `lib.rs` offers under the crate's own name, and the module that it comes from.
const REEXPORTS: &[(&str, &str)] = &[("Database", "database"), ("Error", "error")];

/// Imports that go up, each with the reason why that is right. One that is no longer needed fails the test.
const UPWARD: &[(&str, &str, &str)] = &[];

/// Where a name may stand, and nowhere else in `src/`.
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("axum", &["src/http/"], "wire types and status codes stay in http"),
    ("Store", &["src/shard/"], "a shard is the only holder of a store"),
    ("datafusion", &["src/analytics/"], "the engine of queries stays in analytics"),
    ("object_store", &["src/analytics/"], "lakes stay in analytics"),
    ("parquet", &["src/analytics/"], "lakes stay in analytics"),
];

/// Crates that the engine may not depend on: it is synchronous and knows neither wire nor log lines.
const FOREIGN_TO_STORAGE: &[&str] =
    &["factum", "tokio", "futures", "axum", "hyper", "http", "tower", "serde_json", "jiff", "tracing", "log", "metrics", "reqwest", "clap"];

/// What a test must be able to own, and the files that stand for the machine.
const MACHINE: &[(&str, &[&str])] = &[
    ("std::fs", &["storage/src/disk/real.rs"]),
    ("std::time::SystemTime", &["storage/src/clock.rs"]),
    ("std::time::Instant", &[]),
    ("std::thread", &[]),
    ("std::net", &[]),
    ("std::env", &[]),
];

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules of the crate that a file names in a path.
fn named_modules(code: &str) -> Vec<&'static str> {
    let mut named = Vec::new();
    for prefix in ["crate::", "factum::", "super::"] {
        for (at, _) in code.match_indices(prefix) {
            let is_whole = !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            let behind = &code[at + prefix.len()..];
            let name = behind.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap_or_default();
            // A folder's own submodule may bear the name of a layer; `super::` is only looked at where it reaches the crate's root.
            if is_whole && (prefix != "super::" || code[..at].ends_with("super::")) {
                let module = REEXPORTS.iter().find(|(item, _)| *item == name).map_or(name, |(_, module)| module);
                named.extend(LAYERS.iter().flat_map(|layer| layer.iter()).copied().filter(|known| *known == module));
            }
        }
    }
    named.sort_unstable();
    named.dedup();
    named
}

/// The imports of one file that go up.
fn upward_imports(source: &Source) -> Vec<(String, &'static str)> {
    let Some(module) = source.module().filter(|module| *module != "lib") else { return Vec::new() };
    let Some(own) = rank(module) else { return vec![(module.to_owned(), "(a module that the layer table does not know)")] };
    let named = named_modules(&code_only(&source.text));
    named.into_iter().filter(|named| rank(named).is_some_and(|other| other < own)).map(|named| (module.to_owned(), named)).collect()
}

#[test]
fn imports_only_go_down_the_layers() {
    let mut used = Vec::new();
    let mut wrong = Vec::new();
    for source in sources(&["rs"]) {
        for (module, target) in upward_imports(&source) {
            match UPWARD.iter().position(|(from, to, _)| *from == module && *to == target) {
                Some(exception) => used.push(exception),
                None => wrong.push(format!("{}: {module} may not import {target}", source.path)),
            }
        }
    }
    let stale = UPWARD.iter().enumerate().filter(|(at, _)| !used.contains(at));
    wrong.extend(stale.map(|(_, (from, to, _))| format!("no import from {from} to {to} is left: take its exception out")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_is_seen() {
    let planted = |path: &str, text: &str| upward_imports(&Source { path: path.to_owned(), text: text.to_owned() });
    assert_eq!(planted("src/shard/writer.rs", "use crate::http::problem;"), [("shard".to_owned(), "http")]);
    assert_eq!(planted("src/config.rs", "fn f() -> crate::Database { factum::server::run() }").len(), 2);
    assert_eq!(planted("src/shard/writer.rs", "use super::super::http::problem;"), [("shard".to_owned(), "http")]);
    assert_eq!(planted("src/http/events.rs", "use crate::database::Cursor; // crate::cli"), []);
    assert_eq!(planted("src/novelty/mod.rs", "").len(), 1);
    assert_eq!(planted("tests/http.rs", "use factum::http;"), []);
}

#[test]
fn confined_names_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources(&["rs"]).iter().filter(|source| source.path.starts_with("src/") && !source.is_test()) {
        let code = code_only(&source.text);
        for (name, places, reason) in CONFINED {
            if !places.iter().any(|place| source.path.starts_with(place)) && has_word(&code, name) {
                wrong.push(format!("{} names {name}: {reason}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_knows_nothing_of_the_server() {
    let manifest = std::fs::read_to_string(root().join("storage/Cargo.toml")).expect("storage/Cargo.toml is there");
    let manifest: toml::Table = toml::from_str(&manifest).expect("storage/Cargo.toml is TOML");
    let dependencies = manifest["dependencies"].as_table().expect("a table of dependencies");
    let wrong: Vec<&&str> = FOREIGN_TO_STORAGE.iter().filter(|name| dependencies.contains_key(**name)).collect();
    assert!(wrong.is_empty(), "storage/Cargo.toml depends on {wrong:?}");
}

#[test]
fn the_engine_reaches_the_machine_at_its_seams_only() {
    let mut wrong = Vec::new();
    for source in sources(&["rs"]).iter().filter(|source| source.path.starts_with("storage/src/") && !source.is_test()) {
        let code = code_only(&source.text);
        // What stands behind the first test module is test code.
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let named = MACHINE.iter().filter(|(name, places)| code.contains(name) && !places.contains(&source.path.as_str()));
        wrong.extend(named.map(|(name, _)| format!("{} names {name}", source.path)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
