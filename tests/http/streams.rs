//! Streams: what is known of them, how they end, what hides their past.

use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::JSON;
use crate::support::request;

#[tokio::test]
async fn a_stream_is_described() {
    let api = Api::new().await;
    api.get("/v1/streams/order-42").await.problem(404, "stream-not-found");
    api.fill("order-42", 3).await;
    let answer = api.get("/v1/streams/order-42").await.is(200);
    assert_eq!((answer.header("etag"), answer.header("factum-position")), ("\"3\"", "3"));
    let stream = answer.json();
    assert_eq!(stream["stream"], "order-42");
    assert_eq!(stream["category"], "order");
    assert_eq!((&stream["version"], &stream["first_version"], &stream["shard"]), (&json!(3), &json!(1), &json!(0)));
    assert!(stream["created_at"].is_string() && stream["updated_at"].is_string());
    let head = api.send(request("HEAD", "/v1/streams/order-42", &[], "")).await.is(200);
    assert_eq!((head.header("etag"), head.bytes.len()), ("\"3\"", 0));
    api.get_with("/v1/streams/order-42", &[("if-none-match", "\"3\"")]).await.is(304);
    api.get_with("/v1/streams/order-42", &[("if-none-match", "\"2\"")]).await.is(200);
}

#[tokio::test]
async fn a_soft_delete_hides_the_stream_until_the_next_append() {
    let api = Api::new().await;
    api.fill("order-42", 2).await;
    let deleted = api.send(request("DELETE", "/v1/streams/order-42", &[], "")).await.is(204);
    assert!(deleted.bytes.is_empty() && !deleted.header("factum-position").is_empty());
    api.get("/v1/streams/order-42").await.problem(404, "stream-not-found");
    api.get("/v1/streams/order-42/events").await.problem(404, "stream-not-found");
    api.send(request("DELETE", "/v1/streams/order-42", &[], "")).await.problem(404, "stream-not-found");
    assert_eq!(api.get("/v1/events").await.json()["events"], json!([]));
    let appended = api.post("/v1/streams/order-42/events", r#"{"events":[{"type":"A","data":1}]}"#).await.is(201).json();
    assert_eq!(appended["first_version"], 3);
    let page = api.get("/v1/streams/order-42/events").await.json();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_permanent_delete_is_for_ever() {
    let api = Api::new().await;
    api.send(request("DELETE", "/v1/streams/order-42?permanent=true", &[], "")).await.problem(404, "stream-not-found");
    api.fill("order-42", 2).await;
    api.send(request("DELETE", "/v1/streams/order-42?permanent=maybe", &[], "")).await.problem(400, "malformed-request");
    api.send(request("DELETE", "/v1/streams/order-42", &[("if-match", "\"2\"")], "")).await.problem(400, "malformed-request");
    api.send(request("DELETE", "/v1/streams/order-42?permanent=true", &[], "")).await.is(204);
    api.get("/v1/streams/order-42").await.problem(410, "stream-deleted");
    api.get("/v1/streams/order-42/events").await.problem(410, "stream-deleted");
    api.post("/v1/streams/order-42/events", r#"{"events":[{"type":"A","data":1}]}"#).await.problem(410, "stream-deleted");
    api.send(request("PUT", "/v1/streams/order-42/retention", &[JSON], r#"{"max_count":1}"#)).await.problem(410, "stream-deleted");
}

#[tokio::test]
async fn retention_hides_old_events() {
    let api = Api::new().await;
    let path = "/v1/streams/order-42/retention";
    api.send(request("PUT", path, &[JSON], r#"{"max_count":1}"#)).await.problem(404, "stream-not-found");
    api.fill("order-42", 5).await;
    let answer = api.send(request("PUT", path, &[JSON], r#"{"max_count":2,"max_age":"30d"}"#)).await.is(200);
    assert_eq!(answer.text(), r#"{"stream":"order-42","max_count":2,"max_age":"30d","before_version":null}"#);
    assert_eq!(api.get("/v1/streams/order-42").await.json()["first_version"], 4);
    let versions =
        |page: Value| page["events"].as_array().unwrap().iter().map(|event| event["version"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(versions(api.get("/v1/streams/order-42/events").await.json()), [4, 5]);
    api.get("/v1/streams/order-42/events/3").await.problem(404, "event-not-found");
    api.send(request("PUT", path, &[JSON], r#"{"before_version":3}"#)).await.is(200);
    assert_eq!(versions(api.get("/v1/streams/order-42/events").await.json()), [3, 4, 5]);
    for (body, field) in [
        (r#"{"max_count":0}"#, "max_count"),
        (r#"{"max_age":"soon"}"#, "max_age"),
        (r#"{"max_agee":"1d"}"#, "max_agee"),
        (r#"{"before_version":-1}"#, "before_version"),
    ] {
        assert_eq!(api.send(request("PUT", path, &[JSON], body)).await.problem(400, "malformed-request")["field"], field);
    }
}

#[tokio::test]
async fn listings_count_and_go_on() {
    let api = Api::new().await;
    for stream in ["order-1", "order-2", "user-1"] {
        api.fill(stream, 2).await;
    }
    let first = api.get("/v1/streams?limit=2").await.is(200);
    assert_eq!(first.header("link"), "</v1/streams?limit=2&after=order-2>; rel=\"next\"");
    let page = first.json();
    assert_eq!((page["streams"].as_array().map(Vec::len), &page["next"]), (Some(2), &json!("order-2")));
    assert_eq!(page["streams"][0]["stream"], "order-1");
    assert_eq!((&page["streams"][0]["category"], &page["streams"][0]["version"]), (&json!("order"), &json!(2)));
    let rest = api.get("/v1/streams?limit=2&after=order-2").await.json();
    assert_eq!((rest["streams"].as_array().map(Vec::len), &rest["next"]), (Some(1), &Value::Null));
    assert_eq!(api.get("/v1/streams?prefix=user").await.json()["streams"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get("/v1/streams?category=order").await.json()["streams"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        api.get("/v1/categories").await.text(),
        r#"{"categories":[{"category":"order","streams":2,"events":4},{"category":"user","streams":1,"events":2}],"next":null}"#
    );
    assert_eq!(api.get("/v1/categories?limit=1").await.json()["next"], "order");
    assert_eq!(api.get("/v1/categories?after=order").await.json()["categories"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get("/v1/types").await.text(), r#"{"types":[{"type":"t","events":6}],"next":null}"#);
    api.get("/v1/streams?limit=0").await.problem(400, "malformed-request");
    api.get("/v1/types?prefix=x").await.problem(400, "malformed-request");
}
