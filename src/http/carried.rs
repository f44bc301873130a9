//! How does the log know of which request a body is, when that is still being sent after the handler has answered?

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body::Frame;
use http_body::SizeHint;

use crate::telemetry::request;
use crate::telemetry::request::RequestIds;

/// A body whose parts are made on behalf of a request.
pub(crate) struct Carried {
    body: Body,
    ids: RequestIds,
}

impl Carried {
    /// A body that is whole already makes nothing any more, and stays as it is.
    pub(crate) fn over(body: Body, ids: RequestIds) -> Body {
        if body.is_end_stream() || body.size_hint().exact().is_some() { body } else { Body::new(Self { body, ids }) }
    }
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        request::within_now(&this.ids, || Pin::new(&mut this.body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
