//! What has been applied to the index and is not in its file yet?

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::category;
use crate::is_system;

use super::Change;
use super::Entry;
use super::Map;
use super::StreamHead;
use super::TermKind;
use super::fault::Fault;
use super::hidden::Hidden;
use super::postings::PAGE;
use super::rows::Counts;
use super::rows::StreamState;
use super::rows::TermCounts;

/// Entries behind what the file, or the delta before this one, holds. Only ever added to.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) streams: Map<Arc<str>, StreamDelta>,
    /// The streams that neither the file nor the delta before this one knows, by name.
    pub(super) new_streams: BTreeSet<Arc<str>>,
    pub(super) terms: [Map<Arc<str>, TermDelta>; 3],
    pub(super) ids: Map<[u8; 16], u64>,
    /// Everything up to here has been applied.
    pub(super) through: u64,
    /// How many events it holds.
    pub(super) events: u64,
    /// Of the whole index, this delta included.
    pub(super) counts: Counts,
}

/// A stream's state is complete; its positions are those that came with this delta.
#[derive(Debug)]
pub(super) struct StreamDelta {
    pub(super) state: StreamState,
    /// The version of the first of `positions`.
    pub(super) from: u64,
    pub(super) positions: Vec<u64>,
    /// Neither the file nor the delta before this one knows it.
    pub(super) is_new: bool,
    /// It hid something when this delta began.
    pub(super) was_hiding: bool,
}

#[derive(Debug, Default)]
pub(super) struct TermDelta {
    pub(super) counts: TermCounts,
    pub(super) positions: Vec<u64>,
}

/// What is known of a stream that this delta has not touched yet.
pub(super) type Known = Option<StreamState>;

impl Delta {
    /// An empty delta that goes on from another one, or from the file.
    pub(super) fn following(through: u64, counts: Counts) -> Self {
        Self { through, counts, ..Self::default() }
    }

    /// Adds an event. Streams that it touches for the first time must be in `known`; those that are not are new.
    pub(super) fn apply(&mut self, entry: &Entry<'_>, known: &Map<Arc<str>, Known>, hidden: &Hidden) -> Result<(), Fault> {
        let position = entry.position.get();
        let version = entry.version.get();
        let system = is_system(entry.stream);
        let stream = self.touch(entry.stream, known);
        // A version counts events of this log, unless another one has some of them; a jump beyond all that could be lost is a mistake.
        let is_too_far = version - stream.state.version.min(version) > position.max(LOST_MAX);
        if version <= stream.state.version || is_too_far {
            return Err(Fault::unusable(format!("version {version} of {} does not follow {}", entry.stream, stream.state.version)));
        }
        let first = stream.state.version == 0;
        if first {
            stream.state.created_at = entry.recorded_at.as_micros();
        }
        // Versions that are missing were lost with a damaged part of the log; zero keeps their place.
        for _ in stream.state.version + 1..version {
            stream.positions.push(0);
        }
        stream.positions.push(position);
        stream.state.version = version;
        stream.state.last_position = position;
        stream.state.updated_at = entry.recorded_at.as_micros();
        stream.state.is_deleted = false;
        if stream.state.hides() {
            self.show(entry.stream, hidden);
        }
        self.term(TermKind::Category, category(entry.stream), position, system).streams += u64::from(first);
        self.term(TermKind::Type, entry.event_type, position, system);
        for tag in entry.tags {
            self.term(TermKind::Tag, tag, position, system);
        }
        self.ids.insert(*entry.id.as_bytes(), position);
        if let Some(control) = &entry.control {
            let target = self.touch(control.stream, known);
            match &control.change {
                Change::Adopted(left) => target.adopt(left, position)?,
                decided @ (Change::Deleted { .. } | Change::Tombstoned | Change::Retention(_)) => change(&mut target.state, decided, entry),
            }
            self.show(control.stream, hidden);
        }
        self.counts.events += 1;
        if !system {
            self.counts.streams += u64::from(first);
            self.counts.last_client = position;
        }
        self.events += 1;
        self.through = position;
        Ok(())
    }

    fn touch(&mut self, name: &str, known: &Map<Arc<str>, Known>) -> &mut StreamDelta {
        if !self.streams.contains_key(name) {
            let (name, state) = match known.get_key_value(name) {
                Some((name, state)) => (Arc::clone(name), *state),
                None => (Arc::from(name), None),
            };
            if state.is_none() {
                self.new_streams.insert(Arc::clone(&name));
            }
            let before = state.unwrap_or_default();
            let stream = StreamDelta {
                state: before,
                from: before.version + 1,
                positions: Vec::new(),
                is_new: state.is_none(),
                was_hiding: before.hides(),
            };
            self.streams.insert(name, stream);
        }
        self.streams.get_mut(name).expect("it was put there if it was not there")
    }

    /// Tells those who ask what is hidden how the stream stands now.
    fn show(&self, name: &str, hidden: &Hidden) {
        if let Some((name, stream)) = self.streams.get_key_value(name) {
            if stream.state.hides() { hidden.set(name, stream.state.head()) } else { hidden.remove(name) }
        }
    }

    fn term(&mut self, kind: TermKind, term: &str, position: u64, system: bool) -> &mut TermCounts {
        let terms = &mut self.terms[kind.index()];
        if !terms.contains_key(term) {
            terms.insert(term.into(), TermDelta::default());
        }
        let list = terms.get_mut(term).expect("it was put there if it was not there");
        // An event may bear a tag twice.
        if list.positions.last() != Some(&position) {
            list.positions.push(position);
            list.counts.events += 1;
            list.counts.client_events += u64::from(!system);
        }
        &mut list.counts
    }
}

impl StreamDelta {
    /// Goes on from what another log left. Zero keeps the place of versions that are there; whole pages of them are not even listed.
    fn adopt(&mut self, left: &StreamHead, position: u64) -> Result<(), Fault> {
        let (version, known) = (left.version.get(), self.state.version);
        if version < known {
            return Err(Fault::unusable(format!("a stream at version {known} was adopted at {version}")));
        }
        if self.is_new && known == 0 {
            self.state.unlisted = version / PAGE as u64 * PAGE as u64;
            self.from = self.state.unlisted + 1;
        }
        let listed = known.max(self.state.unlisted);
        self.positions.extend((listed..version).map(|_| 0));
        self.state.adopt(left, position);
        Ok(())
    }
}

fn change(state: &mut StreamState, change: &Change, entry: &Entry<'_>) {
    if state.version == 0 {
        // Its events were lost; what was decided about it still holds.
        state.created_at = entry.recorded_at.as_micros();
        state.updated_at = state.created_at;
    }
    match *change {
        Change::Deleted { before_version } => {
            state.deleted_through = state.deleted_through.max(before_version.get());
            state.is_deleted = state.version <= before_version.get();
        }
        Change::Tombstoned => state.is_tombstoned = true,
        Change::Retention(retention) => {
            state.retention = retention;
            state.was_retained = true;
        }
        // Its list changes too: see `StreamDelta::adopt`.
        Change::Adopted(_) => {}
    }
}

/// So many versions at most may be missing between two of a stream beyond what this log could have held.
const LOST_MAX: u64 = 1 << 20;
