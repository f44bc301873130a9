//! Which request is this line of the log about? The ids go with the request's task, and every line that is written there bears them.
//!
//! That costs next to nothing while nothing is logged, which a span for each request would not.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::task::futures::TaskLocalFuture;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::traces::Active;

/// What tells a request from all others.
#[derive(Clone, Debug)]
pub struct RequestIds {
    /// The client's own, or one that was drawn.
    pub request: Arc<str>,
    /// Of the trace that it is a part of.
    pub trace: TraceId,
    /// What may become its trace, where traces are kept.
    pub span: Option<Arc<Active>>,
}

/// The id of a W3C trace; written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    /// That of a `traceparent`, if it is one that may be used.
    #[must_use]
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let digits = text.split('-').nth(1).filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().filter(|id| *id != 0).map(Self)
    }

    /// A number from 0 up to 1 that is as good as drawn; the same for everybody who sees this trace.
    #[must_use]
    pub fn chance(self) -> f64 {
        Uuid::from_u128(self.0).as_u64_pair().1 as f64 / 2_f64.powi(64)
    }

    /// A new one, unlike any other.
    #[must_use]
    pub fn draw() -> Self {
        let number = DRAWN.fetch_add(1, Ordering::Relaxed);
        let seed = *PROCESS.get_or_init(|| Uuid::new_v4().as_u128());
        // All of its bits look like chance, which samplers rely on.
        Self(xxh3_128_with_seed(&(seed ^ u128::from(number)).to_le_bytes(), number).max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The work of a request: what it logs bears these ids.
pub fn within<F: Future>(ids: RequestIds, work: F) -> TaskLocalFuture<RequestIds, F> {
    CURRENT.scope(ids, work)
}

/// The same for work that does not wait.
pub fn within_now<T>(ids: &RequestIds, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(ids.clone(), work)
}

/// The ids of the request that is being worked on here, if it is one.
#[must_use]
pub fn current() -> Option<RequestIds> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Work for the request at hand that goes on in a task of its own.
pub async fn carried<T>(ids: Option<RequestIds>, work: impl Future<Output = T>) -> T {
    match ids {
        Some(ids) => within(ids, work).await,
        None => work.await,
    }
}

tokio::task_local! {
    static CURRENT: RequestIds;
}
static DRAWN: AtomicU64 = AtomicU64::new(0);
static PROCESS: OnceLock<u128> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_read_and_drawn() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceId::of_traceparent(parent).unwrap().to_string(), "0af7651916cd43dd8448eb211c80319c");
        for bad in ["", "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7-b7ad6b7169203331-01"] {
            assert_eq!(TraceId::of_traceparent(bad), None, "{bad}");
        }
        assert_ne!(TraceId::draw(), TraceId::draw());
        let below = (0..10_000).filter(|_| TraceId::draw().chance() < 0.1).count();
        assert!((800..1_200).contains(&below), "{below} of 10,000 are below a tenth");
    }

    #[tokio::test]
    async fn ids_are_those_of_the_work_at_hand() {
        let name = || current().map(|ids| ids.request.to_string());
        let ids = RequestIds { request: "a".into(), trace: TraceId(1), span: None };
        assert_eq!(name(), None);
        let inside = within(ids.clone(), async { (name(), tokio::spawn(carried(current(), async move { name() })).await.unwrap()) }).await;
        assert_eq!(inside, (Some("a".to_owned()), Some("a".to_owned())));
        assert_eq!(within_now(&ids, name).as_deref(), Some("a"));
    }
}
