//! How do events become a file? Sorted, turned into columns piece by piece on several threads, encoded column by column.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::FixedSizeBinaryBuilder;
use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::try_join_all;

use super::fault::Fault;
use super::file::FileNote;
use super::file::FileShape;
use super::file::FileWriter;
use super::file::ROW_GROUP_ROWS;
use super::file::bug;
use super::threads::Threads;
use crate::analytics::columns::CategoryColumns;
use crate::analytics::rows::BatchBuilder;
use crate::subscription::Event;

/// What there is to know of a file besides its events.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// Which intent it is made for.
    pub(super) mark: String,
    pub(super) shards: u16,
    pub(super) shapes: u64,
    /// Its folder says of which category it is.
    pub(super) says_category: bool,
}

/// A file that is not in the lake yet.
#[derive(Clone, Debug)]
pub(super) struct MadeFile {
    pub(super) bytes: Bytes,
    pub(super) note: FileNote,
}

/// Makes the file of some events; `columns` are those of their category, if they are of one.
pub(super) async fn file_of(
    events: Vec<Event>,
    columns: Option<CategoryColumns>,
    about: About,
    threads: &Threads,
) -> Result<MadeFile, Fault> {
    let shape = Arc::new(FileShape::of(columns.as_ref(), about.says_category));
    let columns = Arc::new(columns.unwrap_or_default());
    let events = Arc::new(threads.run(move || sorted(events)).await?);
    let note = note_of(&events, &shape, about);
    let mut writer = None;
    let groups = (0..events.len()).step_by(ROW_GROUP_ROWS).map(|start| start..events.len().min(start + ROW_GROUP_ROWS));
    for group in groups {
        let pieces = group.clone().step_by(PIECE_ROWS).map(|start| {
            let (events, shape, columns) = (Arc::clone(&events), Arc::clone(&shape), Arc::clone(&columns));
            let rows = start..group.end.min(start + PIECE_ROWS);
            threads.run(move || batch(&events, rows, &shape, &columns))
        });
        let batches: Vec<RecordBatch> = try_join_all(pieces).await?.into_iter().collect::<Result<_, _>>()?;
        let Some(sample) = batches.first() else { continue };
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(FileWriter::new(&shape, sample, LEVEL)?),
        };
        writer.write(batches, threads).await?;
    }
    let writer = writer.ok_or_else(|| Fault::Lasting("a file without events was to be made".to_owned()))?;
    Ok(MadeFile { bytes: writer.finish(&note)?, note })
}

fn sorted(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_unstable_by(|one, other| {
        let order = one.record.stream().cmp(other.record.stream());
        order.then_with(|| one.record.version().cmp(&other.record.version()))
    });
    events
}

fn batch(events: &[Event], rows: Range<usize>, shape: &FileShape, columns: &CategoryColumns) -> Result<RecordBatch, Fault> {
    let events = events.get(rows).unwrap_or_default();
    let mut builder = BatchBuilder::new(&shape.wanted, columns, events.len());
    let mut ids = FixedSizeBinaryBuilder::with_capacity(events.len(), 16);
    for event in events {
        builder.push(event);
        ids.append_value(event.record.id().as_bytes()).map_err(|error| bug(&error))?;
    }
    let others = builder.finish().map_err(|error| bug(&error))?;
    shape.with_ids(&others, Arc::new(ids.finish()) as ArrayRef)
}

fn note_of(events: &[Event], shape: &FileShape, about: About) -> FileNote {
    let About { mark, shards, shapes, .. } = about;
    let mut positions: Vec<Option<(u64, u64)>> = vec![None; usize::from(shards)];
    let (mut recorded, mut occurred) = (Span::default(), Span::default());
    for event in events {
        let position = event.record.position().get();
        if let Some(slot) = positions.get_mut(usize::from(event.shard)) {
            *slot = Some(slot.map_or((position, position), |(least, most)| (least.min(position), most.max(position))));
        }
        recorded.take(event.record.recorded_at().as_micros());
        occurred.take(event.record.occurred_at().as_micros());
    }
    let rows = u64::try_from(events.len()).unwrap_or(u64::MAX);
    FileNote { mark, rows, positions, recorded: recorded.0, occurred: occurred.0, columns: shape.columns.clone(), shapes }
}

/// The least and the greatest of what was seen.
struct Span((i64, i64));

impl Default for Span {
    fn default() -> Self {
        Self((i64::MAX, i64::MIN))
    }
}

impl Span {
    fn take(&mut self, value: i64) {
        self.0 = (self.0.0.min(value), self.0.1.max(value));
    }
}

/// Turned into columns at a time.
const PIECE_ROWS: usize = 16 << 10;
/// How hard new files are compressed: merged ones are compressed harder, once.
const LEVEL: i32 = 3;
