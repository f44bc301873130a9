//! How much may one client ask for? Whoever asks for more is told when to come back, and everybody else is served meanwhile.
//!
//! Rates are kept by the generic cell rate algorithm (ITU-T I.371): of each client only the time is known from which on its next request
//! is in order. A second's requests may come at once.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::auth::policy::Principal;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// What one client may ask for; `None`: as much as the server can give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Requests a second.
    pub requests_per_second: Option<u32>,
    /// Requests under way, feeds among them.
    pub requests_at_once: Option<u32>,
    /// Queries in SQL under way.
    pub queries_at_once: Option<u32>,
}

/// What each client uses.
pub(super) struct Usage {
    quotas: Quotas,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    by_name: HashMap<Name, Used>,
    /// When there are so many, those that use nothing are forgotten.
    sweep_at: usize,
}

/// Who issued the token, and which client or subject it is for.
type Name = (String, String);

#[derive(Clone, Copy, Debug)]
struct Used {
    requests: u32,
    queries: u32,
    /// When the next request is in order.
    next: Instant,
}

/// A request under way; dropped when its answer is through.
pub(super) struct Place {
    usage: Arc<Usage>,
    name: Name,
    is_query: bool,
}

impl Usage {
    pub(super) fn new(quotas: Quotas) -> Arc<Self> {
        Arc::new(Self { quotas, clients: Mutex::default() })
    }

    /// A request begins.
    ///
    /// # Errors
    ///
    /// 429 with the quota's name and when it is worth to try again.
    pub(super) fn begin(self: &Arc<Self>, principal: &Principal, is_query: bool, now: Instant) -> Result<Option<Place>, Problem> {
        if self.quotas == Quotas::default() {
            return Ok(None);
        }
        let client = principal.client.as_ref().unwrap_or(&principal.subject);
        let name = (principal.token.issuer.clone(), client.clone());
        let mut clients = self.clients.lock();
        clients.sweep(now);
        let used = clients.by_name.entry(name.clone()).or_insert(Used { requests: 0, queries: 0, next: now });
        used.begin(&self.quotas, is_query, now)?;
        Ok(Some(Place { usage: Arc::clone(self), name, is_query }))
    }
}

impl Clients {
    fn sweep(&mut self, now: Instant) {
        if self.by_name.len() >= self.sweep_at {
            self.by_name.retain(|_, used| used.requests > 0 || used.next > now);
            self.sweep_at = (self.by_name.len() * 2).max(CLIENTS_KEPT);
        }
    }
}

impl Used {
    fn begin(&mut self, quotas: &Quotas, is_query: bool, now: Instant) -> Result<(), Problem> {
        let at_once = |is_beyond: bool, name, max: Option<u32>| {
            if is_beyond { Err(refusal(name, max.unwrap_or_default(), A_MOMENT)) } else { Ok(()) }
        };
        let reached = |count: u32, max: Option<u32>| max.is_some_and(|max| count >= max);
        at_once(reached(self.requests, quotas.requests_at_once), "requests_at_once", quotas.requests_at_once)?;
        at_once(is_query && reached(self.queries, quotas.queries_at_once), "queries_at_once", quotas.queries_at_once)?;
        if let Some(rate) = quotas.requests_per_second {
            let each = SECOND / rate.max(1);
            let next = self.next.max(now) + each;
            let ahead = next.duration_since(now);
            if ahead > SECOND {
                return Err(refusal("requests_per_second", rate, ahead - SECOND));
            }
            self.next = next;
        }
        self.requests += 1;
        self.queries += u32::from(is_query);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(used) = self.usage.clients.lock().by_name.get_mut(&self.name) {
            used.requests = used.requests.saturating_sub(1);
            used.queries = used.queries.saturating_sub(u32::from(self.is_query));
        }
    }
}

fn refusal(quota: &'static str, max: u32, wait: Duration) -> Problem {
    let detail =
        format!("this client has reached its quota of {max} {}; ask for less, or have quotas.{quota} raised", quota.replace('_', " "));
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    Problem::new(Slug::TooManyRequests, detail).with_text("quota", quota).with_json("max", max.to_string()).retry_after(seconds)
}

const SECOND: Duration = Duration::from_secs(1);
/// When something under way may have ended.
const A_MOMENT: Duration = SECOND;
/// So many clients are no burden, whether they use anything or not.
const CLIENTS_KEPT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn used(now: Instant) -> Used {
        Used { requests: 0, queries: 0, next: now }
    }

    #[test]
    fn a8_a_seconds_requests_may_come_at_once_and_then_as_many_as_the_rate_allows() {
        let quotas = Quotas { requests_per_second: Some(10), ..Quotas::default() };
        let start = Instant::now();
        let mut client = used(start);
        let taken = |client: &mut Used, now: Instant| (0..100).filter(|_| client.begin(&quotas, false, now).is_ok()).count();
        assert_eq!(taken(&mut client, start), 10);
        assert_eq!(taken(&mut client, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut client, start + Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut client, start + Duration::from_millis(450)), 3);
        // Who was away for long has saved up one second's, and no more.
        assert_eq!(taken(&mut client, start + Duration::from_secs(3_600)), 10);
    }

    #[test]
    fn a8_clients_that_use_nothing_are_forgotten() {
        let now = Instant::now();
        let mut clients = Clients::default();
        for number in 0..10_000 {
            clients.sweep(now);
            clients.by_name.insert((String::new(), number.to_string()), Used { requests: u32::from(number < 3), ..used(now) });
        }
        clients.sweep(now);
        assert!(clients.by_name.len() <= 2 * CLIENTS_KEPT, "{}", clients.by_name.len());
        assert!((0..3).all(|number| clients.by_name.contains_key(&(String::new(), number.to_string()))));
    }
}
