//! The log: which request a line is about, how much is told, and what is never told.

use serde_json::Value;
use serde_json::json;

use crate::busy::SECRET;
use crate::busy::keep_busy;
use crate::http::Api;
use crate::process::Place;
use crate::process::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn ask(server: &Server, path: &str, request_id: &str) {
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let request = reqwest::Client::new().get(format!("{}{path}", server.url));
    request.header("x-request-id", request_id).header("traceparent", parent).send().await.expect("an answer");
}

async fn set_level(api: &Api, level: &str) -> (u16, String) {
    api.put("/v1/log-level", "application/json", &json!({"level": level}).to_string()).await
}

/// Every line that says `message`, as JSON.
fn lines(server: &Server, message: &str) -> Vec<Value> {
    let all = server.log();
    let parsed = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    parsed.filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn lines_about_a_request_bear_its_ids_in_json() {
    let place = Place::new();
    let server = place.start().flag(&["--log-format", "json"]).env("FACTUM_LOG", "debug").ready();
    // A client may send what would end the line's text, if nobody looked.
    for id in ["plain-1", r#"a"b\c"#] {
        ask(&server, "/v1/streams", id).await;
        let of_it: Vec<Value> = lines(&server, "answered").into_iter().filter(|line| line["request_id"] == id).collect();
        let [line] = &of_it[..] else { panic!("{of_it:?} in\n{}", server.log()) };
        assert_eq!((&line["trace_id"], &line["path"], &line["status"]), (&TRACE.into(), &"/v1/streams".into(), &200.into()), "{line}");
    }
    reqwest::get(format!("{}/v1/types", server.url)).await.expect("an answer");
    let drawn = lines(&server, "answered").pop().expect("a line");
    let (request, trace) = (drawn["request_id"].as_str().expect("an id"), drawn["trace_id"].as_str().expect("an id"));
    assert!(request.len() == 16 && trace.len() == 32 && trace != TRACE, "{drawn}");
    assert!(lines(&server, "ready")[0]["request_id"].is_null(), "what no request has caused is of none");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn lines_about_a_request_bear_its_ids_for_people() {
    let place = Place::new();
    let server = place.start().env("FACTUM_LOG", "debug").ready();
    ask(&server, "/v1/streams", "plain-1").await;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("answered") && line.contains("/v1/streams")).expect("a line");
    assert!(line.ends_with(&format!(" request_id=plain-1 trace_id={TRACE}")), "{line}");
    assert!(log.lines().any(|line| line.contains("ready") && !line.contains("request_id")), "{log}");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn the_level_changes_while_the_server_runs() {
    let place = Place::new();
    let server = place.start().flag(&["--log-format", "json"]).ready();
    let api = Api::new(&server.url);
    let answered = || lines(&server, "answered").len();
    assert_eq!(api.get("/v1/log-level").await, Some(json!({"level": "info"})));
    ask(&server, "/v1/streams", "a").await;
    assert_eq!(answered(), 0, "{}", server.log());
    assert_eq!(set_level(&api, "info,factum::http=debug").await, (200, json!({"level": "info,factum::http=debug"}).to_string()));
    assert_eq!(api.get("/v1/log-level").await, Some(json!({"level": "info,factum::http=debug"})));
    let before = answered();
    ask(&server, "/v1/streams", "b").await;
    assert_eq!(answered(), before + 1);
    for bad in ["loud", "info,factum=loud", &"a".repeat(2_000)] {
        let (status, said) = set_level(&api, bad).await;
        let problem: Value = serde_json::from_str(&said).expect("a problem");
        assert_eq!((status, &problem["field"]), (400, &"level".into()), "{said}");
    }
    assert_eq!(api.put("/v1/log-level", "application/json", r#"{"level": "info", "until": 1}"#).await.0, 400);
    assert_eq!(api.put("/v1/log-level", "text/plain", "info").await.0, 415);
    assert_eq!(set_level(&api, "info").await.0, 200);
    let before = answered();
    ask(&server, "/v1/streams", "c").await;
    assert_eq!(answered(), before, "{}", server.log());
    assert_eq!(lines(&server, "the level of the log was changed").len(), 2);
    assert_eq!(server.terminate(), Some(0));
}

/// Sends secrets wherever a client can put something, and lets what can go wrong go wrong with them.
pub(crate) async fn tell_secrets(server: &Server, api: &Api) {
    keep_busy(api).await;
    let client = reqwest::Client::new();
    let headers = |request: reqwest::RequestBuilder| {
        request.header("authorization", format!("Bearer {SECRET}")).header("cookie", SECRET).header("tracestate", format!("a={SECRET}"))
    };
    headers(client.get(format!("{}/v1/events?type={SECRET}&tag={SECRET}", server.url))).send().await.expect("an answer");
    headers(client.get(format!("{}/v1/events?{SECRET}={SECRET}", server.url))).send().await.expect("an answer");
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    headers(http2.get(format!("{}/v1/events?type={SECRET}", server.url))).send().await.expect("an answer");
    for (path, body) in [
        ("/v1/streams/order-9/events", format!("{{\"{SECRET}\": ")),
        ("/v1/streams/order-9/events", json!({"events": [{"type": "Paid", "data": SECRET}]}).to_string()),
        ("/v1/aggregates/order/9/commands/refuse", json!({"note": SECRET}).to_string()),
        ("/v1/aggregates/order/9/commands/break", json!({"note": SECRET}).to_string()),
        ("/v1/import", json!({"stream": "order-9", "type": "Paid", "data": {"note": SECRET}, "id": SECRET}).to_string()),
        ("/v1/sql", json!({"query": format!("select cast('{SECRET}' as bigint)")}).to_string()),
        ("/v1/sql", json!({"query": format!("select '{SECRET}' || {SECRET}")}).to_string()),
    ] {
        let (status, _) = api.post(path, "application/json", body).await.expect("an answer");
        assert!((200..500).contains(&status) || status == 500, "{path}: {status}");
    }
    let breaks = "throw new Error(event.data.note)";
    let script = format!("export function project(event, rows) {{ {breaks}; }}\n");
    let definition = json!({"columns": {"id": "text primary key", "n": "bigint"}, "script": script}).to_string();
    assert_eq!(api.put("/v1/projections/breaks", "application/json", &definition).await.0, 201);
    let toml = "[columns]\nid = \"text primary key\"\nn = \"bigint\"\n[on.Paid]\nkey = \"$.stream\"\nset = { n = \"$.data.note\" }\n";
    assert_eq!(api.put("/v1/projections/mistypes", "application/toml", toml).await.0, 201);
    let module = format!("export const evolve = {{ Paid: (state, event) => {{ {breaks}; }} }};\n");
    assert_eq!(api.put("/v1/aggregates/order", "text/javascript", &module).await.0, 200);
    let (status, said) =
        api.post(&format!("/v1/aggregates/order/{SECRET}/commands/pay"), "application/json", "{}".to_owned()).await.expect("an answer");
    assert!(status >= 400, "{said}");
    for projection in ["breaks", "mistypes"] {
        api.failed(projection).await;
    }
}

// Connections of clients that are gone end while the test waits for the server to.
#[tokio::test(flavor = "multi_thread")]
async fn h10_no_level_logs_what_clients_have_sent() {
    for format in ["json", "pretty"] {
        let place = Place::new();
        let server = place.start().flag(&["--log-format", format]).env("FACTUM_LOG", "trace").ready();
        let api = Api::new(&server.url);
        tell_secrets(&server, &api).await;
        let log = server.log();
        assert!(log.contains("answered") && log.matches("the projection has failed at an event").count() == 2, "{log}");
        let told: Vec<&str> = log.lines().filter(|line| line.contains(SECRET)).collect();
        assert!(told.is_empty(), "{format}:\n{}", told.join("\n"));
        assert_eq!(server.terminate(), Some(0));
    }
}
