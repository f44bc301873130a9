//! What does the server say of a projection?

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::failure::Failure;
use crate::cli::output::grouped;
use crate::config::duration_text;

/// How a projection fares.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) checkpoint: String,
    pub(crate) head: String,
    pub(crate) lag_events: u64,
    pub(crate) lag_ms: u64,
    pub(crate) events_per_second: f64,
    pub(crate) target: String,
    pub(crate) error: Option<Error>,
    pub(crate) rebuild: Option<Rebuild>,
}

/// Why it does not go on.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Error {
    reason: String,
    stream: Option<String>,
    version: Option<u64>,
    #[serde(rename = "type")]
    event_type: Option<String>,
}

/// How far the rows are that are built beside those in use.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rebuild {
    pub(crate) done: u64,
    pub(crate) total: u64,
    events_per_second: f64,
    eta_seconds: Option<f64>,
}

impl State {
    /// Reads the server's answer.
    pub(crate) fn read(answer: &RawValue) -> Result<Self, Failure> {
        serde_json::from_str(answer.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
    }

    /// Whether it follows the log, and builds nothing beside.
    pub(crate) fn is_settled(&self) -> bool {
        self.state == "running" && self.rebuild.is_none()
    }

    /// Whether it stands still until somebody does something.
    pub(crate) fn stands_still(&self) -> bool {
        matches!(self.state.as_str(), "failed" | "paused")
    }

    /// How long ago the event was recorded that it stands at.
    pub(crate) fn behind(&self) -> String {
        if self.lag_ms == 0 { String::new() } else { duration_text(Duration::from_millis(self.lag_ms)) }
    }

    /// Why it does not go on, with the event.
    pub(crate) fn trouble(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let place = match (&error.stream, error.version, &error.event_type) {
            (Some(stream), Some(version), Some(event_type)) => format!("event {version} of {stream} ({event_type}): "),
            _ => String::new(),
        };
        Some(format!("{place}{}", error.reason))
    }

    /// How far it is with the rows beside those in use.
    pub(crate) fn progress(&self) -> Option<String> {
        let rebuild = self.rebuild.as_ref()?;
        let left = rebuild.eta_seconds.map(|eta| format!(", {} to go", whole_seconds(eta))).unwrap_or_default();
        let (done, total, pace) = (grouped(rebuild.done), grouped(rebuild.total), pace(rebuild.events_per_second));
        Some(format!("the new rows are of {done} of {total} positions{pace}{left}"))
    }

    /// How long that will take, in few words.
    pub(crate) fn left(&self) -> Option<String> {
        let rebuild = self.rebuild.as_ref()?;
        let left = rebuild.eta_seconds.map_or_else(|| "rebuilding".to_owned(), |eta| format!("{} to go", whole_seconds(eta)));
        Some(format!("{left}{}", pace(rebuild.events_per_second)))
    }

    /// What there is to be done about it.
    pub(crate) fn next_step(&self) -> Option<String> {
        let name = &self.name;
        match (self.state.as_str(), &self.error) {
            ("failed", Some(Error { stream: Some(_), .. })) => {
                Some(format!("correct the definition and apply it again, or step over the event: `factum projections {name} skip`"))
            }
            ("failed", _) => Some(format!("mend that, then `factum projections {name} resume`, or `… rebuild`")),
            ("paused", _) => Some(format!("`factum projections {name} resume` lets it go on")),
            ("retrying", _) => Some("it is tried again, and goes on by itself".to_owned()),
            _ => None,
        }
    }
}

/// Events a second, or nothing.
pub(crate) fn pace(events_per_second: f64) -> String {
    if events_per_second < 0.5 { String::new() } else { format!(", {} events/s", rounded(events_per_second)) }
}

/// A rate for people.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people is never near the bounds")]
pub(crate) fn rounded(number: f64) -> String {
    grouped(number.round() as u64)
}

/// `8 s`, `3 min`, `2 h 5 min`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no wait is that long")]
fn whole_seconds(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    if seconds < 90.0 {
        format!("{} s", seconds.ceil() as u64)
    } else if minutes < 90 {
        format!("{minutes} min")
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rest: &str) -> State {
        let text = format!(
            r#"{{"name":"v","checkpoint":"1","head":"9","lag_events":8,"lag_ms":1500,"events_per_second":0.0,"target":"embedded",{rest}}}"#
        );
        State::read(&RawValue::from_string(text).expect("JSON")).expect("a state")
    }

    #[test]
    fn a_state_says_what_to_do() {
        let failed = state(
            r#""state":"failed","error":{"reason":"no number","attempts":1,"shard":0,"position":4,"stream":"bike-1","version":4,"type":"Paid"}"#,
        );
        assert_eq!(failed.trouble().as_deref(), Some("event 4 of bike-1 (Paid): no number"));
        assert!(failed.stands_still() && failed.next_step().is_some_and(|next| next.contains("factum projections v skip")));
        let failed = state(r#""state":"failed","error":{"reason":"another table","attempts":1}"#);
        assert_eq!(failed.trouble().as_deref(), Some("another table"));
        assert!(failed.next_step().is_some_and(|next| next.contains("factum projections v resume")));
        assert_eq!(failed.behind(), "1.5 s");
    }

    #[test]
    fn a_rebuild_says_how_long_it_takes() {
        let building = |eta: &str| {
            let rebuild = format!(
                r#""state":"rebuilding","rebuild":{{"checkpoint":"4","done":4000,"total":9000,"events_per_second":2000.4,"eta_seconds":{eta}}}"#
            );
            let state = state(&rebuild);
            assert!(!state.is_settled() && !state.stands_still());
            state.progress().expect("it is being rebuilt")
        };
        assert_eq!(building("2.1"), "the new rows are of 4,000 of 9,000 positions, 2,000 events/s, 3 s to go");
        assert!(building("null").ends_with("2,000 events/s"));
        assert!(building("600").ends_with("10 min to go"));
        assert!(building("7500").ends_with("2 h 5 min to go"));
    }
}
