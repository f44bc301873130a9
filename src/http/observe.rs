//! What surrounds every request? An id, a span, and a net under handlers that panic: one layer, so that the append path passes only one.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderName;
use http::HeaderValue;
use tower::Layer;
use tower::Service;
use tracing::Instrument;

use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// Puts [`Observe`] around a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObserveLayer;

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Observe<S> {
    inner: S,
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
        let id = request_id(&request);
        let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let span = tracing::info_span!(
            "request",
            method = %request.method(),
            path,
            request_id = id.to_str().unwrap_or_default(),
            status = tracing::field::Empty
        );
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        let recorded = span.clone();
        let answered = async move {
            let mut response = match answer.await {
                Ok(Ok(response)) => response,
                Err(panic) => {
                    tracing::error!(panic = panic_text(&*panic), "a handler panicked");
                    Problem::new(Slug::InternalError, "the server failed on this request").into_response()
                }
            };
            let status = response.status();
            recorded.record("status", status.as_u16());
            if status.is_server_error() {
                tracing::warn!(status = status.as_u16(), "answered with a server error");
            }
            response.headers_mut().insert(REQUEST_ID, id);
            Ok(response)
        };
        answered.instrument(span).boxed()
    }
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
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
