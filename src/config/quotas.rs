//! How much may one client ask for?

use super::auth;
use super::value;

/// What one client may ask for, of which it is known who it is; `None`: as much as the server can give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaSettings {
    /// Requests a second.
    pub requests_per_second: Option<u32>,
    /// Requests under way, feeds among them.
    pub requests_at_once: Option<u32>,
    /// Queries in SQL under way.
    pub queries_at_once: Option<u32>,
}

/// A number of things that one client may have, or `none`.
pub(super) fn quota(text: &str) -> Result<Option<u32>, String> {
    let text = auth::optional(text)?;
    text.map(|text| value::number_within(text, 1, 1_000_000).map(|number| u32::try_from(number).unwrap_or(u32::MAX))).transpose()
}
