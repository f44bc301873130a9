//! Is the project as tidy as it says? Layers, names, sizes, leftovers, documents: everything that a reader should not have to check.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/generated.rs"]
mod generated;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use source::code_only;
use source::sources;
use source::top_level;
use source::words;

/// What may lie in the root besides hidden files and what is ignored.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "docs",
    "justfile",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "src",
    "storage",
    "tests",
];

/// Files over [`LINES_MAX`] lines, each with the reason why it is better whole. One that has shrunk fails the test.
const LONG_FILES: &[(&str, &str)] = &[
    ("src/config/table.rs", "one table: each setting is an entry, and they are looked up in it"),
    ("tests/lake/sql.rs", "every rule of the tables of SQL, against one fold"),
    ("storage/src/index/mod.rs", "the index's whole face in one place: each method is short, and looks in the delta, then in the file"),
    ("storage/src/log/recover.rs", "recovery is one decision after another over the same state; its order is what a reader checks"),
    ("storage/tests/suite/faults.rs", "one fault after another, each a table of what may come of it; `plants.rs` uses its checks"),
    ("src/database/definitions.rs", "what each kind of definition means is told in one place, side by side"),
    ("src/http/projections.rs", "every call about projections, with its description, and the one shape of their state"),
    ("tests/embedded/projections.rs", "one model of the rows, and everything that must not change them"),
    ("tests/embedded/subscriptions.rs", "one group after another, over the same few helpers"),
    ("storage/src/store/stage.rs", "all checks of a transaction, in the order in which they are made"),
];

/// A guide for the eye: beyond it, a reader has lost the beginning.
const LINES_MAX: usize = 400;

/// As rustfmt.toml; rustfmt itself leaves long strings and comments alone.
const COLUMNS_MAX: usize = 140;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff"];

/// Split in two, so that this file does not find itself.
const LEFTOVERS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];
const LEFTOVER_MACROS: &[(&str, &str)] = &[("to", "do!"), ("unimple", "mented!"), ("db", "g!")];

/// Paths that exist on one machine only; the first group is fine in tests.
const TEMPORARY_PATHS: &[(&str, &str)] = &[("/t", "mp/")];
const MACHINE_PATHS: &[(&str, &str)] = &[("/ho", "me/"), ("/ro", "ot/"), ("/Us", "ers/"), ("/wo", "rk/"), ("/m", "nt/")];

fn joined<'a>(halves: &'a [(&str, &str)]) -> impl Iterator<Item = String> + 'a {
    halves.iter().map(|(first, second)| format!("{first}{second}"))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} in all:\n{}", wrong.len(), wrong.join("\n"));
}

/// What somebody has left to be finished, with its line.
fn leftovers(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        found.extend(joined(LEFTOVERS).filter(|mark| words(line).any(|word| word == mark)).map(|mark| (number, mark)));
        found.extend(joined(LEFTOVER_MACROS).filter(|mark| line.contains(mark.as_str())).map(|mark| (number, mark)));
    }
    found
}

#[test]
fn nothing_is_left_to_be_finished() {
    let mut wrong = Vec::new();
    for source in sources(&["rs", "sh"]) {
        wrong.extend(leftovers(&source.text).into_iter().map(|(line, mark)| format!("{}:{line}: {mark}", source.path)));
    }
    assert_none(&wrong);
    assert_eq!(leftovers(&joined(LEFTOVERS).chain(joined(LEFTOVER_MACROS)).collect::<Vec<_>>().join("\n")).len(), 7);
}

#[test]
fn lines_fit_the_screen() {
    let mut wrong = Vec::new();
    for source in sources(&["rs"]) {
        // A sentence in a string stays whole, so that it can be searched for.
        let lines = source.text.lines().filter(|line| line.chars().count() > COLUMNS_MAX && without_strings(line) > COLUMNS_MAX);
        wrong.extend(lines.map(|line| format!("{}: {} columns: {line}", source.path, line.chars().count())));
    }
    assert_none(&wrong);
    assert_eq!(without_strings(r#"f("a \"b\" c", "d"); // e"#), "f(, ); // e".len());
}

/// How many columns a line has without what its strings hold.
fn without_strings(line: &str) -> usize {
    line.replace("\\\"", "").split('"').step_by(2).map(|piece| piece.chars().count()).sum()
}

#[test]
fn long_files_have_a_reason() {
    let mut wrong = Vec::new();
    let mut long = Vec::new();
    for source in sources(&["rs"]) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            long.push(source.path.clone());
            if !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
                wrong.push(format!("{} has {lines} lines: split it along its jobs, or say here why not", source.path));
            }
        }
    }
    let stale = LONG_FILES.iter().filter(|(path, _)| !long.iter().any(|found| found == path));
    wrong.extend(stale.map(|(path, _)| format!("{path} is not long any more: take its entry out")));
    assert_none(&wrong);
}

#[test]
fn names_say_what_is_inside() {
    let mut wrong = Vec::new();
    for source in sources(&["rs"]) {
        let parts = source.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
        wrong.extend(parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| format!("{}: {part} says nothing", source.path)));
    }
    assert_none(&wrong);
}

#[test]
fn every_module_opens_with_its_question() {
    let wrong: Vec<String> = sources(&["rs"])
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{} does not open with the question that it answers (`//! …`)", source.path))
        .collect();
    assert_none(&wrong);
}

#[test]
fn imports_stand_one_a_line() {
    let mut wrong = Vec::new();
    for source in sources(&["rs"]) {
        let code = code_only(&source.text);
        let grouped = (1..).zip(code.lines()).filter(|(_, line)| {
            let line = line.trim_start();
            (line.starts_with("use ") || line.starts_with("pub use ") || line.starts_with("pub(crate) use ")) && line.contains('{')
        });
        wrong.extend(grouped.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())));
    }
    assert_none(&wrong);
}

#[test]
fn nothing_depends_on_one_machine() {
    let mut wrong = Vec::new();
    for source in sources(&["rs", "sh", "md", "toml", "json"]) {
        let temporary = joined(TEMPORARY_PATHS).filter(|_| !source.is_test());
        let found = temporary.chain(joined(MACHINE_PATHS)).filter(|path| source.text.contains(path.as_str()));
        wrong.extend(found.map(|path| format!("{} names {path}", source.path)));
    }
    assert_none(&wrong);
}

#[test]
fn the_root_holds_what_was_agreed() {
    let wrong: Vec<String> = top_level().into_iter().filter(|name| !TOP_LEVEL.contains(&name.as_str())).collect();
    assert_none(&wrong);
}
