//! The alert rules and the dashboard of `docs/operating/`: Prometheus takes them, and they ask for nothing that a server does not say.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "analytics")]
use factum::telemetry::catalogue::METRICS;
use serde_json::Value;

#[cfg(feature = "analytics")]
use crate::busy::keep_busy;
#[cfg(feature = "analytics")]
use crate::http::Api;
use crate::measurements::Family;
use crate::measurements::families;
#[cfg(feature = "analytics")]
use crate::process::Place;
use crate::promtool;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All that the dashboard asks, and what its legends name.
fn dashboard() -> (Vec<String>, Vec<String>) {
    fn walk(value: &Value, asked: &mut Vec<String>, legends: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, inner) in members {
                    match (name.as_str(), inner.as_str()) {
                        ("expr", Some(text)) => asked.push(text.to_owned()),
                        ("legendFormat", Some(text)) => legends.push(text.to_owned()),
                        _ => walk(inner, asked, legends),
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|inner| walk(inner, asked, legends)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document: Value = serde_json::from_str(&read("dashboard.json")).expect("the dashboard is JSON");
    let (mut asked, mut legends) = (Vec::new(), Vec::new());
    walk(&document, &mut asked, &mut legends);
    assert_eq!(asked.len(), legends.len(), "each query has a legend");
    (asked, legends)
}

/// What the alert rules ask.
#[cfg(feature = "analytics")]
fn alerts() -> Vec<String> {
    let text = read("alerts.yaml");
    let asked = text.lines().filter_map(|line| line.trim_start().strip_prefix("expr: "));
    asked.map(|text| text.trim_matches('\'').to_owned()).collect()
}

/// A metric that an expression names.
struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

/// What stands in the braces behind it.
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// The metrics that an expression names.
fn selectors(asked: &str) -> Vec<Selector> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut found = Vec::new();
    let mut rest = asked;
    while let Some(at) = ["factum_", "process_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let from = &rest[at..];
        let end = from.find(|character| !is_word(character)).unwrap_or(from.len());
        let (name, behind) = from.split_at(end);
        let (inside, behind) = match behind.strip_prefix('{').map(|inside| inside.split_at(end_of_braces(inside))) {
            Some((inside, behind)) => (inside, behind),
            None => ("", behind),
        };
        found.push(Selector { name: name.to_owned(), matchers: matchers(inside) });
        rest = behind;
    }
    found
}

/// Routes have braces of their own, in quotes.
fn end_of_braces(text: &str) -> usize {
    let mut is_quoted = false;
    let end = text.char_indices().find(|(_, character)| {
        is_quoted ^= *character == '"';
        *character == '}' && !is_quoted
    });
    end.expect("what is opened is closed").0
}

fn matchers(inside: &str) -> Vec<Matcher> {
    let pieces = inside.split("\",").filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (head, value) = piece.split_once('"').expect("a value");
            let label = head.trim_end_matches(['=', '~', '!']);
            let (operator, value) = (head[label.len()..].to_owned(), value.trim_end_matches('"').to_owned());
            Matcher { label: label.to_owned(), operator, value }
        })
        .collect()
}

/// The labels of `by (…)` and `on (…)`.
fn grouped(asked: &str) -> Vec<String> {
    let behind = |word: &'static str| asked.match_indices(word).map(move |(at, _)| &asked[at + word.len()..]);
    let lists = behind(" by (").chain(behind(" on (")).map(|rest| rest.split(')').next().unwrap_or_default());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// What is wrong with an expression, given what a server says.
fn faults(asked: &str, families: &BTreeMap<String, Family>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known: BTreeSet<String> = OF_PROMETHEUS.iter().map(|label| (*label).to_owned()).collect();
    for Selector { name, matchers } in selectors(asked) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let Some(family) = families.get(&name).or_else(|| families.get(base)) else {
            wrong.push(format!("{name} is not measured: {asked}"));
            continue;
        };
        known.extend(family.labels.iter().cloned());
        for Matcher { label, operator, value } in matchers.iter().filter(|matcher| !OF_PROMETHEUS.contains(&matcher.label.as_str())) {
            if !family.labels.contains(label) {
                wrong.push(format!("{name} has no label {label}: {asked}"));
            } else if operator == "=" && !family.values[label].contains(value) {
                wrong.push(format!("{label} of {name} is never {value}: {asked}"));
            }
        }
    }
    wrong.extend(grouped(asked).into_iter().filter(|label| !known.contains(label)).map(|label| format!("nothing has {label}: {asked}")));
    wrong
}

#[test]
fn prometheus_takes_the_alert_rules_and_their_tests_pass() {
    promtool::agrees(&["check", "rules", "alerts.yaml"], &folder());
    promtool::agrees(&["test", "rules", "alerts_test.yaml"], &folder());
    let tests = read("alerts_test.yaml");
    for alert in read("alerts.yaml").lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")) {
        for which in ["fires", "is quiet"] {
            assert!(tests.contains(&format!("- name: {alert} {which}\n")), "no test shows that {alert} {which}");
        }
    }
}

#[test]
fn prometheus_understands_what_the_dashboard_asks() {
    let place = tempfile::tempdir().expect("a folder");
    let rules = dashboard().0.into_iter().enumerate().map(|(number, asked)| {
        let asked = asked.replace("$__rate_interval", "5m").replace('\'', "''");
        format!("      - record: asked:{number}\n        expr: '{asked}'\n")
    });
    let file = format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.collect::<String>());
    fs::write(place.path().join("rules.yaml"), file).expect("written");
    promtool::agrees(&["check", "rules", "rules.yaml"], place.path());
}

#[cfg(feature = "analytics")]
#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_a_server_says_and_for_all_of_it() {
    let place = Place::new();
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1");
    let server = start.env("FACTUM_TELEMETRY__LAKE", "true").ready();
    let api = Api::new(&server.url);
    keep_busy(&api).await;
    api.text("/metrics").await.expect("measurements");
    let families = families(&api.text("/metrics").await.expect("measurements"));
    let (shown, legends) = dashboard();
    let alerts = alerts();
    assert!(shown.len() > 40 && alerts.len() > 20, "{} and {}", shown.len(), alerts.len());
    let mut wrong: Vec<String> = shown.iter().chain(&alerts).flat_map(|asked| faults(asked, &families)).collect();
    for (asked, legend) in shown.iter().zip(&legends) {
        let labels: BTreeSet<String> = selectors(asked)
            .iter()
            .flat_map(|selector| labels_of(&selector.name, &families))
            .filter(|label| is_kept(asked, label))
            .collect();
        let named = legend.split("{{").skip(1).filter_map(|behind| behind.split("}}").next());
        wrong.extend(named.filter(|label| !labels.contains(*label)).map(|label| format!("nothing to put in place of {label}: {asked}")));
    }
    let named: BTreeSet<String> = shown.iter().flat_map(|asked| selectors(asked)).map(|selector| selector.name).collect();
    let is_shown = |name: &str| named.iter().any(|shown| shown == name || shown.strip_prefix(name).is_some_and(|end| ENDS.contains(&end)));
    wrong.extend(METRICS.iter().filter(|metric| !is_shown(metric.name)).map(|metric| format!("{} is not on the dashboard", metric.name)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(feature = "analytics")]
fn labels_of(name: &str, families: &BTreeMap<String, Family>) -> Vec<String> {
    let base = ENDS.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    families.get(name).or_else(|| families.get(base)).map(|family| family.labels.iter().cloned().collect()).unwrap_or_default()
}

/// Whether a sum leaves a label in.
#[cfg(feature = "analytics")]
fn is_kept(asked: &str, label: &str) -> bool {
    !asked.contains(" by (") || grouped(asked).iter().any(|kept| kept == label)
}

#[test]
fn what_is_missing_is_found() {
    let families = families("# HELP factum_a x\n# TYPE factum_a gauge\nfactum_a{shard=\"0\",state=\"ok\"} 1\n");
    for (asked, expected) in [
        (r#"sum by (shard) (factum_a{instance=~"$instance",state="ok"})"#, 0),
        (r#"factum_a{state="odd"}"#, 1),
        (r#"factum_a{stream="{x}"} > factum_b"#, 2),
        ("sum by (stream, le) (factum_a)", 1),
    ] {
        assert_eq!(faults(asked, &families).len(), expected, "{asked}: {:?}", faults(asked, &families));
    }
}

/// What Prometheus adds to every series, and to buckets.
const OF_PROMETHEUS: &[&str] = &["instance", "job", "le"];
#[cfg(feature = "analytics")]
const ENDS: &[&str] = &["_bucket", "_sum", "_count"];
