//! How is `index.redb` opened, made and thrown away?
//!
//! A new file is whole before it gets its name: a power cut while redb lays out a file leaves one that will not open.

use std::io;
use std::sync::Arc;

use redb::Database;
use redb::ReadableDatabase;

use crate::Disk;
use crate::DiskFile;
use crate::Error;

use super::INDEX_FILE;
use super::backend::Backend;
use super::fault::Fault;
use super::fault::guarded;
use super::rows;
use super::rows::Meta;
use super::view::read_meta;

const TEMPORARY_FILE: &str = "index.tmp";

/// An open index file.
pub(super) struct IndexFile {
    pub(super) database: Arc<Database>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) meta: Meta,
}

/// Opens the file if it is an index of this log that this build can read; else says why not.
pub(super) fn open(disk: &dyn Disk, log_id: [u8; 16], cache_bytes: usize) -> Result<IndexFile, Fault> {
    let file = match disk.open(INDEX_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Fault::unusable("missing")),
        Err(error) => return Err(Fault::Disk(error)),
    };
    // redb would make a database of an empty file.
    if file.is_empty().map_err(Fault::Disk)? {
        return Err(Fault::unusable("empty"));
    }
    guarded(|| {
        let database = builder(cache_bytes).create_with_backend(Backend::new(Arc::clone(&file)))?;
        let meta = check(&database, log_id)?;
        Ok(IndexFile { database: Arc::new(database), file, meta })
    })
}

fn check(database: &Database, log_id: [u8; 16]) -> Result<Meta, Fault> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(rows::META)?;
    let format = table.get(rows::META_FORMAT)?;
    if format.is_none_or(|format| format.value() != rows::INDEX_FORMAT.to_le_bytes()) {
        return Err(Fault::unusable("of another format"));
    }
    let log = table.get(rows::META_LOG_ID)?;
    if log.is_none_or(|log| log.value() != log_id) {
        return Err(Fault::unusable("of another log"));
    }
    // Every table must be there, so that no read has to ask.
    transaction.open_table(rows::STREAMS)?;
    transaction.open_table(rows::HIDDEN)?;
    transaction.open_table(rows::TERMS)?;
    transaction.open_table(rows::PAGES)?;
    transaction.open_table(rows::IDS)?;
    transaction.open_table(rows::ID_RUNS)?;
    transaction.open_table(rows::SNAPSHOTS)?;
    read_meta(&transaction)
}

/// Makes an empty index in place of whatever is there.
pub(super) fn create(disk: &dyn Disk, log_id: [u8; 16], cache_bytes: usize) -> Result<IndexFile, Error> {
    remove(disk, TEMPORARY_FILE)?;
    remove(disk, INDEX_FILE)?;
    let file = disk.create_new(TEMPORARY_FILE).map_err(|error| Error::io(TEMPORARY_FILE, error))?;
    guarded(|| lay_out(&file, log_id, cache_bytes))?;
    file.sync_data().map_err(|error| Error::io(TEMPORARY_FILE, error))?;
    disk.rename(TEMPORARY_FILE, INDEX_FILE).map_err(|error| Error::io(INDEX_FILE, error))?;
    disk.sync_dir("").map_err(|error| Error::io(INDEX_FILE, error))?;
    Ok(open(disk, log_id, cache_bytes)?)
}

fn lay_out(file: &Arc<dyn DiskFile>, log_id: [u8; 16], cache_bytes: usize) -> Result<(), Fault> {
    let database = builder(cache_bytes).create_with_backend(Backend::new(Arc::clone(file)))?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(rows::META)?;
        meta.insert(rows::META_FORMAT, rows::INDEX_FORMAT.to_le_bytes().as_slice())?;
        meta.insert(rows::META_LOG_ID, log_id.as_slice())?;
        let state = Meta { next_list: 1, ..Meta::default() };
        meta.insert(rows::META_STATE, rows::encode_meta(&state)?.as_slice())?;
        transaction.open_table(rows::STREAMS)?;
        transaction.open_table(rows::HIDDEN)?;
        transaction.open_table(rows::TERMS)?;
        transaction.open_table(rows::PAGES)?;
        transaction.open_table(rows::IDS)?;
        transaction.open_table(rows::ID_RUNS)?;
        transaction.open_table(rows::SNAPSHOTS)?;
    }
    transaction.commit()?;
    database.close()?;
    Ok(())
}

pub(super) fn remove(disk: &dyn Disk, path: &'static str) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}
