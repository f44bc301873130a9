//! How does an answer leave? Headers that every read and write shares, and compression of bodies that are worth it.

use std::io;
use std::io::Read;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;

use crate::database::Cursor;
use crate::http::conditional::is_not_modified;
use crate::http::negotiate::Coding;
use crate::http::negotiate::content_coding;
use crate::http::partial;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// `Factum-Position`: the cursor behind what was written or read.
pub(crate) const FACTUM_POSITION: HeaderName = HeaderName::from_static("factum-position");
/// JSON.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// One JSON document a line.
pub(crate) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// An answer that is whole in memory.
pub(crate) fn whole(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// A JSON array of texts.
pub(crate) fn push_texts(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'[');
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_string(out, text);
    }
    out.push(b']');
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A cursor as text.
pub(crate) fn push_cursor(out: &mut Vec<u8>, cursor: &Cursor) {
    match cursor.positions() {
        [only] => push_number(out, only.get()),
        _ => out.extend_from_slice(cursor.to_string().as_bytes()),
    }
}

/// A cursor as text.
pub(crate) fn cursor_text(cursor: &Cursor) -> String {
    let mut out = Vec::with_capacity(20);
    push_cursor(&mut out, cursor);
    String::from_utf8(out).expect("a cursor is digits and points")
}

/// Sets a header to text that is known to be visible ASCII.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, text: impl Into<Bytes>) {
    // What is not ASCII would be a bug of ours; the answer goes out without the header rather than not at all.
    match HeaderValue::from_maybe_shared(text.into()) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(error) => tracing::error!(%name, %error, "a header was left out"),
    }
}

/// A read that is whole in memory, with what a client needs to read it again or go on.
pub(crate) struct ReadAnswer {
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<String>,
    pub(crate) cursor: Option<String>,
    /// Path and query of the next page.
    pub(crate) next: Option<String>,
    /// The shards that it has nothing of.
    pub(crate) missing: Vec<u16>,
}

impl ReadAnswer {
    /// JSON without further headers.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { content_type: JSON, body, etag: None, cursor: None, next: None, missing: Vec::new() }
    }

    /// The answer to a request with these headers: 304 if the client has it, compressed if it asks so.
    pub(crate) async fn into_response(self, request: &HeaderMap) -> Response {
        let is_known = self.etag.as_deref().is_some_and(|etag| is_not_modified(request, etag));
        let mut response = if is_known { empty(StatusCode::NOT_MODIFIED) } else { compressed(self.content_type, self.body, request).await };
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
        if let Some(etag) = self.etag {
            set(headers, header::ETAG, etag);
        }
        if let Some(cursor) = self.cursor {
            set(headers, FACTUM_POSITION, cursor);
        }
        partial::tell(headers, &self.missing);
        if let Some(next) = self.next {
            set(headers, header::LINK, format!("<{next}>; rel=\"next\""));
        }
        response
    }
}

async fn compressed(content_type: HeaderValue, body: Vec<u8>, request: &HeaderMap) -> Response {
    let coding = if body.len() < COMPRESS_FROM_BYTES { None } else { content_coding(request) };
    let Some(coding) = coding else { return whole(StatusCode::OK, content_type, body) };
    let body = Bytes::from(body);
    let input = body.clone();
    let packed = tokio::task::spawn_blocking(move || compress(coding, &input)).await;
    let (packed, name) = match (packed, coding) {
        (Ok(Ok(packed)), Coding::Zstd) => (packed, "zstd"),
        (Ok(Ok(packed)), Coding::Gzip) => (packed, "gzip"),
        // Compression is a favour; what could not be compressed goes out as it is.
        (Ok(Err(_)) | Err(_), _) => return whole(StatusCode::OK, content_type, body),
    };
    let mut response = whole(StatusCode::OK, content_type, packed);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    response
}

fn compress(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Zstd => zstd::bulk::compress(body, 1),
        Coding::Gzip => {
            let mut packed = Vec::with_capacity(body.len() / 4);
            flate2::read::GzEncoder::new(body, flate2::Compression::fast()).read_to_end(&mut packed)?;
            Ok(packed)
        }
    }
}

/// Below this, compression costs more than it saves.
const COMPRESS_FROM_BYTES: usize = 1024;
