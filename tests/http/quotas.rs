//! Can one client take what is there for all?

use factum::http::HttpSettings;
use factum::http::Quotas;
use serde_json::json;
use tower::ServiceExt;

use crate::guarded::Guarded;
use crate::support::request;

async fn guarded(quotas: Quotas) -> Guarded {
    Guarded::over(HttpSettings { quotas, ..HttpSettings::default() }, |_| {}).await
}

/// A8: who asks too often is told when to come back, and the others are served.
#[tokio::test]
async fn a8_a_client_beyond_its_rate_waits_and_the_others_do_not() {
    let guarded = guarded(Quotas { requests_per_second: Some(50), ..Quotas::default() }).await;
    let (noisy, secret) = guarded.client("noisy", &["events:read"], None).await;
    let (quiet, _) = guarded.client("quiet", &["events:read"], None).await;
    let mut refused = 0;
    // So many can't be in order, however slow this machine is, unless a request takes a hundredth of a second.
    for _ in 0..2_000 {
        let answer = guarded.get("/v1/events", &noisy).await;
        if answer.status == 200 {
            continue;
        }
        assert_eq!(answer.header("retry-after"), "1");
        let problem = answer.problem(429, "too-many-requests");
        assert_eq!((&problem["quota"], &problem["max"]), (&json!("requests_per_second"), &json!(50)));
        refused += 1;
        if refused == 20 {
            break;
        }
    }
    assert_eq!(refused, 20);
    guarded.get("/v1/events", &quiet).await.is(200);
    // Another token of the same client is no way out.
    let again = guarded.token("noisy", &secret, "").await;
    let answers = futures::future::join_all((0..100).map(|_| guarded.get("/v1/events", &again))).await;
    assert!(answers.iter().any(|answer| answer.status == 429));
    // What is refused for another reason says so.
    guarded.get("/v1/events", "garbage").await.problem(401, "unauthenticated");
}

/// A8: a feed counts as long as somebody reads it.
#[tokio::test]
async fn a8_requests_under_way_are_counted_until_their_answers_are_through() {
    let guarded = guarded(Quotas { requests_at_once: Some(2), ..Quotas::default() }).await;
    let (token, _) = guarded.client("reader", &["events:read"], None).await;
    let bearer = format!("Bearer {token}");
    let feed = async || {
        let headers = [("authorization", bearer.as_str()), ("accept", "text/event-stream")];
        guarded.api.router.clone().oneshot(request("GET", "/v1/events", &headers, "")).await.expect("infallible")
    };
    let (one, other) = (feed().await, feed().await);
    assert_eq!((one.status(), other.status()), (http::StatusCode::OK, http::StatusCode::OK));
    let problem = guarded.get("/v1/events", &token).await.problem(429, "too-many-requests");
    assert_eq!((&problem["quota"], &problem["max"]), (&json!("requests_at_once"), &json!(2)));
    guarded.get("/v1/events", &guarded.root).await.is(200);
    drop(one);
    guarded.get("/v1/events", &token).await.is(200);
    guarded.get("/v1/events", &token).await.is(200);
    drop(other);
}

/// A8: queries have places of their own.
#[cfg(feature = "analytics")]
#[tokio::test]
async fn a8_a_clients_queries_leave_room_for_those_of_others() {
    let guarded = guarded(Quotas { queries_at_once: Some(1), ..Quotas::default() }).await;
    let (token, _) = guarded.client("analyst", &["sql:read", "events:read"], None).await;
    let bearer = format!("Bearer {token}");
    // Far more rows than anybody takes before the answer is dropped.
    let endless = json!({"query": "select a.value, b.value from generate_series(1, 100000) a, generate_series(1, 100000) b"}).to_string();
    let headers = [("authorization", bearer.as_str()), ("accept", "application/x-ndjson"), ("content-type", "application/json")];
    let running = guarded.api.router.clone().oneshot(request("POST", "/v1/sql", &headers, endless)).await.expect("infallible");
    assert_eq!(running.status(), http::StatusCode::OK);
    let short = json!({"query": "select 1"});
    let problem = guarded.post("/v1/sql", &token, &short).await.problem(429, "too-many-requests");
    assert_eq!(problem["quota"], "queries_at_once");
    guarded.get("/v1/events", &token).await.is(200);
    guarded.post("/v1/sql", &guarded.root, &short).await.is(200);
    drop(running);
    guarded.post("/v1/sql", &token, &short).await.is(200);
}
