//! How does a database begin?

use std::sync::Arc;

use factum_storage as storage;
use storage::Disk;
use storage::MemDisk;

use super::Database;
use super::Durability;
use super::Options;
use super::Strategy;
use super::blocking;
use super::directory;
use super::directory::Asked;
use super::directory::Place;
use super::directory::ShardDisks;
use super::opening;
use super::reshaping::Ground;
use crate::Error;
use crate::shard::SHARDS_MAX;
use crate::shard::Topology;

impl Database {
    /// Opens or creates a database.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] (locked, of a newer format, disk), [`Error::Invalid`] (another number of shards).
    pub async fn open(options: Options) -> Result<Self, Error> {
        let Some(root) = options.data.clone() else {
            check_here(&options)?;
            let (shards, strategy) = options.strategy.clone().unwrap_or(Strategy::Hash).settled(options.shards)?;
            let disks = (0..shards).map(|_| Arc::new(MemDisk::new()) as Arc<dyn Disk>).collect();
            let opened = opening::on_disks(disks, &options).await?;
            return Box::pin(Self::start(Topology::new(shards, strategy), opened, (Ground::Memory, None), options)).await;
        };
        let asked = asked(&options)?;
        if options.durability == Durability::Relaxed {
            tracing::warn!("durability is relaxed: a power cut may lose what was acknowledged");
        }
        Self::open_at(Place::at(&root, options.durability), asked, options).await
    }

    async fn open_at(place: Place, asked: Asked, options: Options) -> Result<Self, Error> {
        let directory = blocking(move || directory::open(place, asked)).await?;
        let shards = opening::in_directory(&directory, &options).await?;
        let ground = Ground::Directory { place: directory.place, lock: Arc::downgrade(&directory.lock) };
        Box::pin(Self::start(directory.meta.topology, shards, (ground, Some(directory.lock)), options)).await
    }

    /// Opens or creates a data directory on disks that the caller brings: `root` for the directory itself, and one for each shard below it.
    /// For tests of what happens when a disk stops.
    ///
    /// # Errors
    ///
    /// As [`Database::open`].
    #[doc(hidden)]
    pub async fn open_in(root: Arc<dyn Disk>, shard: ShardDisks, options: Options) -> Result<Self, Error> {
        let asked = asked(&options)?;
        Self::open_at(Place { root, shard, name: "a disk of the caller's".into() }, asked, options).await
    }

    /// Opens or creates a database on disks that the caller brings, one for each shard and always in the same order, and owns for itself.
    /// `data`, `shards` and `durability` of the options do not count; `strategy` must always be the same.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] (of a newer format, disk); [`Error::Invalid`] without any disk, or if they do not go with the strategy.
    pub async fn open_on(disks: Vec<Arc<dyn Disk>>, options: Options) -> Result<Self, Error> {
        check_here(&options)?;
        let count = u16::try_from(disks.len()).unwrap_or(u16::MAX);
        let (shards, strategy) = options.strategy.clone().unwrap_or(Strategy::Hash).settled(Some(count))?;
        let opened = opening::on_disks(disks, &options).await?;
        Box::pin(Self::start(Topology::new(shards, strategy), opened, (Ground::Brought, None), options)).await
    }

    /// A new, empty database in memory.
    ///
    /// # Errors
    ///
    /// None in practice; memory has no disk to fail.
    pub async fn in_memory() -> Result<Self, Error> {
        Self::open(Options::in_memory()).await
    }
}

fn asked(options: &Options) -> Result<Asked, Error> {
    let elsewhere = u16::try_from(options.elsewhere.urls.len()).ok().filter(|count| *count < SHARDS_MAX);
    let too_many = || Error::Invalid { field: "shards.urls".to_owned(), detail: format!("a database has at most {SHARDS_MAX} shards") };
    Ok(Asked { shards: options.shards, strategy: options.strategy.clone(), elsewhere: elsewhere.ok_or_else(too_many)? })
}

/// What is nowhere but in memory can't belong to something that stays.
fn check_here(options: &Options) -> Result<(), Error> {
    if options.elsewhere.urls.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid { field: "shards.urls".to_owned(), detail: "needs a data directory for the first shard".to_owned() })
}
