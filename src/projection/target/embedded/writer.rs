//! How do rows and checkpoint get into the file, all or nothing?
//!
//! Most commits are not durable by themselves: they are atomic and seen by readers at once, and reach the disk with the next durable one.
//! That costs no exactness. Rows, indexes, parked events and checkpoint change in one transaction, so after a crash all of them are found
//! as they were at one and the same earlier commit, and the events behind that checkpoint are applied again to the rows as they were then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use redb::Durability;
use redb::ReadableDatabase;

use super::super::super::row::Row;
use super::super::super::row::Write;
use super::super::super::spec::ColumnType;
use super::super::super::spec::Columns;
use super::super::super::value::Value;
use super::super::Batch;
use super::super::Fault;
use super::super::LOAD_BYTES;
use super::super::Writer;
use super::cache::RowCache;
use super::encoding;
use super::fault::Trouble;
use super::fault::guarded;
use super::file::OpenFile;
use super::find;
use super::sortable::push_sortable;
use super::spans::Spans;
use super::tables;
use crate::subscription::Cursor;

/// One generation, opened for writing.
pub(super) struct EmbeddedWriter {
    checkpoint: Option<Cursor>,
    /// Away while it works on another thread; gone after a failure.
    core: Option<Box<Core>>,
}

struct Core {
    file: Arc<OpenFile>,
    columns: Arc<Columns>,
    /// Which of the file's writers this is.
    number: u64,
    cache: RowCache,
    durable_at: Instant,
    bytes_since: usize,
}

impl EmbeddedWriter {
    /// `number` is the file's newest. Waits for a commit of the writer before, so that the checkpoint found counts it.
    pub(super) fn open(file: Arc<OpenFile>, columns: Arc<Columns>, number: u64, cache_bytes: usize) -> Result<Self, Trouble> {
        let transaction = file.database()?.begin_write()?;
        let checkpoint = {
            let meta = transaction.open_table(tables::META)?;
            tables::read_checkpoint(&meta)?
        };
        transaction.abort()?;
        let cache = RowCache::new(cache_bytes);
        let core = Core { file, columns, number, cache, durable_at: Instant::now(), bytes_since: 0 };
        Ok(Self { checkpoint, core: Some(Box::new(core)) })
    }

    /// Runs what may wait for the disk beside the runtime's own threads. The writer ends with its first failure.
    async fn run<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Core) -> Result<T, Trouble> + Send + 'static) -> Result<T, Fault> {
        let mut core = self.core.take().ok_or_else(ended)?;
        let working = tokio::task::spawn_blocking(move || {
            let done = guarded(|| work(&mut core));
            if let Err(trouble) = &done {
                core.file.note(trouble);
            }
            (core, done)
        });
        let (core, done) = working.await.map_err(|error| Fault::Passing(format!("writing the view's rows was given up: {error}")))?;
        let answer = done?;
        self.core = Some(core);
        Ok(answer)
    }
}

fn ended() -> Fault {
    Fault::Passing("an earlier call has failed or was given up: the target is opened again".to_owned())
}

impl Writer for EmbeddedWriter {
    fn checkpoint(&self) -> Option<&Cursor> {
        self.checkpoint.as_ref()
    }

    fn load<'a>(&'a mut self, keys: &'a [Value]) -> BoxFuture<'a, Result<Vec<Option<Row>>, Fault>> {
        async move {
            let core = self.core.as_mut().ok_or_else(ended)?;
            let mut rows: Vec<Option<Row>> = keys.iter().map(|key| core.cache.get(key).cloned()).collect();
            let missing: Vec<Value> = keys.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(key, _)| key.clone()).collect();
            if missing.is_empty() {
                return Ok(rows);
            }
            let mut loaded = self.run(move |core| core.load(missing)).await?.into_iter();
            for at in 0..rows.len() {
                let Some(slot) = rows.get_mut(at).filter(|row| row.is_none()) else { continue };
                match loaded.next() {
                    Some(row) => *slot = row,
                    None => {
                        rows.truncate(at);
                        break;
                    }
                }
            }
            Ok(rows)
        }
        .boxed()
    }

    fn find<'a>(&'a mut self, matching: &'a [(usize, Value)]) -> BoxFuture<'a, Result<Vec<Row>, Fault>> {
        let matching = matching.to_vec();
        self.run(move |core| find::matching(core.file.database()?, &core.columns, &matching)).boxed()
    }

    fn commit(&mut self, batch: Batch) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let through = batch.through.clone();
            self.run(move |core| core.commit(batch)).await?;
            self.checkpoint = Some(through);
            Ok(())
        }
        .boxed()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            if self.core.as_ref().is_some_and(|core| core.bytes_since == 0) {
                return Ok(());
            }
            self.run(Core::flush).await
        }
        .boxed()
    }
}

impl Core {
    /// The rows of these keys, in their order, as far as they are not too much. None of them is in the cache.
    fn load(&mut self, keys: Vec<Value>) -> Result<Vec<Option<Row>>, Trouble> {
        let mut sortable = Spans::with_capacity(keys.len());
        let key_type = self.key_type()?;
        for key in &keys {
            sortable.push(|out| push_sortable(out, key, key_type));
        }
        let table = self.file.database()?.begin_read()?.open_table(tables::ROWS)?;
        let mut rows = vec![None; keys.len()];
        let mut bytes_left = LOAD_BYTES;
        // Neighbours in the file are read one after the other, as long as all of them fit.
        for at in sortable.in_order() {
            let Some(bytes) = table.get(sortable.get(at))? else { continue };
            let Some(left) = bytes_left.checked_sub(bytes.value().len()) else {
                rows = self.load_first(&table, &sortable, keys.len())?;
                break;
            };
            bytes_left = left;
            if let Some(slot) = rows.get_mut(at) {
                *slot = Some(encoding::row(bytes.value(), &self.columns)?);
            }
        }
        for (key, row) in keys.into_iter().zip(&rows) {
            if let Some(row) = row {
                self.cache.put(key, row.clone());
            }
        }
        Ok(rows)
    }

    /// The rows of the first of these keys.
    fn load_first(
        &self,
        table: &impl redb::ReadableTable<&'static [u8], &'static [u8]>,
        keys: &Spans,
        count: usize,
    ) -> Result<Vec<Option<Row>>, Trouble> {
        let (mut rows, mut bytes_read) = (Vec::new(), 0);
        for at in 0..count {
            let found = table.get(keys.get(at))?;
            bytes_read += found.as_ref().map_or(0, |bytes| bytes.value().len());
            if bytes_read > LOAD_BYTES && !rows.is_empty() {
                break;
            }
            rows.push(found.map(|bytes| encoding::row(bytes.value(), &self.columns)).transpose()?);
        }
        Ok(rows)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), Trouble> {
        let mut transaction = self.file.database()?.begin_write()?;
        self.check_number()?;
        let mut written = Written::default();
        {
            let mut rows = transaction.open_table(tables::ROWS)?;
            self.write_rows(&mut rows, &batch.writes, &mut written)?;
            let mut meta = transaction.open_table(tables::META)?;
            meta.insert(tables::META_CHECKPOINT, tables::checkpoint_bytes(&batch.through).as_slice())?;
            if written.added != written.removed {
                let count = tables::read_row_count(&meta)?.saturating_add(written.added).saturating_sub(written.removed);
                meta.insert(tables::META_ROWS, count.to_le_bytes().as_slice())?;
            }
        }
        if !written.stale.is_empty() || !written.fresh.is_empty() {
            let mut indexes = transaction.open_table(tables::INDEXES)?;
            for at in written.stale.in_order() {
                indexes.remove(written.stale.get(at))?;
            }
            for at in written.fresh.in_order() {
                indexes.insert(written.fresh.get(at), ())?;
            }
        }
        if !batch.parked.is_empty() {
            let mut parked = transaction.open_table(tables::PARKED)?;
            for event in &batch.parked {
                let mut bytes = Vec::new();
                tables::push_parked(&mut bytes, event);
                written.bytes += bytes.len();
                parked.insert(tables::parked_key(event.shard, event.position).as_slice(), bytes.as_slice())?;
            }
        }
        // At least one, so that a flush knows that the checkpoint has moved.
        self.bytes_since += written.bytes + written.stale.bytes() + written.fresh.bytes() + 1;
        let is_durable = self.bytes_since >= DURABLE_BYTES || self.durable_at.elapsed() >= DURABLE_INTERVAL;
        transaction.set_durability(if is_durable { Durability::Immediate } else { Durability::None })?;
        transaction.commit()?;
        if is_durable {
            self.made_durable();
        }
        for Write { key, row, .. } in batch.writes {
            match row {
                Some(row) => self.cache.put(key, row),
                None => self.cache.forget(&key),
            }
        }
        Ok(())
    }

    fn write_rows(
        &self,
        rows: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
        writes: &[Write],
        written: &mut Written,
    ) -> Result<(), Trouble> {
        let key_type = self.key_type()?;
        let mut keys = Spans::with_capacity(writes.len());
        for write in writes {
            keys.push(|out| push_sortable(out, &write.key, key_type));
        }
        let mut bytes = Vec::new();
        for at in keys.in_order() {
            let (key, Some(write)) = (keys.get(at), writes.get(at)) else { continue };
            let Some(row) = &write.row else {
                if let Some(before) = rows.remove(key)? {
                    written.removed += 1;
                    self.change_indexes(key, Some(before.value()), None, written)?;
                }
                continue;
            };
            bytes.clear();
            encoding::push_row(&mut bytes, row, &self.columns)
                .map_err(|detail| Trouble::Told(Fault::Row { key: write.key.clone(), detail }))?;
            written.bytes += key.len() + bytes.len();
            let before = rows.insert(key, bytes.as_slice())?;
            written.added += u64::from(before.is_none());
            self.change_indexes(key, before.as_ref().map(|before| before.value()), Some(row), written)?;
        }
        Ok(())
    }

    /// What stood in the file is what the old entries are made from, whatever the batch believes.
    fn change_indexes(&self, key: &[u8], before: Option<&[u8]>, after: Option<&Row>, written: &mut Written) -> Result<(), Trouble> {
        for (place, column) in self.columns.list().iter().enumerate().filter(|(_, column)| column.is_indexed) {
            let old = before.map(|bytes| encoding::value_at(bytes, &self.columns, place)).transpose()?;
            let new = after.and_then(|row| row.values.get(place));
            if old.as_ref() == new {
                continue;
            }
            for (entries, value) in [(&mut written.stale, old.as_ref()), (&mut written.fresh, new)] {
                if let Some(value) = value {
                    entries.push(|out| {
                        out.extend_from_slice(&tables::index_prefix(place));
                        push_sortable(out, value, column.column_type);
                        out.extend_from_slice(key);
                    });
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        let transaction = self.file.database()?.begin_write()?;
        self.check_number()?;
        // A durable commit takes all those before it with it.
        transaction.commit()?;
        self.made_durable();
        Ok(())
    }

    fn made_durable(&mut self) {
        self.bytes_since = 0;
        self.durable_at = Instant::now();
    }

    /// Asked within the write transaction: who opens the file anew raises the number first, and then waits for the transaction.
    fn check_number(&self) -> Result<(), Trouble> {
        if self.file.writers.load(Ordering::Acquire) == self.number {
            return Ok(());
        }
        Err(Trouble::Told(Fault::Fenced("the view was opened for writing by somebody else".to_owned())))
    }

    fn key_type(&self) -> Result<ColumnType, Trouble> {
        let column = self.columns.list().get(self.columns.primary_key());
        column.map(|column| column.column_type).ok_or_else(|| Trouble::Told(Fault::Lasting("the view has no primary key".to_owned())))
    }
}

/// What a batch did to the rows, and is still to do to the indexes.
#[derive(Default)]
struct Written {
    added: u64,
    removed: u64,
    bytes: usize,
    stale: Spans,
    fresh: Spans,
}

/// What a crash of the machine costs: the events of this time are applied again, some hundred thousand a second. While the disk is waited
/// for nothing is committed, so it is not done more often than that pays.
const DURABLE_INTERVAL: Duration = Duration::from_secs(10);
const DURABLE_BYTES: usize = 64 << 20;
