//! Aggregates: the state now and then, how it came to be, and the snapshots beside it.

use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::JSON;
use crate::support::request;

const COUNTER: &str = "export const initial = { sum: 0, last: null };
export const snapshotEvery = 5;
export const evolve = { t: (state, event) => ({ sum: state.sum + event.data, last: event.version }) };
";

async fn counted(events: usize) -> Api {
    let api = Api::new().await;
    api.define("counter", COUNTER).await.is(201);
    api.fill("counter-1", events).await;
    api
}

#[tokio::test]
async fn a_category_that_nobody_defined_merges() {
    let api = Api::new().await;
    api.append("user-7", "Created", &json!({"name": "Ada", "address": {"city": "London", "zip": 1}})).await.is(201);
    api.append("user-7", "Moved", &json!({"address": {"city": "Paris", "zip": null}})).await.is(201);
    let answer = api.get("/v1/aggregates/user/7").await.is(200);
    assert_eq!(
        answer.json(),
        json!({
            "category": "user", "id": "7", "version": 2, "state": {"name": "Ada", "address": {"city": "Paris"}},
            "snapshot_version": null, "events_replayed": 2
        })
    );
    assert_eq!((answer.header("etag"), answer.header("factum-position")), ("\"2\"", "2"));
    api.get_with("/v1/aggregates/user/7", &[("if-none-match", "\"2\"")]).await.is(304);
    api.get_with("/v1/aggregates/user/7", &[("if-none-match", "\"1\"")]).await.is(200);
    let head = api.send(request("HEAD", "/v1/aggregates/user/7", &[], "")).await.is(200);
    assert_eq!((head.header("etag"), head.bytes.len()), ("\"2\"", 0));
}

#[tokio::test]
async fn another_definition_is_another_state_with_another_etag() {
    let api = counted(3).await;
    let first = api.get("/v1/aggregates/counter/1").await.is(200);
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with("\"3-") && etag.len() == 12, "{etag}");
    assert_eq!(first.json()["state"], json!({"sum": 6, "last": 3}));
    api.get_with("/v1/aggregates/counter/1", &[("if-none-match", &etag)]).await.is(304);
    api.define("counter", &COUNTER.replace("sum: 0", "sum: 100")).await.is(200);
    let second = api.get_with("/v1/aggregates/counter/1", &[("if-none-match", &etag)]).await.is(200);
    assert_eq!(second.json()["state"]["sum"], 106);
    assert_ne!(second.header("etag"), etag);
    api.send(request("DELETE", "/v1/aggregates/counter", &[], "")).await.is(204);
    let third = api.get("/v1/aggregates/counter/1").await.is(200);
    assert_eq!((third.json()["state"].clone(), third.header("etag")), (json!(3), "\"3\""));
}

#[tokio::test]
async fn what_is_hidden_makes_another_state_with_another_etag() {
    let api = Api::new().await;
    api.append("user-7", "Created", &json!({"name": "Ada"})).await.is(201);
    api.append("user-7", "Moved", &json!({"city": "Paris"})).await.is(201);
    api.send(request("PUT", "/v1/streams/user-7/retention", &[("content-type", "application/json")], r#"{"before_version": 2}"#))
        .await
        .is(200);
    let answer = api.get_with("/v1/aggregates/user/7", &[("if-none-match", "\"2\"")]).await.is(200);
    assert_eq!(answer.json()["state"], json!({"city": "Paris"}));
    assert_ne!(answer.header("etag"), "\"2\"");
}

#[tokio::test]
async fn a_state_is_told_as_of_a_version_and_of_two_times() {
    let api = Api::new().await;
    api.define("counter", COUNTER).await.is(201);
    for (number, time) in [(1, "2020-01-03T00:00:00Z"), (2, "2020-01-01T00:00:00Z"), (3, "2020-01-02T00:00:00Z")] {
        let body = json!({"events": [{"type": "t", "data": number, "occurred_at": time}]}).to_string();
        api.post("/v1/streams/counter-1/events", &body).await.is(201);
    }
    let events = api.get("/v1/streams/counter-1/events").await.json()["events"].clone();
    let sum = async |query: &str| {
        let json = api.get(&format!("/v1/aggregates/counter/1{query}")).await.is(200).json();
        (json["version"].as_u64().unwrap(), json["state"]["sum"].as_u64().unwrap())
    };
    assert_eq!(sum("").await, (3, 6));
    for (version, expected) in [(1, 1), (2, 3), (3, 6)] {
        assert_eq!(sum(&format!("?version={version}")).await, (version, expected));
        // Recorded within one microsecond, events share their time, and the last of them counts.
        let at = events[usize::try_from(version).unwrap() - 1]["recorded_at"].as_str().unwrap();
        assert!(sum(&format!("?recorded_at={at}")).await >= (version, expected), "{at}");
    }
    assert_eq!(sum("?recorded_at=9999-01-01T00:00:00Z").await, (3, 6));
    assert_eq!(sum("?occurred_at=2020-01-01T00:00:00Z").await, (2, 2));
    assert_eq!(sum("?occurred_at=2020-01-02T12:00:00Z").await, (3, 5), "in the order of their versions");
    assert_eq!(sum("?occurred_at=2020-01-03T00:00:00%2B00:00").await, (3, 6));
    api.get("/v1/aggregates/counter/1?recorded_at=2001-01-01T00:00:00Z").await.problem(404, "stream-not-found");
    api.get("/v1/aggregates/counter/1?occurred_at=2019-12-31T00:00:00Z").await.problem(404, "stream-not-found");
    api.get("/v1/aggregates/counter/1?version=4").await.problem(404, "event-not-found");
    api.get("/v1/aggregates/counter/2").await.problem(404, "stream-not-found");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_the_field() {
    let api = counted(1).await;
    let time = "2020-01-01T00:00:00Z";
    for (path, field) in [
        ("/v1/aggregates/counter/1?version=0".to_owned(), "version"),
        ("/v1/aggregates/counter/1?version=one".to_owned(), "version"),
        ("/v1/aggregates/counter/1?recorded_at=soon".to_owned(), "recorded_at"),
        ("/v1/aggregates/counter/1?occurred_at=1".to_owned(), "occurred_at"),
        (format!("/v1/aggregates/counter/1?version=1&recorded_at={time}"), "recorded_at"),
        (format!("/v1/aggregates/counter/1?version=1&occurred_at={time}"), "occurred_at"),
        (format!("/v1/aggregates/counter/1?recorded_at={time}&occurred_at={time}"), "occurred_at"),
        ("/v1/aggregates/counter/1?at=1".to_owned(), "at"),
        ("/v1/aggregates/coun-ter/1".to_owned(), "category"),
        ("/v1/aggregates/counter/%00".to_owned(), "id"),
        ("/v1/aggregates/counter/%zz".to_owned(), "id"),
        ("/v1/aggregates/counter/1/history?limit=1001".to_owned(), "limit"),
        ("/v1/aggregates/counter/1/history?limit=0".to_owned(), "limit"),
        ("/v1/aggregates/counter/1/history?from=0".to_owned(), "from"),
        ("/v1/aggregates/counter/1/history?after=x".to_owned(), "after"),
        ("/v1/aggregates/counter/1/snapshots?limit=1".to_owned(), "limit"),
    ] {
        assert_eq!(api.get(&path).await.problem(400, "malformed-request")["field"], field, "{path}");
    }
    api.get_with("/v1/aggregates/counter/1", &[("accept", "text/html")]).await.problem(406, "not-acceptable");
    api.get("/v1/aggregates/$definitions/1").await.problem(403, "forbidden");
}

#[tokio::test]
async fn an_id_may_hold_what_a_streams_name_may() {
    let api = Api::new().await;
    for (id, encoded) in [("a/b c", "a%2Fb%20c"), ("7-eu-1", "7-eu-1"), ("ü?#%", "%C3%BC%3F%23%25"), ("a+b", "a+b")] {
        api.append(&format!("user-{encoded}"), "Created", &json!({"id": id})).await.is(201);
        let json = api.get(&format!("/v1/aggregates/user/{encoded}")).await.is(200).json();
        assert_eq!((&json["id"], &json["state"]["id"]), (&json!(id), &json!(id)));
        let history = api.get(&format!("/v1/aggregates/user/{encoded}/history")).await.is(200).json();
        assert_eq!(history["history"][0]["state"]["id"], id);
    }
}

#[tokio::test]
async fn history_tells_each_version_and_what_it_changed() {
    let api = counted(7).await;
    let mut path = "/v1/aggregates/counter/1/history?limit=3".to_owned();
    let mut steps: Vec<Value> = Vec::new();
    let mut pages = 0;
    loop {
        let answer = api.get(&path).await.is(200);
        let json = answer.json();
        steps.extend(json["history"].as_array().unwrap().iter().cloned());
        pages += 1;
        if json["next"].is_null() {
            assert_eq!(answer.header("link"), "");
            break;
        }
        assert_eq!(json["next"], format!("{}", steps.len()), "a version, exclusive");
        path = answer.header("link").strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    }
    assert_eq!((pages, steps.len()), (3, 7));
    for (number, step) in (1..).zip(&steps) {
        assert_eq!((&step["version"], &step["type"]), (&json!(number), &json!("t")));
        assert_eq!(step["state"], json!({"sum": number * (number + 1) / 2, "last": number}));
        assert!(step["recorded_at"].is_string());
    }
    let mut state = json!({"sum": 0, "last": null});
    for step in &steps {
        let patch: json_patch::Patch = serde_json::from_value(step["patch"].clone()).unwrap();
        json_patch::patch(&mut state, &patch).unwrap();
        assert_eq!(state, step["state"], "the patch leads from the state before");
    }
    let versions = async |query: &str| -> Vec<u64> {
        let json = api.get(&format!("/v1/aggregates/counter/1/history?{query}")).await.is(200).json();
        json["history"].as_array().unwrap().iter().map(|step| step["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(versions("from=6").await, [6, 7]);
    assert_eq!(versions("from=2&after=5").await, [6, 7]);
    assert_eq!(versions("after=7").await, Vec::<u64>::new());
    api.get("/v1/aggregates/counter/2/history").await.problem(404, "stream-not-found");
}

#[tokio::test]
async fn clients_keep_states_of_their_own() {
    let api = counted(3).await;
    let path = |version: &str| format!("/v1/aggregates/counter/1/snapshots/{version}");
    api.put(&path("2"), &[JSON], r#"{"state": {"mine": [1.50, "x"]}}"#).await.is(204);
    let listed = api.get("/v1/aggregates/counter/1/snapshots").await.is(200).json();
    let mine: Vec<_> = listed["snapshots"].as_array().unwrap().iter().filter(|snapshot| snapshot["source"] == "client").collect();
    assert_eq!(mine.len(), 1, "{listed}");
    assert_eq!((&mine[0]["version"], &mine[0]["current"], &mine[0]["state"]), (&json!(2), &json!(false), &json!({"mine": [1.5, "x"]})));
    assert!(mine[0]["bytes"].as_u64() > Some(0), "{listed}");
    api.put(&path("2"), &[JSON], r#"{"state": null}"#).await.is(204);
    let listed = api.get("/v1/aggregates/counter/1/snapshots").await.is(200).json();
    assert_eq!(
        listed["snapshots"].as_array().unwrap().iter().find(|snapshot| snapshot["source"] == "client").unwrap()["state"],
        json!(null)
    );
    assert_eq!(api.get("/v1/aggregates/counter/1").await.json()["state"], json!({"sum": 6, "last": 3}), "it is not ours to use");

    for (version, body, field) in [
        ("0", r#"{"state": 1}"#, "version"),
        ("x", r#"{"state": 1}"#, "version"),
        ("1", "{}", "state"),
        ("1", r#"{"state": 1, "version": 1}"#, "version"),
        ("1", "[1]", "body"),
        ("1", "nonsense", "body"),
    ] {
        assert_eq!(api.put(&path(version), &[JSON], body).await.problem(400, "malformed-request")["field"], field, "{version} {body}");
    }
    api.put(&path("4"), &[JSON], r#"{"state": 1}"#).await.problem(404, "event-not-found");
    api.put("/v1/aggregates/counter/2/snapshots/1", &[JSON], r#"{"state": 1}"#).await.problem(404, "stream-not-found");
    api.put(&path("1"), &[], r#"{"state": 1}"#).await.problem(415, "unsupported-media-type");
    let large = format!(r#"{{"state": "{}"}}"#, "x".repeat(1 << 20));
    api.put(&path("1"), &[JSON], &large).await.problem(413, "payload-too-large");
    let deep = format!(r#"{{"state": {}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(api.put(&path("1"), &[JSON], &deep).await.problem(400, "malformed-request")["status"], 400);
}

#[tokio::test]
async fn a_module_that_fails_on_an_event_names_it() {
    let api = counted(4).await;
    let module = "export const initial = 0;\nexport const evolve = {\n  t: (state, event) => { if (event.data === 3) throw new Error('unlucky'); return state + event.data; },\n};\n";
    api.define("counter", module).await.is(200);
    let problem = api.get("/v1/aggregates/counter/1").await.problem(422, "script-failed");
    assert_eq!((&problem["kind"], &problem["version"], &problem["line"]), (&json!("threw"), &json!(3), &json!(3)), "{problem}");
    assert_eq!(api.get("/v1/aggregates/counter/1?version=2").await.is(200).json()["state"], 3);
    api.get("/v1/aggregates/counter/1/history").await.problem(422, "script-failed");
    assert_eq!(api.get("/v1/streams/counter-1/events").await.is(200).json()["events"].as_array().map(Vec::len), Some(4));
}
