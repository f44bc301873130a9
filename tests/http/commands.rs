//! Commands: decided by the state, stored whole or not at all, and harmless when repeated.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::JSON;
use crate::support::request;
use crate::support::within;

const ACCOUNT: &str = "export const initial = { balance: 0 };
export const snapshotEvery = 10;
export const evolve = {
  Deposited: (state, event) => ({ balance: state.balance + event.data.amount }),
  Withdrawn: (state, event) => ({ balance: state.balance - event.data.amount }),
};
export const decide = {
  deposit: (state, command) => [{ type: 'Deposited', data: { amount: command.amount ?? 1 }, tags: ['money'] }],
  withdraw: (state, command) => {
    if (command.amount > state.balance) throw new Rejection('too-little', `there are only ${state.balance}`);
    return [{ type: 'Withdrawn', data: { amount: command.amount } }];
  },
  empty: (state) => state.balance === 0 ? [] : [{ type: 'Withdrawn', data: { amount: state.balance } }],
  twice: () => [{ type: 'Deposited', data: { amount: 1 } }, { type: 'Deposited', data: { amount: 2 } }],
  forever: () => { for (;;) {} },
  broken: () => { return null.balance; },
  wrong: () => [{ kind: 'Deposited' }],
  echo: (state, command) => [{ type: 'Echoed', data: command }],
};
";

async fn bank() -> Api {
    let api = Api::new().await;
    api.define("account", ACCOUNT).await.is(201);
    api
}

fn path(id: &str, command: &str) -> String {
    format!("/v1/aggregates/account/{id}/commands/{command}")
}

#[tokio::test]
async fn a_command_answers_with_its_events_and_the_state() {
    let api = bank().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("correlation-id", "order-7"), ("traceparent", trace)];
    let answer = api.post_with(&path("1", "deposit"), &headers, r#"{"amount": 10}"#).await.is(201);
    let json = answer.json();
    assert_eq!((&json["version"], &json["state"], &json["cursor"]), (&json!(1), &json!({"balance": 10}), &json!("2")));
    assert!(json.get("duplicate").is_none(), "{json}");
    assert_eq!(answer.header("factum-position"), "2");
    let event = &json["events"][0];
    assert_eq!((&event["stream"], &event["type"], &event["tags"]), (&json!("account-1"), &json!("Deposited"), &json!(["money"])));
    assert_eq!((&event["metadata"]["correlation_id"], &event["metadata"]["traceparent"]), (&json!("order-7"), &json!(trace)));
    assert_eq!(*event, api.get("/v1/streams/account-1/events/1").await.json());
    let state = api.get("/v1/aggregates/account/1").await.is(200);
    assert_eq!(state.header("etag"), answer.header("etag"));
    let both = api.post(&path("1", "twice"), "").await.is(201).json();
    assert_eq!((&both["version"], both["events"].as_array().map(Vec::len), &both["state"]), (&json!(3), Some(2), &json!({"balance": 13})));
}

#[tokio::test]
async fn a_rejection_tells_code_and_reason_and_stores_nothing() {
    let api = bank().await;
    api.post(&path("1", "deposit"), r#"{"amount": 3}"#).await.is(201);
    let problem = api.post(&path("1", "withdraw"), r#"{"amount": 4}"#).await.problem(422, "command-rejected");
    assert_eq!((&problem["code"], &problem["reason"]), (&json!("too-little"), &json!("there are only 3")));
    assert_eq!(problem["detail"], "there are only 3");
    assert_eq!(api.get("/v1/streams/account-1").await.json()["version"], 1);
    api.post(&path("1", "withdraw"), r#"{"amount": 3}"#).await.is(201);
}

#[tokio::test]
async fn a_command_without_events_stores_nothing() {
    let api = bank().await;
    let answer = api.post(&path("1", "empty"), "").await.is(200);
    let json = answer.json();
    assert_eq!((&json["version"], &json["events"], &json["state"]), (&json!(0), &json!([]), &json!({"balance": 0})));
    assert_eq!(answer.header("etag"), "", "there is nothing that could be read");
    api.get("/v1/aggregates/account/1").await.problem(404, "stream-not-found");
    api.post(&path("1", "deposit"), "").await.is(201);
    api.post(&path("1", "empty"), "").await.is(201);
    let answer = api.post(&path("1", "empty"), "").await.is(200);
    assert_eq!((answer.json()["version"].clone(), answer.header("etag").len()), (json!(2), 12), "\"2-\" and eight digits");
}

#[tokio::test]
async fn what_is_no_command_is_refused_with_the_field() {
    let api = bank().await;
    let problem = api.post(&path("1", "steal"), "").await.problem(404, "command-not-found");
    assert_eq!(problem["command"], "steal");
    assert!(problem["known"].as_array().is_some_and(|known| known.contains(&json!("deposit"))), "{problem}");
    assert_eq!(api.post("/v1/aggregates/other/1/commands/x", "").await.problem(404, "command-not-found")["known"], json!([]));
    let long = "k".repeat(256);
    for (headers, body, field) in [
        (&[("idempotency-key", "")][..], "{}", "Idempotency-Key"),
        (&[("idempotency-key", &long)], "{}", "Idempotency-Key"),
        (&[("correlation-id", "")], "{}", "Correlation-Id"),
        (&[("correlation-id", &long)], "{}", "Correlation-Id"),
        (&[("if-match", "\"1\"")], "{}", "If-Match"),
        (&[], "{", "body"),
        (&[], "nonsense", "body"),
    ] {
        assert_eq!(api.post_with(&path("1", "deposit"), headers, body).await.problem(400, "malformed-request")["field"], field, "{body}");
    }
    assert_eq!(api.post("/v1/aggregates/acc-ount/1/commands/x", "").await.problem(400, "malformed-request")["field"], "category");
    assert_eq!(api.post(&path("a%00b", "deposit"), "").await.problem(400, "malformed-request")["field"], "id");
    assert_eq!(api.post(&(path("1", "deposit") + "?x=1"), "").await.problem(400, "malformed-request")["field"], "x");
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    assert_eq!(api.post(&path("1", "echo"), &deep).await.problem(400, "malformed-request")["field"], "body");
    api.post(&path("1", "deposit"), &format!("\"{}\"", "x".repeat(1 << 20))).await.problem(413, "payload-too-large");
    api.send(request("POST", &path("1", "deposit"), &[], "{}")).await.problem(415, "unsupported-media-type");
    api.send(request("POST", "/v1/aggregates/$a/1/commands/x", &[JSON], "{}")).await.problem(403, "forbidden");
    assert_eq!(api.get("/v1/events").await.json()["events"], json!([]), "nothing was stored");
}

#[tokio::test]
async fn a_module_that_fails_is_told_with_its_place_and_stores_nothing() {
    let api = bank().await;
    let problem = api.post(&path("1", "broken"), "").await.problem(422, "script-failed");
    assert_eq!((&problem["kind"], &problem["file"], &problem["line"]), (&json!("threw"), &json!("aggregates/account.js"), &json!(16)));
    assert_eq!(api.post(&path("1", "forever"), "").await.problem(422, "script-failed")["kind"], "time");
    assert_eq!(api.post(&path("1", "wrong"), "").await.problem(422, "script-failed")["kind"], "output");
    api.register("Deposited/1", &json!({"schema": {"properties": {"amount": {"type": "integer"}}}})).await.is(201);
    let problem = api.post(&path("1", "deposit"), r#"{"amount": "much"}"#).await.problem(422, "script-failed");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("/amount")), "{problem}");
    assert_eq!(api.get("/v1/events").await.json()["events"], json!([]), "nothing was stored");
    api.post(&path("1", "deposit"), r#"{"amount": 1}"#).await.is(201);
}

#[tokio::test]
async fn the_same_key_does_it_once() {
    let api = bank().await;
    let send = async |key: &str, body: &str| api.post_with(&path("1", "deposit"), &[("idempotency-key", key)], body).await;
    let first = send("k1", r#"{"amount": 5}"#).await.is(201).json();
    send("k2", r#"{"amount": 1}"#).await.is(201);
    let again = send("k1", r#"{"amount": 5}"#).await.is(200).json();
    assert_eq!((&again["duplicate"], &again["events"]), (&json!(true), &first["events"]));
    assert_eq!((&again["version"], &again["state"]), (&json!(1), &json!({"balance": 5})), "the first answer stands");
    send("k1", r#"{"amount": 6}"#).await.problem(409, "event-id-reused");
    let other = api.post_with(&path("1", "twice"), &[("idempotency-key", "k1")], r#"{"amount": 5}"#).await;
    other.problem(409, "event-id-reused");
    api.post_with(&path("2", "deposit"), &[("idempotency-key", "k1")], r#"{"amount": 5}"#).await.is(201);
    assert_eq!(api.get("/v1/aggregates/account/1").await.json()["state"], json!({"balance": 6}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_on_one_aggregate_all_count_once() {
    let api = bank().await;
    let calls = (0..64).map(|number| {
        let (router, key) = (api.router.clone(), format!("key-{number}"));
        let api = Api { database: api.database.clone(), router };
        tokio::spawn(async move {
            let amount = json!({"amount": number}).to_string();
            let first = api.post_with(&path("1", "deposit"), &[("idempotency-key", &key)], &amount).await.is(201).json();
            // And each of them is repeated while the others go on.
            let again = api.post_with(&path("1", "deposit"), &[("idempotency-key", &key)], &amount).await.is(200).json();
            assert_eq!(first["events"], again["events"]);
            first["version"].as_u64().expect("a version")
        })
    });
    let mut versions = BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        versions.insert(within(call).await.expect("no panic"));
    }
    assert_eq!(versions, (1..=64).collect(), "each has a version of its own");
    let state = api.get("/v1/aggregates/account/1").await.is(200).json();
    assert_eq!((&state["version"], &state["state"]), (&json!(64), &json!({"balance": (0..64).sum::<u64>()})));
    let page: Value = api.get("/v1/streams/account-1/events?limit=1000").await.json();
    let amounts: BTreeSet<u64> = page["events"].as_array().unwrap().iter().map(|event| event["data"]["amount"].as_u64().unwrap()).collect();
    assert_eq!(amounts, (0..64).collect(), "each is there once");
}

#[tokio::test]
async fn a_deleted_stream_takes_commands_again_from_the_start() {
    let api = bank().await;
    api.post(&path("1", "deposit"), r#"{"amount": 5}"#).await.is(201);
    api.send(request("DELETE", "/v1/streams/account-1", &[], "")).await.is(204);
    let answer = api.post(&path("1", "deposit"), r#"{"amount": 2}"#).await.is(201).json();
    assert_eq!((&answer["version"], &answer["state"]), (&json!(2), &json!({"balance": 2})));
    api.send(request("DELETE", "/v1/streams/account-1?permanent=true", &[], "")).await.is(204);
    api.post(&path("1", "deposit"), "").await.problem(410, "stream-deleted");
    api.get("/v1/aggregates/account/1").await.problem(410, "stream-deleted");
}
