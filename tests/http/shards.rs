//! Shards over HTTP: what there is, where a stream lives and why, and what is refused.

use factum::Database;
use factum::database::Options;
use factum::database::Region;
use factum::database::Strategy;
use factum::http::HttpSettings;
use serde_json::Value;
use serde_json::json;

use crate::support::Api;

async fn over(shards: Option<u16>, strategy: Strategy) -> Api {
    let options = Options { shards, strategy: Some(strategy), ..Options::in_memory() };
    Api::over(Database::open(options).await.expect("memory opens"), HttpSettings::default())
}

fn geo(default: Option<&str>) -> Strategy {
    let region = |name: &str, shards: &[u16], key: &str| Region { name: name.into(), shards: shards.to_vec(), keys: vec![key.into()] };
    Strategy::Geo { regions: vec![region("eu", &[0, 1], "eu-*"), region("us", &[2], "us-*")], default_region: default.map(str::to_owned) }
}

async fn located(api: &Api, stream: &str) -> Value {
    api.get(&format!("/v1/shards/locate/{stream}")).await.is(200).json()
}

#[tokio::test]
async fn one_shard_is_a_list_of_one() {
    let api = Api::new().await;
    api.fill("order-1", 3).await;
    let answer = api.get("/v1/shards").await.is(200);
    assert_eq!(answer.header("factum-position"), "3");
    let list = answer.json();
    assert_eq!((&list["strategy"], &list["topology_version"], &list["slots"]), (&json!("hash"), &json!(1), &json!(4_096)));
    let shard = &list["shards"][0];
    assert_eq!((&shard["id"], &shard["location"], &shard["state"]), (&json!(0), &json!("local"), &json!("ok")));
    assert_eq!((&shard["position"], &shard["streams"], &shard["slots"]), (&json!(3), &json!(1), &json!(4_096)));
    assert_eq!(list["shards"].as_array().unwrap().len(), 1);
    assert_eq!(located(&api, "anything").await["shard"], 0);
    api.get("/v1/shards?all=true").await.problem(400, "malformed-request");
    api.get("/v1/shards/locate/a%00b").await.problem(400, "malformed-request");
    api.get(&format!("/v1/shards/locate/{}", "a".repeat(256))).await.problem(400, "malformed-request");
}

#[tokio::test]
async fn each_strategy_explains_itself() {
    let api = over(Some(4), Strategy::Ring { weights: vec![1, 1, 1, 5] }).await;
    let list = api.get("/v1/shards").await.is(200).json();
    assert_eq!((&list["strategy"], &list["weights"], &list["shards"][3]["slots"]), (&json!("ring"), &json!([1, 1, 1, 5]), &json!(2_560)));
    let place = located(&api, "invoice-%7Border-42%7D").await;
    assert_eq!((&place["stream"], &place["partition_key"]), (&json!("invoice-{order-42}"), &json!("order-42")));
    let hash = u64::from_str_radix(place["hash"].as_str().unwrap(), 16).unwrap();
    assert_eq!((&place["reason"], &place["slot"]), (&json!("slot"), &json!(hash % 4_096)));
    assert_eq!(place["shard"], located(&api, "order-42").await["shard"]);

    let api = over(None, Strategy::Range { splits: vec!["g".into(), "n".into()] }).await;
    assert_eq!(api.get("/v1/shards").await.json()["splits"], json!(["g", "n"]));
    let place = located(&api, "home-1").await;
    assert_eq!(
        (&place["reason"], &place["shard"], &place["range_from"], &place["range_to"]),
        (&json!("range"), &json!(1), &json!("g"), &json!("n"))
    );
    assert_eq!(located(&api, "zoo").await.get("range_to"), None);
    assert_eq!(located(&api, "$definitions").await["reason"], "system");

    let api = over(None, geo(None)).await;
    let list = api.get("/v1/shards").await.json();
    assert_eq!(
        (&list["regions"][1], &list["shards"][2]["region"]),
        (&json!({"name": "us", "shards": [2], "keys": ["us-*"]}), &json!("us"))
    );
    let place = located(&api, "us-7").await;
    assert_eq!(
        (&place["reason"], &place["region"], &place["pattern"], &place["shard"]),
        (&json!("region"), &json!("us"), &json!("us-*"), &json!(2))
    );
    let place = located(&api, "order-1").await;
    assert_eq!((&place["reason"], &place["shard"]), (&json!("no-region"), &Value::Null));
}

#[tokio::test]
async fn what_must_stay_in_a_region_is_refused_elsewhere() {
    let api = over(None, geo(None)).await;
    let body = |region: &str| format!(r#"{{"events":[{{"type":"T","data":1,"metadata":{{"residency":"{region}"}}}}]}}"#);
    api.post("/v1/streams/eu-1/events", &body("eu")).await.is(201);
    let problem = api.post("/v1/streams/us-1/events", &body("eu")).await.problem(422, "residency-violation");
    assert_eq!(problem["field"], "events[0].metadata.residency");
    let problem = api.post("/v1/streams/order-1/events", &body("eu")).await.problem(422, "residency-violation");
    assert_eq!(problem["field"], "stream");
    let transaction = format!(
        r#"{{"appends":[{{"stream":"us-1","events":[{{"type":"T","data":1}}]}},{}]}}"#,
        r#"{"stream":"x","events":[{"type":"T","data":1}]}"#
    );
    let problem = api.post("/v1/transactions", &transaction).await.problem(422, "residency-violation");
    assert_eq!(problem["field"], "appends[1].stream");
    assert_eq!(api.get("/v1/events").await.json()["events"].as_array().unwrap().len(), 1);
    api.get("/v1/streams/order-1").await.problem(404, "stream-not-found");
}

#[tokio::test]
async fn a_transaction_over_several_shards_is_told_how_it_could_be_one() {
    let api = over(Some(4), Strategy::Hash).await;
    let mut streams = vec!["order-0".to_owned()];
    let first = located(&api, "order-0").await["shard"].clone();
    for number in 1.. {
        let stream = format!("order-{number}");
        if located(&api, &stream).await["shard"] != first {
            streams.push(stream);
            break;
        }
    }
    let body = |streams: &[String]| {
        let appends: Vec<Value> = streams.iter().map(|stream| json!({"stream": stream, "events": [{"type": "T", "data": 1}]})).collect();
        json!({ "appends": appends }).to_string()
    };
    let problem = api.post("/v1/transactions", &body(&streams)).await.problem(422, "cross-shard-transaction");
    assert_eq!((&problem["field"], &problem["partition_key"]), (&json!("appends"), &json!("order-0")));
    let told = problem["streams"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    for one in told {
        assert_eq!(one["shard"], located(&api, one["stream"].as_str().unwrap()).await["shard"]);
    }
    api.assert_nothing().await;
    streams[1] = format!("{{order-0}}-{}", streams[1]);
    api.post("/v1/transactions", &body(&streams)).await.is(201);
}

impl Api {
    /// Of several shards, nothing was stored on any.
    async fn assert_nothing(&self) {
        assert_eq!(self.get("/v1/events?include_system=true").await.json()["events"], json!([]));
    }
}

/// S6: over several shards a cursor is checked wherever one is taken.
#[tokio::test]
async fn s6_a_cursor_over_several_shards_is_taken_as_it_is_or_not_at_all() {
    let api = over(Some(3), Strategy::Ring { weights: vec![1, 1, 1] }).await;
    for number in 0..9 {
        api.fill(&format!("order-{number}"), 2).await;
    }
    let rows = "[columns]\nid = \"text primary key\"\nn = \"bigint\"\n[on.t]\nkey = \"$.stream\"\nset = { n = \"$.data\" }\n";
    api.put("/v1/projections/rows", &[("content-type", "application/toml")], rows).await.is(201);
    let page = api.get("/v1/events?limit=5").await.is(200).json();
    let cursor = page["cursor"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/events?after={cursor}")).await.is(200).json()["events"].as_array().unwrap().len(), 13);
    // A view takes it, and waits for it.
    let answer = api.get_with("/v1/views/rows", &[("factum-min-position", cursor), ("prefer", "wait=30")]).await.is(200);
    assert!(answer.header("factum-position").starts_with('c'));
    api.get_with("/v1/views/rows", &[("factum-min-position", answer.header("factum-position"))]).await.is(200);
    let other = over(Some(3), Strategy::Ring { weights: vec![1, 1, 1] }).await;
    let foreign = other.get("/v1/events").await.json()["cursor"].as_str().unwrap().to_owned();
    let last = if cursor.ends_with('A') { 'B' } else { 'A' };
    let changed = format!("{}{last}", &cursor[..cursor.len() - 1]);
    for bad in [&foreign, &changed, &cursor[1..], &format!("{cursor}A"), "1", "6.6.6", "c", "cAAAA"] {
        let problem = api.get(&format!("/v1/events?after={bad}")).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], "after", "{bad}");
        let events = [("accept", "text/event-stream"), ("last-event-id", bad)];
        api.get_with("/v1/events", &events).await.problem(400, "malformed-request");
        let body = format!(r#"{{"after":"{bad}"}}"#);
        let answer = api.put("/v1/subscriptions/mail", &[("content-type", "application/json")], &body).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{bad}: {}", answer.text());
        api.get_with("/v1/views/rows", &[("factum-min-position", bad)]).await.problem(400, "malformed-request");
    }
}

/// A job once it has ended, as its own stream of events tells it.
async fn ended(api: &Api, job: &Value) -> Value {
    let told = api.get_with(&format!("/v1/jobs/{}", job["id"].as_str().expect("an id")), &[("accept", "text/event-stream")]).await.is(200);
    assert_eq!(told.header("content-type"), "text/event-stream");
    let text = told.text();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().expect("it is told");
    serde_json::from_str(last).expect("JSON")
}

#[tokio::test]
async fn shards_are_added_and_drained_by_jobs() {
    let api = over(Some(2), Strategy::Hash).await;
    for number in 0..40 {
        api.fill(&format!("order-{number}"), 2).await;
    }
    let before = api.get("/v1/events?limit=30").await.json();
    let plan = api.post("/v1/shards?dry_run=true", "").await.is(200).json();
    assert_eq!((&plan["moved_slots"], &plan["copied_bytes"], &plan["shards"][2]["slots_then"]), (&json!(1365), &json!(0), &json!(1365)));
    assert!(plan["moved_streams"].as_u64().unwrap() > 5 && plan["events"] == json!(2 * plan["moved_streams"].as_u64().unwrap()), "{plan}");
    assert_eq!(api.get("/v1/shards").await.json()["shards"].as_array().unwrap().len(), 2, "nothing was changed");
    let answer = api.post("/v1/shards", "{}").await.is(202);
    let job = answer.json();
    assert_eq!(answer.header("location"), format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!((&job["kind"], &job["shard"], &job["total"]), (&json!("add"), &json!(2), &json!(1365)));
    let job = ended(&api, &job).await;
    assert_eq!((&job["state"], &job["done"], &job["error"]), (&json!("done"), &json!(1365), &Value::Null));
    assert_eq!(job["moved_streams"], plan["moved_streams"]);
    let list = api.get("/v1/shards").await.json();
    assert_eq!((&list["shards"][2]["slots"], &list["job"]), (&json!(1365), &Value::Null));
    assert!(list["topology_version"].as_u64().unwrap() > 40);

    // What was given out before goes on, and streams go on where they live now.
    let rest = api.get(&format!("/v1/events?limit=1000&after={}", before["cursor"].as_str().unwrap())).await.is(200).json();
    assert_eq!(rest["events"].as_array().unwrap().len(), 50);
    let moved = (0..40).map(|number| format!("order-{number}"));
    let mut found = 0;
    for stream in moved {
        if located(&api, &stream).await["shard"] == 2 {
            found += 1;
            api.fill(&stream, 1).await;
            let page = api.get(&format!("/v1/streams/{stream}/events")).await.json();
            let events = page["events"].as_array().unwrap();
            assert_eq!(events.iter().map(|event| event["version"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
            assert!(events[0]["shard"] != 2 && events[2]["shard"] == 2, "each says where it is: {page}");
        }
    }
    assert_eq!(json!(found), plan["moved_streams"]);
    let told = api.get("/v1/streams/%24topology/events?direction=backward&limit=1").await.is(200).json();
    assert_eq!(told["events"][0]["data"]["version"], list["topology_version"]);

    let job = api.send(crate::support::request("DELETE", "/v1/shards/0", &[], "")).await.is(202).json();
    assert_eq!(ended(&api, &job).await["state"], "done");
    let shard = api.get("/v1/shards").await.json()["shards"][0].clone();
    assert_eq!((&shard["slots"], &shard["drained"], &shard["state"]), (&json!(0), &json!(true), &json!("ok")));
    assert_eq!(api.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 2);
    let id = job["id"].as_str().unwrap();
    for word in ["pause", "resume", "cancel"] {
        api.post(&format!("/v1/jobs/{id}/{word}"), "").await.problem(409, "topology-conflict");
        api.post(&format!("/v1/jobs/none/{word}"), "").await.problem(404, "part-not-found");
    }
    let body = api.post("/v1/shards/rebalance?dry_run=true", "").await.is(200).json();
    assert_eq!(body["moved_slots"], 0);
}

#[tokio::test]
async fn changes_that_make_no_sense_are_refused() {
    let api = over(Some(2), Strategy::Hash).await;
    let delete = |path: &'static str| api.send(crate::support::request("DELETE", path, &[], ""));
    delete("/v1/shards/2").await.problem(404, "part-not-found");
    delete("/v1/shards/x").await.problem(400, "malformed-request");
    delete("/v1/shards/70000").await.problem(400, "malformed-request");
    delete("/v1/shards/1?now=true").await.problem(400, "malformed-request");
    let problem = api.post("/v1/shards", r#"{"weight": 2}"#).await.problem(400, "malformed-request");
    assert_eq!(problem["field"], "weight");
    api.post("/v1/shards", r#"{"weigth": 2}"#).await.problem(400, "malformed-request");
    api.post("/v1/shards", "[").await.problem(400, "malformed-request");
    api.get("/v1/jobs/none").await.problem(404, "part-not-found");
    api.get_with("/v1/jobs/none", &[("accept", "image/png")]).await.problem(406, "not-acceptable");
    // What belongs to another strategy is named.
    let refused = async |api: &Api, body: &str, field: &str| {
        for path in ["/v1/shards", "/v1/shards?dry_run=true"] {
            assert_eq!(api.post(path, body).await.problem(400, "malformed-request")["field"], field, "{body}");
        }
    };
    refused(&api, r#"{"split": "m"}"#, "split").await;
    refused(&api, r#"{"region": "eu"}"#, "region").await;
    let range = over(None, Strategy::Range { splits: vec!["m".into()] }).await;
    for (body, field) in [
        (r#"{"weight": 2}"#, "weight"),
        (r#"{"region": "eu"}"#, "region"),
        (r#"{"split": ""}"#, "split"),
        (r#"{"split": "a\u0000b"}"#, "split"),
        (&format!(r#"{{"split": "{}"}}"#, "k".repeat(256)), "split"),
        (r#"{"split": "m"}"#, "split"),
    ] {
        refused(&range, body, field).await;
    }
    let problem = range.post("/v1/shards", "").await.problem(409, "topology-conflict");
    assert!(problem["detail"].as_str().unwrap().contains("`split`"), "{problem}");
    let geo = over(None, geo(None)).await;
    refused(&geo, "", "region").await;
    refused(&geo, "{}", "region").await;
    refused(&geo, r#"{"region": "asia"}"#, "region").await;
    refused(&geo, r#"{"region": "eu", "split": "m"}"#, "split").await;
    for (api, path, expected) in [
        (&range, "/v1/shards/0", "streams of the system"),
        (&geo, "/v1/shards/0", "streams of the system"),
        (&geo, "/v1/shards/2", "the last of the region us"),
    ] {
        let problem = api.send(crate::support::request("DELETE", path, &[], "")).await.problem(409, "topology-conflict");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{problem}");
    }
    for api in [&api, &range, &geo] {
        assert_eq!(api.get("/v1/shards").await.json()["topology_version"], 1, "nothing was changed");
    }
}

/// A database of three shards without the last one, and the stream that it has.
async fn without_a_shard(place: &std::path::Path) -> (Api, String) {
    let options = || Options { shards: Some(3), ..Options::new(place) };
    let api = Api::over(Database::open(options()).await.expect("a directory"), HttpSettings::default());
    for number in 0..12 {
        api.fill(&format!("order-{number}"), 1).await;
    }
    let lost = (0..12).map(|number| format!("order-{number}")).find(|stream| api.database.shard_of(stream) == 2).expect("one of twelve");
    api.database.close().await.expect("a directory");
    std::fs::remove_dir_all(place.join("shards/2")).expect("a folder");
    (Api::over(Database::open(options()).await.expect("a directory"), HttpSettings::default()), lost)
}

#[tokio::test]
async fn r6_a_part_of_an_answer_names_what_is_missing() {
    let place = tempfile::tempdir().unwrap();
    let (api, lost) = without_a_shard(place.path()).await;
    let whole = ["/v1/events", "/v1/streams", "/v1/categories", "/v1/types"];
    for path in whole {
        let problem = api.get(path).await.problem(503, "shard-unavailable");
        assert_eq!(problem["shard"], 2, "{path}");
        let answer = api.get(&format!("{path}?allow_partial=true")).await.is(200);
        assert_eq!((answer.header("factum-missing-shards"), &answer.json()["missing_shards"]), ("2", &json!([2])), "{path}");
        assert!(!answer.text().contains(&format!("\"{lost}\"")), "{path}");
        api.get(&format!("{path}?allow_partial=2")).await.problem(400, "malformed-request");
    }
    let part = api.get("/v1/events?allow_partial=true&limit=2").await.is(200).json();
    let rest = api.get(&format!("/v1/events?allow_partial=true&after={}", part["next"].as_str().unwrap())).await.is(200).json();
    let count = |page: &Value| page["events"].as_array().unwrap().len();
    let there = api.get("/v1/streams?allow_partial=true").await.json()["streams"].as_array().unwrap().len();
    assert_eq!((count(&part), count(&part) + count(&rest)), (2, there));
    let lines = api.get_with("/v1/events?allow_partial=true", &[("accept", "application/x-ndjson")]).await.is(200);
    assert_eq!((lines.header("factum-missing-shards"), lines.lines().len()), ("2", there));
    let feed = [("accept", "text/event-stream")];
    assert_eq!(api.get_with("/v1/events?allow_partial=true", &feed).await.problem(400, "malformed-request")["field"], "allow_partial");
    api.database.close().await.unwrap();
    // What is whole says so.
    let api = Api::new().await;
    api.fill("order-1", 1).await;
    let answer = api.get("/v1/events?allow_partial=true").await.is(200);
    assert_eq!((answer.headers.get("factum-missing-shards"), &answer.json()["missing_shards"]), (None, &json!([])));
}

#[tokio::test]
async fn ranges_are_split_and_joined_by_jobs() {
    let api = over(None, Strategy::Range { splits: vec!["o-5".into()] }).await;
    for number in 0..10 {
        api.fill(&format!("o-{number}"), if number < 5 { 4 } else { 1 }).await;
    }
    let plan = api.post("/v1/shards?dry_run=true", "").await.is(200).json();
    let move_of = |from: u16, keys: Value| json!({"from": from, "to": 2, "slots": 0, "range": keys});
    assert_eq!(plan["moves"], json!([move_of(0, json!({"from": "o-2", "to": "o-5"}))]), "the upper half of the heaviest: {plan}");
    assert_eq!((&plan["moved_ranges"], &plan["moved_slots"], &plan["moved_fraction"]), (&json!(1), &json!(0), &Value::Null));
    assert_eq!((&plan["moved_streams"], &plan["events"], &plan["copied_bytes"]), (&json!(3), &json!(12), &json!(0)));
    assert_eq!(plan["shards"][0]["ranges_then"], json!([{"from": null, "to": "o-2"}]));
    assert_eq!((&plan["shards"][2]["slots_then"], &plan["shards"][2]["ranges_now"]), (&Value::Null, &json!([])));

    let plan = api.post("/v1/shards?dry_run=true", r#"{"split": "o-7x"}"#).await.is(200).json();
    assert_eq!(plan["moves"], json!([move_of(1, json!({"from": "o-7x", "to": null}))]));
    let job = api.post("/v1/shards", r#"{"split": "o-3"}"#).await.is(202).json();
    assert_eq!((&job["unit"], &job["total"], &job["shard"], &job["why"]), (&json!("ranges"), &json!(1), &json!(2), &Value::Null));
    let job = ended(&api, &job).await;
    assert_eq!((&job["state"], &job["done"], &job["moved_streams"]), (&json!("done"), &json!(1), &json!(2)));
    let list = api.get("/v1/shards").await.json();
    assert_eq!((&list["splits"], &list["slots"], &list["shards"][2]["slots"]), (&json!(["o-3", "o-5"]), &Value::Null, &Value::Null));
    let ranges: Vec<&Value> = list["shards"].as_array().unwrap().iter().map(|shard| &shard["ranges"][0]["from"]).collect();
    assert_eq!(ranges, [&Value::Null, &json!("o-5"), &json!("o-3")]);
    let place = located(&api, "o-4").await;
    assert_eq!((&place["shard"], &place["range_from"], &place["range_to"]), (&json!(2), &json!("o-3"), &json!("o-5")));
    assert_eq!(place["explanation"], r#""o-4" lies in the range from "o-3" to before "o-5", which shard 2 has"#);
    api.fill("o-4", 1).await;
    let page = api.get("/v1/streams/o-4/events").await.json();
    let shards: Vec<&Value> = page["events"].as_array().unwrap().iter().map(|event| &event["shard"]).collect();
    assert_eq!(shards, [0, 0, 0, 0, 2]);
    let told = api.get("/v1/events?include_system=true&type=RangeMoved").await.is(200).json();
    assert_eq!(told["events"][0]["type"], "RangeMoved", "{told}");
    assert_eq!(told["events"][0]["data"]["moved"]["keys"], json!({"from": "o-3", "to": "o-5"}));

    let job = api.send(crate::support::request("DELETE", "/v1/shards/1", &[], "")).await.is(202).json();
    assert_eq!(ended(&api, &job).await["state"], "done");
    let list = api.get("/v1/shards").await.json();
    assert_eq!((&list["splits"], &list["shards"][1]["drained"], &list["shards"][1]["ranges"]), (&json!(["o-3"]), &json!(true), &json!([])));
    // Three streams of four events against seven of 13 in all.
    assert_eq!(api.post("/v1/shards/rebalance?dry_run=true", "").await.is(200).json()["moved_ranges"], 0);
}

#[tokio::test]
async fn a_shard_joins_one_region_and_takes_of_it_alone() {
    let api = over(None, geo(None)).await;
    for number in 0..20 {
        api.fill(&format!("eu-{number}"), 1).await;
        api.fill(&format!("us-{number}"), 1).await;
    }
    assert_eq!(api.get("/v1/shards").await.json()["shards"][2]["slots"], 4_096);
    let plan = api.post("/v1/shards?dry_run=true", r#"{"region": "us"}"#).await.is(200).json();
    assert_eq!(plan["moves"], json!([{"from": 2, "to": 3, "slots": 2_048, "region": "us"}]));
    let job = api.post("/v1/shards", r#"{"region": "us"}"#).await.is(202).json();
    let job = ended(&api, &job).await;
    assert_eq!((&job["state"], &job["total"], &job["moved_fraction"]), (&json!("done"), &json!(2_048), &json!(0.5)));
    let list = api.get("/v1/shards").await.json();
    assert_eq!((&list["regions"][1]["shards"], &list["shards"][3]["region"]), (&json!([2, 3]), &json!("us")));
    let slots: Vec<&Value> = list["shards"].as_array().unwrap().iter().map(|shard| &shard["slots"]).collect();
    assert_eq!(slots, [2_048, 2_048, 2_048, 2_048]);
    let mut used = std::collections::BTreeSet::new();
    for number in 0..20 {
        let place = located(&api, &format!("us-{number}")).await;
        assert_eq!((&place["reason"], &place["region"]), (&json!("region"), &json!("us")));
        assert!(place["explanation"].as_str().unwrap().ends_with(&format!("leads to shard {} there", place["shard"])), "{place}");
        used.insert(place["shard"].as_u64().unwrap());
        assert!(located(&api, &format!("eu-{number}")).await["shard"].as_u64().unwrap() < 2);
    }
    assert_eq!(used.into_iter().collect::<Vec<_>>(), [2, 3]);
    let job = api.send(crate::support::request("DELETE", "/v1/shards/2", &[], "")).await.is(202).json();
    assert_eq!(ended(&api, &job).await["state"], "done");
    assert_eq!(api.get("/v1/shards").await.json()["shards"][3]["slots"], 4_096);
    api.send(crate::support::request("DELETE", "/v1/shards/3", &[], "")).await.problem(409, "topology-conflict");
}
