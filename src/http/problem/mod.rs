//! What does a client get instead of what it asked for? Every refusal is an RFC 9457 problem document made here.

mod catalogue;
mod from_error;

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::StatusCode;
use http::header;

pub use catalogue::Entry;
pub use catalogue::Slug;
pub use catalogue::catalogue;
pub(crate) use from_error::conflict_members;

use crate::subscription::json_text::push_string;

/// A refusal on its way out. Its text never holds event data.
#[derive(Debug)]
pub(crate) struct Problem {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    slug: Slug,
    detail: Cow<'static, str>,
    /// Further members: the name, and the value as JSON.
    members: Vec<(&'static str, String)>,
    retry_after_s: Option<u32>,
    close: bool,
    cause: Option<Cause>,
}

/// What the log is told of a failure and the client is not. Travels with the answer to where the request's id is known.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) Arc<str>);

/// Marks an answer that says 503 though nothing has failed: what a client waited for has not come in the time that it gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitIsOver;

impl Problem {
    pub(crate) fn new(slug: Slug, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_s = matches!(slug.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS).then_some(1);
        Self { inner: Box::new(Inner { slug, detail: detail.into(), members: Vec::new(), retry_after_s, close: false, cause: None }) }
    }

    /// 400 `malformed-request` about one field (a path such as `events[2].type`, a parameter, a header).
    pub(crate) fn malformed(field: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Slug::MalformedRequest, detail).with_text("field", field)
    }

    /// Adds a member that is text.
    pub(crate) fn with_text(self, name: &'static str, value: &str) -> Self {
        let mut json = Vec::with_capacity(value.len() + 2);
        push_string(&mut json, value);
        self.with_json(name, String::from_utf8(json).expect("text escaped is text"))
    }

    /// Adds a member that is JSON already.
    pub(crate) fn with_json(mut self, name: &'static str, json: impl Into<String>) -> Self {
        self.inner.members.push((name, json.into()));
        self
    }

    /// Says when it is worth to try again.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.inner.retry_after_s = Some(seconds);
        self
    }

    /// The connection has a rest of the request on it that nobody will read.
    pub(crate) fn closing(mut self) -> Self {
        self.inner.close = true;
        self
    }

    /// Keeps the cause for the log.
    pub(crate) fn caused_by(mut self, cause: &dyn std::fmt::Display) -> Self {
        self.inner.cause = Some(Cause(cause.to_string().into()));
        self
    }

    /// What the log should be told, if anything.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.inner.cause.as_ref().map(|cause| &*cause.0)
    }

    pub(crate) fn slug(&self) -> Slug {
        self.inner.slug
    }

    /// The document as it goes out.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let entry = self.inner.slug.entry();
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"{\"type\":\"urn:factum:problem:");
        out.extend_from_slice(entry.slug.as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        push_string(&mut out, entry.title);
        out.extend_from_slice(b",\"status\":");
        out.extend_from_slice(entry.status.as_str().as_bytes());
        out.extend_from_slice(b",\"detail\":");
        push_string(&mut out, &self.inner.detail);
        for (name, json) in &self.inner.members {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(json.as_bytes());
        }
        out.push(b'}');
        out
    }
}

/// What a server would answer for this error: for who asks a database without one.
#[cfg(feature = "analytics")]
pub(crate) fn document(error: crate::Error) -> Vec<u8> {
    Problem::from(error).to_json()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Bytes::from(self.to_json()).into());
        *response.status_mut() = self.inner.slug.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.inner.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.inner.slug == Slug::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.inner.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.inner.slug == Slug::ReadModelBehind {
            response.extensions_mut().insert(WaitIsOver);
        }
        if let Some(cause) = self.inner.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}
