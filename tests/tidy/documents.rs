//! Do the documents lead where they point, and does every promise name the test that holds it?

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
        let target = folder.join(file);
        let text = if file.is_empty() { document.text.clone() } else { std::fs::read_to_string(&target).unwrap_or_default() };
        if !file.is_empty() && !target.exists() {
            wrong.push(format!("{}: {link} leads nowhere", document.path));
        } else if anchor.is_some_and(|anchor| !anchors(&text).contains(anchor)) {
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

/// The ids that a test bears in its name: `l7` and `l9` of `l7_l9_every_effect_fails_once`.
fn ids_of(function: &str) -> Vec<&str> {
    function.split('_').take_while(|word| is_id(word)).collect()
}

fn is_id(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|letter| b"lirhspjaxq".contains(&letter))
        && matches!(word.len(), 2 | 3)
        && bytes.all(|byte| byte.is_ascii_digit())
}

/// What one row of docs/trust.md says.
struct Promise {
    id: String,
    holds: String,
    tests: Vec<String>,
}

fn promise(line: &str) -> Option<Promise> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.trim_end_matches('|').split(" |").map(str::trim).collect();
    let [id, _, holds, tests, ..] = cells[..] else { return None };
    let id = id.to_lowercase();
    is_id(&id).then_some(())?;
    Some(Promise { id, holds: holds.to_owned(), tests: tests.split('`').skip(1).step_by(2).map(str::to_owned).collect() })
}

/// The document with the tests that there are in the last column.
fn with_tests(text: &str, functions: &BTreeSet<String>) -> String {
    let lines = text.lines().map(|line| {
        let Some(promise) = promise(line) else { return format!("{line}\n") };
        let found = functions.iter().filter(|name| ids_of(name).contains(&promise.id.as_str())).map(|name| format!("`{name}`"));
        let cells: Vec<&str> = line.split(" |").take(3).collect();
        format!("{} | {} |\n", cells.join(" |"), found.collect::<Vec<_>>().join(" "))
    });
    lines.collect::<String>().replace("|  |", "| |")
}

#[test]
fn every_promise_that_holds_names_its_tests() {
    let path = "docs/trust.md";
    let text = std::fs::read_to_string(root().join(path)).expect("docs/trust.md is there");
    let functions = functions();
    crate::generated::check(path, &with_tests(&text, &functions));
    let text = std::fs::read_to_string(root().join(path)).expect("docs/trust.md is there");
    let promises: Vec<Promise> = text.lines().filter_map(promise).collect();
    assert!(promises.len() > 40, "the tables of docs/trust.md have only {} rows that can be read", promises.len());
    let mut wrong = Vec::new();
    for Promise { id, holds, tests } in &promises {
        let is_right = match holds.as_str() {
            "yes" => !tests.is_empty(),
            "not yet" => tests.is_empty(),
            partly => partly.starts_with("partly: ") && !tests.is_empty(),
        };
        if !is_right {
            wrong.push(format!("{id} is said to hold {holds:?}, and {} tests bear its id", tests.len()));
        }
    }
    let unknown = |id: &str| !promises.iter().any(|promise| promise.id == id);
    let homeless = functions.iter().filter(|name| ids_of(name).into_iter().any(unknown));
    wrong.extend(homeless.map(|name| format!("{name} bears an id that docs/trust.md does not have")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_promise_is_read_as_it_stands() {
    let read = promise("| L1 | power cut: `x` | partly: no images | `l1_a` `l1_b` |").expect("a row");
    assert_eq!((read.id.as_str(), read.holds.as_str(), read.tests.len()), ("l1", "partly: no images", 2));
    assert!(promise("| id | fault | holds | tests |").is_none());
    let functions = BTreeSet::from(["l1_b".to_owned(), "l10_c".to_owned(), "lost_1".to_owned()]);
    assert_eq!(
        with_tests("a\n| L1 | f | yes | `l1_a` |\n| L2 | f | not yet | |\n", &functions),
        "a\n| L1 | f | yes | `l1_b` |\n| L2 | f | not yet | |\n"
    );
}
