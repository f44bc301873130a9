//! Do the documents lead where they point, and does every promise name the test that holds it?

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::source::Source;
use crate::source::root;
use crate::source::sources;

/// The links of a text, without those in code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Every second piece between backticks is code.
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        found.extend(outside.split("](").skip(1).filter_map(|behind| behind.split(')').next()).map(str::to_owned));
    }
    found
}

/// The lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The anchors that a reader's browser makes of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
            kept.map(|character| if character == ' ' { '-' } else { character }).collect()
        })
        .collect()
}

/// What is wrong with the links of one document.
fn broken_links(document: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let folder = root().join(&document.path).parent().expect("a file lies in a folder").to_owned();
    for link in links(&document.text).iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
        let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
        let target = if file.is_empty() { root().join(&document.path) } else { folder.join(file) };
        if !target.exists() {
            wrong.push(format!("{}: {link} leads nowhere", document.path));
        } else if let Some(anchor) = anchor
            && !anchors(&std::fs::read_to_string(&target).unwrap_or_default()).contains(anchor)
        {
            wrong.push(format!("{}: {link} has no such heading", document.path));
        }
    }
    wrong
}

#[test]
fn links_lead_somewhere() {
    let wrong: Vec<String> = sources(&["md"]).iter().flat_map(broken_links).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let planted =
        "[a](nowhere.md) `[b](code.md)` [c](#no-heading)\n```\n[d](fenced.md)\n```\n[e](../README.md) [f](#one-heading)\n# One *heading*";
    assert_eq!(broken_links(&Source { path: "docs/planted.md".to_owned(), text: planted.to_owned() }).len(), 2);
}

/// The names of all functions of the tests and modules, `fn <name>`.
fn functions() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources(&["rs"]) {
        let code = crate::source::code_only(&source.text);
        let names = code.split("fn ").skip(1).filter_map(|behind| crate::source::words(behind).next());
        found.extend(names.map(str::to_owned));
    }
    found
}

/// The id that a test bears in its name: `l7` of `l7_failed_sync_poisons`.
fn id_of(function: &str) -> Option<&str> {
    let (id, _) = function.split_once('_')?;
    let (letter, number) = (id.get(..1)?, id.get(1..)?);
    ("lirhspja".contains(letter) && !number.is_empty() && number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(id)
}

/// The rows of docs/trust.md: id → (holds, tests).
fn promises(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, holds, tests] = cells[..] else { continue };
        if id_of(&format!("{}_", id.to_lowercase())).is_some() {
            let named = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            rows.insert(id.to_lowercase(), (holds.to_owned(), named));
        }
    }
    rows
}

#[test]
fn every_promise_that_holds_names_its_tests() {
    let text = std::fs::read_to_string(root().join("docs/trust.md")).expect("docs/trust.md is there");
    let rows = promises(&text);
    assert!(rows.len() > 40, "the table of docs/trust.md has only {} rows that can be read", rows.len());
    let functions = functions();
    let mut wrong = Vec::new();
    for (id, (holds, tests)) in &rows {
        match holds.as_str() {
            "yes" | "partly" if tests.is_empty() => wrong.push(format!("{id} is said to hold, but no test is named")),
            "not yet" if !tests.is_empty() => wrong.push(format!("{id} names tests, but is said not to hold")),
            "yes" | "partly" | "not yet" => {}
            other => wrong.push(format!("{id}: {other:?} is none of yes, partly, not yet")),
        }
        for test in tests {
            if id_of(test) != Some(id) {
                wrong.push(format!("{id}: {test} does not bear the id in its name"));
            }
            if !functions.contains(test) {
                wrong.push(format!("{id}: there is no test {test}"));
            }
        }
    }
    for function in &functions {
        if let Some(id) = id_of(function)
            && !rows.get(id).is_some_and(|(_, tests)| tests.contains(function))
        {
            wrong.push(format!("{function} bears an id, but docs/trust.md does not name it under {id}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
