//! Do the documents that are made from the code say what the code says? `UPDATE_DOCS=1` writes them anew.

use std::fmt::Write;

use crate::source::root;

/// Compares a document with what the code makes of it, or writes it.
pub(crate) fn check(path: &str, made: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, made).expect("the document can be written");
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    let first = there.lines().zip(made.lines()).position(|(there, made)| there != made);
    assert!(
        there == made,
        "{path} is not what the code says (first difference in line {}): UPDATE_DOCS=1 cargo nextest run --test tidy",
        first.unwrap_or_else(|| there.lines().count().min(made.lines().count())) + 1
    );
}

#[test]
fn the_settings_are_those_of_the_code() {
    check("docs/config.md", &factum::config::markdown());
}

#[test]
fn the_interface_is_that_of_the_code() {
    let made = factum::http::openapi_json().expect("the description is JSON");
    check("docs/api/openapi.json", &(made + "\n"));
}

#[test]
fn the_problems_are_those_of_the_code() {
    let mut text = String::from(PROBLEMS_HEAD);
    for entry in factum::http::problem::catalogue() {
        write!(
            text,
            "\n## {}\n\n`{}` · {}\n\n{}\n*What to do:* {}\n",
            entry.slug,
            entry.status.as_u16(),
            entry.title,
            entry.meaning,
            entry.action
        )
        .expect("a String takes everything");
    }
    check("docs/errors.md", &text);
}

#[test]
fn the_measurements_are_those_of_the_code() {
    let path = "docs/guide/observability.md";
    let text = std::fs::read_to_string(root().join(path)).expect("the guide is there");
    let (before, behind) = text.split_once(MEASUREMENTS_HEAD).expect("the guide has a place for measurements");
    let rest = behind.find("\n## ").map_or("", |at| &behind[at..]);
    check(path, &format!("{before}{MEASUREMENTS_HEAD}\n{}{rest}", factum::telemetry::catalogue::markdown()));
}

const MEASUREMENTS_HEAD: &str = "## Every measurement\n";

const PROBLEMS_HEAD: &str = "# Problems

Made from the code by `UPDATE_DOCS=1 cargo nextest run --test tidy`. Every refusal is an RFC 9457 document, `application/problem+json`:
`type` is `urn:factum:problem:` and one of the names below, `title` and `status` go with it, `detail` is about this one case.
Texts may change; names, status codes and members do not.
Those with status 429 or 503 carry `Retry-After`.
";
