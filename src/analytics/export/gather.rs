//! What is to be written next? Events, by the folder that they belong to, within bounds of memory.

use std::collections::BTreeMap;

use factum_storage::Timestamp;
use foldhash::HashMap;
use uuid::Uuid;

use super::manifest::LastEvent;
use super::manifest::Manifest;
use super::partition::Partition;
use super::spec::Layout;
use crate::analytics::columns::CategoryColumns;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::telemetry::traces::Place;

/// Events that are not in the lake yet.
#[derive(Clone)]
pub(super) struct Gathered {
    layout: Layout,
    /// Behind the last event that was taken, and behind what the filter has left out since.
    pub(super) through: Cursor,
    pub(super) partitions: Vec<PartitionEvents>,
    by_partition: HashMap<Partition, usize>,
    /// The partition of the event before: mostly that of the next one too.
    latest: usize,
    /// The category of all events, if there is but one.
    only: Option<String>,
    /// What is known of each category, these events included.
    pub(super) columns: BTreeMap<String, CategoryColumns>,
    /// For each shard the last event, also among those that are in the lake already.
    pub(super) last: Vec<Option<LastEvent>>,
    pub(super) last_recorded_at: Timestamp,
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Names the shapes that the first of them was brought into.
    pub(super) shapes: u64,
    /// What has caused them, as far as traces of it are kept.
    pub(super) causes: Vec<Place>,
}

/// The events of one folder.
#[derive(Clone)]
pub(super) struct PartitionEvents {
    pub(super) partition: Partition,
    pub(super) events: Vec<Event>,
}

impl Gathered {
    /// Nothing yet, behind what a manifest says.
    pub(super) fn behind(manifest: &Manifest, layout: Layout) -> Self {
        Self {
            layout,
            through: manifest.through(),
            partitions: Vec::new(),
            by_partition: HashMap::default(),
            latest: 0,
            only: manifest.only_category().map(str::to_owned),
            columns: manifest.columns.clone(),
            last: manifest.last.clone(),
            last_recorded_at: Timestamp::from_micros(i64::MIN),
            events: 0,
            bytes: 0,
            shapes: 0,
            causes: Vec::new(),
        }
    }

    /// Takes out what is there; what comes is gathered behind it.
    pub(super) fn take(&mut self) -> Self {
        let next = Self {
            layout: self.layout,
            through: self.through.clone(),
            partitions: Vec::new(),
            by_partition: HashMap::default(),
            latest: 0,
            only: self.only.clone(),
            columns: self.columns.clone(),
            last: self.last.clone(),
            last_recorded_at: self.last_recorded_at,
            events: 0,
            bytes: 0,
            shapes: self.shapes,
            causes: Vec::new(),
        };
        std::mem::replace(self, next)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// So much that it should be written before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX || self.partitions.len() >= PARTITIONS_MAX
    }

    /// Takes an event. `shapes` names the shapes that it was brought into.
    pub(super) fn push(&mut self, event: Event, shapes: u64) {
        if self.events == 0 {
            self.shapes = shapes;
        }
        let record = &event.record;
        let known = self.last.len().max(usize::from(event.shard) + 1);
        self.last.resize(known, None);
        if let Some(slot) = self.last.get_mut(usize::from(event.shard)) {
            *slot = Some(LastEvent { position: record.position().get(), id: Uuid::from_bytes(*record.id().as_bytes()) });
        }
        self.last_recorded_at = self.last_recorded_at.max(record.recorded_at());
        self.events += 1;
        if self.causes.len() < CAUSES_MAX {
            self.causes.extend(Place::of_metadata(record.metadata()));
        }
        let reshaped = if shapes == 0 { 0 } else { record.data().len() };
        self.bytes += record.stored_bytes() + reshaped + EVENT_BYTES;
        if self.partitions.get(self.latest).is_none_or(|latest| !latest.partition.holds(record)) {
            let partition = Partition::of(self.layout, record);
            self.latest = *self.by_partition.entry(partition.clone()).or_insert_with(|| {
                self.partitions.push(PartitionEvents { partition, events: Vec::new() });
                self.partitions.len() - 1
            });
        }
        let Some(PartitionEvents { partition, events }) = self.partitions.get_mut(self.latest) else { return };
        if let Some(category) = partition.category.as_ref().or(self.only.as_ref()) {
            match self.columns.get_mut(category) {
                Some(columns) => columns.observe(&event),
                None => self.columns.entry(category.clone()).or_default().observe(&event),
            }
        }
        events.push(event);
    }
}

/// What is gathered may take so much memory; while it is written, as much again is gathered.
const BYTES_MAX: usize = 64 << 20;
/// Each makes a file.
const PARTITIONS_MAX: usize = 1_000;
/// Traces that one flush goes on in; see there how many of them get a span.
const CAUSES_MAX: usize = 64;
/// What an event takes besides its bytes.
const EVENT_BYTES: usize = 160;
