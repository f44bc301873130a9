//! How is the file of a generation made, opened and thrown away?
//!
//! A new file is whole before it gets its name: a power cut while redb lays out a file leaves one that will not open.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use factum_storage::Disk;
use factum_storage::DiskFile;
use redb::Database;
use redb::ReadableDatabase;

use super::super::super::spec::Columns;
use super::super::Opening;
use super::backend::Backend;
use super::fault::Trouble;
use super::fault::guarded;
use super::tables;

/// The open file of a generation, shared by its writer and its readers.
pub(crate) struct OpenFile {
    /// Relative to the disk.
    pub(super) path: String,
    pub(super) hash: [u8; 16],
    pub(super) definition: String,
    fingerprint: [u8; 32],
    /// Columns that were found to have the fingerprint.
    known_columns: OnceLock<Arc<Columns>>,
    pub(super) database_id: [u8; 16],
    pub(super) shards: u16,
    /// 0: it is not live.
    pub(super) promotion: AtomicU64,
    /// How often it was opened for writing: only the last who did may commit.
    pub(super) writers: AtomicU64,
    /// redb has failed and refuses everything until the file is opened again.
    pub(super) is_broken: AtomicBool,
    is_cut_off: Arc<AtomicBool>,
    /// There until the file is dropped.
    database: Option<Database>,
}

impl OpenFile {
    pub(crate) fn database(&self) -> Result<&Database, Trouble> {
        self.database.as_ref().ok_or_else(|| Trouble::Disk(io::Error::other("the file is closed")))
    }

    /// Whether its rows have these columns.
    pub(super) fn has_columns(&self, columns: &Arc<Columns>) -> bool {
        if self.known_columns.get().is_some_and(|known| Arc::ptr_eq(known, columns) || known == columns) {
            return true;
        }
        let is_so = self.fingerprint == tables::fingerprint(columns);
        if is_so {
            self.known_columns.get_or_init(|| Arc::clone(columns));
        }
        is_so
    }

    /// Nobody who still holds it reaches the disk any more.
    pub(super) fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::Release);
    }

    /// Keeps in mind what a failure means for the next who opens the file.
    pub(crate) fn note(&self, trouble: &Trouble) {
        if trouble.is_of_the_file() {
            self.is_broken.store(true, Ordering::Release);
        }
    }
}

/// redb writes once more when a database is dropped, and a damaged file can make it panic even then.
impl Drop for OpenFile {
    fn drop(&mut self) {
        let database = self.database.take();
        // There is nobody left to tell, and a view is derived.
        drop(guarded(|| {
            drop(database);
            Ok(())
        }));
    }
}

/// Opens a file that is there.
///
/// # Errors
///
/// [`Trouble::Unusable`]: it is not a file of rows, or one of another format.
pub(super) fn open(disk: &dyn Disk, path: &str, cache_bytes: usize) -> Result<OpenFile, Trouble> {
    let file = disk.open(path).map_err(Trouble::Disk)?;
    // redb would make a database of an empty file.
    if file.is_empty().map_err(Trouble::Disk)? {
        return Err(Trouble::unusable("it is empty"));
    }
    guarded(|| {
        let is_cut_off = Arc::new(AtomicBool::new(false));
        let database = builder(cache_bytes).create_with_backend(Backend::new(file, Arc::clone(&is_cut_off)))?;
        let Head { hash, definition, fingerprint, database_id, shards, promotion } = head(&database)?;
        Ok(OpenFile {
            path: path.to_owned(),
            hash,
            definition,
            fingerprint,
            known_columns: OnceLock::new(),
            database_id,
            shards,
            promotion: AtomicU64::new(promotion),
            writers: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            is_cut_off,
            database: Some(database),
        })
    })
}

/// What a file says of itself.
struct Head {
    hash: [u8; 16],
    definition: String,
    fingerprint: [u8; 32],
    database_id: [u8; 16],
    shards: u16,
    promotion: u64,
}

fn head(database: &Database) -> Result<Head, Trouble> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(tables::META)?;
    if meta.get(tables::META_FORMAT)?.is_none_or(|format| format.value() != tables::FORMAT.to_le_bytes()) {
        return Err(Trouble::unusable("it is of another format"));
    }
    // Every table must be there, so that no read has to ask.
    transaction.open_table(tables::ROWS)?;
    transaction.open_table(tables::INDEXES)?;
    transaction.open_table(tables::PARKED)?;
    tables::read_checkpoint(&meta)?;
    tables::read_row_count(&meta)?;
    let bytes = |name: &str| -> Result<Vec<u8>, Trouble> {
        Ok(meta.get(name)?.ok_or_else(|| Trouble::unusable(format!("{name} is missing")))?.value().to_vec())
    };
    let unreadable = |_| Trouble::unusable("its head cannot be read");
    Ok(Head {
        hash: bytes(tables::META_HASH)?.try_into().map_err(unreadable)?,
        definition: String::from_utf8(bytes(tables::META_DEFINITION)?).map_err(|_| Trouble::unusable("its definition cannot be read"))?,
        fingerprint: bytes(tables::META_COLUMNS)?.try_into().map_err(unreadable)?,
        database_id: bytes(tables::META_DATABASE)?.try_into().map_err(unreadable)?,
        shards: u16::from_le_bytes(bytes(tables::META_SHARDS)?.try_into().map_err(unreadable)?),
        promotion: tables::read_number(&meta, tables::META_PROMOTION)?,
    })
}

/// Makes the file of an empty generation in place of whatever is there. `promotion` 0: it is not live.
pub(super) fn create(disk: &dyn Disk, path: &str, cache_bytes: usize, opening: &Opening, promotion: u64) -> Result<OpenFile, Trouble> {
    let temporary = format!("{path}{TEMPORARY_SUFFIX}");
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    disk.create_dir(folder).map_err(Trouble::Disk)?;
    disk.sync_dir("").map_err(Trouble::Disk)?;
    remove(disk, &temporary)?;
    remove(disk, path)?;
    let file = disk.create_new(&temporary).map_err(Trouble::Disk)?;
    guarded(|| lay_out(&file, cache_bytes, opening, promotion))?;
    file.sync_data().map_err(Trouble::Disk)?;
    disk.rename(&temporary, path).map_err(Trouble::Disk)?;
    disk.sync_dir(folder).map_err(Trouble::Disk)?;
    open(disk, path, cache_bytes)
}

fn lay_out(file: &Arc<dyn DiskFile>, cache_bytes: usize, opening: &Opening, promotion: u64) -> Result<(), Trouble> {
    let database = builder(cache_bytes).create_with_backend(Backend::new(Arc::clone(file), Arc::default()))?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(tables::META)?;
        meta.insert(tables::META_FORMAT, tables::FORMAT.to_le_bytes().as_slice())?;
        meta.insert(tables::META_HASH, opening.hash.as_slice())?;
        meta.insert(tables::META_DEFINITION, opening.definition.as_bytes())?;
        meta.insert(tables::META_COLUMNS, tables::fingerprint(&opening.columns).as_slice())?;
        meta.insert(tables::META_DATABASE, opening.database.as_slice())?;
        meta.insert(tables::META_SHARDS, opening.shards.to_le_bytes().as_slice())?;
        meta.insert(tables::META_PROMOTION, promotion.to_le_bytes().as_slice())?;
        meta.insert(tables::META_ROWS, 0_u64.to_le_bytes().as_slice())?;
        transaction.open_table(tables::ROWS)?;
        transaction.open_table(tables::INDEXES)?;
        transaction.open_table(tables::PARKED)?;
    }
    transaction.commit()?;
    database.close()?;
    Ok(())
}

/// Removes a file; nothing happens if it is not there.
pub(super) fn remove(disk: &dyn Disk, path: &str) -> Result<(), Trouble> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Trouble::Disk(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The folder of a view. Names may hold anything; what is not plain is percent-encoded, and a name that gets too long for a file system is
/// told from others by its hash.
pub(crate) fn folder_name(view: &str) -> String {
    let mut name = String::with_capacity(view.len());
    for byte in view.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > FOLDER_BYTES_MAX {
        name = format!("{}~{}", name.get(..FOLDER_BYTES_MAX / 2).unwrap_or_default(), blake3::hash(view.as_bytes()).to_hex());
    }
    name
}

fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
const FOLDER_BYTES_MAX: usize = 200;
