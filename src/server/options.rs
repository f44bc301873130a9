//! What do the settings mean for those who know nothing of settings?

use crate::config;
use crate::config::Settings;
use crate::config::ShardSettings;
use crate::config::StrategyName;
#[cfg(feature = "analytics")]
use crate::config::TelemetrySettings;
use crate::database;
use crate::database::Durability;
use crate::database::Region;
use crate::database::Splitting;
use crate::database::Strategy;
use crate::http::HttpSettings;
use crate::http::Quotas;

pub(super) fn database_options(settings: &Settings) -> database::Options {
    if settings.storage.durability == config::Durability::Relaxed {
        tracing::warn!("durability is relaxed: a power cut may lose what was acknowledged");
    }
    let mut options = database::Options::new(&settings.server.data);
    options.shards = settings.shards.count;
    options.strategy = strategy(&settings.shards);
    options.elsewhere.urls.clone_from(&settings.shards.urls);
    options.elsewhere.token_file.clone_from(&settings.shards.token_file);
    options.elsewhere.timeout = settings.shards.timeout.unwrap_or(options.elsewhere.timeout);
    options.splitting = Splitting {
        above_events: settings.shards.split_above_events,
        above_appends_per_second: settings.shards.split_above_appends_per_second,
        shards_max: settings.shards.max_shards,
        check_every: settings.shards.split_check_interval,
    };
    options.durability = durability(settings);
    options.aggregate_cache_bytes = size(settings.storage.aggregate_cache);
    options.scripts.memory_bytes = size(settings.scripts.memory);
    options.scripts.time = settings.scripts.time;
    options.scripts.threads = settings.scripts.threads.unwrap_or(options.scripts.threads);
    options.sql.memory_bytes = size(settings.sql.memory);
    options.sql.spill_bytes = settings.sql.spill;
    options.sql.time = settings.sql.time;
    options.sql.rows = settings.sql.rows;
    options.sql.queries = settings.sql.queries;
    options.sql.queue = settings.sql.queue;
    options.sql.threads = settings.sql.threads.unwrap_or(options.sql.threads);
    #[cfg(feature = "analytics")]
    {
        let TelemetrySettings { lake, lake_interval: interval, lake_keep: keep, lake_bytes: bytes, .. } = settings.telemetry;
        options.telemetry = lake.then_some(database::TelemetryLimits { interval, keep, bytes });
    }
    options.export_allow.clone_from(&settings.exports.allow);
    options.storage.segment_bytes = settings.storage.segment;
    options.storage.index_flush_events = settings.storage.index_flush_events;
    options.storage.index_cache_bytes = size(settings.storage.index_cache);
    options
}

/// What is asked for, as far as it is said.
fn strategy(settings: &ShardSettings) -> Option<Strategy> {
    let region = |region: &config::RegionSettings| {
        let config::RegionSettings { name, shards, keys } = region.clone();
        Region { name, shards, keys }
    };
    settings.strategy.map(|name| match name {
        StrategyName::Hash => Strategy::Hash,
        StrategyName::Ring => Strategy::Ring { weights: settings.weights.clone() },
        StrategyName::Range => Strategy::Range { splits: settings.splits.clone() },
        StrategyName::Geo => {
            Strategy::Geo { regions: settings.regions.iter().map(region).collect(), default_region: settings.default_region.clone() }
        }
    })
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn durability(settings: &Settings) -> Durability {
    match settings.storage.durability {
        config::Durability::Strict => Durability::Strict,
        config::Durability::Relaxed => Durability::Relaxed,
    }
}

pub(super) fn http_settings(settings: &Settings) -> HttpSettings {
    HttpSettings {
        body_bytes_max: size(settings.limits.body),
        event_bytes_max: size(settings.limits.event),
        events_max: settings.limits.batch_events,
        connections_max: settings.limits.connections,
        header_read_timeout: settings.limits.header_read_timeout,
        body_chunk_timeout: settings.limits.body_read_timeout,
        shutdown_deadline: settings.server.shutdown_timeout,
        durability: durability(settings),
        knows_peers: settings.auth.enabled,
        quotas: Quotas {
            requests_per_second: settings.quotas.requests_per_second,
            requests_at_once: settings.quotas.requests_at_once,
            queries_at_once: settings.quotas.queries_at_once,
        },
        ..HttpSettings::default()
    }
}
