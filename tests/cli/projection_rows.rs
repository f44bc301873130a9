//! What must stand in the tables of the declarations? Folded once more, from the file and in the test's own words.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Read;

use serde_json::Value;
use tokio_postgres::NoTls;

use crate::http::Api;
use crate::process::note;

/// The definition, but for where the rows go.
pub(crate) const DECLARATIONS: &str = r#"
[source]
categories = ["declaration"]

[columns]
declaration  = "text primary key"
status       = "text"
amount       = "decimal(12,2) index"
paid         = "decimal(14,2) default 0"
steps        = "bigint default 0"
overtaken    = "bigint default 0"
submitted_at = "timestamp"
role         = "text"

[on.DeclarationSubmitted]
key = "$.stream"
set = { status = "'submitted'", amount = "$.data.amount", submitted_at = "$.occurred_at" }
add = { steps = 1 }

[on.DeclarationApproved]
key = "$.stream"
set = { status = "'approved'", role = "$.data.role" }
add = { steps = 1 }

[on.DeclarationFinalApproved]
key = "$.stream"
set = { status = "'final'", role = "$.data.role" }
add = { steps = 1 }

[on.DeclarationRejected]
key = "$.stream"
delete = true

[on.PaymentRequested]
key = "$.stream"
add = { steps = 1 }

[[on.PaymentHandled]]
key = "$.stream"
set = { status = "'paid'" }
add = { paid = "$.data.amount", steps = 1 }

[[on.PaymentHandled]]
where = { amount = "$.data.amount", status = "'submitted'" }
add = { overtaken = 1 }

[on.DeclarationSaved]
where = { amount = "$.data.amount" }
delete = true
"#;

/// A row. Amounts in cents, times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    status: Option<String>,
    amount: Option<i64>,
    paid: i64,
    steps: i64,
    overtaken: i64,
    submitted_at: Option<i64>,
    role: Option<String>,
    version: i64,
    position: i64,
}

pub(crate) type Rows = BTreeMap<String, Row>;

/// The lines of the file.
pub(crate) fn lines() -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/domestic-declarations.ndjson.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::read(path).expect("the data is there").as_slice()).read_to_string(&mut text).expect("gzip");
    text.lines().map(str::to_owned).collect()
}

/// The events of the file in the order of the log. Each must be there exactly once, as it is in the file, and those of a stream in its
/// order.
pub(crate) async fn logged(api: &Api, lines: &[String], context: &str) -> Vec<Value> {
    let (events, _) = api.events_after("0").await;
    assert_eq!(events.len(), lines.len(), "{context}: as many events as lines");
    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    let mut of_file: BTreeMap<String, (Value, i64)> = BTreeMap::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let version = versions.entry(text(&event["stream"]).expect("a stream")).or_default();
        *version += 1;
        of_file.insert(text(&event["id"]).expect("an id"), (event, *version));
    }
    let in_order = events.into_iter().map(|logged| {
        let id = text(&logged["id"]).expect("an id");
        let (mut event, version) = of_file.remove(&id).unwrap_or_else(|| panic!("{context}: {id} is there twice, or is nobody's"));
        assert_eq!((&logged["stream"], &logged["type"], &logged["data"]), (&event["stream"], &event["type"], &event["data"]), "{context}");
        assert_eq!(logged["version"].as_i64(), Some(version), "{context}: {id}");
        (event["version"], event["position"]) = (logged["version"].clone(), logged["position"].clone());
        event
    });
    in_order.collect()
}

/// What the definition means, said once more.
pub(crate) fn fold(events: &[Value]) -> Rows {
    let mut rows = Rows::new();
    // Whoever ever had an amount: what is asked of it is looked up in the row.
    let mut of_amount: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for event in events {
        let (stream, data) = (text(&event["stream"]).expect("a stream"), &event["data"]);
        let event_type = event["type"].as_str().expect("a type");
        let stamp = |row: &mut Row| {
            row.version = event["version"].as_i64().expect("a version");
            row.position = event["position"].as_i64().expect("a position");
        };
        let step = |rows: &mut Rows, change: &dyn Fn(&mut Row)| {
            let row = rows.entry(stream.clone()).or_default();
            change(row);
            stamp(row);
        };
        let amount = cents(&data["amount"]);
        let same_amount = amount.and_then(|amount| of_amount.get(&amount)).cloned().unwrap_or_default();
        match event_type {
            "DeclarationSubmitted" => {
                if let Some(amount) = amount {
                    of_amount.entry(amount).or_default().insert(stream.clone());
                }
                let at = micros(event["occurred_at"].as_str().expect("a time"));
                step(&mut rows, &|row| {
                    (row.status, row.amount, row.submitted_at) = (Some("submitted".to_owned()), amount, Some(at));
                    row.steps += 1;
                });
            }
            "DeclarationApproved" | "DeclarationFinalApproved" => step(&mut rows, &|row| {
                row.status = Some(if event_type == "DeclarationApproved" { "approved" } else { "final" }.to_owned());
                row.role = text(&data["role"]);
                row.steps += 1;
            }),
            "DeclarationRejected" => drop(rows.remove(&stream)),
            "PaymentRequested" => step(&mut rows, &|row| row.steps += 1),
            "PaymentHandled" => {
                step(&mut rows, &|row| {
                    row.status = Some("paid".to_owned());
                    row.paid += amount.unwrap_or(0);
                    row.steps += 1;
                });
                for key in same_amount {
                    let matching = rows.get_mut(&key).filter(|row| row.amount == amount && row.status.as_deref() == Some("submitted"));
                    if let Some(row) = matching {
                        row.overtaken += 1;
                        stamp(row);
                    }
                }
            }
            "DeclarationSaved" => {
                for key in same_amount {
                    if rows.get(&key).is_some_and(|row| row.amount == amount) {
                        rows.remove(&key);
                    }
                }
            }
            other => panic!("the file has no {other}"),
        }
    }
    rows
}

/// The rows of an embedded view.
pub(crate) async fn embedded(api: &Api, view: &str) -> Rows {
    let mut rows = Rows::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/v1/views/{view}?limit=1000{after}")).await.expect("a page");
        for row in page["rows"].as_array().expect("rows") {
            let number = |name: &str| row[name].as_i64().expect("a number");
            let found = Row {
                status: text(&row["status"]),
                amount: cents(&row["amount"]),
                paid: cents(&row["paid"]).expect("a number"),
                steps: number("steps"),
                overtaken: number("overtaken"),
                submitted_at: row["submitted_at"].as_str().map(micros),
                role: text(&row["role"]),
                version: number("_version"),
                position: number("_position"),
            };
            assert!(rows.insert(text(&row["declaration"]).expect("a key"), found).is_none(), "a key comes twice: {row}");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return rows,
        }
    }
}

/// The rows of a table in Postgres.
pub(crate) async fn postgres(url: &str, table: &str) -> Rows {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    let select = format!(
        "SELECT declaration, status, (amount * 100)::bigint, (paid * 100)::bigint, steps, overtaken, \
         (extract(epoch FROM submitted_at) * 1000000)::bigint, role, _version, _position FROM {table}"
    );
    let found = client.query(&select, &[]).await.expect("the table is there").into_iter().map(|row| {
        let found = Row {
            status: row.get(1),
            amount: row.get(2),
            paid: row.get(3),
            steps: row.get(4),
            overtaken: row.get(5),
            submitted_at: row.get(6),
            role: row.get(7),
            version: row.get(8),
            position: row.get(9),
        };
        (row.get::<_, String>(0), found)
    });
    found.collect()
}

/// Row for row.
pub(crate) fn assert_same(found: &Rows, expected: &Rows, context: &str) {
    let keys: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let wrong: Vec<_> = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key)).collect();
    if let Some(first) = wrong.first() {
        note(&format!("{context}: {} of {} rows differ", wrong.len(), expected.len()));
        assert_eq!(found.get(*first), expected.get(*first), "{context}: {first}, and {} more", wrong.len() - 1);
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `26.85` is 2685.
fn cents(value: &Value) -> Option<i64> {
    let text = value.as_number()?.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    assert!(part.len() <= 2, "{text} has more than two decimals");
    Some(whole.parse::<i64>().expect("a number") * 100 + format!("{part:0<2}").parse::<i64>().expect("a number"))
}

fn micros(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("a time").as_microsecond()
}
