//! What of authentication is measured? How often it came to what: never who it was.

use http::StatusCode;
use metrics::Counter;
use metrics::counter;

/// The measurements of a guard; the handles are made once.
pub(super) struct Meters {
    accepted: Counter,
    missing: Counter,
    refused: Counter,
    forbidden: Counter,
    throttled: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let requests = |outcome: &'static str| counter!(REQUESTS, "outcome" => outcome);
        // Those that did not come yet are 0, which is not the same as nothing: a rate has to begin somewhere.
        GRANTS.iter().for_each(|outcome| counter!(GRANTS_NAME, "outcome" => *outcome).increment(0));
        Self {
            accepted: requests("accepted"),
            missing: requests("missing"),
            refused: requests("refused"),
            forbidden: requests("forbidden"),
            throttled: requests("throttled"),
        }
    }

    /// A request brought no token.
    pub(super) fn missing(&self) {
        self.missing.increment(1);
    }

    /// A request brought one that does not count, or does not any more.
    pub(super) fn refused(&self) {
        self.refused.increment(1);
    }

    /// A request brought one whose client has used up its quota.
    pub(super) fn throttled(&self) {
        self.throttled.increment(1);
    }

    /// A request brought one that counts, and was answered.
    pub(super) fn answered(&self, status: StatusCode) {
        if status == StatusCode::FORBIDDEN { self.forbidden.increment(1) } else { self.accepted.increment(1) }
    }
}

/// A client has asked for a token, and got it or an error of RFC 6749.
pub(crate) fn granted(outcome: &str) {
    if let Some(known) = GRANTS.iter().find(|known| **known == outcome) {
        counter!(GRANTS_NAME, "outcome" => *known).increment(1);
    }
}

const REQUESTS: &str = "factum_auth_requests_total";
const GRANTS_NAME: &str = "factum_auth_grants_total";
const GRANTS: [&str; 8] = [
    "issued",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unsupported_grant_type",
];
