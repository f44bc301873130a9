//! How does a request pass? One layer around every route. What most requests are, an append by somebody who is known, passes without
//! waiting and without memory of its own; everything else is looked at at length.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header;
use tower::Layer;
use tower::Service;

use crate::auth::Call;
use crate::auth::policy::Principal;
use crate::http::access::Guard;
use crate::http::access::Sender;
use crate::http::access::allowed;
use crate::http::access::authenticate;
use crate::http::access::ending;
use crate::http::access::quota::Place;
use crate::http::access::table::Access;
use crate::http::access::unauthenticated;

/// Puts [`Guarded`] around a service.
#[derive(Clone)]
pub(crate) struct GuardLayer {
    pub(super) guard: Arc<Guard>,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner, guard: Arc::clone(&self.guard) }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Passing<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        match self.guard.access(request.method(), path) {
            Ok(Access::Open) => return Passing::Open(self.inner.call(request)),
            Ok(access) if !access.is_remembered() && !access.only_reads(request.method()) => {
                if let Some(passed) = Passed::at_once(&self.guard, access, &mut request) {
                    return Passing::AtOnce(self.inner.call(request), passed);
                }
            }
            Ok(_) | Err(_) => {}
        }
        // The one that is ready goes with the request.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        Passing::AtLength(at_length(Arc::clone(&self.guard), inner, request).map(Ok).boxed())
    }
}

/// A request on its way.
pub(crate) enum Passing<F> {
    Open(F),
    AtOnce(F, Passed),
    AtLength(BoxFuture<'static, Result<Response, Infallible>>),
}

impl<F: Future<Output = Result<Response, Infallible>> + Unpin> Future for Passing<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Open(answer) => answer.poll_unpin(context),
            Self::AtOnce(answer, passed) => {
                let Ok(response) = ready!(answer.poll_unpin(context));
                Poll::Ready(Ok(passed.answered(response)))
            }
            Self::AtLength(answer) => answer.poll_unpin(context),
        }
    }
}

/// Who was let in, for as long as their answer goes on.
pub(crate) struct Passed {
    guard: Arc<Guard>,
    principal: Arc<Principal>,
    place: Option<Place>,
}

impl Passed {
    /// Lets in who is known and may do what they ask for. Whoever is not let in here is looked at at length, and told why.
    fn at_once(guard: &Arc<Guard>, access: Access, request: &mut Request) -> Option<Self> {
        let principal = guard.known(request.headers())?;
        allowed(&principal, access).ok()?;
        let place = guard.place(&principal, request).ok()?;
        Sender::found(request.extensions_mut(), &principal);
        Some(Self { guard: Arc::clone(guard), principal, place })
    }

    /// The answer is there; if it goes on, it does so until the token counts no more.
    fn answered(&mut self, response: Response) -> Response {
        self.guard.meters.answered(response.status());
        ending::guarded(response, || ending::until_ended(&self.guard.auth, &self.principal), self.place.take())
    }

    /// As [`Passed::answered`], for what loses nothing when it is broken off while it waits: what is read after the end is not theirs.
    async fn reads(mut self, answer: impl Future<Output = Result<Response, Infallible>>) -> Response {
        let mut ended = ending::until_ended(&self.guard.auth, &self.principal);
        let Ok(response) = tokio::select! {
            answer = answer => answer,
            () = &mut ended => {
                self.guard.meters.refused();
                return unauthenticated().into_response();
            }
        };
        self.guard.meters.answered(response.status());
        ending::guarded(response, || ended, self.place.take())
    }
}

async fn at_length<S>(guard: Arc<Guard>, mut inner: S, mut request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let access = match guard.access(request.method(), path) {
        Ok(access) => access,
        Err(refused) => return *refused,
    };
    let principal = match authenticate(&guard.auth, request.headers()).await {
        Ok(principal) => principal,
        Err(problem) => {
            let has_none = !request.headers().contains_key(header::AUTHORIZATION);
            if has_none {
                guard.meters.missing()
            } else {
                guard.meters.refused()
            }
            return problem.into_response();
        }
    };
    let call = access.is_remembered().then(|| call(&request));
    if let Err(problem) = allowed(&principal, access) {
        call.inspect(|call| guard.auth.remember_denied(&principal, call));
        let response = problem.into_response();
        guard.meters.answered(response.status());
        return response;
    }
    let place = match guard.place(&principal, &request) {
        Ok(place) => place,
        Err(problem) => {
            guard.meters.throttled();
            return problem.into_response();
        }
    };
    Sender::found(request.extensions_mut(), &principal);
    let only_reads = access.only_reads(request.method());
    let mut passed = Passed { guard, principal, place };
    let answer = inner.call(request);
    if only_reads {
        return passed.reads(answer).await;
    }
    let Ok(response) = answer.await;
    if let Some(call) = call {
        passed.guard.auth.remember_call(&passed.principal, &call, response.status().as_u16()).await;
    }
    passed.answered(response)
}

/// What is remembered of a request: nothing that stands in its headers, its query or its body.
fn call(request: &Request) -> Call {
    let address = Sender::address(request.extensions());
    Call { method: request.method().as_str().to_owned(), path: request.uri().path().to_owned(), address }
}
