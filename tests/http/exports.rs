//! Exports over HTTP: definitions, their state and files, orders, and what is refused.

use serde_json::Value;
use serde_json::json;

use crate::support::Answer;
use crate::support::Api;
use crate::support::JSON;
use crate::support::request;

const TOML: (&str, &str) = ("content-type", "application/toml");

async fn define(api: &Api, name: &str, definition: &str) -> Answer {
    api.put(&format!("/v1/exports/{name}"), &[JSON], definition).await
}

async fn flush(api: &Api, name: &str) -> Value {
    api.post_with(&format!("/v1/exports/{name}/flush"), &[("prefer", "wait=60")], "").await.is(200).json()
}

#[tokio::test]
async fn an_export_is_defined_flushed_listed_and_ended() {
    let api = Api::new().await;
    api.fill("order-1", 3).await;
    assert_eq!(define(&api, "lake", "{}").await.is(201).json(), json!({"name": "lake", "change": "created"}));
    let toml = "flush_seconds = 60\n";
    assert_eq!(api.put("/v1/exports/lake", &[TOML], toml).await.is(200).json()["change"], "same");
    let dry = api.put("/v1/exports/lake?dry_run=true", &[TOML], "flush_seconds = 5").await.is(200).json();
    assert_eq!((&dry["change"], &dry["dry_run"]), (&"changed".into(), &true.into()));
    let flushed = flush(&api, "lake").await;
    assert_eq!((&flushed["state"], &flushed["lag_events"], &flushed["rows"]), (&"running".into(), &0.into(), &3.into()));
    assert_eq!((&flushed["files"][0]["rows"], &flushed["file_count"]), (&3.into(), &1.into()));
    assert!(flushed["files"][0]["bytes"].as_u64().is_some_and(|bytes| bytes > 100));
    assert!(flushed["files"][0]["url"].as_str().is_some_and(|url| url.starts_with("memory:///lake/category=order/date=")));
    let answer = api.get("/v1/exports/lake").await.is(200);
    assert_eq!(
        (answer.header("factum-position"), &answer.json()["published"]),
        (answer.json()["checkpoint"].as_str().unwrap(), &flushed["published"])
    );
    define(&api, "archive", r#"{"partition_by": []}"#).await.is(201);
    let list = api.get("/v1/exports?limit=1").await.is(200).json();
    assert_eq!((&list["exports"][0]["name"], &list["next"]), (&"archive".into(), &"archive".into()));
    let rest = api.get("/v1/exports?after=archive").await.is(200).json();
    assert_eq!((&rest["exports"][0]["rows"], rest["exports"][0].get("files"), &rest["next"]), (&3.into(), None, &Value::Null));
    let document = api.get("/v1/exports/lake/definition").await.is(200).json();
    assert_eq!((&document["format"], &document["definition"]), (&"json".into(), &"{}".into()));
    api.send(request("DELETE", "/v1/exports/lake?files=true", &[], "")).await.is(204);
    for path in ["", "/definition"] {
        api.get(&format!("/v1/exports/lake{path}")).await.problem(404, "definition-not-found");
    }
    api.send(request("DELETE", "/v1/exports/lake", &[], "")).await.problem(404, "definition-not-found");
    api.send(request("POST", "/v1/exports/lake/flush", &[], "")).await.problem(404, "definition-not-found");
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_told_with_its_place() {
    let api = Api::new().await;
    for (definition, pointer) in [
        (r#"{"url": "file:///etc"}"#, "/url"),
        (r#"{"url": "s3://bucket/lake"}"#, "/url"),
        (r#"{"url": "../lake"}"#, "/url"),
        (r#"{"partition_by": ["type"]}"#, "/partition_by/0"),
        (r#"{"filter": {"types": [5]}}"#, "/filter/types/0"),
        (r#"{"target_file_bytes": -1}"#, "/target_file_bytes"),
        (r#"{"s3": {}}"#, ""),
    ] {
        let answer = define(&api, "lake", definition).await;
        if pointer.is_empty() {
            answer.is(201);
            continue;
        }
        assert_eq!(answer.problem(422, "invalid-definition")["pointer"], pointer, "{definition}");
    }
    let broken = define(&api, "lake", "{\n x").await.problem(422, "invalid-definition");
    assert_eq!((&broken["line"], &broken["what"]), (&2.into(), &"exports/lake.toml".into()));
    api.put("/v1/exports/lake", &[("content-type", "text/javascript")], "").await.problem(415, "unsupported-media-type");
    define(&api, "%24own", "{}").await.problem(400, "malformed-request");
    api.post_with("/v1/exports/lake/flush", &[("prefer", "wait=soon")], "").await.problem(400, "malformed-request");
    api.post("/v1/exports/lake/flush?now=1", "").await.problem(400, "malformed-request");
    api.send(request("DELETE", "/v1/exports/lake?files=perhaps", &[], "")).await.problem(400, "malformed-request");
    api.send(request("POST", "/v1/exports/lake", &[], "")).await.problem(405, "method-not-allowed");
}
