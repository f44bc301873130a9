//! Does every route take what the table says, and does every way to events obey the same rule?

use serde_json::Value;
use serde_json::json;

use crate::guarded::Guarded;
use crate::support::Answer;
use crate::support::JSON;

/// A request to a route of the description: with names that could be, and nothing in its body.
fn path_of(template: &str) -> String {
    let mut path = String::new();
    for segment in template.split('/').skip(1) {
        path.push('/');
        path.push_str(match segment {
            "{stream}" => "order-1",
            "{version}" | "{schema_version}" => "1",
            "{id}" if template.starts_with("/v1/events") => "00000000-0000-7000-8000-000000000000",
            _ if segment.starts_with('{') => "order",
            fixed => fixed,
        });
    }
    path
}

/// What an operation takes: `None` is nothing, else these scopes.
fn scopes_of(operation: &Value) -> Option<Vec<String>> {
    let security = operation["security"].as_array().expect("every operation says what it takes");
    let first = security.first()?;
    Some(
        first["bearer"]
            .as_array()
            .expect("as the interface has it")
            .iter()
            .map(|scope| scope.as_str().expect("as the interface has it").to_owned())
            .collect(),
    )
}

const SCOPES: [&str; 6] = ["events:read", "events:append", "views:read", "sql:read", "projections:write", "admin"];

/// A1: every route with no token, with each scope alone, with all but one, and for some streams only.
#[tokio::test]
async fn a1_every_route_is_closed_unless_the_description_says_otherwise() {
    let guarded = Guarded::new().await;
    let description = guarded.get("/openapi.json", "").await.is(200).json();
    let mut tokens = Vec::new();
    for (number, scope) in SCOPES.iter().enumerate() {
        tokens.push((vec![*scope], guarded.client(&format!("one-{number}"), &[scope], None).await.0));
        let others: Vec<&str> = SCOPES.iter().copied().filter(|other| other != scope).collect();
        tokens.push((others.clone(), guarded.client(&format!("but-{number}"), &others, None).await.0));
    }
    tokens.push((vec![], guarded.client("none", &[], None).await.0));
    let narrowed = guarded.client("narrowed", &SCOPES, Some(&["elsewhere-*"])).await.0;
    let mut tried = 0;
    for (template, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, path) = (method.to_uppercase(), path_of(template));
            let Some(needed) = scopes_of(operation) else { continue };
            let name = format!("{method} {path}");
            for token in ["", "garbage", "a.b.c"] {
                guarded.send(&method, &path, token, &[JSON], "{}").await.problem(401, "unauthenticated");
            }
            for (has, token) in &tokens {
                let missing = needed.iter().any(|scope| !has.contains(&scope.as_str()));
                if missing {
                    let problem = guarded.send(&method, &path, token, &[JSON], "{}").await.problem(403, "forbidden");
                    assert!(needed.contains(&problem["scope"].as_str().unwrap_or_default().to_owned()), "{name}: {problem}");
                    tried += 1;
                }
            }
            // For streams elsewhere: what is listed is empty, what is about others is refused.
            let answer = guarded.send(&method, &path, &narrowed, &[JSON], "{}").await;
            let is_harmless = matches!(
                template.as_str(),
                "/v1/status"
                    | "/metrics"
                    | "/v1/events"
                    | "/v1/streams"
                    | "/v1/import"
                    | "/v1/transactions"
                    | "/v1/events/{id}"
                    | "/v1/sql"
                    | "/v1/tables"
            );
            assert!(is_harmless || answer.status.as_u16() == 403, "{name}: {} {}", answer.status, answer.text());
        }
    }
    assert!(tried > 300, "{tried} refusals");
}

#[tokio::test]
async fn a1_what_the_token_is_for_is_let_through() {
    let guarded = Guarded::new().await;
    let description = guarded.get("/openapi.json", "").await.is(200).json();
    guarded.append("order-1", &guarded.root).await.is(201);
    for (template, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if scopes_of(operation).is_none() || method == "delete" || template.ends_with("/rotate") || template.contains("consume") {
                continue;
            }
            let answer = guarded.send(&method.to_uppercase(), &path_of(template), &guarded.root, &[JSON, ("prefer", "wait=0")], "{}").await;
            assert!(!matches!(answer.status.as_u16(), 401 | 403), "{method} {template}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn what_is_not_there_tells_strangers_nothing() {
    let guarded = Guarded::new().await;
    guarded.get("/v1/nothing", "").await.problem(401, "unauthenticated");
    guarded.get("/v1/nothing", &guarded.root).await.problem(404, "path-not-found");
    let answer = guarded.send("PATCH", "/v1/streams/order-1", &guarded.root, &[], "").await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,DELETE,HEAD");
    guarded.send("HEAD", "/v1/streams", &guarded.root, &[], "").await.is(200);
    guarded.send("HEAD", "/v1/streams", "", &[], "").await.is(401);
}

/// Streams of two tenants, and a token of the first.
async fn tenants(guarded: &Guarded) -> String {
    for stream in ["t1-1", "t1-2", "t10-1", "t2-1", "other"] {
        guarded.append(stream, &guarded.root).await.is(201);
    }
    guarded.client("tenant", &["events:read", "events:append", "sql:read"], Some(&["t1-*"])).await.0
}

fn streams_in(answer: &Answer) -> Vec<String> {
    let text = answer.text();
    let lines: Vec<Value> = match answer.json_or_lines() {
        Some(json) => json["events"].as_array().expect("as the interface has it").clone(),
        None => text.lines().map(|line| serde_json::from_str(line).expect("as the interface has it")).collect(),
    };
    lines.iter().filter_map(|event| event["stream"].as_str()).map(str::to_owned).collect()
}

impl Answer {
    fn json_or_lines(&self) -> Option<Value> {
        serde_json::from_slice::<Value>(&self.bytes).ok().filter(|json| json.get("events").is_some())
    }
}

#[tokio::test]
async fn a2_names_are_compared_as_they_are() {
    let guarded = Guarded::new().await;
    let token = tenants(&guarded).await;
    for name in [
        "t10-1",
        "t2-1",
        "T1-1",
        "t1",
        "other",
        "t1%2F..%2Ft2-1",
        "%74%32-1",
        "t%31%30-1",
        "..%2Ft2-1",
        "%EF%BD%941-1",
        "%24clients",
        "$tokens",
        "%E2%80%8Bt1-1",
    ] {
        guarded.append(name, &token).await.problem(403, "forbidden");
        for path in ["", "/events", "/events/1"] {
            guarded.get(&format!("/v1/streams/{name}{path}"), &token).await.problem(403, "forbidden");
        }
    }
    for name in ["t1-1%00", "t1-%0A", "%FF"] {
        guarded.append(name, &token).await.problem(400, "malformed-request");
    }
    // Two names that are one address, and within the pattern.
    guarded.append("t1-a%2Fb", &token).await.is(201);
    guarded.get("/v1/streams/t1-a%2fb/events", &token).await.is(200);
    guarded.get("/v1/streams/%741-1/events", &token).await.is(200);
    // Only an administrator of everything reads what is the system's, and nobody writes it.
    guarded.get("/v1/streams/$clients/events", &guarded.root).await.is(200);
    guarded.append("$clients", &guarded.root).await.problem(403, "forbidden");
    let reader = guarded.client("reader", &["events:read"], None).await.0;
    guarded.get("/v1/streams/$clients/events", &reader).await.problem(403, "forbidden");
    guarded.get("/v1/events?include_system=true", &reader).await.problem(403, "forbidden");
    guarded.get("/v1/streams?include_system=true", &token).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a3_every_way_to_events_shows_the_same_ones() {
    let guarded = Guarded::new().await;
    let token = tenants(&guarded).await;
    let page = guarded.get("/v1/events", &token).await.is(200);
    assert_eq!(streams_in(&page), ["t1-1", "t1-2"]);
    assert_eq!(page.json()["next"], Value::Null);
    let backward = guarded.get("/v1/events?direction=backward&limit=1", &token).await.is(200);
    assert_eq!(streams_in(&backward), ["t1-2"]);
    let lines = guarded.send("GET", "/v1/events", &token, &[("accept", "application/x-ndjson")], "").await.is(200);
    assert_eq!(streams_in(&lines), ["t1-1", "t1-2"]);
    let feed = guarded.send("GET", "/v1/events?follow=true&limit=2", &token, &[("accept", "application/x-ndjson")], "").await.is(200);
    assert_eq!(streams_in(&feed), ["t1-1", "t1-2"]);
    let sse = guarded.send("GET", "/v1/events?limit=2", &token, &[("accept", "text/event-stream")], "").await.is(200).text();
    assert!(sse.contains("t1-1") && sse.contains("t1-2") && !sse.contains("t10-1"), "{sse}");
    for filter in ["stream_prefix=t2", "category=t10", "category=other", "stream_prefix=o"] {
        assert_eq!(streams_in(&guarded.get(&format!("/v1/events?{filter}"), &token).await.is(200)), Vec::<String>::new(), "{filter}");
    }
    let listed = guarded.get("/v1/streams", &token).await.is(200).json();
    let names: Vec<&str> = listed["streams"].as_array().unwrap().iter().map(|stream| stream["stream"].as_str().unwrap()).collect();
    assert_eq!(names, ["t1-1", "t1-2"]);
    let first = guarded.get("/v1/streams?limit=1", &token).await.is(200).json();
    assert_eq!((&first["streams"][0]["stream"], &first["next"]), (&json!("t1-1"), &json!("t1-1")));
    let second = guarded.get("/v1/streams?limit=1&after=t1-1", &token).await.is(200).json();
    assert_eq!((&second["streams"][0]["stream"], &second["next"]), (&json!("t1-2"), &Value::Null));
    assert_eq!(guarded.get("/v1/streams?prefix=t", &token).await.is(200).json()["streams"].as_array().unwrap().len(), 2);
    assert_eq!(guarded.get("/v1/streams?prefix=t1-2", &token).await.is(200).json()["streams"].as_array().unwrap().len(), 1);
    assert_eq!(guarded.get("/v1/streams?prefix=t2", &token).await.is(200).json()["streams"], json!([]));
    guarded.get("/v1/aggregates/t1/1", &token).await.is(200);
    for path in [
        "/v1/aggregates/t2/1",
        "/v1/aggregates/t10/1/history",
        "/v1/aggregates/t2/nothing",
        "/v1/categories",
        "/v1/types",
        "/v1/views",
        "/v1/schemas",
    ] {
        guarded.get(path, &token).await.problem(403, "forbidden");
    }
}

#[cfg(feature = "analytics")]
#[tokio::test]
async fn a3_q6_sql_shows_the_events_of_the_tokens_streams_and_tells_of_no_others() {
    let guarded = Guarded::new().await;
    let token = tenants(&guarded).await;
    let view =
        json!({"target": {"kind": "embedded"}, "columns": {"stream": "text primary key"}, "on": {"T": {"key": "$.stream", "set": {}}}});
    guarded.put("/v1/projections/seen", &guarded.root, &view).await.is(201);
    let ask = async |query: &str| guarded.post("/v1/sql", &token, &json!({"query": query})).await;
    let hidden = guarded.get("/v1/streams/t2-1/events", &guarded.root).await.is(200).json()["events"][0]["id"].clone();
    let hidden = hidden.as_str().unwrap();
    for (query, rows) in [
        ("select stream from events order by position".to_owned(), json!([["t1-1"], ["t1-2"]])),
        ("select count(*) from events".to_owned(), json!([[2]])),
        ("select stream from t1 order by stream".to_owned(), json!([["t1-1"], ["t1-2"]])),
        ("select count(*) from events where stream = 't2-1' or stream like 't10%'".to_owned(), json!([[0]])),
        ("select count(*) from events where stream in ('t2-1', 't1-1')".to_owned(), json!([[1]])),
        (format!("select count(*) from events where id = '{hidden}'"), json!([[0]])),
        ("with e as (select * from events) select count(*) from e a, e b where a.stream not like 't1-%'".to_owned(), json!([[0]])),
        ("select (select max(position) from events where category = 't2') as p".to_owned(), json!([[null]])),
        ("select count(*) from (select stream from events union all select stream from public.events)".to_owned(), json!([[4]])),
        ("select count(*) from events where position >= 0 and not (stream = 't1-1')".to_owned(), json!([[1]])),
        // What would fail on an event that is not theirs is never worked out on it.
        ("select sum(1 / (case when stream like 't1-%' then 1 else 0 end)) from events".to_owned(), json!([[2]])),
    ] {
        assert_eq!(ask(&query).await.is(200).json()["rows"], rows, "{query}");
    }
    // What is not theirs, and what is not there, are told with the same words.
    let unknown = async |table: &str| {
        let problem = ask(&format!("select * from {table}")).await.problem(400, "malformed-request");
        problem["detail"].as_str().unwrap().replace(table.rsplit('.').next().unwrap(), "?")
    };
    let nothing = unknown("nothing").await;
    for table in ["t2", "t10", "other", "seen", "views.seen", "exports.nothing", "categories.t2"] {
        assert_eq!(unknown(table).await, nothing, "{table}");
    }
    let plan = ask("explain verbose select * from events where type = 'T'").await.is(200).text();
    assert!(!plan.contains("t2-") && !plan.contains("t10"), "{plan}");
    let tables = guarded.get("/v1/tables", &token).await.is(200).json();
    let names: Vec<&str> = tables["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["events", "t1"]);
    // Nor for a token that is for no stream at all, and all of it for one that is for all.
    let none = guarded.client("nobody", &["sql:read"], Some(&[])).await.0;
    let counted = async |token: &str| {
        let answer = guarded.post("/v1/sql", token, &json!({"query": "select count(*) from events"})).await.is(200);
        answer.json()["rows"][0][0].as_u64().unwrap()
    };
    assert_eq!((counted(&none).await, counted(&guarded.root).await), (0, 5));
    guarded.get("/v1/exports", &token).await.problem(403, "forbidden");
    guarded.get("/v1/views/seen", &token).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a3_writing_obeys_the_rule_of_each_stream() {
    let guarded = Guarded::new().await;
    let token = tenants(&guarded).await;
    let events = json!([{"type": "T", "data": 1}]);
    let both = json!({"appends": [{"stream": "t1-1", "events": events}, {"stream": "t2-1", "events": events}]});
    guarded.post("/v1/transactions", &token, &both).await.problem(403, "forbidden");
    let asking = json!({"appends": [{"stream": "t1-1", "events": events}], "conditions": [{"query": [], "after": "0"}]});
    guarded.post("/v1/transactions", &token, &asking).await.problem(403, "forbidden");
    let one = json!({"appends": [{"stream": "t1-1", "events": events}]});
    guarded.post("/v1/transactions", &token, &one).await.is(201);
    let lines = "{\"stream\":\"t1-9\",\"type\":\"T\",\"data\":1}\n{\"stream\":\"t2-9\",\"type\":\"T\",\"data\":1}\n";
    let import = guarded.send("POST", "/v1/import", &token, &[("content-type", "application/x-ndjson")], lines).await.is(200);
    let last = import.lines().pop().unwrap();
    assert_eq!((&last["$error"]["status"], &last["$error"]["line"]), (&json!(403), &json!(2)), "{last}");
    guarded.get("/v1/streams/t2-9", &guarded.root).await.problem(404, "stream-not-found");
    guarded.send("PUT", "/v1/aggregates/t1/1/snapshots/1", &token, &[JSON], r#"{"state":{}}"#).await.is(204);
    guarded.send("PUT", "/v1/aggregates/t2/1/snapshots/1", &token, &[JSON], r#"{"state":{}}"#).await.problem(403, "forbidden");
    guarded.post("/v1/aggregates/t2/1/commands/go", &token, &json!({})).await.problem(403, "forbidden");
    guarded.post("/v1/aggregates/t1/1/commands/go", &token, &json!({})).await.problem(404, "command-not-found");
    // Who may only write learns where a stream is from a lost race, and not what is in it.
    let writer = guarded.client("writer", &["events:append"], Some(&["t1-*"])).await.0;
    let late = json!({"events": events, "expected_version": 0});
    let conflict = guarded.post("/v1/streams/t1-1/events", &writer, &late).await.problem(409, "wrong-expected-version");
    assert_eq!((&conflict["actual_version"], &conflict["conflicting_events"]), (&json!(2), &json!([])));
    let conflict = guarded.post("/v1/streams/t1-1/events", &token, &late).await.problem(409, "wrong-expected-version");
    assert_eq!(conflict["conflicting_events"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a3_consumer_groups_are_for_who_may_read_all_that_they_give() {
    let guarded = Guarded::new().await;
    let token = tenants(&guarded).await;
    guarded.put("/v1/subscriptions/all", &guarded.root, &json!({})).await.is(201);
    guarded.put("/v1/subscriptions/theirs", &guarded.root, &json!({"filter": {"stream_prefix": "t1-"}})).await.is(201);
    guarded.put("/v1/subscriptions/wider", &guarded.root, &json!({"filter": {"stream_prefix": "t1"}})).await.is(201);
    for group in ["all", "wider", "nothing"] {
        for path in ["", "/events", "/parked"] {
            guarded.get(&format!("/v1/subscriptions/{group}{path}"), &token).await.problem(403, "forbidden");
        }
        guarded.post(&format!("/v1/subscriptions/{group}/ack"), &token, &json!({"deliveries": []})).await.problem(403, "forbidden");
    }
    let batch = guarded.send("GET", "/v1/subscriptions/theirs/events", &token, &[("prefer", "wait=0")], "").await.is(200).json();
    assert_eq!(batch["deliveries"].as_array().unwrap().len(), 2);
    guarded.get("/v1/subscriptions/theirs", &token).await.is(200);
}

#[tokio::test]
async fn a5_whether_something_is_there_is_not_told() {
    let guarded = Guarded::new().await;
    let token = tenants(&guarded).await;
    let there = guarded.get("/v1/streams/t2-1", &token).await.problem(403, "forbidden");
    let absent = guarded.get("/v1/streams/t2-7", &token).await.problem(403, "forbidden");
    assert_eq!(there, absent);
    let events = guarded.get("/v1/streams/t2-1/events", &guarded.root).await.is(200).json();
    let id = events["events"][0]["id"].as_str().unwrap();
    guarded.get(&format!("/v1/events/{id}"), &guarded.root).await.is(200);
    let hidden = guarded.get(&format!("/v1/events/{id}"), &token).await.problem(404, "event-not-found");
    let other = id.replace(&id[..4], "ffff");
    let absent = guarded.get(&format!("/v1/events/{other}"), &token).await.problem(404, "event-not-found");
    assert_eq!(hidden.to_string().replace(id, "x"), absent.to_string().replace(&other, "x"));
}
