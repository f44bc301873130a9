//! What does a consumer's connection carry? Deliveries as lines or Server-Sent Events, taken only as fast as the client reads.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::header;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::database::Consumer;
use crate::database::Delivery;
use crate::http::App;
use crate::http::answer;
use crate::http::feed::FeedFormat;
use crate::http::problem::Problem;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;
use crate::subscription::event_json::push_number;

/// An answer that goes on until the client, the server or the end of the subscription ends it.
pub(super) fn response(app: &Arc<App>, consumer: Consumer, format: FeedFormat) -> Response {
    let state = Share { consumer, format, heartbeat: app.settings.heartbeat, closing: app.settings.closing.clone(), has_ended: false };
    let parts = futures::stream::unfold(state, |mut state| async move {
        let part = state.next_part().await?;
        Some((Ok::<_, std::convert::Infallible>(part), state))
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    let content_type = match format {
        FeedFormat::Ndjson => answer::NDJSON,
        FeedFormat::Sse => HeaderValue::from_static("text/event-stream"),
    };
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer answers would hold deliveries back while their time runs.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

struct Share {
    consumer: Consumer,
    format: FeedFormat,
    heartbeat: Duration,
    closing: CancellationToken,
    has_ended: bool,
}

impl Share {
    async fn next_part(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let closing = self.closing.clone();
        let next = tokio::select! {
            biased;
            () = closing.cancelled() => return None,
            next = tokio::time::timeout(self.heartbeat, self.consumer.next_batch(PART_EVENTS)) => next,
        };
        let mut out = Vec::new();
        match next {
            Err(_) => out.extend_from_slice(match self.format {
                FeedFormat::Ndjson => b"{\"$heartbeat\":{}}\n".as_slice(),
                FeedFormat::Sse => b": heartbeat\n\n",
            }),
            Ok(Ok(deliveries)) => self.push(&mut out, &deliveries),
            Ok(Err(error)) => self.push_error(&mut out, error)?,
        }
        Some(out.into())
    }

    fn push(&self, out: &mut Vec<u8>, deliveries: &[Delivery]) {
        out.reserve(deliveries.iter().map(|delivery| delivery.event.record.stored_bytes() + 480).sum());
        for delivery in deliveries {
            match self.format {
                FeedFormat::Ndjson => push_delivery(out, delivery, Lines::One),
                FeedFormat::Sse => {
                    out.extend_from_slice(b"id: ");
                    push_id(out, delivery);
                    out.extend_from_slice(b"\nevent: delivery\ndata: ");
                    push_delivery(out, delivery, Lines::One);
                    out.push(b'\n');
                }
            }
            out.push(b'\n');
        }
    }

    /// The last thing that the consumer is told; nothing if the server stops, which it sees by itself.
    fn push_error(&mut self, out: &mut Vec<u8>, error: Error) -> Option<()> {
        self.has_ended = true;
        if self.closing.is_cancelled() {
            return None;
        }
        let problem = Problem::from(error);
        tracing::warn!(slug = problem.slug().entry().slug, cause = problem.cause(), "a consumer's stream broke off");
        let (before, after): (&[u8], &[u8]) = match self.format {
            FeedFormat::Ndjson => (b"{\"$error\":", b"}\n"),
            FeedFormat::Sse => (b"event: error\ndata: ", b"\n\n"),
        };
        out.extend_from_slice(before);
        out.extend_from_slice(&problem.to_json());
        out.extend_from_slice(after);
        Some(())
    }
}

/// Appends a delivery as one JSON object.
pub(super) fn push_delivery(out: &mut Vec<u8>, delivery: &Delivery, lines: Lines) {
    out.extend_from_slice(b"{\"delivery\":\"");
    push_id(out, delivery);
    out.extend_from_slice(b"\",\"attempt\":");
    push_number(out, u64::from(delivery.attempt));
    out.extend_from_slice(b",\"event\":");
    push_event(out, delivery.event.shard, &delivery.event.record, lines);
    out.push(b'}');
}

fn push_id(out: &mut Vec<u8>, delivery: &Delivery) {
    write!(out, "{}", delivery.id).expect("memory takes everything");
}

/// So many at a time: what a slow client has not read yet is out all the same, and its time runs.
const PART_EVENTS: usize = 256;
