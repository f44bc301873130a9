//! What is measured only when somebody reads the measurements? Everything that can be asked at any time: how far, how many, how full.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::counter;
use metrics::gauge;

use super::Database;
use super::ShardStatus;
use crate::Error;
use crate::projection::meters;
use crate::subscription::group::GroupState;
use crate::subscription::group::GroupStatus;
use crate::telemetry::metrics::Present;

impl Database {
    /// Tells the process's recorder (of the crate `metrics`) how everything is at this moment: to be called before it is read. What is
    /// counted is counted anyway. Returns which projections, consumer groups and exports there are; what the recorder has of others is of
    /// what is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the database closes.
    pub async fn measure(&self) -> Result<Vec<Present>, Error> {
        let shards = self.status().await?;
        shards.iter().for_each(measure_shard);
        measure_index_cache(&shards);
        gauge!("factum_script_queue_depth").set(count(self.inner.aggregates.sandbox().waiting()));
        Ok(vec![self.measure_projections(), self.measure_subscriptions().await?, self.measure_analytics()])
    }

    fn measure_projections(&self) -> Present {
        let measured = self.projections().into_iter().map(|status| {
            meters::fares(&status.name, status.state, status.lag_events, Duration::from_millis(status.lag_ms));
            status.name
        });
        Present { label: "projection", values: measured.collect() }
    }

    async fn measure_subscriptions(&self) -> Result<Present, Error> {
        let mut values = BTreeSet::new();
        for name in self.inner.groups.names() {
            match self.subscription_status(&name).await {
                Ok(status) => {
                    measure_group(&status);
                    values.insert(name);
                }
                // It was ended since.
                Err(Error::DefinitionNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Present { label: SUBSCRIPTION, values })
    }

    #[cfg(feature = "analytics")]
    fn measure_analytics(&self) -> Present {
        let engine = &self.inner.analytics.engine;
        let (running, waiting) = engine.load();
        gauge!("factum_sql_running").set(count(running));
        gauge!("factum_sql_waiting").set(count(waiting));
        gauge!("factum_sql_memory_bytes").set(count(engine.reserved_bytes()));
        let measured = self.exports().into_iter().map(|status| {
            for (state, name) in EXPORT_STATES {
                gauge!("factum_export_state", EXPORT => status.name.clone(), "state" => name).set(truth(status.state == state));
            }
            let set = |name: &'static str, value: f64| gauge!(name, EXPORT => status.name.clone()).set(value);
            set("factum_export_lag_events", number(status.lag_events));
            set("factum_export_lag_seconds", Duration::from_millis(status.lag_ms).as_secs_f64());
            set("factum_export_files", count(status.files.len()));
            set("factum_export_bytes", number(status.files.iter().map(|file| file.bytes).sum()));
            status.name
        });
        Present { label: EXPORT, values: measured.collect() }
    }

    #[cfg(not(feature = "analytics"))]
    #[expect(clippy::unused_self, reason = "in a build with analytics it asks them")]
    fn measure_analytics(&self) -> Present {
        Present::default()
    }
}

fn measure_shard(status: &ShardStatus) {
    let shard = status.shard.to_string();
    let set = |name: &'static str, value: f64| gauge!(name, "shard" => shard.clone()).set(value);
    set("factum_append_queue_depth", count(status.queued_appends));
    set("factum_shard_writable", truth(status.appends.is_ok()));
    set("factum_log_position", number(status.position.get()));
    set("factum_log_bytes", number(status.log_bytes));
    set("factum_index_bytes", number(status.index_bytes));
    set("factum_index_lag_events", number(status.index_lag_events));
    set("factum_streams", number(status.streams));
    set("factum_feeds", count(status.feeds));
    if let Some(bytes) = status.available_bytes {
        set("factum_disk_available_bytes", number(bytes));
    }
}

fn measure_index_cache(shards: &[ShardStatus]) {
    let cache = |name: &'static str, value: u64| counter!(name, "cache" => "index_pages").absolute(value);
    cache("factum_cache_hits_total", shards.iter().map(|shard| shard.index_cache.0).sum());
    cache("factum_cache_misses_total", shards.iter().map(|shard| shard.index_cache.1).sum());
}

fn measure_group(status: &GroupStatus) {
    for state in [GroupState::Active, GroupState::Idle, GroupState::Blocked, GroupState::Failed] {
        let gauge = gauge!("factum_subscription_state", SUBSCRIPTION => status.name.clone(), "state" => state.as_str());
        gauge.set(truth(status.state == state));
    }
    let set = |name: &'static str, value: u64| gauge!(name, SUBSCRIPTION => status.name.clone()).set(number(value));
    set("factum_subscription_lag_events", status.lag);
    set("factum_subscription_in_flight_events", status.in_flight);
    set("factum_subscription_parked_events", status.parked);
    set("factum_subscription_consumers", status.consumers);
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

/// Above 2^53 a measurement may be one off.
fn number(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    value as f64
}

const SUBSCRIPTION: &str = "subscription";
#[cfg(feature = "analytics")]
const EXPORT: &str = "export";
#[cfg(feature = "analytics")]
const EXPORT_STATES: [(super::ExportState, &str); 3] =
    [(super::ExportState::Running, "running"), (super::ExportState::Retrying, "retrying"), (super::ExportState::Failed, "failed")];
