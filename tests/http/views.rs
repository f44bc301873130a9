//! Views: filters, order, pages, rows by key, and reading what one has just written.

use serde_json::Value;
use serde_json::json;

use crate::support::Api;

const ORDERS: &str = r#"
[source]
categories = ["order"]

[columns]
id = "text primary key"
status = "text index"
amount = "decimal(12,2)"
limit = "bigint default 0"
placed_at = "timestamp"

[on.Placed]
key = "$.stream"
set = { status = "'new'", amount = "$.data.amount", placed_at = "$.occurred_at" }

[on.Paid]
key = "$.stream"
set = { status = "'paid'" }
add = { limit = 1 }
"#;

/// Orders 1 to `count` of 10.50, 21.00 …; every third is paid. The cursor behind the last event.
async fn with_orders(count: u64) -> (Api, String) {
    let api = Api::new().await;
    api.put("/v1/projections/orders", &[("content-type", "application/toml")], ORDERS).await.is(201);
    let mut cursor = String::new();
    for number in 1..=count {
        let amount = f64::from(u32::try_from(number).expect("a small number")) * 10.5;
        let stream = format!("order-{number:03}");
        cursor = api.append(&stream, "Placed", &json!({"amount": amount})).await.is(201).header("factum-position").to_owned();
        if number % 3 == 0 {
            cursor = api.append(&stream, "Paid", &json!({})).await.is(201).header("factum-position").to_owned();
        }
    }
    (api, cursor)
}

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().expect("rows").iter().map(|row| row["id"].as_str().expect("a text")).collect()
}

#[tokio::test]
async fn rows_are_filtered_sorted_and_counted() {
    let (api, cursor) = with_orders(12).await;
    let min = [("factum-min-position", cursor.as_str())];
    let answer = api.get_with("/v1/views/orders?status=paid&order_by=-amount&limit=2&count=true", &min).await.is(200);
    let page = answer.json();
    assert_eq!(ids(&page["rows"]), ["order-012", "order-009"]);
    assert_eq!((&page["count"], answer.header("factum-position")), (&json!(4), cursor.as_str()));
    // Digits as the column has them, which a float would not keep.
    assert!(answer.text().contains(r#""status":"paid","amount":126.00,"limit":1,"placed_at":""#), "{}", answer.text());
    assert_eq!((&page["rows"][0]["_version"], &page["rows"][0]["_position"]), (&json!(2), &json!(17)));
    let link = answer.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    let second = api.get(&link).await.is(200).json();
    assert_eq!((ids(&second["rows"]), &second["next"]), (vec!["order-006", "order-003"], &Value::Null));
    let check = async |query: &str, expected: &[&str]| {
        let page = api.get(&format!("/v1/views/orders?{query}")).await.is(200).json();
        assert_eq!(ids(&page["rows"]), expected, "{query}");
        assert_eq!(page.get("count"), None);
    };
    check("amount__gte=21&amount__lt=42.00", &["order-002", "order-003"]).await;
    check("id__in=order-007,order-001,nothing", &["order-001", "order-007"]).await;
    check("id__prefix=order-01&order_by=-id", &["order-012", "order-011", "order-010"]).await;
    check("limit__eq=1&status__ne=new&limit=1", &["order-003"]).await;
    check("status=paid&status=new&limit=1&order_by=status,-id", &["order-011"]).await;
    check("placed_at__null=true", &[]).await;
    check("order_by=-limit,amount&limit=2", &["order-003", "order-006"]).await;
}

#[tokio::test]
async fn rows_come_one_a_line_and_are_not_sent_twice() {
    let (api, cursor) = with_orders(3).await;
    let lines = [("factum-min-position", cursor.as_str()), ("accept", "application/x-ndjson")];
    let answer = api.get_with("/v1/views/orders?limit=2", &lines).await.is(200);
    assert_eq!((answer.header("content-type"), answer.lines().len()), ("application/x-ndjson", 2));
    assert!(answer.header("link").contains("after="));
    api.get_with("/v1/views/orders?count=true", &lines).await.problem(400, "malformed-request");
    let page = api.get("/v1/views/orders").await.is(200);
    api.get_with("/v1/views/orders", &[("if-none-match", page.header("etag"))]).await.is(304);
    api.get_with("/v1/views/orders", &[("accept", "text/html")]).await.problem(406, "not-acceptable");
}

#[tokio::test]
async fn a_row_is_read_by_its_key() {
    let (api, cursor) = with_orders(3).await;
    let min = [("factum-min-position", cursor.as_str()), ("prefer", "wait=2.5")];
    let answer = api.get_with("/v1/views/orders/order-003", &min).await.is(200);
    assert_eq!(answer.json()["status"], "paid");
    assert_eq!((answer.header("factum-position"), answer.header("preference-applied")), (cursor.as_str(), "wait=2.5"));
    api.get_with("/v1/views/orders/order-003", &[("if-none-match", answer.header("etag"))]).await.is(304);
    let missing = api.get("/v1/views/orders/order-004").await;
    let problem = missing.problem(404, "row-not-found");
    assert_eq!((&problem["key"], missing.header("factum-position")), (&json!("order-004"), cursor.as_str()));
    let problem = api.get("/v1/views/nothing/1").await.problem(404, "view-not-found");
    assert_eq!((&problem["known"], &problem["detail"]), (&json!(["orders"]), &json!("there is no view nothing")));
    api.get("/v1/views/nothing?stauts=1").await.problem(404, "view-not-found");
}

#[tokio::test]
async fn a_key_may_hold_anything() {
    let (api, _) = with_orders(1).await;
    for key in ["order-a%2Fb", "order-%E2%82%AC%20%F0%9F%92%A9", "order-%25%3F%23", "order-.."] {
        let written = api.append(key, "Placed", &json!({"amount": 1})).await.is(201);
        let min = [("factum-min-position", written.header("factum-position"))];
        let row = api.get_with(&format!("/v1/views/orders/{key}"), &min).await.is(200).json();
        let found = api.get(&format!("/v1/views/orders?id={key}&count=true")).await.is(200).json();
        assert_eq!((&found["rows"][0], &found["count"]), (&row, &json!(1)), "{key}");
    }
    for (key, field) in [("%FF", "key"), ("%2", "key")] {
        assert_eq!(api.get(&format!("/v1/views/orders/{key}")).await.problem(400, "malformed-request")["field"], field);
    }
}

/// What a view is asked with `=` twice will do either way; everything else must hold.
#[tokio::test]
async fn only_equality_is_a_choice() {
    let (api, cursor) = with_orders(6).await;
    let count = async |query: &str| {
        let min = [("factum-min-position", cursor.as_str())];
        api.get_with(&format!("/v1/views/orders?count=true&limit=1&{query}"), &min).await.is(200).json()["count"].clone()
    };
    assert_eq!(count("status=paid&status=new").await, 6);
    assert_eq!(count("status=paid&status__in=new,lost").await, 0);
    assert_eq!(count("id__in=order-001,order-002&id__in=order-002,order-003").await, 1);
    assert_eq!(count("status=new&id__prefix=order&amount__gt=10.5").await, 3);
}

#[tokio::test]
async fn what_one_has_written_is_there() {
    let (api, _) = with_orders(1).await;
    for number in 2..40 {
        let stream = format!("order-{number:03}");
        let written = api.append(&stream, "Placed", &json!({"amount": 1})).await.is(201);
        let min = [("factum-min-position", written.header("factum-position"))];
        api.get_with(&format!("/v1/views/orders/{stream}"), &min).await.is(200);
        // An event of another category changes no row, and is waited for all the same.
        let other = api.append("other-1", "Noted", &json!({})).await.is(201);
        let min = [("factum-min-position", other.header("factum-position"))];
        let page = api.get_with("/v1/views/orders?limit=1&count=true", &min).await.is(200).json();
        assert_eq!(page["count"], number);
    }
}

#[tokio::test]
async fn a_view_that_is_behind_says_so() {
    let (api, cursor) = with_orders(1).await;
    api.get_with("/v1/views/orders", &[("factum-min-position", cursor.as_str())]).await.is(200);
    api.post("/v1/projections/orders/pause", "").await;
    let paused = async {
        while api.get("/v1/projections/orders").await.is(200).json()["state"] != "paused" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), paused).await.expect("it comes to rest");
    let written = api.append("order-002", "Placed", &json!({"amount": 1})).await.is(201);
    let min = [("factum-min-position", written.header("factum-position")), ("prefer", "wait=0")];
    let answer = api.get_with("/v1/views/orders", &min).await;
    let problem = answer.problem(503, "read-model-behind");
    // The pause is an event, too; it may have been passed over before it took effect.
    let number = |text: &str| text.parse::<u64>().unwrap();
    let reached = number(problem["position"].as_str().unwrap());
    assert!((number(&cursor)..number(written.header("factum-position"))).contains(&reached), "{problem}");
    assert_eq!(problem["min_position"], written.header("factum-position"));
    assert!(problem["detail"].as_str().unwrap().contains("paused"), "{problem}");
    assert_eq!(answer.header("retry-after"), "1");
    // Without it the rows are given as they are.
    let answer = api.get("/v1/views/orders").await.is(200);
    assert_eq!((number(answer.header("factum-position")), ids(&answer.json()["rows"])), (reached, vec!["order-001"]));
    api.post("/v1/projections/orders/resume", "").await;
    let min = [min[0], ("prefer", "wait=30")];
    api.get_with("/v1/views/orders/order-002", &min).await.is(200);
}

#[tokio::test]
async fn what_a_view_cannot_answer_is_refused() {
    let (api, _) = with_orders(2).await;
    let check = async |query: &str, field: &str| {
        let problem = api.get(&format!("/v1/views/orders?{query}")).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    };
    check("stauts=paid", "stauts").await;
    check("amount__like=1", "amount__like").await;
    check("amount=1.234", "amount").await;
    check("amount=many", "amount").await;
    check("placed_at__gt=yesterday", "placed_at__gt").await;
    check("order_by=-amuont", "order_by").await;
    check("limit=0", "limit").await;
    check("count=yes", "count").await;
    check("after=nonsense", "after").await;
    check("limit=1&limit=2", "limit").await;
    check("order_by=amount&order_by=id", "order_by").await;
    check("order_by=amount,", "order_by").await;
    check("status=%FF", "status").await;
    check("id=%2", "id").await;
    check("__gt=1", "__gt").await;
    check("amount__in=1,,2", "amount__in").await;
    check("_version=1", "_version").await;
    let problem = api.get("/v1/views/orders?placed_at__gt=2026-11-22T18:00:00+01:00").await.problem(400, "malformed-request");
    assert!(problem["detail"].as_str().unwrap().contains("%2B"), "{problem}");
    for (headers, field) in [(("factum-min-position", "nonsense"), "Factum-Min-Position"), (("prefer", "wait=long"), "Prefer")] {
        let problem = api.get_with("/v1/views/orders", &[headers]).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], field, "{problem}");
    }
}

#[tokio::test]
async fn views_are_listed_with_their_columns() {
    let (api, cursor) = with_orders(2).await;
    api.get_with("/v1/views/orders", &[("factum-min-position", cursor.as_str())]).await.is(200);
    let list = api.get("/v1/views").await.is(200).json();
    assert_eq!(list["views"].as_array().unwrap().len(), 1);
    let view = &list["views"][0];
    assert_eq!((&view["view"], &view["rows"], &view["position"]), (&json!("orders"), &json!(2), &json!(cursor)));
    assert_eq!(view["columns"][0], json!({"name": "id", "type": "text", "primary_key": true, "index": false}));
    assert_eq!(view["columns"][2], json!({"name": "amount", "type": "decimal(12,2)", "primary_key": false, "index": false}));
}

/// A changed definition is built beside the rows in use: no reader is ever refused, and each sees whole rows of one of the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_not_seen_from_outside() {
    let (api, cursor) = with_orders(60).await;
    api.get_with("/v1/views/orders", &[("factum-min-position", cursor.as_str())]).await.is(200);
    for round in 0..4 {
        let changed = if round % 2 == 0 {
            ORDERS.replace("placed_at = \"timestamp\"", "placed_at = \"timestamp\"\nextra = \"text\"")
        } else {
            ORDERS.to_owned()
        };
        let changed = changed.replace("[on.Placed]", &format!("# {round}\n[on.Placed]"));
        api.put("/v1/projections/orders", &[("content-type", "application/toml")], &changed).await.is(200);
        let wanted = round % 2 == 0;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let page = api.get("/v1/views/orders?status=paid&count=true").await.is(200).json();
            assert_eq!(page["count"], 20);
            if page["rows"][0].get("extra").is_some() == wanted {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "round {round}: the new rows never came");
        }
    }
}
