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
    /// By who has issued their tokens, and by which client or subject those are for: two maps, so that nobody's name has to be copied to be
    /// looked up.
    by_issuer: HashMap<String, HashMap<String, Used>>,
    count: usize,
    /// When there are so many, those that use nothing are forgotten.
    sweep_at: usize,
}

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
    principal: Arc<Principal>,
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
    pub(super) fn begin(self: &Arc<Self>, principal: &Arc<Principal>, is_query: bool) -> Result<Option<Place>, Problem> {
        if self.quotas == Quotas::default() {
            return Ok(None);
        }
        self.clients.lock().begin(name(principal), &self.quotas, is_query, Instant::now())?;
        Ok(Some(Place { usage: Arc::clone(self), principal: Arc::clone(principal), is_query }))
    }
}

/// Who has issued a token, and for whom.
fn name(principal: &Principal) -> (&str, &str) {
    (&principal.token.issuer, principal.client.as_ref().unwrap_or(&principal.subject))
}

impl Clients {
    fn find(&mut self, (issuer, client): (&str, &str)) -> Option<&mut Used> {
        self.by_issuer.get_mut(issuer)?.get_mut(client)
    }

    fn begin(&mut self, name: (&str, &str), quotas: &Quotas, is_query: bool, now: Instant) -> Result<(), Problem> {
        if let Some(used) = self.find(name) {
            return used.begin(quotas, is_query, now);
        }
        self.sweep(now);
        let mut used = Used { requests: 0, queries: 0, next: now };
        let begun = used.begin(quotas, is_query, now);
        self.by_issuer.entry(name.0.to_owned()).or_default().insert(name.1.to_owned(), used);
        self.count += 1;
        begun
    }

    fn sweep(&mut self, now: Instant) {
        if self.count < self.sweep_at {
            return;
        }
        self.by_issuer.retain(|_, clients| {
            clients.retain(|_, used| used.requests > 0 || used.next > now);
            !clients.is_empty()
        });
        self.count = self.by_issuer.values().map(HashMap::len).sum();
        self.sweep_at = (self.count * 2).max(CLIENTS_KEPT);
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
        if let Some(used) = self.usage.clients.lock().find(name(&self.principal)) {
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
        let (quotas, start) = (Quotas { requests_at_once: Some(1), ..Quotas::default() }, Instant::now());
        let mut clients = Clients::default();
        for number in 0..10_000 {
            let (issuer, client) = (format!("issuer-{}", number % 7), number.to_string());
            let name = (issuer.as_str(), client.as_str());
            clients.begin(name, &quotas, false, start).unwrap();
            assert!(clients.begin(name, &quotas, false, start).is_err());
            if number >= 3 {
                clients.find(name).unwrap().requests -= 1;
            }
        }
        assert!(clients.count <= 2 * CLIENTS_KEPT, "{}", clients.count);
        assert_eq!(clients.count, clients.by_issuer.values().map(HashMap::len).sum::<usize>());
        for (issuer, client) in [("issuer-0", "0"), ("issuer-1", "1"), ("issuer-2", "2")] {
            assert_eq!(clients.find((issuer, client)).map(|used| used.requests), Some(1));
        }
    }
}
