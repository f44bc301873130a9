//! How does a client follow what happens? NDJSON and Server-Sent Events, pulled from a feed only as fast as the client reads.
//!
//! The body asks the feed for its next page when the connection wants more, so a slow reader holds one page and nothing
//! grows. A client that reads nothing at all is noticed outside of this stream, by the connection (see `connection`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::database::Cursor;
use crate::database::Event;
use crate::http::App;
use crate::http::access::Caller;
use crate::http::answer;
use crate::http::answer::push_cursor;
use crate::http::conditional::single;
use crate::http::pages::push_line;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::subscription::Feed;
use crate::subscription::FeedItem;
use crate::subscription::event_json::push_number;

/// How a feed goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedFormat {
    /// One event a line, and control lines.
    Ndjson,
    /// Server-Sent Events.
    Sse,
}

/// What names an event to resume after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The cursor, in the log of all streams.
    Cursors,
    /// The version, in one stream.
    Versions,
}

/// What an SSE client says that it has seen.
///
/// # Errors
///
/// 400 if it is given twice or not ASCII.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    Ok(single(headers, &HeaderName::from_static("last-event-id"), "Last-Event-ID")?.filter(|text| !text.is_empty()))
}

/// An answer that goes on until the client, the limit or the server ends it.
pub(crate) fn response(app: &Arc<App>, feed: Feed, (format, ids): (FeedFormat, Ids), limit: Option<usize>, caller: Caller) -> Response {
    let state = Follow {
        feed,
        format,
        ids,
        left: limit,
        heartbeat: app.settings.heartbeat,
        closing: app.settings.closing.clone(),
        has_ended: false,
        caller,
    };
    let mut response = Response::new(Body::from_stream(stream(state)));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let content_type = match format {
        FeedFormat::Ndjson => answer::NDJSON,
        FeedFormat::Sse => HeaderValue::from_static("text/event-stream"),
    };
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer answers would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

struct Follow {
    feed: Feed,
    format: FeedFormat,
    ids: Ids,
    left: Option<usize>,
    heartbeat: Duration,
    closing: CancellationToken,
    has_ended: bool,
    caller: Caller,
}

fn stream(state: Follow) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures::stream::unfold(state, |mut state| async move {
        let part = state.next_part().await?;
        Some((Ok(part), state))
    })
}

impl Follow {
    /// What goes out next; events that the reader may not see are nothing.
    async fn next_part(&mut self) -> Option<Bytes> {
        let deadline = Instant::now() + self.heartbeat;
        loop {
            let part = self.next_piece(deadline).await?;
            if !part.is_empty() {
                return Some(part);
            }
        }
    }

    async fn next_piece(&mut self, deadline: Instant) -> Option<Bytes> {
        if self.has_ended || self.left == Some(0) {
            return None;
        }
        let closing = self.closing.clone();
        let next = tokio::select! {
            biased;
            () = closing.cancelled() => return None,
            next = tokio::time::timeout_at(deadline, self.feed.next()) => next,
        };
        let mut out = Vec::new();
        match next {
            Err(_) => self.push_heartbeat(&mut out),
            Ok(Ok(FeedItem::Events(events))) => self.push_events(&mut out, &events),
            Ok(Ok(FeedItem::CaughtUp(cursor))) => self.push_caught_up(&mut out, &cursor),
            Ok(Ok(FeedItem::FellBehind(cursor))) => self.push_fell_behind(&mut out, &cursor),
            Ok(Err(error)) => self.push_error(&mut out, error),
        }
        Some(out.into())
    }

    fn push_events(&mut self, out: &mut Vec<u8>, events: &[(Event, Cursor)]) {
        let is_narrowed = self.caller.narrowed_to().is_some();
        out.reserve(events.iter().map(|(event, _)| event.record.stored_bytes() + 400).sum());
        for (event, cursor) in events {
            if self.left == Some(0) {
                return;
            }
            if is_narrowed && !self.caller.sees(event.record.stream()) {
                continue;
            }
            self.left = self.left.map(|left| left - 1);
            match self.format {
                FeedFormat::Ndjson => push_line(out, event),
                FeedFormat::Sse => {
                    out.extend_from_slice(b"id: ");
                    match self.ids {
                        Ids::Cursors => push_cursor(out, cursor),
                        Ids::Versions => push_number(out, event.record.version().get()),
                    }
                    out.extend_from_slice(b"\nevent: event\ndata: ");
                    push_line(out, event);
                    out.push(b'\n');
                }
            }
            out.push(b'\n');
        }
    }

    fn push_heartbeat(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.format {
            FeedFormat::Ndjson => b"{\"$heartbeat\":{}}\n".as_slice(),
            FeedFormat::Sse => b": heartbeat\n\n",
        });
    }

    fn push_caught_up(&self, out: &mut Vec<u8>, cursor: &Cursor) {
        match self.format {
            FeedFormat::Ndjson => {
                out.extend_from_slice(b"{\"$caught_up\":{\"cursor\":\"");
                push_cursor(out, cursor);
                out.extend_from_slice(b"\"}}\n");
            }
            FeedFormat::Sse => self.push_sse_mark(out, "caught-up", cursor),
        }
    }

    /// NDJSON has no line for it: nothing is skipped, so a reader of lines need not know.
    fn push_fell_behind(&self, out: &mut Vec<u8>, cursor: &Cursor) {
        match self.format {
            FeedFormat::Ndjson => self.push_heartbeat(out),
            FeedFormat::Sse => self.push_sse_mark(out, "fell-behind", cursor),
        }
    }

    fn push_sse_mark(&self, out: &mut Vec<u8>, name: &str, cursor: &Cursor) {
        if self.ids == Ids::Cursors {
            // A reader of a rare filter resumes from here and not from the last match.
            out.extend_from_slice(b"id: ");
            push_cursor(out, cursor);
            out.push(b'\n');
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: {\"cursor\":\"");
        push_cursor(out, cursor);
        out.extend_from_slice(b"\"}\n\n");
    }

    fn push_error(&mut self, out: &mut Vec<u8>, error: Error) {
        self.has_ended = true;
        let problem = Problem::from(error);
        if problem.slug() == Slug::ShardUnavailable && self.closing.is_cancelled() {
            return;
        }
        tracing::warn!(slug = problem.slug().entry().slug, cause = problem.cause(), "a feed broke off");
        match self.format {
            FeedFormat::Ndjson => {
                out.extend_from_slice(b"{\"$error\":");
                out.extend_from_slice(&problem.to_json());
                out.extend_from_slice(b"}\n");
            }
            FeedFormat::Sse => {
                out.extend_from_slice(b"event: error\ndata: ");
                out.extend_from_slice(&problem.to_json());
                out.extend_from_slice(b"\n\n");
            }
        }
    }
}
