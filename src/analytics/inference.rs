//! How are the typed columns of a category known, without reading all of it for every query?
//!
//! What was looked at once is kept: in memory, and in `columns.json` of the data directory, which may be deleted at any time. A query looks
//! at what was appended since. When the shapes of events change, everything is looked at anew.

mod kept;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::Position;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use tokio::runtime::Handle as Threads;

use super::columns::CategoryColumns;
use crate::Error;
use crate::schema::Registry;
use crate::shard::Handle;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::subscription::Reshape;
use kept::Kept;

/// The columns of all categories that were asked for.
pub(crate) struct Inference {
    router: Arc<Router>,
    reshape: Arc<dyn Reshape>,
    schemas: Arc<Registry>,
    file: Option<PathBuf>,
    /// `None` until they have been read from the file.
    known: Mutex<Option<BTreeMap<String, Arc<tokio::sync::Mutex<Known>>>>>,
    /// One writes the file.
    saving: Arc<Mutex<()>>,
}

/// What is known of one category.
struct Known {
    columns: CategoryColumns,
    /// Everything up to here was looked at,
    through: Cursor,
    /// in the shapes that this stands for.
    shapes: [u8; 32],
    /// How many events were looked at since it was saved.
    unsaved_events: u64,
    /// As they were given last, and how many schemas there were then.
    given: Option<(usize, Arc<CategoryColumns>)>,
}

impl Inference {
    pub(crate) fn new(router: Arc<Router>, reshape: Arc<dyn Reshape>, schemas: Arc<Registry>, file: Option<PathBuf>) -> Self {
        Self { router, reshape, schemas, file, known: Mutex::default(), saving: Arc::default() }
    }

    /// The columns of a category, wide enough for all of its events up to the cut. Looks at those that were not looked at yet, on the given
    /// threads.
    ///
    /// # Errors
    ///
    /// What the shards say.
    ///
    /// # Cancellation
    ///
    /// Safe: what has been looked at is kept, and the next call goes on from there.
    pub(crate) async fn columns(
        &self,
        category: &str,
        (cut, left_out): (&Cursor, &[u16]),
        threads: (&Threads, usize),
    ) -> Result<Arc<CategoryColumns>, Error> {
        let known = self.known(category).await?;
        let mut known = known.lock().await;
        let shapes = self.schemas.shape_hash();
        if known.shapes != shapes {
            *known = Known::new(&self.router, shapes);
        }
        for shard in self.router.shards().iter().filter(|shard| !left_out.contains(&shard.number())) {
            self.look(&mut known, category, shard, cut.position(shard.number()), threads).await?;
        }
        let given = self.give(&mut known);
        let is_due = known.unsaved_events >= UNSAVED_EVENTS_MAX;
        if is_due {
            known.unsaved_events = 0;
        }
        drop(known);
        if is_due {
            self.save(threads.0);
        }
        Ok(given)
    }

    /// Looks at what a shard has behind what was looked at, several pieces at once.
    async fn look(
        &self,
        known: &mut Known,
        category: &str,
        shard: &Handle,
        end: Position,
        (threads, readers): (&Threads, usize),
    ) -> Result<(), Error> {
        let number = shard.number();
        let start = known.through.position(number).get();
        let starts = (start..end.get()).step_by(PIECE_EVENTS);
        let pieces = starts.map(|after| (Position::new(after), Position::new((after + PIECE_EVENTS as u64).min(end.get()))));
        let filter = Arc::new(Filter { categories: vec![category.to_owned()], ..Filter::default() });
        let work = pieces.map(|piece| {
            let looking = look_at(shard.clone(), Arc::clone(&self.reshape), Arc::clone(&filter), piece);
            let task = threads.spawn(looking);
            async move { (piece.1, task.await) }
        });
        // Tasks begin when they are taken, and come out in the order of the log.
        let mut looked = stream::iter(work).buffered(readers.max(1));
        while let Some((through, looked)) = looked.next().await {
            let looked = looked.map_err(|error| Error::Unavailable { shard: number, detail: format!("looking at columns: {error}") })?;
            let (columns, events) = looked?;
            if events > 0 {
                known.columns.merge(&columns);
                known.unsaved_events += events;
                known.given = None;
            }
            known.through.advance(number, through);
        }
        Ok(())
    }

    /// The columns with what the schemas of the category's types say.
    fn give(&self, known: &mut Known) -> Arc<CategoryColumns> {
        let schemas = self.schemas.count();
        if let Some((count, given)) = &known.given
            && *count == schemas
        {
            return Arc::clone(given);
        }
        known.columns.declare_by(&self.schemas);
        let given = Arc::new(known.columns.clone());
        known.given = Some((schemas, Arc::clone(&given)));
        given
    }

    async fn known(&self, category: &str) -> Result<Arc<tokio::sync::Mutex<Known>>, Error> {
        if self.known.lock().is_none() {
            let read = match self.file.clone() {
                Some(file) => tokio::task::spawn_blocking(move || kept::read(&file)).await.unwrap_or_default(),
                None => Kept::default(),
            };
            let usable = read.categories.into_iter().filter_map(|(name, category)| Some((name, self.restored(category)?)));
            let restored = usable.map(|(name, known)| (name, Arc::new(tokio::sync::Mutex::new(known)))).collect();
            // Two may have read it; the first one counts.
            self.known.lock().get_or_insert(restored);
        }
        let mut known = self.known.lock();
        let known = known.get_or_insert_default();
        if known.len() >= CATEGORIES_MAX && !known.contains_key(category) {
            // Whoever has it in hand keeps it; it is looked at anew when it is asked for again.
            known.pop_first();
        }
        let new = || Arc::new(tokio::sync::Mutex::new(Known::new(&self.router, self.schemas.shape_hash())));
        Ok(Arc::clone(known.entry(category.to_owned()).or_insert_with(new)))
    }

    /// What was kept of a category, unless it is of another log.
    fn restored(&self, kept: kept::Category) -> Option<Known> {
        let through = Cursor::parse(&kept.through, &self.router).ok()?;
        through.check(&self.router, 0).ok()?;
        Some(Known { columns: kept.columns, through, shapes: kept.shapes, unsaved_events: 0, given: None })
    }

    /// Writes what is known to the file. Categories that are just being looked at are written next time.
    fn save(&self, threads: &Threads) {
        let Some(file) = self.file.clone() else { return };
        let all: Vec<(String, Arc<tokio::sync::Mutex<Known>>)> =
            self.known.lock().iter().flatten().map(|(name, known)| (name.clone(), Arc::clone(known))).collect();
        let of =
            |known: &Known| kept::Category { columns: known.columns.clone(), through: known.through.to_string(), shapes: known.shapes };
        let categories = all.iter().filter_map(|(name, known)| Some((name.clone(), of(&*known.try_lock().ok()?)))).collect();
        let saving = Arc::clone(&self.saving);
        threads.spawn_blocking(move || {
            let _turn = saving.lock();
            if let Err(error) = kept::write(&file, &Kept { categories }) {
                tracing::warn!(%error, "the columns of categories were not kept; they are looked at again after the next start");
            }
        });
    }
}

impl Known {
    fn new(router: &Router, shapes: [u8; 32]) -> Self {
        Self { columns: CategoryColumns::default(), through: Cursor::start(router), shapes, unsaved_events: 0, given: None }
    }
}

/// The columns of a piece of the log, and of how many events.
async fn look_at(
    shard: Handle,
    reshape: Arc<dyn Reshape>,
    filter: Arc<Filter>,
    (mut after, through): (Position, Position),
) -> Result<(CategoryColumns, u64), Error> {
    let number = shard.number();
    let mut columns = CategoryColumns::default();
    let mut seen = 0;
    loop {
        let slice = shard.read_piece(Arc::clone(&filter), (after, through), Direction::Forward, PORTION_EVENTS, PORTION_BYTES).await?;
        let mut events: Vec<_> = slice.events.into_iter().map(|record| (number, record)).collect();
        seen += events.len() as u64;
        if reshape.is_needed() && !events.is_empty() {
            events = reshape.reshape(events).await?;
        }
        for (shard, record) in events {
            columns.observe(&Event { shard, record });
        }
        if slice.at_end {
            return Ok((columns, seen));
        }
        after = slice.through;
    }
}

/// What one task looks at.
const PIECE_EVENTS: usize = 65_536;
const PORTION_EVENTS: usize = 8_192;
const PORTION_BYTES: usize = 2 << 20;
/// How much of the log is looked at again after a crash.
const UNSAVED_EVENTS_MAX: u64 = 10_000;
/// Of so many categories the columns are kept.
const CATEGORIES_MAX: usize = 1_000;
