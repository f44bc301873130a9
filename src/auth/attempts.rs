//! Has somebody guessed too often? Failures are counted by who was named, by where they came from, and by both; success costs nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

/// Failures of late.
#[derive(Default)]
pub(super) struct Attempts {
    buckets: Mutex<HashMap<Subject, Bucket>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    Client(String),
    Address(IpAddr),
    Both(String, IpAddr),
}

#[derive(Clone, Copy)]
struct Bucket {
    failures: f64,
    since: Instant,
}

impl Attempts {
    /// How long to wait before the next attempt, if it is too early.
    pub(super) fn wait(&self, client: &str, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let buckets = self.buckets.lock();
        let waits = subjects(client, address).into_iter().filter_map(|subject| {
            let over = buckets.get(&subject)?.left(&subject, now) + 1.0 - subject.burst();
            (over > 0.0).then(|| Duration::from_secs_f64((over * subject.seconds_each()).max(1.0)))
        });
        waits.max()
    }

    /// Counts a failure.
    pub(super) fn failed(&self, client: &str, address: Option<IpAddr>, now: Instant) {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= SUBJECTS_MAX {
            buckets.retain(|subject, bucket| bucket.left(subject, now) > 0.0);
        }
        for subject in subjects(client, address) {
            // Full of others: whoever fills it has failed so often that their address alone stops them.
            if buckets.len() >= SUBJECTS_MAX && !buckets.contains_key(&subject) && !matches!(subject, Subject::Address(_)) {
                continue;
            }
            let failures = buckets.get(&subject).map_or(0.0, |bucket| bucket.left(&subject, now)) + 1.0;
            buckets.insert(subject, Bucket { failures, since: now });
        }
    }
}

impl Bucket {
    /// What has not been forgiven yet.
    fn left(&self, subject: &Subject, now: Instant) -> f64 {
        let forgiven = now.saturating_duration_since(self.since).as_secs_f64() / subject.seconds_each();
        (self.failures - forgiven).max(0.0)
    }
}

impl Subject {
    /// So many failures in a row.
    fn burst(&self) -> f64 {
        match self {
            Self::Both(..) => 10.0,
            Self::Address(_) => 50.0,
            // Somebody elsewhere may not lock a client out by failing in its name, as long as that does no harm.
            Self::Client(_) => 200.0,
        }
    }

    /// One failure is forgiven in this time.
    fn seconds_each(&self) -> f64 {
        60.0 / self.burst()
    }
}

fn subjects(client: &str, address: Option<IpAddr>) -> Vec<Subject> {
    let client = client.to_owned();
    match address {
        Some(address) => vec![Subject::Client(client.clone()), Subject::Address(address), Subject::Both(client, address)],
        None => vec![Subject::Client(client)],
    }
}

const SUBJECTS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[test]
    fn who_fails_too_often_waits_and_others_do_not() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(attempts.wait("mail", address(1), now), None);
            attempts.failed("mail", address(1), now);
        }
        let wait = attempts.wait("mail", address(1), now).unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(6), "{wait:?}");
        assert_eq!((attempts.wait("mail", address(2), now), attempts.wait("other", address(1), now)), (None, None));
        assert_eq!(attempts.wait("mail", address(1), now + wait), None);
        for number in 0..50 {
            attempts.failed(&format!("client-{number}"), address(2), now);
        }
        assert!(attempts.wait("yet-another", address(2), now).is_some(), "one address, whoever it names");
        for number in 0..200 {
            attempts.failed("target", address(number), now);
        }
        assert!(attempts.wait("target", address(250), now).is_some(), "one client, wherever from");
    }

    #[test]
    fn memory_has_a_bound() {
        let attempts = Attempts::default();
        for number in 0..30_000_u32 {
            attempts.failed(&number.to_string(), None, Instant::now());
        }
        assert!(attempts.buckets.lock().len() <= SUBJECTS_MAX);
    }
}
