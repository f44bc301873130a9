//! Definitions of categories: put, told, listed, ended; what is refused changes nothing, and what is accepted survives a restart.

use factum::Database;
use factum::database::Options;
use factum::http::HttpSettings;
use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::JSON;
use crate::support::MODULE;
use crate::support::request;

const ORDER: &str = "export const initial = { total: 0 };
export const evolve = { Added: (state, event) => ({ total: state.total + event.data.amount }) };
export const decide = { add: (state, command) => [{ type: 'Added', data: { amount: command.amount } }], nothing: () => [] };
";

#[tokio::test]
async fn a_module_is_put_told_and_ended() {
    let api = Api::new().await;
    let made = api.define("order", ORDER).await.is(201).json();
    assert_eq!(made, json!({"category": "order", "change": "created", "format": "javascript", "commands": ["add", "nothing"]}));
    assert_eq!(api.define("order", ORDER).await.is(200).json()["change"], "same");
    let other = ORDER.replace("total: 0", "total: 1");
    let javascript = [("content-type", "application/javascript; charset=utf-8")];
    assert_eq!(api.put("/v1/aggregates/order", &javascript, &other).await.is(200).json()["change"], "changed");

    let told = api.get("/v1/aggregates/order").await.is(200);
    assert_eq!(told.header("etag"), "\"2\"");
    let json = told.json();
    assert_eq!((&json["definition"], &json["version"], &json["commands"]), (&json!(other), &json!(2), &json!(["add", "nothing"])));
    assert!(json["defined_at"].is_string(), "{json}");
    api.get_with("/v1/aggregates/order", &[("if-none-match", "\"2\"")]).await.is(304);
    let module = api.get_with("/v1/aggregates/order", &[("accept", "text/javascript")]).await.is(200);
    assert_eq!((module.text(), module.header("content-type")), (other, "text/javascript; charset=utf-8"));
    api.get_with("/v1/aggregates/order", &[("accept", "text/html")]).await.problem(406, "not-acceptable");

    api.send(request("DELETE", "/v1/aggregates/order", &[], "")).await.is(204);
    api.send(request("DELETE", "/v1/aggregates/order", &[], "")).await.problem(404, "definition-not-found");
    api.get("/v1/aggregates/order").await.problem(404, "definition-not-found");
    assert_eq!(api.define("order", ORDER).await.is(201).json()["change"], "created");
}

#[tokio::test]
async fn a_category_that_merges_is_defined_in_json() {
    let api = Api::new().await;
    let put = async |body: &str| api.put("/v1/aggregates/user", &[JSON], body).await;
    let made = put(r#"{"evolve": "merge", "snapshot_every": 7}"#).await.is(201).json();
    assert_eq!(made, json!({"category": "user", "change": "created", "format": "json", "commands": []}));
    api.get_with("/v1/aggregates/user", &[("accept", "text/javascript")]).await.problem(406, "not-acceptable");
    assert_eq!(put("{").await.problem(422, "invalid-definition")["line"], 1);
    assert_eq!(put(r#"{"evolve": "merge", "snapshot_every": 0}"#).await.problem(422, "invalid-definition")["pointer"], "/snapshot_every");
    put(r#"{"evolve": "fold"}"#).await.problem(422, "invalid-definition");
    put(r#"{"evolve": "merge", "snapshots": 1}"#).await.problem(422, "invalid-definition");
}

#[tokio::test]
async fn a_broken_module_says_where_and_leaves_the_old_one_in_force() {
    let api = Api::new().await;
    api.define("order", ORDER).await.is(201);
    api.append("order-1", "Added", &json!({"amount": 5})).await.is(201);
    let broken = "export const initial = {};\nexport const evolve = {\n  Added: (state, event) => ({ total: state.total + }),\n};\n";
    let problem = api.define("order", broken).await.problem(422, "invalid-definition");
    assert_eq!((&problem["what"], &problem["line"]), (&json!("aggregates/order.js"), &json!(3)), "{problem}");
    assert!(problem["column"].as_u64() > Some(30), "{problem}");
    api.define("order", "export const initial = Math.random();").await.problem(422, "invalid-definition");
    api.define("order", "import x from 'fs';").await.problem(422, "invalid-definition");
    api.define("order", "for (;;) {}").await.problem(422, "invalid-definition");
    assert_eq!(api.get("/v1/aggregates/order/1").await.is(200).json()["state"], json!({"total": 5}));
    assert_eq!(api.get("/v1/aggregates/order").await.json()["version"], 1);
    api.define("user", broken).await.problem(422, "invalid-definition");
    api.get("/v1/aggregates/user").await.problem(404, "definition-not-found");
}

#[tokio::test]
async fn what_is_no_definition_is_refused() {
    let api = Api::new().await;
    for (path, headers, body, status, slug) in [
        ("/v1/aggregates/order", &[("content-type", "text/plain")][..], ORDER, 415, "unsupported-media-type"),
        ("/v1/aggregates/order", &[], ORDER, 415, "unsupported-media-type"),
        ("/v1/aggregates/order?dry=1", &[MODULE], ORDER, 400, "malformed-request"),
        ("/v1/aggregates/order?dry_run=maybe", &[MODULE], ORDER, 400, "malformed-request"),
        ("/v1/aggregates/order", &[MODULE, ("if-match", "\"1\"")], ORDER, 400, "malformed-request"),
        ("/v1/aggregates/a-b", &[MODULE], ORDER, 400, "malformed-request"),
        ("/v1/aggregates/a%00b", &[MODULE], ORDER, 400, "malformed-request"),
        ("/v1/aggregates/%ff", &[MODULE], ORDER, 400, "malformed-request"),
        ("/v1/aggregates/$system", &[MODULE], ORDER, 403, "forbidden"),
    ] {
        let problem = api.put(path, headers, body).await.problem(status, slug);
        assert!(status != 400 || problem["field"].is_string(), "{path}: {problem}");
    }
    let long = format!("{ORDER}//{}", "x".repeat(256 << 10));
    assert_eq!(api.define("order", &long).await.problem(413, "payload-too-large")["field"], "body");
    let not_text = request("PUT", "/v1/aggregates/order", &[MODULE], vec![b'/', b'/', 0xff]);
    assert_eq!(api.send(not_text).await.problem(400, "malformed-request")["field"], "body");
    api.assert_empty("refused").await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let api = Api::new().await;
    let dry = async |module: &str| api.put("/v1/aggregates/order?dry_run=true", &[MODULE], module).await;
    assert_eq!(dry(ORDER).await.is(200).json(), json!({"category": "order", "change": "created", "dry_run": true, "format": "javascript"}));
    dry("nonsense(").await.problem(422, "invalid-definition");
    api.assert_empty("a dry run").await;
    api.get("/v1/aggregates/order").await.problem(404, "definition-not-found");
    api.define("order", ORDER).await.is(201);
    assert_eq!(dry(ORDER).await.is(200).json()["change"], "same");
    assert_eq!(dry("export const initial = 1;").await.is(200).json()["change"], "changed");
    assert_eq!(api.get("/v1/aggregates/order").await.json()["definition"], ORDER);
}

#[tokio::test]
async fn definitions_are_listed_by_name() {
    let api = Api::new().await;
    for category in ["user", "order", "a%2Fb"] {
        api.define(category, ORDER).await.is(201);
    }
    let names = |json: &Value| -> Vec<String> {
        json["aggregates"].as_array().unwrap().iter().map(|item| item["category"].as_str().unwrap().to_owned()).collect()
    };
    let all = api.get("/v1/aggregates").await.is(200).json();
    assert_eq!((names(&all), &all["next"]), (vec!["a/b".to_owned(), "order".to_owned(), "user".to_owned()], &Value::Null));
    let item = &all["aggregates"][1];
    assert_eq!((&item["format"], &item["commands"], &item["version"]), (&json!("javascript"), &json!(["add", "nothing"]), &json!(2)));
    assert!(item["defined_at"].is_string() && item.get("definition").is_none(), "{item}");
    let first = api.get("/v1/aggregates?limit=2").await.is(200);
    assert_eq!(first.header("link"), "</v1/aggregates?limit=2&after=order>; rel=\"next\"");
    assert_eq!(names(&api.get("/v1/aggregates?limit=2&after=order").await.json()), ["user"]);
    api.get("/v1/aggregates?include_system=true").await.problem(400, "malformed-request");
    assert_eq!(api.get("/v1/aggregates/a%2Fb").await.is(200).json()["category"], "a/b");
}

#[tokio::test]
async fn each_definition_is_an_event_that_says_what_and_when() {
    let api = Api::new().await;
    api.define("order", ORDER).await.is(201);
    api.send(request("DELETE", "/v1/aggregates/order", &[], "")).await.is(204);
    let page = api.get("/v1/streams/$definitions/events").await.is(200).json();
    let types: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Defined", "Removed"]);
    assert_eq!(page["events"][0]["data"]["text"], ORDER);
    assert_eq!(api.get("/v1/events").await.json()["events"], json!([]), "they are the system's");
}

#[tokio::test]
async fn definitions_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = async || Database::open(Options::new(directory.path().join("data"))).await.unwrap();
    let database = open().await;
    let api = Api::over(database.clone(), HttpSettings::default());
    api.define("order", ORDER).await.is(201);
    api.define("user", ORDER).await.is(201);
    api.send(request("DELETE", "/v1/aggregates/user", &[], "")).await.is(204);
    api.register("Added/1", &json!({"schema": {"required": ["amount"]}})).await.is(201);
    api.post("/v1/aggregates/order/1/commands/add", r#"{"amount": 7}"#).await.is(201);
    let before = api.get("/v1/aggregates/order/1").await.is(200);
    database.close().await.unwrap();
    drop((api, database));
    let database = open().await;
    let api = Api::over(database.clone(), HttpSettings::default());
    let after = api.get("/v1/aggregates/order/1").await.is(200);
    assert_eq!((after.json()["state"].clone(), after.header("etag")), (before.json()["state"].clone(), before.header("etag")));
    assert_eq!(api.define("order", ORDER).await.is(200).json()["change"], "same");
    api.get("/v1/aggregates/user").await.problem(404, "definition-not-found");
    api.append("order-1", "Added", &json!({})).await.problem(422, "schema-violation");
    assert_eq!(api.post("/v1/aggregates/order/1/commands/add", r#"{"amount": 1}"#).await.is(201).json()["state"], json!({"total": 8}));
    database.close().await.unwrap();
}
