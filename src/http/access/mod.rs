//! Who gets in? One layer around every route asks who it is, and looks into one table for what the route takes. What the table does not
//! know is closed.

mod caller;
mod ending;
mod layer;
mod meters;
mod quota;
mod table;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::IntoResponse;
use axum::response::Response;
use foldhash::HashMap;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::header;

pub(crate) use caller::Caller;
pub(crate) use caller::Sender;
pub(crate) use caller::authorise_aggregate;
pub(crate) use caller::authorise_ends;
pub(crate) use caller::authorise_group;
pub(crate) use caller::authorise_read;
pub(crate) use caller::authorise_system_read;
pub(crate) use caller::authorise_write;
pub(crate) use caller::denied;
pub(crate) use layer::GuardLayer;
use meters::Meters;
pub(crate) use meters::granted;
use quota::Place;
pub use quota::Quotas;
use quota::Usage;
use table::Access;
use table::ROUTES;
pub(crate) use table::describe;

use crate::auth::Auth;
use crate::auth::Unauthenticated;
use crate::auth::policy::Principal;
use crate::auth::policy::decide;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// What stands around every route; without authentication there is nothing, and it costs nothing.
pub(crate) fn layer(auth: Option<Arc<Auth>>, quotas: Quotas) -> Option<GuardLayer> {
    let meters = Meters::new();
    auth.map(|auth| GuardLayer { guard: Arc::new(Guard::new(auth, meters, quotas)) })
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

    /// Who brings the token of these headers, if that is known and needs no waiting.
    fn known(&self, headers: &HeaderMap) -> Option<Arc<Principal>> {
        self.auth.known(token(headers)?)
    }

    /// Room for a request within the quotas of who asks.
    ///
    /// # Errors
    ///
    /// As [`Usage::begin`].
    fn place(&self, principal: &Arc<Principal>, request: &Request) -> Result<Option<Place>, Problem> {
        self.usage.begin(principal, request.uri().path() == QUERIES)
    }
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
    let token = token(headers).and_then(|token| std::str::from_utf8(token).ok()).ok_or_else(unauthenticated)?;
    auth.authenticate_or_look(token).await.map_err(|Unauthenticated| unauthenticated())
}

/// The token of these headers, if they bear one and no second. Its bytes are not looked at one by one: one that is known needs no reading.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    (values.next().is_none() && scheme.eq_ignore_ascii_case(SCHEME)).then_some(token)
}

/// The one answer for everybody who is not let in.
pub(crate) fn unauthenticated() -> Problem {
    Problem::new(Slug::Unauthenticated, "this needs an access token that counts: Authorization: Bearer …")
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

const SCHEME: &[u8] = b"bearer ";
/// Where queries are asked, which have a quota of their own.
const QUERIES: &str = "/v1/sql";
