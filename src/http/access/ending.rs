//! When does an answer that goes on have to stop? When the token that opened it counts no more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header;
use http_body::Body as _;
use http_body::Frame;
use http_body::SizeHint;

use crate::auth::Auth;
use crate::auth::policy::Principal;
use crate::http::access::quota::Place;

/// Ready once the token counts no more.
pub(super) fn until_ended(auth: &Arc<Auth>, principal: &Arc<Principal>) -> BoxFuture<'static, ()> {
    let (auth, principal) = (Arc::clone(auth), Arc::clone(principal));
    async move { auth.until_ended(&principal).await }.boxed()
}

/// An answer that is whole goes out as it is, and `ended` is not asked for; one that goes on stops when that is ready, and keeps its place
/// until then.
pub(super) fn guarded(response: Response, ended: impl FnOnce() -> BoxFuture<'static, ()>, place: Option<Place>) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let (last, ended) = (last_word(&response), ended());
    response.map(|inner| Body::new(Guarded { inner, ended, last, has_ended: false, _place: place }))
}

/// What can be said between two parts of a body, so that whoever reads it knows why it ends.
fn last_word(response: &Response) -> Option<Bytes> {
    let headers = response.headers();
    if headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let problem = super::unauthenticated().to_json();
    let (before, after): (&[u8], &[u8]) = match headers.get(header::CONTENT_TYPE)?.to_str().ok()? {
        "text/event-stream" => (b"event: error\ndata: ", b"\n\n"),
        "application/x-ndjson" => (b"{\"$error\":", b"}\n"),
        _ => return None,
    };
    Some([before, problem.as_slice(), after].concat().into())
}

struct Guarded {
    inner: Body,
    ended: BoxFuture<'static, ()>,
    /// Without it, what was sent can't be taken for the whole: the connection breaks off.
    last: Option<Bytes>,
    has_ended: bool,
    _place: Option<Place>,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if self.ended.poll_unpin(context).is_ready() {
            self.has_ended = true;
            let last = self.last.take().map(Frame::data);
            return Poll::Ready(Some(last.ok_or_else(|| axum::Error::new("the token counts no more"))));
        }
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        self.has_ended = matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
