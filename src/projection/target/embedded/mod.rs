//! Where does an embedded view keep its rows? In redb, one file for each generation: `views/<view>/<hash>.redb` in the data directory, or
//! in memory if the database is.
//!
//! The files are derived: one that does not open is thrown away and built anew, and never keeps the database from starting.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use factum_storage::Disk;
use factum_storage::MemDisk;
use factum_storage::RealDisk;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use redb::ReadableDatabase;

use super::super::row::Row;
use super::super::spec::Columns;
use super::super::value::Value;
use super::Fault;
use super::Generation;
use super::Opening;
use super::Parked;
use super::Target;
use super::Writer;

mod backend;
mod cache;
pub(crate) mod encoding;
pub(crate) mod fault;
pub(crate) mod file;
mod find;
mod reader;
pub(crate) mod sortable;
mod spans;
pub(crate) mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub(crate) use reader::Reader;

use fault::Trouble;
use fault::guarded;
use file::OpenFile;
use writer::EmbeddedWriter;

/// All that is kept of one view inside the database. Clones are the same.
#[derive(Clone)]
pub(crate) struct EmbeddedTarget {
    inner: Arc<Inner>,
}

struct Inner {
    folder: String,
    disk: Arc<dyn Disk>,
    cache_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the folder holds is known, and open.
    is_scanned: bool,
    files: Vec<Arc<OpenFile>>,
}

impl EmbeddedTarget {
    /// The view of this name, with its folder below `folder` (`<data>/views`), or in memory. `cache_bytes` is for pages, and once more
    /// for rows while they are written.
    pub(crate) fn new(name: &str, folder: Option<PathBuf>, cache_bytes: usize) -> Self {
        match folder {
            Some(folder) => Self::on(name, Arc::new(RealDisk::new(folder)), cache_bytes),
            None => Self::on(name, Arc::new(MemDisk::new()), cache_bytes),
        }
    }

    /// The same on a disk that the caller brings.
    pub(crate) fn on(name: &str, disk: Arc<dyn Disk>, cache_bytes: usize) -> Self {
        let inner = Inner { folder: file::folder_name(name), disk, cache_bytes, state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// A reader of the live generation; waits for the disk. It goes on reading the same generation after another one was promoted.
    ///
    /// # Errors
    ///
    /// [`Fault::Passing`] if no generation is live, or the disk does not answer.
    pub(crate) fn reader(&self, columns: &Arc<Columns>) -> Result<Reader, Fault> {
        let live = self.inner.live()?.ok_or_else(|| Fault::Passing("the view has no rows yet: it is being made".to_owned()))?;
        Reader::new(live, Arc::clone(columns))
    }

    /// Runs what may wait for the disk beside the runtime's own threads.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Trouble> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Fault>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let done = tokio::task::spawn_blocking(move || guarded(|| work(&inner))).await;
            let done = done.map_err(|error| Fault::Passing(format!("opening the view's rows was given up: {error}")))?;
            Ok(done?)
        }
        .boxed()
    }
}

impl Target for EmbeddedTarget {
    fn described(&self) -> String {
        "embedded".to_owned()
    }

    fn generations(&self) -> BoxFuture<'_, Result<Vec<Generation>, Fault>> {
        self.run(|inner| {
            let mut state = inner.state.lock();
            inner.scan(&mut state)?;
            Ok(state.files.iter().map(|file| generation(file)).collect())
        })
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Box<dyn Writer>, Fault>> {
        self.run(move |inner| {
            let file = inner.file_for_writing(&opening)?;
            // First the number, then the wait for the transaction of whoever had the one before.
            let number = file.writers.fetch_add(1, Ordering::AcqRel) + 1;
            let writer = EmbeddedWriter::open(Arc::clone(&file), opening.columns, number, inner.cache_bytes);
            let writer = writer.inspect_err(|trouble| file.note(trouble))?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn promote(&self, hash: [u8; 16]) -> BoxFuture<'_, Result<(), Fault>> {
        self.run(move |inner| inner.promote(hash))
    }

    fn drop_generation(&self, hash: [u8; 16], _keep_rows: bool) -> BoxFuture<'_, Result<(), Fault>> {
        // Nobody else reads the file, so there are no rows to keep for anybody.
        self.run(move |inner| {
            let mut state = inner.state.lock();
            inner.scan(&mut state)?;
            inner.remove(&mut state, |file| file.hash == hash)
        })
    }

    fn parked(&self, hash: [u8; 16], after: Option<(u16, u64)>, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, Fault>> {
        self.run(move |inner| {
            let file = {
                let mut state = inner.state.lock();
                inner.scan(&mut state)?;
                state.files.iter().find(|file| file.hash == hash).cloned()
            };
            let Some(file) = file else { return Ok(Vec::new()) };
            let table = file.database()?.begin_read()?.open_table(tables::PARKED)?;
            let mut from = Vec::new();
            if let Some((shard, position)) = after {
                from = tables::parked_key(shard, position).to_vec();
                // The smallest key behind it.
                from.push(0);
            }
            let mut found = Vec::new();
            for entry in table.range::<&[u8]>(from.as_slice()..)?.take(limit) {
                let (key, bytes) = entry?;
                found.push(tables::parked(key.value(), bytes.value())?);
            }
            Ok(found)
        })
    }

    fn row<'a>(&'a self, columns: &'a Columns, key: &'a Value) -> BoxFuture<'a, Result<Option<Row>, Fault>> {
        let (columns, key, target) = (Arc::new(columns.clone()), key.clone(), self.clone());
        let reading = tokio::task::spawn_blocking(move || match target.inner.live()? {
            Some(live) => Ok(Reader::new(live, columns)?.row(&key)?.0),
            None => Ok(None),
        });
        async move { reading.await.map_err(|error| Fault::Passing(format!("reading a row was given up: {error}")))? }.boxed()
    }
}

impl Inner {
    /// The generation that readers see.
    fn live(&self) -> Result<Option<Arc<OpenFile>>, Trouble> {
        let mut state = self.state.lock();
        self.scan(&mut state)?;
        Ok(state.files.iter().find(|file| file.promotion.load(Ordering::Acquire) > 0).cloned())
    }

    /// Opens what the folder holds, and again what has failed.
    fn scan(&self, state: &mut State) -> Result<(), Trouble> {
        for broken in state.files.extract_if(.., |file| file.is_broken.load(Ordering::Acquire)) {
            broken.cut_off();
            state.is_scanned = false;
        }
        if state.is_scanned {
            return Ok(());
        }
        let names = match self.disk.list(&self.folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Trouble::Disk(error)),
        };
        for name in names {
            let path = format!("{}/{name}", self.folder);
            if name.ends_with(file::TEMPORARY_SUFFIX) {
                // A crash has kept it from getting its name.
                file::remove(&*self.disk, &path)?;
            } else if name.ends_with(SUFFIX) && !state.files.iter().any(|file| file.path == path) {
                match file::open(&*self.disk, &path, self.cache_bytes) {
                    Ok(file) if path == self.path(file.hash) => state.files.push(Arc::new(file)),
                    Ok(_) => self.discard(&path, "it was made for another definition")?,
                    Err(Trouble::Unusable(why)) => self.discard(&path, &why)?,
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        // A crash between a promotion and the removal of what was live before leaves both.
        let newest = state.files.iter().map(|file| file.promotion.load(Ordering::Acquire)).max().unwrap_or(0);
        self.remove(state, |file| (1..newest).contains(&file.promotion.load(Ordering::Acquire)))?;
        state.is_scanned = true;
        Ok(())
    }

    /// A file that is of no use: its rows are made anew from the log.
    fn discard(&self, path: &str, why: &str) -> Result<(), Trouble> {
        tracing::warn!(path, why, "the rows of a view cannot be used, and are made anew");
        file::remove(&*self.disk, path)
    }

    fn file_for_writing(&self, opening: &Opening) -> Result<Arc<OpenFile>, Trouble> {
        let mut state = self.state.lock();
        self.scan(&mut state)?;
        if let Some(file) = state.files.iter().find(|file| file.hash == opening.hash).cloned() {
            // Shards that have joined since are read from their start.
            if file.has_columns(&opening.columns) && file.database_id == opening.database && file.shards <= opening.shards {
                return Ok(file);
            }
            self.discard(&file.path, "it is of other columns, shards or events")?;
            self.remove(&mut state, |file| file.hash == opening.hash)?;
        }
        let promotion = if opening.is_live { next_promotion(&state) } else { 0 };
        let file = Arc::new(file::create(&*self.disk, &self.path(opening.hash), self.cache_bytes, opening, promotion)?);
        state.files.push(Arc::clone(&file));
        Ok(file)
    }

    fn promote(&self, hash: [u8; 16]) -> Result<(), Trouble> {
        let mut state = self.state.lock();
        self.scan(&mut state)?;
        let promotion = next_promotion(&state);
        let file = state.files.iter().find(|file| file.hash == hash).cloned();
        let file = file.ok_or_else(|| Trouble::Told(Fault::Lasting("the generation to be promoted is not there".to_owned())))?;
        let commit = || -> Result<(), Trouble> {
            let transaction = file.database()?.begin_write()?;
            transaction.open_table(tables::META)?.insert(tables::META_PROMOTION, promotion.to_le_bytes().as_slice())?;
            Ok(transaction.commit()?)
        };
        guarded(commit).inspect_err(|trouble| file.note(trouble))?;
        file.promotion.store(promotion, Ordering::Release);
        // Readers see it from here on; a crash before the others are gone is made good by the next scan.
        self.remove(&mut state, |file| file.hash != hash)
    }

    /// Takes files away; who reads them goes on, and finds them gone when it comes back.
    fn remove(&self, state: &mut State, which: impl Fn(&OpenFile) -> bool) -> Result<(), Trouble> {
        let gone: Vec<_> = state.files.extract_if(.., |file| which(file)).collect();
        for file in &gone {
            // Whoever still writes to it has lost it.
            file.writers.fetch_add(1, Ordering::AcqRel);
            file::remove(&*self.disk, &file.path)?;
        }
        if gone.is_empty() { Ok(()) } else { self.disk.sync_dir(&self.folder).map_err(Trouble::Disk) }
    }

    fn path(&self, hash: [u8; 16]) -> String {
        let mut path = format!("{}/", self.folder);
        for byte in hash {
            path.push_str(&format!("{byte:02x}"));
        }
        path.push_str(SUFFIX);
        path
    }
}

fn next_promotion(state: &State) -> u64 {
    state.files.iter().map(|file| file.promotion.load(Ordering::Acquire)).max().unwrap_or(0) + 1
}

fn generation(file: &OpenFile) -> Generation {
    Generation { hash: file.hash, definition: file.definition.clone(), is_live: file.promotion.load(Ordering::Acquire) > 0 }
}

const SUFFIX: &str = ".redb";
