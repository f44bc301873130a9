//! Which shards are there, and where does a stream live?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::database;
use crate::database::KeyRange;
use crate::database::Placement;
use crate::database::Reason;
use crate::database::ShardStatus;
use crate::database::Share;
use crate::database::Strategy;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_read;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::jobs::JobInfo;
use crate::http::jobs::RangeInfo;
use crate::http::jobs::infos;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::segment;
use crate::http::schema;

/// The shards, and by what streams are spread over them.
#[utoipa::path(
    get, path = "/v1/shards", tag = "shards",
    responses(
        (status = 200, description = "The shards", body = ShardList, headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let shards = app.database.status().await?;
    let (strategy, topology_version) = app.database.strategy();
    let mut answered = ShardList::new(&strategy, topology_version);
    answered.shards = shards.iter().map(|shard| ShardInfo::new(shard, app.database.share_of(shard.shard))).collect();
    if let Some(splits) = &mut answered.splits {
        *splits = app.database.splits();
    }
    answered.job = app.database.jobs().iter().rev().find(|job| !job.has_ended()).map(JobInfo::new);
    let body = serde_json::to_vec(&answered).expect("numbers and text are JSON");
    let answer = ReadAnswer { cursor: Some(answer::cursor_text(&app.database.end())), ..ReadAnswer::json(body) };
    Ok(answer.into_response(&parts.headers).await)
}

/// Where a stream lives or would live, and why.
#[utoipa::path(
    get, path = "/v1/shards/locate/{stream}", tag = "shards",
    params(("stream" = String, Path, example = "order-42")),
    responses(
        (status = 200, description = "Its place", body = Located),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn locate(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 3, "stream")?;
    let stream = database::StreamName::new(&name).map_err(|fault| Problem::malformed("stream", fault.to_string()))?;
    authorise_read(&Caller::of(&app, &parts), &stream)?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let (strategy, topology_version) = app.database.strategy();
    let located = Located::new(stream.as_str(), app.database.locate(&stream), strategy.as_str(), topology_version);
    let body = serde_json::to_vec(&located).expect("numbers and text are JSON");
    Ok(ReadAnswer::json(body).into_response(&parts.headers).await)
}

/// The shards, and by what streams are spread over them.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShardList {
    /// `hash`, `ring`, `range` or `geo`.
    strategy: &'static str,
    /// Counts up when streams are spread in another way.
    topology_version: u64,
    /// With `hash` and `ring`: how many slots the shards share; with `geo` those of each region do.
    slots: Option<u16>,
    /// With `ring`: the share of each shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<Vec<u32>>,
    /// With `range`: the first key of each range but the first, in order. Which shard has it is said with the shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    splits: Option<Vec<String>>,
    /// With `geo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    regions: Option<Vec<RegionInfo>>,
    /// With `geo`: where keys go that belong to no region; without it nothing of them is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_region: Option<String>,
    shards: Vec<ShardInfo>,
    /// The change that is under way.
    job: Option<JobInfo>,
}

/// A region.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegionInfo {
    name: String,
    shards: Vec<u16>,
    /// Patterns of the partition keys that belong to it.
    keys: Vec<String>,
}

/// One shard.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShardInfo {
    id: u16,
    /// Where it is: `local`, in this process, or the address of the server that has it.
    location: String,
    /// What tells its log from every other, in hexadecimal. A request with it in `Factum-Log-Id` is refused by a server with another log.
    log_id: String,
    /// `ok`; `refuses-appends`, reads are served; `unavailable`, nothing is: its streams are answered 503.
    state: &'static str,
    /// Why it is not `ok`.
    reason: Option<String>,
    position: u64,
    streams: u64,
    /// Of its log.
    bytes: u64,
    index_bytes: u64,
    queued_appends: usize,
    /// How many of the slots it owns, with `geo` of its region's; null with `range`.
    slots: Option<usize>,
    /// With `range`: the ranges that it owns, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<RangeInfo>>,
    /// It is to own nothing any more; once it owns nothing, its log is only read.
    drained: bool,
    /// With `geo`: in which region it is.
    region: Option<String>,
}

/// Where a stream lives, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct Located {
    #[schema(example = "order-42")]
    stream: String,
    /// Null if nothing can be written to the stream.
    shard: Option<u16>,
    /// What of the name decides: the text between braces, else all of it.
    partition_key: String,
    strategy: &'static str,
    topology_version: u64,
    /// `slot`, `range`, `region`, `no-region` or `system`.
    reason: &'static str,
    /// The same in words.
    explanation: String,
    /// XXH3 of the key, 64 bits in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// The hash modulo 4,096.
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    /// Where the range of the key begins; absent if with the first key.
    #[serde(skip_serializing_if = "Option::is_none")]
    range_from: Option<String>,
    /// Before which key it ends; absent if with the last key.
    #[serde(skip_serializing_if = "Option::is_none")]
    range_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// The pattern of the region that the key matches; absent if the region is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
}

impl ShardList {
    fn new(strategy: &Strategy, topology_version: u64) -> Self {
        let mut list = Self {
            strategy: strategy.as_str(),
            topology_version,
            slots: None,
            weights: None,
            splits: None,
            regions: None,
            default_region: None,
            shards: Vec::new(),
            job: None,
        };
        match strategy.clone() {
            Strategy::Hash => list.slots = Some(database::SLOTS),
            Strategy::Ring { weights } => (list.slots, list.weights) = (Some(database::SLOTS), Some(weights)),
            Strategy::Range { splits } => list.splits = Some(splits),
            Strategy::Geo { regions, default_region } => {
                let info = |region: database::Region| RegionInfo { name: region.name, shards: region.shards, keys: region.keys };
                list.slots = Some(database::SLOTS);
                list.regions = Some(regions.into_iter().map(info).collect());
                list.default_region = default_region;
            }
        }
        list
    }
}

impl ShardInfo {
    fn new(status: &ShardStatus, share: Share) -> Self {
        let Share { slots, ranges, region, is_drained } = share;
        Self {
            id: status.shard,
            location: status.location.clone().unwrap_or_else(|| "local".to_owned()),
            log_id: format!("{:032x}", u128::from_be_bytes(status.log_id)),
            state: state_name(status),
            reason: status.appends.as_ref().err().map(ToString::to_string),
            position: status.position.get(),
            streams: status.streams,
            bytes: status.log_bytes,
            index_bytes: status.index_bytes,
            queued_appends: status.queued_appends,
            slots,
            ranges: ranges.map(infos),
            drained: is_drained,
            region,
        }
    }
}

impl Located {
    fn new(stream: &str, placement: Placement, strategy: &'static str, topology_version: u64) -> Self {
        let Placement { shard, partition_key, reason } = placement;
        let explanation = explained(&partition_key, shard, &reason);
        let mut located = Self {
            stream: stream.to_owned(),
            shard: Some(shard),
            partition_key,
            strategy,
            topology_version,
            reason: "system",
            explanation,
            hash: None,
            slot: None,
            range_from: None,
            range_to: None,
            region: None,
            pattern: None,
        };
        match reason {
            Reason::Slot { hash, slot } => {
                (located.reason, located.hash, located.slot) = ("slot", Some(format!("{hash:016x}")), Some(slot));
            }
            Reason::Range { from, to } => (located.reason, located.range_from, located.range_to) = ("range", from, to),
            Reason::Region { region: None, .. } => (located.reason, located.shard) = ("no-region", None),
            Reason::Region { region, pattern } => (located.reason, located.region, located.pattern) = ("region", region, pattern),
            Reason::System => {}
        }
        located
    }
}

fn explained(key: &str, shard: u16, reason: &Reason) -> String {
    match reason {
        Reason::Slot { slot, .. } => format!("the hash of {key:?} leads to slot {slot}, which shard {shard} owns"),
        Reason::Range { from, to } => {
            let range = KeyRange { from: from.clone(), to: to.clone() };
            format!("{key:?} lies in the range {range}, which shard {shard} has")
        }
        Reason::Region { region: Some(region), pattern: Some(pattern) } => {
            format!("{key:?} matches {pattern:?} of the region {region}, and its hash leads to shard {shard} there")
        }
        Reason::Region { region: Some(region), pattern: None } => {
            format!("{key:?} belongs to no region, and {region} is the default; its hash leads to shard {shard} there")
        }
        Reason::Region { region: None, .. } => format!("{key:?} belongs to no region, and there is no default: nothing can be written"),
        Reason::System => format!("streams of the system are on shard {shard}"),
    }
}

/// How a shard is, in one word.
pub(crate) fn state_name(status: &ShardStatus) -> &'static str {
    match (status.is_absent, status.appends.is_ok()) {
        (true, _) => "unavailable",
        (false, true) => "ok",
        (false, false) => "refuses-appends",
    }
}
