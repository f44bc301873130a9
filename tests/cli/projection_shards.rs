//! Rows while the shards change: each event once, in the order of its stream, embedded and in Postgres.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::http::Api;
use crate::process::Place;
use crate::projection_rows::lines;
use crate::projection_server::beside;
use crate::projection_server::define;
use crate::projection_server::into_postgres;
use crate::projection_server::settled;
use crate::projection_server::started;

const STEPS: &str = r#"
[source]
categories = ["declaration"]

[columns]
declaration = "text primary key"
steps       = "bigint default 0"
last        = "text"

[on.DeclarationSubmitted]
key = "$.stream"
set = { last = "$.type" }
add = { steps = 1 }

[on.DeclarationApproved]
key = "$.stream"
set = { last = "$.type" }
add = { steps = 1 }

[on.PaymentHandled]
key = "$.stream"
set = { last = "$.type" }
add = { steps = 1 }

[on.DeclarationRejected]
key = "$.stream"
delete = true
"#;
const EVENTS: usize = 20_000;

/// A row: steps, the last type, and the version that changed it last.
type Rows = BTreeMap<String, (i64, String, i64)>;

/// What the definition means, said once more, over what the log has.
fn fold(events: &[Value]) -> Rows {
    let mut rows = Rows::new();
    for event in events {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let (stream, event_type, version) = (text("stream"), text("type"), event["version"].as_i64().expect("a number"));
        match event_type.as_str() {
            "DeclarationSubmitted" | "DeclarationApproved" | "PaymentHandled" => {
                let steps = rows.get(&stream).map_or(0, |row| row.0);
                rows.insert(stream, (steps + 1, event_type, version));
            }
            "DeclarationRejected" => drop(rows.remove(&stream)),
            _ => {}
        }
    }
    rows
}

async fn embedded(api: &Api) -> Rows {
    let mut rows = Rows::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/v1/views/here?limit=5000{after}")).await.expect("a page");
        for row in page["rows"].as_array().expect("rows") {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            let number = |name: &str| row[name].as_i64().expect("a number");
            rows.insert(text("declaration"), (number("steps"), text("last"), number("_version")));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return rows,
        }
    }
}

async fn postgres(url: &str) -> Rows {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let found = client.query("SELECT declaration, steps, last, _version FROM there", &[]).await.expect("the table is there");
    found.into_iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_rows_are_exact_while_shards_come_and_go() {
    let Some(cluster) = started("p4_rows_are_exact_while_shards_come_and_go") else { return };
    let place = Place::new();
    let server = beside(&place, &cluster).flag(&["--shards", "2"]).ready();
    let api = Api::new(&server.url);
    define(&api, "here", STEPS).await;
    define(&api, "there", &into_postgres(STEPS)).await;
    let all = lines();
    let chunks: Vec<String> = all[..EVENTS].chunks(1_000).map(|lines| lines.join("\n")).collect();
    // Shards change between the chunks and beside them; nobody waits for the rows before the end.
    for (number, chunk) in chunks.into_iter().enumerate() {
        let sent = api.post("/v1/import", "application/x-ndjson", chunk);
        let (change, said) = match number {
            3 | 9 => (Some(("POST", "/v1/shards".to_owned())), sent.await),
            6 | 14 => (Some(("DELETE", format!("/v1/shards/{}", if number == 6 { 0 } else { 2 }))), sent.await),
            _ => (None, sent.await),
        };
        let (status, text) = said.expect("an answer");
        assert!(status == 200 && text.contains("\"done\":true"), "{text}");
        if let Some((method, path)) = change {
            let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = reqwest::Client::new().request(method, format!("{}{path}", server.url)).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 202, "{path}: {}", answer.text().await.unwrap_or_default());
        }
        if matches!(number, 5 | 8 | 13) {
            // One change at a time.
            while api.get("/v1/shards").await.expect("shards")["job"] != Value::Null {
                tokio::task::yield_now().await;
            }
        }
    }
    settled(&api, "here").await;
    settled(&api, "there").await;
    let (events, _) = api.events_after("0").await;
    assert_eq!(events.len(), EVENTS);
    let shards = api.get("/v1/shards").await.expect("shards");
    assert_eq!(shards["shards"].as_array().map(Vec::len), Some(4), "{shards}");
    let expected = fold(&events);
    assert!(expected.len() > 1_000);
    assert_eq!(embedded(&api).await, expected);
    assert_eq!(postgres(&cluster.url()).await, expected);
    assert_eq!(server.terminate(), Some(0));
}
