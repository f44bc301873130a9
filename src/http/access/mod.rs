//! Who gets in? One layer around every route asks who it is, and looks into one table for what the route takes. What the table does not
//! know is closed.

mod caller;
mod ending;
mod meters;
mod quota;
mod table;

use std::sync::Arc;

use axum::Router;
use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::middleware::Next;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::response::Response;
use foldhash::HashMap;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::header;

pub(crate) use caller::Caller;
pub(crate) use caller::authorise_aggregate;
pub(crate) use caller::authorise_ends;
pub(crate) use caller::authorise_group;
pub(crate) use caller::authorise_read;
pub(crate) use caller::authorise_system_read;
pub(crate) use caller::authorise_write;
pub(crate) use caller::denied;
use meters::Meters;
pub(crate) use meters::granted;
pub use quota::Quotas;
use quota::Usage;
use table::Access;
use table::ROUTES;
pub(crate) use table::describe;

use crate::auth::Auth;
use crate::auth::Call;
use crate::auth::Unauthenticated;
use crate::auth::policy::Principal;
use crate::auth::policy::decide;
use crate::http::Shared;
use crate::http::connection::Peer;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// Puts the layer around a router; without authentication there is none, and it costs nothing.
pub(crate) fn guarded(router: Router<Shared>, auth: Option<Arc<Auth>>, quotas: Quotas) -> Router<Shared> {
    let meters = Meters::new();
    match auth {
        Some(auth) => router.layer(from_fn_with_state(Arc::new(Guard::new(auth, meters, quotas)), guard)),
        None => router,
    }
}

/// What the layer knows.
struct Guard {
    auth: Arc<Auth>,
    meters: Meters,
    usage: Arc<Usage>,
    paths: HashMap<&'static str, Vec<(Method, Access)>>,
}

impl Guard {
    fn new(auth: Arc<Auth>, meters: Meters, quotas: Quotas) -> Self {
        let mut paths: HashMap<&'static str, Vec<(Method, Access)>> = HashMap::default();
        for (method, path, access) in ROUTES {
            paths.entry(path).or_default().push((method.clone(), *access));
        }
        Self { auth, meters, usage: Usage::new(quotas), paths }
    }

    /// What a request takes; 405 for a method that a path has not.
    fn access(&self, method: &Method, path: Option<&str>) -> Result<Access, Box<Response>> {
        // Where nothing is, everybody who is let in at all is told so.
        let Some(path) = path else { return Ok(Access::AnyToken) };
        let Some(known) = self.paths.get(path) else { return Ok(Access::Closed) };
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        match known.iter().find(|(method, _)| method == wanted) {
            Some((_, access)) => Ok(*access),
            None => Err(Box::new(not_allowed(known))),
        }
    }
}

async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let access = match guard.access(request.method(), path.map(MatchedPath::as_str)) {
        Ok(Access::Open) => return next.run(request).await,
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
    let is_query = request.uri().path() == QUERIES;
    let place = match guard.usage.begin(&principal, is_query) {
        Ok(place) => place,
        Err(problem) => {
            guard.meters.throttled();
            return problem.into_response();
        }
    };
    request.extensions_mut().insert(Caller::Principal(Arc::clone(&principal)));
    if !access.only_reads(request.method()) {
        let response = next.run(request).await;
        guard.meters.answered(response.status());
        if let Some(call) = call {
            guard.auth.remember_call(&principal, &call, response.status().as_u16()).await;
        }
        return ending::guarded(response, || ending::until_ended(&guard.auth, &principal), place);
    }
    let mut ended = ending::until_ended(&guard.auth, &principal);
    let response = tokio::select! {
        response = next.run(request) => response,
        // It was waiting for something; what is read after the end is not theirs.
        () = &mut ended => {
            guard.meters.refused();
            return unauthenticated().into_response();
        }
    };
    guard.meters.answered(response.status());
    ending::guarded(response, || ended, place)
}

/// What is remembered of a request: nothing that stands in its headers, its query or its body.
fn call(request: &Request) -> Call {
    let address = request.extensions().get::<Peer>().map(|Peer(address)| *address);
    Call { method: request.method().as_str().to_owned(), path: request.uri().path().to_owned(), address }
}

fn allowed(principal: &Principal, access: Access) -> Result<(), Problem> {
    match access {
        Access::Open | Access::AnyToken => Ok(()),
        Access::Closed => Err(Problem::new(Slug::Forbidden, "nothing says who may use this path")),
        Access::Needs(actions, target) => {
            actions.iter().try_for_each(|action| decide(principal, *action, target)).map_err(|why| denied(&why))
        }
    }
}

/// Who brings the token of these headers.
///
/// # Errors
///
/// 401 without one, or with one that does not count.
pub(crate) async fn authenticate(auth: &Auth, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = values.next().and_then(|value| value.to_str().ok()).and_then(bearer);
    let (Some(token), None) = (token, values.next()) else { return Err(unauthenticated()) };
    auth.authenticate_or_look(token).await.map_err(|Unauthenticated| unauthenticated())
}

/// The one answer for everybody who is not let in.
pub(crate) fn unauthenticated() -> Problem {
    Problem::new(Slug::Unauthenticated, "this needs an access token that counts: Authorization: Bearer …")
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn not_allowed(known: &[(Method, Access)]) -> Response {
    let mut methods: Vec<&str> = known.iter().map(|(method, _)| method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    let problem = Problem::new(Slug::MethodNotAllowed, "the path does not take this method; see Allow for those that it takes");
    let mut response = problem.into_response();
    if let Ok(allow) = HeaderValue::from_str(&methods.join(",")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// Where queries are asked, which have a quota of their own.
const QUERIES: &str = "/v1/sql";
