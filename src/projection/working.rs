//! What do the rows of a batch come to? Each is loaded once, changed in memory in the order of the events, and written once.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::row::Change;
use super::row::Row;
use super::row::Write;
use super::spec::Columns;
use super::target::Fault;
use super::target::Writer;
use super::value::Value;

/// The rows that a batch has looked at.
#[derive(Debug)]
pub(crate) struct Working {
    columns: Arc<Columns>,
    slots: HashMap<Value, Slot, RandomState>,
    /// About what its rows take.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    row: Option<Row>,
    /// The target has a row of this key.
    is_stored: bool,
    is_changed: bool,
}

/// Which event changes a row: what its `_version` and `_position` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) version: u64,
    pub(crate) position: u64,
}

/// Why an event could not be applied.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The event can't be digested; nothing of it was applied.
    Poison(String),
    /// The event can't be digested as things are, and is not to blame; nothing of it was applied, and what was before it counts.
    Waits(Fault),
    /// The target failed: the batch is over.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Working {
    pub(crate) fn new(columns: Arc<Columns>) -> Self {
        Self { columns, slots: HashMap::default(), bytes: 0 }
    }

    pub(crate) fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// There is as much in it as should be committed at once.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX
    }

    /// Loads those of the rows that were not looked at yet.
    pub(crate) async fn load(&mut self, writer: &mut dyn Writer, keys: impl Iterator<Item = &Value>) -> Result<(), Fault> {
        let missing = self.take_missing(keys);
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            rest = self.load_part(writer, rest).await?;
        }
        Ok(())
    }

    /// The same as far as the target tells them in one go: of large rows those are left that nobody has asked for yet.
    pub(crate) async fn load_ahead(&mut self, writer: &mut dyn Writer, keys: impl Iterator<Item = &Value>) -> Result<(), Fault> {
        let missing = self.take_missing(keys);
        if !missing.is_empty() {
            for key in self.load_part(writer, &missing).await? {
                self.slots.remove(key);
            }
        }
        Ok(())
    }

    /// The keys that have no slot. They get one at once, so that a key that comes twice is asked for once.
    fn take_missing<'a>(&mut self, keys: impl Iterator<Item = &'a Value>) -> Vec<Value> {
        let mut missing: Vec<Value> = Vec::new();
        for key in keys {
            if !self.slots.contains_key(key) {
                self.slots.insert(key.clone(), Slot { row: None, is_stored: false, is_changed: false });
                missing.push(key.clone());
            }
        }
        missing
    }

    /// Loads some of these rows, and answers whose are left.
    async fn load_part<'a>(&mut self, writer: &mut dyn Writer, missing: &'a [Value]) -> Result<&'a [Value], Fault> {
        let rows = writer.load(missing).await?;
        let (told, rest) = missing.split_at_checked(rows.len()).unwrap_or((missing, &[]));
        if told.is_empty() {
            return Err(Fault::Passing("the target was asked for rows and did not say anything of them".to_owned()));
        }
        for (key, row) in told.iter().zip(rows) {
            if let (Some(slot), Some(row)) = (self.slots.get_mut(key), row) {
                self.bytes += row.bytes();
                *slot = Slot { row: Some(row), is_stored: true, is_changed: false };
            }
        }
        Ok(rest)
    }

    /// The row of a key: `None` if nobody has looked yet.
    pub(crate) fn get(&self, key: &Value) -> Option<Option<&Row>> {
        self.slots.get(key).map(|slot| slot.row.as_ref())
    }

    /// Applies what one event does, all of it or nothing. The rows that it names by key were loaded before.
    pub(crate) async fn apply(&mut self, writer: &mut dyn Writer, changes: Vec<Change>, stamp: Stamp) -> Result<(), Refusal> {
        // A single change by key fails before it changes anything.
        let mut undo = (changes.len() > 1).then(Vec::new);
        for change in changes {
            let done = match change {
                Change::Upsert { key, set, add } => self.upsert(key, set, &add, stamp, &mut undo),
                Change::Delete { key } => {
                    self.delete(&key, &mut undo);
                    Ok(())
                }
                Change::Update { matching, set, add } => {
                    let keys = self.matching(writer, &matching).await?;
                    // Several rows: the third may not fit a sum.
                    let undo = undo.get_or_insert_default();
                    let mut undo_all = Some(std::mem::take(undo));
                    let done = keys.into_iter().try_for_each(|key| self.upsert(key, set.clone(), &add, stamp, &mut undo_all));
                    *undo = undo_all.unwrap_or_default();
                    done
                }
                Change::DeleteMatching { matching } => {
                    let keys = self.matching(writer, &matching).await?;
                    keys.iter().for_each(|key| self.delete(key, &mut undo));
                    Ok(())
                }
            };
            if let Err(reason) = done {
                for (key, slot) in undo.unwrap_or_default().into_iter().rev() {
                    self.slots.insert(key, slot);
                }
                return Err(Refusal::Poison(reason));
            }
        }
        Ok(())
    }

    /// What the target is to be told.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let changed = self.slots.into_iter().filter(|(_, slot)| slot.is_changed && (slot.is_stored || slot.row.is_some()));
        changed.map(|(key, slot)| Write { key, row: slot.row }).collect()
    }

    fn upsert(
        &mut self,
        key: Value,
        set: Vec<(usize, Value)>,
        add: &[(usize, Value)],
        stamp: Stamp,
        undo: &mut Option<Vec<(Value, Slot)>>,
    ) -> Result<(), String> {
        let Self { columns, slots, .. } = self;
        let slot = slots.entry(key.clone()).or_insert(Slot { row: None, is_stored: false, is_changed: false });
        let before = undo.as_ref().map(|_| slot.clone());
        let blank;
        let present = match &slot.row {
            Some(row) => row,
            None => {
                blank = Row::blank(columns, key.clone());
                &blank
            }
        };
        let mut sums = Vec::with_capacity(add.len());
        for (place, more) in add {
            let (Some(column), Some(value)) = (columns.list().get(*place), present.values.get(*place)) else { continue };
            let sum = column.column_type.sum(value, more).map_err(|detail| format!("column {}: {detail}", column.name))?;
            sums.push((*place, sum));
        }
        if let (Some(undo), Some(before)) = (undo, before) {
            undo.push((key.clone(), before));
        }
        let before = slot.row.as_ref().map_or(0, Row::bytes);
        let row = slot.row.get_or_insert_with(|| Row::blank(columns, key));
        for (place, value) in set.into_iter().chain(sums) {
            if let Some(cell) = row.values.get_mut(place) {
                *cell = value;
            }
        }
        self.bytes = (self.bytes + row.bytes()).saturating_sub(before);
        (row.version, row.position) = (stamp.version, stamp.position);
        slot.is_changed = true;
        Ok(())
    }

    fn delete(&mut self, key: &Value, undo: &mut Option<Vec<(Value, Slot)>>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some(undo) = undo {
            undo.push((key.clone(), slot.clone()));
        }
        slot.is_changed |= slot.row.is_some();
        slot.row = None;
    }

    /// The keys of the rows that have all of these values now.
    async fn matching(&mut self, writer: &mut dyn Writer, matching: &[(usize, Value)]) -> Result<Vec<Value>, Fault> {
        for row in writer.find(matching).await? {
            let key = row.key(&self.columns).clone();
            self.slots.entry(key).or_insert_with(|| {
                self.bytes += row.bytes();
                Slot { row: Some(row), is_stored: true, is_changed: false }
            });
        }
        let is_meant = |row: &Row| matching.iter().all(|(place, value)| row.values.get(*place) == Some(value));
        let mut keys: Vec<Value> =
            self.slots.iter().filter(|(_, slot)| slot.row.as_ref().is_some_and(is_meant)).map(|(key, _)| key.clone()).collect();
        // So that the same events fail at the same row.
        keys.sort_unstable();
        Ok(keys)
    }
}

/// Beyond it a batch is committed before the next event is looked at.
const BYTES_MAX: usize = 64 << 20;
