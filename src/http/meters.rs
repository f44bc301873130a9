//! What of requests is measured? How many there were and how long they took, by the route that was taken: never by the path as it came.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use http::Method;
use http::StatusCode;
use metrics::Counter;
use metrics::Histogram;
use metrics::counter;
use metrics::histogram;
use parking_lot::RwLock;

use crate::telemetry::exemplars;
use crate::telemetry::traces::Place;

/// The measurements of an interface. Handles are made the first time that a route is taken; a lookup in the recorder costs ten times as
/// much as all that is done here for a request.
#[derive(Default)]
pub(crate) struct Meters {
    routes: RwLock<HashMap<String, Route>>,
}

#[derive(Default)]
struct Route([Option<Taken>; METHODS.len() + 1]);

/// A route by one method.
struct Taken {
    seconds: Histogram,
    statuses: Vec<(StatusCode, Counter)>,
}

impl Meters {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A request was answered.
    pub(crate) fn answered(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let at = METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len());
        if self.routes.read().get(route).is_some_and(|known| known.record(at, status, took)) {
            return;
        }
        let mut routes = self.routes.write();
        let known = routes.entry(route.to_owned()).or_default();
        known.extend(at, route, status);
        known.record(at, status, took);
    }
}

impl Route {
    /// Says whether there was a handle for it.
    fn record(&self, at: usize, status: StatusCode, took: Duration) -> bool {
        let Some(Some(taken)) = self.0.get(at) else { return false };
        let Some((_, counter)) = taken.statuses.iter().find(|(known, _)| *known == status) else { return false };
        counter.increment(1);
        taken.seconds.record(took);
        true
    }

    fn extend(&mut self, at: usize, route: &str, status: StatusCode) {
        let (route, method) = named(route, at);
        let Some(slot) = self.0.get_mut(at) else { return };
        let taken = slot.get_or_insert_with(|| Taken {
            seconds: histogram!(SECONDS, "route" => route.to_owned(), "method" => method.to_owned()),
            statuses: Vec::new(),
        });
        if taken.statuses.iter().all(|(known, _)| *known != status) {
            let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.as_str().to_owned())];
            taken.statuses.push((status, counter!("factum_http_requests_total", &labels)));
        }
    }
}

/// A request that is kept as a trace has taken so long.
pub(crate) fn exemplar(route: &str, method: &Method, took: Duration, place: Place) {
    let (route, method) = named(route, METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len()));
    exemplars::note(SECONDS, &[("route", route), ("method", method)], took, place);
}

/// As labels name them.
fn named(route: &str, at: usize) -> (&str, &'static str) {
    (if route.is_empty() { UNMATCHED } else { route }, METHODS.get(at).map_or("other", Method::as_str))
}

const SECONDS: &str = "factum_http_request_seconds";
/// Whatever else a client makes up is "other".
static METHODS: [Method; 7] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
/// There is nothing at the path.
const UNMATCHED: &str = "unmatched";
