//! `allow_partial=true`: is a part of the answer better than none, while a shard is missing?

use http::HeaderMap;
use http::HeaderName;

use crate::database::Database;
use crate::database::LeftOut;
use crate::http::answer;
use crate::http::problem::Problem;
use crate::http::query::Query;

/// `Factum-Missing-Shards`: the numbers of the shards that an answer has nothing of; without the header it is whole.
pub(crate) const FACTUM_MISSING_SHARDS: HeaderName = HeaderName::from_static("factum-missing-shards");

/// Whether a request takes a part, and of which shards there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partial(Option<LeftOut>);

impl Partial {
    /// Takes `allow_partial`.
    ///
    /// # Errors
    ///
    /// 400 if it is no switch.
    pub(crate) fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self(query.switch("allow_partial")?.then(LeftOut::default)))
    }

    /// For feeds, which wait for a shard rather than pass over what it has.
    ///
    /// # Errors
    ///
    /// 400 if a part was asked for.
    pub(crate) fn refuse(&self, why: &'static str) -> Result<(), Problem> {
        if self.0.is_some() { Err(Problem::malformed("allow_partial", why)) } else { Ok(()) }
    }

    /// The database as the request wants to read it.
    pub(crate) fn over(&self, database: &Database) -> Database {
        self.0.as_ref().map_or_else(|| database.clone(), |left_out| database.leaving_out(left_out))
    }

    /// Notes the shards that can't be used now.
    pub(crate) fn note_missing(&self, database: &Database) {
        if let Some(left_out) = &self.0 {
            database.note_missing(left_out);
        }
    }

    /// The shards that are missing; `None` if the answer has to be whole.
    pub(crate) fn missing(&self) -> Option<Vec<u16>> {
        self.0.as_ref().map(LeftOut::shards)
    }

    /// Says in a JSON object, behind another member, what is missing.
    pub(crate) fn push_member(&self, out: &mut Vec<u8>) {
        if let Some(missing) = self.missing() {
            out.extend_from_slice(format!(",\"missing_shards\":[{}]", joined(&missing, ",")).as_bytes());
        }
    }
}

/// Says in a header what is missing, if anything is.
pub(crate) fn tell(headers: &mut HeaderMap, missing: &[u16]) {
    if !missing.is_empty() {
        answer::set(headers, FACTUM_MISSING_SHARDS, joined(missing, ", "));
    }
}

fn joined(shards: &[u16], between: &str) -> String {
    shards.iter().map(u16::to_string).collect::<Vec<_>>().join(between)
}
