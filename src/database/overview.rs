//! Is all well, and if not, what is to be done? Every part of a database is asked how it is, and what is not well is said in words.

use super::Database;
#[cfg(feature = "analytics")]
use super::ExportState;
#[cfg(feature = "analytics")]
use super::ExportStatus;
use super::GroupState;
use super::GroupStatus;
use super::Job;
use super::JobState;
use super::ProjectionStatus;
use super::ShardStatus;
use super::State;
use crate::Error;
use crate::config::bytes_text;

/// How everything is.
#[derive(Clone, Debug)]
pub struct Overview {
    /// By number.
    pub shards: Vec<ShardStatus>,
    /// By name.
    pub projections: Vec<ProjectionStatus>,
    /// By name.
    pub subscriptions: Vec<GroupStatus>,
    /// By name.
    #[cfg(feature = "analytics")]
    pub exports: Vec<ExportStatus>,
    /// The worst first; none if all is well.
    pub troubles: Vec<Trouble>,
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is.
    pub severity: Severity,
    /// Of which kind the part is: `shard`, `job`, `projection`, `subscription`, `export`.
    pub part: &'static str,
    /// Which one.
    pub name: String,
    /// What is not well. Repeats nothing of what events hold.
    pub problem: String,
    /// What to do.
    pub todo: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work that should: somebody has to act.
    Critical,
    /// It may come right by itself, or get worse.
    Warning,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

impl Database {
    /// How everything is, and what is not well.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the database closes.
    pub async fn overview(&self) -> Result<Overview, Error> {
        let shards = self.status().await?;
        let projections = self.projections();
        let mut subscriptions = Vec::new();
        for name in self.inner.groups.names() {
            match self.subscription_status(&name).await {
                Ok(status) => subscriptions.push(status),
                // It was ended since.
                Err(Error::DefinitionNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        subscriptions.sort_by(|left, right| left.name.cmp(&right.name));
        let mut troubles: Vec<Trouble> = shards.iter().flat_map(of_shard).collect();
        troubles.extend(projections.iter().filter_map(of_projection));
        troubles.extend(subscriptions.iter().flat_map(of_subscription));
        #[cfg(feature = "analytics")]
        let exports = self.exports();
        #[cfg(feature = "analytics")]
        troubles.extend(exports.iter().filter_map(of_export));
        troubles.extend(self.jobs().iter().filter_map(of_job));
        troubles.extend(self.inner.reshaping.unsplit());
        troubles.sort_by_key(|trouble| trouble.severity);
        Ok(Overview {
            shards,
            projections,
            subscriptions,
            #[cfg(feature = "analytics")]
            exports,
            troubles,
        })
    }
}

fn of_shard(status: &ShardStatus) -> Vec<Trouble> {
    let name = status.shard.to_string();
    let trouble =
        |severity, problem: String, todo: &str| Trouble { severity, part: "shard", name: name.clone(), problem, todo: todo.to_owned() };
    let mut found = Vec::new();
    if let (Err(error), true) = (&status.appends, status.is_absent) {
        if let Some(url) = &status.location {
            let todo = format!("look at the server at {url}: as soon as it answers, with the log that it had, the shard is there again");
            return vec![trouble(Severity::Critical, format!("can't be used, neither for appends nor for reads: {error}"), &todo)];
        }
        let todo = "bring its folder back from where it is, or from a backup, and restart the server: the other shards can't stand for it";
        return vec![trouble(Severity::Critical, format!("can't be used, neither for appends nor for reads: {error}"), todo)];
    }
    if let Err(error) = &status.appends {
        found.push(trouble(Severity::Critical, format!("takes no appends: {error}"), what_to_do(error)));
    }
    match status.available_bytes {
        Some(left) if left < SPACE_LEAST => {
            let problem = format!("has only {} of disk left; without any, appends are answered 507", bytes_text(left));
            found.push(trouble(Severity::Critical, problem, "make space; appends go on by themselves"));
        }
        Some(left) if left < SPACE_LITTLE => {
            let problem = format!("has {} of disk left", bytes_text(left));
            found.push(trouble(Severity::Warning, problem, "make space, or set a retention on streams whose old events nobody needs"));
        }
        Some(_) | None => {}
    }
    if status.index_lag_events > INDEX_FAR_BEHIND {
        let problem = format!("has an index that is {} events behind the log", status.index_lag_events);
        found.push(trouble(
            Severity::Warning,
            problem,
            "see the log of the server: it says why the index is not written; a restart takes longer until it is",
        ));
    }
    if status.queued_appends > QUEUE_LONG {
        let problem = format!("has {} appends waiting", status.queued_appends);
        found.push(trouble(
            Severity::Warning,
            problem,
            "look at the time of syncs (factum_disk_sync_seconds): a slow disk, or more load than it takes",
        ));
    }
    found
}

fn of_job(job: &Job) -> Option<Trouble> {
    let error = job.error.as_ref().filter(|_| job.state == JobState::Failed)?;
    Some(Trouble {
        severity: Severity::Warning,
        part: "job",
        name: job.id.clone(),
        problem: format!("the change of the shards ({}) stands still: {error}", job.kind),
        todo: format!("when that is mended, `factum shards resume {id}`; or give it up: `factum shards cancel {id}`", id = job.id),
    })
}

fn what_to_do(error: &factum_storage::Error) -> &'static str {
    match error {
        factum_storage::Error::ReadOnly(_) | factum_storage::Error::Corrupt(_) => {
            "stop the server, copy the data directory, and run `factum verify` on it; see \"When the log is damaged\" in docs/operating.md"
        }
        factum_storage::Error::StorageFull => "make space; appends go on by themselves",
        factum_storage::Error::Poisoned(_)
        | factum_storage::Error::OutcomeUnknown(_)
        | factum_storage::Error::LogMissing(_)
        | factum_storage::Error::Io { .. }
        | factum_storage::Error::Conflict(_)
        | factum_storage::Error::StreamDeleted(_)
        | factum_storage::Error::StreamNotFound(_)
        | factum_storage::Error::EventIdReused { .. }
        | factum_storage::Error::TooLarge { .. }
        | factum_storage::Error::UnknownFormat { .. }
        | factum_storage::Error::Locked { .. } => "look at the disk, then restart the server: it finds out what is on it",
    }
}

fn of_projection(status: &ProjectionStatus) -> Option<Trouble> {
    let reason = || status.error.as_ref().map_or("", |failure| failure.reason.as_str());
    let name = &status.name;
    let at = status.error.as_ref().and_then(|failure| failure.event.as_ref());
    let (severity, problem, todo) = match (status.state, at) {
        (State::Failed, Some(event)) => (
            Severity::Critical,
            format!("stands still at an event that it can't digest (shard {}, position {})", event.shard, event.position),
            format!("`factum projections {name}` says why; correct the definition, or `factum projections {name} skip`"),
        ),
        (State::Failed, None) => {
            (Severity::Critical, format!("stands still: {}", reason()), format!("put that right, then `factum projections {name} resume`"))
        }
        (State::Retrying, _) => {
            (Severity::Warning, format!("can't go on for now: {}", reason()), "bring its target back; it catches up by itself".to_owned())
        }
        (State::Paused, _) => (
            Severity::Warning,
            format!("is paused, {} events behind", status.lag_events),
            format!("`factum projections {name} resume` when it is to go on"),
        ),
        (State::Running, _) if status.lag_ms > LAG_LONG_MS => (
            Severity::Warning,
            format!("is {} events behind, {} s", status.lag_events, status.lag_ms / 1_000),
            "look at factum_projection_batch_seconds: a slow target or script, or more events than it takes".to_owned(),
        ),
        (State::Running | State::Rebuilding, _) => return None,
    };
    Some(Trouble { severity, part: "projection", name: name.clone(), problem, todo })
}

fn of_subscription(status: &GroupStatus) -> Vec<Trouble> {
    let name = &status.name;
    let trouble = |severity, problem: String, todo: String| Trouble { severity, part: "subscription", name: name.clone(), problem, todo };
    let mut found = Vec::new();
    if status.state == GroupState::Failed {
        let reason = status.error.as_deref().unwrap_or("its progress can't be read");
        let todo = "put that right; the next consumer tries again".to_owned();
        found.push(trouble(Severity::Critical, format!("has failed: {reason}"), todo));
    }
    if status.state == GroupState::Blocked {
        let problem = "reads nothing more: too many events are parked, held back or out".to_owned();
        let todo = format!("`factum subscriptions {name} --parked`, then replay or skip them; and see whether consumers acknowledge");
        found.push(trouble(Severity::Critical, problem, todo));
    } else if status.parked > 0 {
        let problem = format!("has put {} events aside, which hold back {}", status.parked, status.held_back);
        found.push(trouble(Severity::Warning, problem, format!("`factum subscriptions {name} --parked`, then replay or skip them")));
    }
    if status.state == GroupState::Idle && status.lag > 0 {
        let problem = format!("is {} events behind, and no consumer is connected", status.lag);
        found.push(trouble(Severity::Warning, problem, "start its consumers, or end it if nobody needs it".to_owned()));
    }
    found
}

#[cfg(feature = "analytics")]
fn of_export(status: &ExportStatus) -> Option<Trouble> {
    let name = &status.name;
    let reason = || status.error.as_ref().map_or("", |failure| failure.reason.as_str());
    let (severity, problem, todo) = match status.state {
        ExportState::Failed => {
            (Severity::Critical, format!("stands still: {}", reason()), format!("put that right, then `factum exports {name} --flush`"))
        }
        ExportState::Retrying => {
            (Severity::Warning, format!("can't reach its lake: {}", reason()), "bring it back; the export catches up by itself".to_owned())
        }
        ExportState::Running if status.error.is_some() => {
            (Severity::Warning, format!("has a file that can't be read: {}", reason()), "look at the lake; the export goes on".to_owned())
        }
        ExportState::Running => return None,
    };
    Some(Trouble { severity, part: "export", name: name.clone(), problem, todo })
}

/// About two segments: the one that is written, and the next.
const SPACE_LEAST: u64 = 256 << 20;
const SPACE_LITTLE: u64 = 2 << 30;
/// Ten times as far as it is by itself.
const INDEX_FAR_BEHIND: u64 = 1_000_000;
/// Half of what may wait.
const QUEUE_LONG: usize = 4_096;
const LAG_LONG_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
