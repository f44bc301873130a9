//! What surrounds every request? An id, a span, and a net under handlers that panic: one layer, so that the append path passes only one.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Instant;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::future::Either;
use futures::future::ready;
use http::HeaderName;
use http::HeaderValue;
use tower::Layer;
use tower::Service;
use tracing::Instrument;

use crate::http::carried::Carried;
use crate::http::meters;
use crate::http::meters::Meters;
use crate::http::new_events::traceparent;
use crate::http::problem::Cause;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::problem::WaitIsOver;
use crate::telemetry::request;
use crate::telemetry::request::RequestIds;
use crate::telemetry::request::TraceId;
use crate::telemetry::traces;
use crate::telemetry::traces::Answered;

/// Puts [`Observe`] around a service.
#[derive(Clone)]
pub(crate) struct ObserveLayer {
    meters: Arc<Meters>,
    log: Arc<str>,
}

impl ObserveLayer {
    /// Around the routes of a database whose first shard has this log.
    pub(crate) fn new(log: [u8; 16]) -> Self {
        Self { meters: Meters::new(), log: format!("{:032x}", u128::from_be_bytes(log)).into() }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe { inner, meters: Arc::clone(&self.meters), log: Arc::clone(&self.log) }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Observe<S> {
    inner: S,
    meters: Arc<Meters>,
    log: Arc<str>,
}

impl<S> Service<Request> for Observe<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let began = Instant::now();
        let meters = Arc::clone(&self.meters);
        let id = request_id(&request);
        let method = request.method().clone();
        let path = request.extensions().get::<MatchedPath>().cloned();
        let name = path.as_ref().map_or("", MatchedPath::as_str);
        // A span costs about as much as parsing a small append: it is made where somebody looks at requests one by one.
        // Failures are told in any case, with all that the span would say.
        let span = tracing::debug_span!("request", %method, path = name, status = tracing::field::Empty);
        let parent = traceparent(request.headers());
        let trace = parent.and_then(TraceId::of_traceparent).unwrap_or_else(TraceId::draw);
        let state = request.headers().get("tracestate").and_then(|state| state.to_str().ok());
        let kept = traces::begin(trace, parent, state);
        let ids = RequestIds { request: id.to_str().unwrap_or_default().into(), trace, span: kept.clone() };
        let answer = match misdirected(&request, &self.log) {
            Some(problem) => Either::Left(ready(Ok(problem.into_response()))),
            None => Either::Right(self.inner.call(request)),
        };
        let answer = AssertUnwindSafe(answer).catch_unwind();
        let (recorded, of_body) = (span.clone(), ids.clone());
        let answered = async move {
            let mut response = match answer.await {
                Ok(Ok(response)) => response,
                Err(panic) => {
                    let cause = format!("panic: {}", panic_text(&*panic));
                    Problem::new(Slug::InternalError, "the server failed on this request").caused_by(&cause).into_response()
                }
            };
            let status = response.status();
            recorded.record("status", status.as_u16());
            let took = began.elapsed();
            meters.answered(path.as_ref().map_or("", MatchedPath::as_str), &method, status, took);
            tracing::debug!(%method, path = path.as_ref().map_or("", MatchedPath::as_str), status = status.as_u16(), ?took, "answered");
            // Whoever reads the log at ERROR has to look at something; nobody has when a client's own wait is over.
            if status.is_server_error() && response.extensions_mut().remove::<WaitIsOver>().is_none() {
                let path = path.as_ref().map_or("", MatchedPath::as_str);
                let cause = response.extensions_mut().remove::<Cause>();
                let cause = cause.as_ref().map_or("", |cause| &*cause.0);
                tracing::error!(%method, path, status = status.as_u16(), cause, "a request failed");
            }
            if let Some(kept) = kept {
                let route = path.as_ref().map_or("", MatchedPath::as_str);
                if let Some(place) = kept.answered(&Answered { route, method: method.as_str(), status: status.as_u16() }) {
                    meters::exemplar(route, &method, took, place);
                }
            }
            response.headers_mut().insert(REQUEST_ID, id);
            Ok(response.map(|body| Carried::over(body, of_body)))
        };
        request::within(ids, answered.instrument(span)).boxed()
    }
}

/// Whoever speaks to a shard must not change the log of another one that has come to its address.
fn misdirected(request: &Request, log: &str) -> Option<Problem> {
    request.headers().get(LOG_ID).filter(|meant| meant.as_bytes() != log.as_bytes())?;
    Some(Problem::new(Slug::MisdirectedRequest, "this server has another log").with_text("log_id", log))
}

/// What a panic said; ours never hold event data.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The client's id if it sent a sane one, else one of our own.
fn request_id(request: &Request) -> HeaderValue {
    if let Some(value) = request.headers().get(REQUEST_ID)
        && (1..=128).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return value.clone();
    }
    let number = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let start = PROCESS.get_or_init(|| uuid::Uuid::now_v7().as_u64_pair().1);
    let text = format!("{:016x}", start.wrapping_add(number));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);
static PROCESS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
const LOG_ID: HeaderName = HeaderName::from_static("factum-log-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn r6_a_panic_is_a_500_and_the_next_request_is_served() {
        async fn panics(request: Request) -> &'static str {
            assert!(request.headers().contains_key("x-calm"), "hush");
            "calm"
        }
        let router = Router::new().route("/", get(panics)).layer(ObserveLayer::new([0; 16]));
        let response = router.clone().oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status().as_u16(), 500);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("urn:factum:problem:internal-error") && !text.contains("hush"), "{text}");
        let calm = Request::builder().header("x-calm", "1").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(calm).await.unwrap().status().as_u16(), 200);
    }
}
