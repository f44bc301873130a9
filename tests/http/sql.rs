//! SQL: formats, parameters, reading one's own writes, refusals, and tables.

use serde_json::Value;
use serde_json::json;

use crate::support::Answer;
use crate::support::Api;
use crate::support::JSON;
use crate::support::request;

/// Three orders, of which two are paid.
async fn with_orders() -> Api {
    let api = Api::new().await;
    for (number, amount, city) in [(1, 10.5, "Köln"), (2, 20.0, "Aix, \"Bains\""), (3, 0.25, "")] {
        let data = json!({"amount": amount, "city": city, "items": [number, null]});
        api.append(&format!("order-{number}"), "Placed", &data).await.is(201);
    }
    api.append("order-1", "Paid", &json!({"by": "card"})).await.is(201);
    api.append("order-3", "Paid", &json!({"by": null})).await.is(201);
    api
}

impl Api {
    async fn sql(&self, query: &str) -> Answer {
        self.post("/v1/sql", &json!({"query": query}).to_string()).await
    }

    async fn sql_as(&self, query: &str, accept: &str) -> Answer {
        self.post_with("/v1/sql", &[("accept", accept)], &json!({"query": query}).to_string()).await
    }
}

#[tokio::test]
async fn rows_come_as_a_document() {
    let api = with_orders().await;
    let answer = api.sql("select stream, amount, version from \"order\" where type = 'Placed' order by stream").await.is(200);
    let expected = json!({
        "columns": [{"name": "stream", "type": "text"}, {"name": "amount", "type": "double"}, {"name": "version", "type": "bigint"}],
        "rows": [["order-1", 10.5, 1], ["order-2", 20.0, 1], ["order-3", 0.25, 1]],
        "cursor": "5"
    });
    assert_eq!(answer.json(), expected);
    assert_eq!((answer.header("factum-position"), answer.header("content-type")), ("5", "application/json"));
    assert_eq!((answer.header("cache-control"), answer.header("vary")), ("no-store", "accept, accept-encoding"));
    let none = api.sql("select id from events where stream = 'nothing'").await.is(200).json();
    assert_eq!((&none["rows"], &none["columns"][0]["name"]), (&json!([]), &json!("id")));
}

#[tokio::test]
async fn rows_come_in_every_format() {
    let api = with_orders().await;
    let query = "select city, amount from \"order\" where type = 'Placed' order by stream";
    let lines = api.sql_as(query, "application/x-ndjson").await.is(200);
    assert_eq!(
        lines.lines(),
        [json!({"city": "Köln", "amount": 10.5}), json!({"city": "Aix, \"Bains\"", "amount": 20.0}), json!({"city": "", "amount": 0.25})]
    );
    let csv = api.sql_as(query, "text/csv").await.is(200);
    assert_eq!(csv.text(), "city,amount\nKöln,10.5\n\"Aix, \"\"Bains\"\"\",20.0\n\"\",0.25\n");
    let arrow = api.sql_as(query, "application/vnd.apache.arrow.stream").await.is(200);
    let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(arrow.bytes), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 3);
    let parquet = api.sql_as(query, "application/vnd.apache.parquet").await.is(200);
    assert_eq!(parquet.header("content-type"), "application/vnd.apache.parquet");
    assert!(parquet.bytes.starts_with(b"PAR1") && parquet.bytes.ends_with(b"PAR1"));
    api.sql_as(query, "text/html").await.problem(406, "not-acceptable");
}

#[tokio::test]
async fn parameters_stand_for_values() {
    let api = with_orders().await;
    let body = json!({"query": "select stream from \"order\" where amount > $1 and city <> $2 order by stream", "params": [0.3, "Köln"]});
    let answer = api.post("/v1/sql", &body.to_string()).await.is(200).json();
    assert_eq!(answer["rows"], json!([["order-2"]]));
    // What is no parameter is no part of the statement either.
    let body = json!({"query": "select count(*) from events where stream = $1", "params": ["x' or 'a' = 'a"]});
    assert_eq!(api.post("/v1/sql", &body.to_string()).await.is(200).json()["rows"], json!([[0]]));
}

#[tokio::test]
async fn what_one_has_written_is_in_the_views() {
    let api = Api::new().await;
    let orders = "[source]\ncategories = [\"order\"]\n[columns]\nid = \"text primary key\"\nplaced = \"bigint default 0\"\n[on.Placed]\n\
        key = \"$.stream\"\nadd = { placed = 1 }\n";
    api.put("/v1/projections/placed", &[("content-type", "application/toml")], orders).await.is(201);
    for number in 1..20 {
        let written = api.append(&format!("order-{number}"), "Placed", &json!({})).await.is(201);
        let min = [("factum-min-position", written.header("factum-position")), ("prefer", "wait=30")];
        let query = json!({"query": "select count(*) as n, sum(placed) from views.placed"}).to_string();
        let answer = api.post_with("/v1/sql", &min, &query).await.is(200);
        assert_eq!(answer.json()["rows"], json!([[number, number]]));
        assert_eq!(answer.header("preference-applied"), "wait=30");
    }
    let query = json!({"query": "select 1"}).to_string();
    let problem = api.post_with("/v1/sql", &[("factum-min-position", "x")], &query).await.problem(400, "malformed-request");
    assert_eq!(problem["field"], "Factum-Min-Position");
}

#[tokio::test]
async fn what_is_no_query_is_refused() {
    let api = with_orders().await;
    let check = async |body: &str, field: &str| {
        let problem = api.post("/v1/sql", body).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], field, "{body}: {problem}");
    };
    check("", "body").await;
    check("[\"select 1\"]", "body").await;
    check(r#"{"params": []}"#, "query").await;
    check(r#"{"query": "select 1", "param": []}"#, "param").await;
    check(r#"{"query": "select 1", "params": 5}"#, "params").await;
    check(r#"{"query": 5}"#, "query").await;
    check(r#"{"query": ""}"#, "query").await;
    check(r#"{"query": "select 1; select 2"}"#, "query").await;
    check(r#"{"query": "delete from events"}"#, "query").await;
    check(r#"{"query": "select amuont from \"order\""}"#, "query").await;
    let problem = api.sql("select 1,\n  amuont from \"order\"").await.problem(400, "malformed-request");
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(3)), "{problem}");
    let large = format!(r#"{{"query": "select '{}'"}}"#, "x".repeat(2 << 20));
    api.post("/v1/sql", &large).await.problem(413, "payload-too-large");
    api.send(request("POST", "/v1/sql", &[], "{}")).await.problem(415, "unsupported-media-type");
    api.post("/v1/sql?limit=5", r#"{"query": "select 1"}"#).await.problem(400, "malformed-request");
    api.get("/v1/sql").await.problem(405, "method-not-allowed");
    let compressed = zstd::bulk::compress(br#"{"query": "select 1 as one"}"#, 1).unwrap();
    let answer = api.send(request("POST", "/v1/sql", &[JSON, ("content-encoding", "zstd")], compressed)).await.is(200);
    assert_eq!(answer.json()["rows"], json!([[1]]));
}

/// What fails while rows are worked out, before the first of them is there, is an answer of its own.
#[tokio::test]
async fn what_fails_at_the_first_row_has_a_status() {
    let api = with_orders().await;
    let problem = api.sql("select 1 / (version - version) from events").await;
    assert_eq!(problem.problem(400, "malformed-request")["field"], "query");
}

#[tokio::test]
async fn tables_are_listed_page_by_page() {
    let api = with_orders().await;
    api.append("customer-1", "Named", &json!({"name": "Ada"})).await.is(201);
    // A view of a category's name has to be written with what it is.
    let view = "[source]\ncategories = [\"order\"]\n[columns]\nid = \"text primary key\"\n[on.Placed]\nkey = \"$.stream\"\nset = {}\n";
    api.put("/v1/projections/order", &[("content-type", "application/toml")], view).await.is(201);
    let end = api.append("order-9", "Placed", &json!({})).await.is(201).header("factum-position").to_owned();
    api.get_with("/v1/views/order", &[("factum-min-position", end.as_str())]).await.is(200);
    let all = api.get("/v1/tables").await.is(200).json();
    let names = |page: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        page["tables"].as_array().unwrap().iter().map(|table| (text(&table["name"]), text(&table["kind"]))).collect()
    };
    let expected = [("customer", "category"), ("events", "events"), ("order", "category"), ("views.order", "view")];
    let expected: Vec<(String, String)> = expected.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
    assert_eq!((names(&all), &all["next"]), (expected.clone(), &Value::Null));
    let amount = json!({"name": "amount", "type": "double", "nullable": true});
    assert!(all["tables"][2]["columns"].as_array().unwrap().contains(&amount), "{all}");
    // Each is what the list says, in pages of one as well.
    let mut link = "/v1/tables?limit=1".to_owned();
    let mut paged = Vec::new();
    while !link.is_empty() {
        let page = api.get(&link).await.is(200);
        paged.extend(names(&page.json()));
        link = page.header("link").trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
    }
    assert_eq!(paged, expected);
    for (name, _) in expected {
        let name = name.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".");
        api.sql(&format!("select * from {name}")).await.is(200);
    }
}
