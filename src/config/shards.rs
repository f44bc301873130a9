//! How is a data directory spread over shards?

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::value;

/// How a new data directory is spread over shards, and what an existing one must be like. What is not said is what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSettings {
    /// How many shards there are.
    pub count: Option<u16>,
    /// By what streams are spread.
    pub strategy: Option<StrategyName>,
    /// What share each shard has of a `ring`; empty: all the same.
    pub weights: Vec<u32>,
    /// Where each shard but the first begins in a `range`.
    pub splits: Vec<String>,
    /// The regions of `geo`.
    pub regions: Vec<RegionSettings>,
    /// Where keys go that belong to no region.
    pub default_region: Option<String>,
    /// The addresses of shards that other servers have.
    pub urls: Vec<String>,
    /// A file with the token that these are asked with.
    pub token_file: Option<PathBuf>,
    /// How long a call of one of them may take.
    pub timeout: Option<Duration>,
    /// How many events a range of `range` may have before it is split by itself.
    pub split_above_events: Option<u64>,
    /// How many events a second may be appended to one before it is.
    pub split_above_appends_per_second: Option<u64>,
    /// How many shards there may be for one to be added by itself.
    pub max_shards: u16,
    /// How often it is looked whether a range has to be split.
    pub split_check_interval: Duration,
}

/// By what streams are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyName {
    /// By slot modulo shards.
    Hash,
    /// By consistent hashing.
    Ring,
    /// By the order of partition keys.
    Range,
    /// By the region of partition keys.
    Geo,
}

/// `[[shards.regions]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSettings {
    /// What it is called.
    pub name: String,
    /// Its shards.
    pub shards: Vec<u16>,
    /// Patterns of the partition keys that belong to it.
    #[serde(default)]
    pub keys: Vec<String>,
}

impl ShardSettings {
    /// Whether its parts go together; what belongs to one strategy names it. Says which setting does not, and why.
    pub(super) fn settle(&mut self) -> Result<(), (&'static str, String)> {
        let parts = [
            ("shards.weights", !self.weights.is_empty(), StrategyName::Ring),
            ("shards.splits", !self.splits.is_empty(), StrategyName::Range),
            ("shards.regions", !self.regions.is_empty(), StrategyName::Geo),
            ("shards.default_region", self.default_region.is_some(), StrategyName::Geo),
            ("shards.split_above_events", self.split_above_events.is_some(), StrategyName::Range),
            ("shards.split_above_appends_per_second", self.split_above_appends_per_second.is_some(), StrategyName::Range),
        ];
        for (name, is_set, owner) in parts {
            match self.strategy {
                Some(strategy) if is_set && strategy != owner => {
                    return Err((
                        name,
                        format!("belongs to the strategy {}, and shards.strategy is {}", owner.as_str(), strategy.as_str()),
                    ));
                }
                None if is_set => self.strategy = Some(owner),
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}

impl StrategyName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Ring => "ring",
            Self::Range => "range",
            Self::Geo => "geo",
        }
    }
}

/// Reads the name of a strategy; `auto` is none.
pub(super) fn strategy(text: &str) -> Result<Option<StrategyName>, String> {
    let all = [StrategyName::Hash, StrategyName::Ring, StrategyName::Range, StrategyName::Geo];
    match all.into_iter().find(|strategy| strategy.as_str() == text) {
        None if text != "auto" => Err("must be hash, ring, range, geo or auto".to_owned()),
        found => Ok(found),
    }
}

/// Reads weights with commas between them, or as an array; `none` is none.
pub(super) fn weights(text: &str) -> Result<Vec<u32>, String> {
    let form = |_| "must be whole numbers with commas between them, one for each shard, or none".to_owned();
    match text {
        "none" => Ok(Vec::new()),
        array if array.starts_with('[') => serde_json::from_str(array).map_err(|error| form(error.to_string())),
        list => {
            list.split(',').map(|weight| weight.trim().parse().map_err(|error: std::num::ParseIntError| form(error.to_string()))).collect()
        }
    }
}

/// Reads keys with commas between them, or as an array; `none` is none.
pub(super) fn splits(text: &str) -> Result<Vec<String>, String> {
    match text {
        "none" => Ok(Vec::new()),
        array if array.starts_with('[') => serde_json::from_str(array).map_err(|error| format!("must be an array of texts: {error}")),
        list => Ok(list.split(',').map(|split| split.trim().to_owned()).collect()),
    }
}

/// Reads addresses with commas between them, or as an array; `none` is none.
pub(super) fn urls(text: &str) -> Result<Vec<String>, String> {
    let urls = splits(text)?;
    let is_one = |url: &&String| url.starts_with("http://") || url.starts_with("https://");
    match urls.iter().find(|url| !is_one(url)) {
        Some(bad) => Err(format!("{bad:?} is not the address of a server, such as http://10.0.0.2:4400")),
        None => Ok(urls),
    }
}

/// Reads regions from JSON, as the file's tables are written in it; `none` is none.
pub(super) fn regions(text: &str) -> Result<Vec<RegionSettings>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|error| {
        format!("must be tables [[shards.regions]], or a JSON array of objects in the environment, with name, shards and keys: {error}")
    })
}

/// Reads the name of a region; `none` is none.
pub(super) fn region(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Err("must name a region, or none".to_owned()),
        "none" => Ok(None),
        name => Ok(Some(name.to_owned())),
    }
}

/// Reads a limit; `none` is none.
pub(super) fn limit(text: &str) -> Result<Option<u64>, String> {
    if text == "none" { Ok(None) } else { value::number_within(text, 1, u64::MAX).map(Some) }
}
