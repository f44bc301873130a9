//! A collector of traces: takes OTLP in JSON, and keeps what came for a test to look at.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Takes spans for as long as it exists.
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: watch::Receiver<Vec<Value>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (sender, spans) = watch::channel(Vec::new());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::new(sender));
        let serving = tokio::spawn(async move { axum_serve(listener, router).await });
        Self { url, spans, serving }
    }

    /// The spans of a trace, once `enough` of them are there.
    pub(crate) async fn wait_for(&self, what: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut spans = self.spans.clone();
        let waiting = spans.wait_for(|spans| enough(spans));
        match tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await {
            Ok(found) => found.expect("the collector runs").clone(),
            Err(_) => panic!("{what} did not come; what came: {:#?}", self.all()),
        }
    }

    pub(crate) fn all(&self) -> Vec<Value> {
        self.spans.borrow().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    let settings = factum::http::HttpSettings::default();
    factum::http::serve(listener, router, settings, std::future::pending()).await.expect("it serves");
}

async fn take(State(spans): State<Arc<watch::Sender<Vec<Value>>>>, headers: HeaderMap, body: String) -> &'static str {
    assert_eq!(headers["content-type"], "application/json");
    let document: Value = serde_json::from_str(&body).expect("OTLP in JSON");
    let resource = &document["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "factum", "{document}");
    let came = resource["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    came.iter().for_each(check);
    spans.send_modify(|all| all.extend(came));
    "{}"
}

/// A span as the OTLP schema has it.
fn check(span: &Value) {
    let is_id = |value: &Value, length: usize| {
        let is_hex = |text: &str| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        value.as_str().is_some_and(|text| is_hex(text) && text.bytes().any(|byte| byte != b'0'))
    };
    assert!(is_id(&span["traceId"], 32) && is_id(&span["spanId"], 16), "{span}");
    assert!(span["parentSpanId"].is_null() || is_id(&span["parentSpanId"], 16), "{span}");
    let time = |name: &str| span[name].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name}: {span}"));
    assert!(time("startTimeUnixNano") > 1_600_000_000_000_000_000 && time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span}");
    assert!(span["kind"].as_u64().is_some_and(|kind| (1..=5).contains(&kind)) && span["name"].is_string(), "{span}");
}
