//! What does a server look like that has done a bit of everything? For tests of what can be seen of it.

use serde_json::Value;
use serde_json::json;

use crate::http::Api;

/// Stands in names, data and texts that a client makes up, and so must not stand in what is measured or logged.
pub(crate) const SECRET: &str = "hush-4711";

/// Lets a server do a bit of everything: appends and conflicts, states and commands, schemas, projections, a group, an export, queries.
pub(crate) async fn keep_busy(api: &Api) {
    define(api).await;
    for number in 1..=4 {
        let data = json!({"amount": number, "note": SECRET});
        let event = json!({"type": "Paid", "data": data, "metadata": {"by": SECRET}, "tags": [format!("customer:{SECRET}")]});
        let body = json!({"events": [event], "expected_version": number - 1});
        assert_eq!(post(api, &format!("/v1/streams/order-{SECRET}/events"), &body).await.0, 201);
        assert_eq!(post(api, &format!("/v1/streams/order-{SECRET}/events"), &body).await.0, 409);
    }
    assert_eq!(post(api, &format!("/v1/aggregates/order/{SECRET}/commands/pay"), &json!({"note": SECRET})).await.0, 201);
    for _ in 0..2 {
        api.get(&format!("/v1/aggregates/order/{SECRET}")).await.expect("a state");
    }
    let (status, _) = api.put(&format!("/v1/aggregates/order/{SECRET}/snapshots/2"), "application/json", r#"{"state": {"n": 1}}"#).await;
    assert!(matches!(status, 200..=204), "{status}");
    for nowhere in [format!("/v1/events/{SECRET}"), format!("/{SECRET}")] {
        assert_eq!(api.text(&nowhere).await, None, "{nowhere}");
    }
    let followed = api.get("/v1/events?limit=2").await.expect("a page");
    assert_eq!(followed["events"].as_array().map(Vec::len), Some(2));
    #[cfg(feature = "analytics")]
    query(api).await;
    settle(api).await;
}

async fn define(api: &Api) {
    let module = "export const initial = { n: 0 };\nexport const snapshotEvery = 2;\n\
        export const evolve = { Paid: (state, event) => ({ n: state.n + 1 }) };\n\
        export const decide = { pay: (state, command) => [{ type: 'Paid', data: { amount: 1, note: command.note } }],\n\
        refuse: (state, command) => { throw new Rejection('no', command.note); },\n\
        break: (state, command) => { throw new Error(command.note); } };\n";
    let projection =
        "[columns]\nid = \"text primary key\"\nnote = \"text\"\n[on.Paid]\nkey = \"$.stream\"\nset = { note = \"$.data.note\" }\n";
    let scripted = "export function project(event, rows) { rows.upsert(event.stream, { n: event.version }); }\n";
    let by_script = json!({"columns": {"id": "text primary key", "n": "bigint"}, "script": scripted}).to_string();
    let schema = json!({"schema": {"type": "object"}}).to_string();
    let shaped = json!({"schema": {"type": "object"}, "upcast": "(data) => ({ ...data, seen: true })"}).to_string();
    for (path, media_type, body) in [
        ("/v1/aggregates/order", "text/javascript", module),
        ("/v1/projections/notes", "application/toml", projection),
        ("/v1/projections/counted", "application/json", &by_script),
        ("/v1/schemas/Paid/1", "application/json", &schema),
        ("/v1/schemas/Paid/2", "application/json", &shaped),
        ("/v1/subscriptions/mail", "application/json", "{}"),
    ] {
        let (status, said) = api.put(path, media_type, body).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {said}");
    }
}

#[cfg(feature = "analytics")]
async fn query(api: &Api) {
    assert_eq!(api.put("/v1/exports/lake", "application/json", "{}").await.0, 201);
    api.flush("lake").await.expect("published");
    let asked = json!({"query": format!("select count(*) from events where stream = 'order-{SECRET}' and type = $1"), "params": [SECRET]});
    assert_eq!(post(api, "/v1/sql", &asked).await.0, 200);
    assert_eq!(post(api, "/v1/sql", &json!({"query": format!("select '{SECRET}' from nowhere")})).await.0, 400);
}

/// Waits for what happens beside the requests.
async fn settle(api: &Api) {
    let end = api.get("/v1/status").await.expect("a status")["cursor"].as_str().expect("a cursor").to_owned();
    for view in ["notes", "counted"] {
        let rows = api.get_at(&format!("/v1/views/{view}"), &end).await.expect("the rows of everything");
        assert_eq!(rows["rows"].as_array().map(Vec::len), Some(1), "{rows}");
    }
}

/// Status and body of what comes of a POST.
pub(crate) async fn post(api: &Api, path: &str, body: &Value) -> (u16, String) {
    api.post(path, "application/json", body.to_string()).await.expect("an answer")
}
