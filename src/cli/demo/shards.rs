//! A shard that joins while events are imported.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::tour::Tour;
use crate::cli::failure::Failure;
use crate::cli::output::grouped;
use crate::config::duration_text;

#[derive(Deserialize)]
struct Job {
    id: String,
    state: String,
    shard: Option<u16>,
    done: u64,
    moved_fraction: f64,
    error: Option<String>,
}

impl Tour<'_> {
    /// Adds a shard once the import is under way, if the demo is one of shards, and says what came of it.
    pub(super) async fn grow(&self, imported: &CancellationToken) -> Result<Option<String>, Failure> {
        let Some(began_with) = self.shards else { return Ok(None) };
        let shards: Value = self.client.get(&["v1", "shards"], &[]).await?;
        let now = shards["shards"].as_array().map_or(0, Vec::len);
        if now > usize::from(began_with) {
            return Ok(Some(format!("{now} shards, one of which has joined in an earlier demo")));
        }
        let mut feed = self.database.job_changes();
        while self.database.end().positions().iter().map(|position| position.get()).sum::<u64>() < JOINS_AT {
            if imported.is_cancelled() {
                return Ok(None);
            }
            // Nothing is waited for but that time passes: the import goes on beside this.
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let started = Instant::now();
        let request = self.client.request(Method::POST, &["v1", "shards"], &[])?;
        let mut job: Job = self.client.json(self.client.send(request).await?).await?;
        while job.state == "running" {
            // Told of each change; a dropped sender is the end of the server, which the next call says.
            drop(feed.changed().await);
            job = self.client.get(&["v1", "jobs", &job.id], &[]).await?;
        }
        if job.state != "done" {
            return Err(Failure::failed("no shard could join").detail(job.error.unwrap_or(job.state)));
        }
        let share = job.moved_fraction * 100.0;
        Ok(Some(format!(
            "meanwhile shard {} joined: {} of 4,096 slots ({share:.1} %) changed hands in {}, 0 bytes were copied",
            job.shard.unwrap_or_default(),
            grouped(job.done),
            duration_text(started.elapsed()),
        )))
    }
}

/// How much is to be there when it joins.
const JOINS_AT: u64 = 5_000;
const LOOK_EVERY: Duration = Duration::from_millis(5);
