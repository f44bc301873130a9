//! How do the shards of a database open, and what if one of them can't?

use std::sync::Arc;

use factum_storage as storage;
use storage::Clock;
use storage::Disk;
use storage::LockGuard;
use storage::SystemClock;
use uuid::Uuid;

use super::Elsewhere;
use super::Options;
use super::blocking;
use super::close;
use super::directory;
use super::directory::Directory;
use super::directory::told;
use super::same_content;
use crate::Error;
use crate::shard;
use crate::shard::Handle;
use crate::shard::remote;

/// Opens the shards on these disks: all of them, or none.
pub(super) async fn on_disks(disks: Vec<Arc<dyn Disk>>, options: &Options) -> Result<Vec<Handle>, Error> {
    let numbered = (0_u16..).zip(disks).collect();
    let opened = side_by_side(numbered, None, options).await;
    let failure = opened.iter().find_map(|opened| opened.as_ref().err().cloned());
    let shards = opened.into_iter().filter_map(Result::ok).collect();
    match failure {
        Some(error) => Err(given_up(shards, error).await),
        None => Ok(shards),
    }
}

/// Opens the shards of a data directory. With several, one that can't be opened is absent, and the others serve.
pub(super) async fn in_directory(directory: &Directory, options: &Options) -> Result<Vec<Handle>, Error> {
    let there = (0_u16..).zip(&directory.homes).filter(|(_, home)| home.fault.is_none() && !home.is_elsewhere);
    let disks: Vec<(u16, Arc<dyn Disk>)> = there.map(|(shard, home)| (shard, Arc::clone(&home.disk))).collect();
    let numbers: Vec<u16> = disks.iter().map(|(shard, _)| *shard).collect();
    let mut opened = numbers.into_iter().zip(side_by_side(disks, Some(&directory.lock), options).await).peekable();
    let (mut shards, mut failure) = (Vec::with_capacity(directory.homes.len()), None);
    for (number, home) in (0_u16..).zip(&directory.homes) {
        let found = match opened.next_if(|(shard, _)| *shard == number) {
            Some((_, found)) => Some(found),
            None if home.is_elsewhere => Some(elsewhere(directory, number, options).await),
            None => None,
        };
        let error = match found {
            Some(Ok(shard)) => {
                shards.push(shard);
                continue;
            }
            Some(Err(error)) => error,
            None => Error::ShardFailed { shard: number, detail: home.fault.clone().unwrap_or_default() },
        };
        match absent(directory, number, &error) {
            Some(shard) if !home.is_elsewhere => shards.push(shard),
            Some(_) | None => failure = failure.or(Some(error)),
        }
    }
    if failure.is_none() && shards.iter().all(Handle::is_absent) {
        failure = shards.first().and_then(|shard| shard.check_open().err());
    }
    if let Some(error) = failure {
        return Err(given_up(shards, error).await);
    }
    if let Some(error) = newer_log(directory, &shards).await {
        return Err(given_up(shards, error).await);
    }
    let shards = without_older_logs(directory, shards).await?;
    if directory.meta.logs.is_none() && shards.len() > 1 && !shards.iter().any(Handle::is_absent) {
        let (root, meta) = (Arc::clone(&directory.place.root), directory.meta.clone());
        let logs = shards.iter().map(Handle::log_id).collect();
        if let Err(error) = blocking(move || directory::know_logs(&*root, &meta, logs)).await {
            return Err(given_up(shards, error).await);
        }
    }
    Ok(shards)
}

/// Why `factum.meta` is older than the logs beside it, if it is: it would lead streams to where their newest events are not.
async fn newer_log(directory: &Directory, shards: &[Handle]) -> Option<Error> {
    let known = directory.meta.topology.version();
    for shard in shards.iter().filter(|shard| !shard.is_absent() && shard.location().is_none()) {
        match shard.newest_taken().await {
            Ok(Some(version)) if version > known => {
                let detail = format!(
                    "it is of topology version {known}, and the log of shard {} has taken something over by version {version}: \
                     put back the factum.meta that belongs to these logs",
                    shard.number()
                );
                return Some(directory::damaged(detail));
            }
            // One that is damaged there is told by whoever reads it.
            Ok(_) => {}
            Err(error) => tracing::warn!(shard = shard.number(), %error, "whether the log fits the topology can't be told"),
        }
    }
    None
}

/// A log that ends before slots were handed over is an older one: what it lacks can't be made up for, so its shard is not served.
async fn without_older_logs(directory: &Directory, shards: Vec<Handle>) -> Result<Vec<Handle>, Error> {
    let ends = directory.meta.topology.ends();
    let mut checked = Vec::with_capacity(shards.len());
    for shard in shards {
        let end = ends.get(&shard.number()).copied().unwrap_or_default();
        if shard.is_absent() || shard.committed() >= end {
            checked.push(shard);
            continue;
        }
        let number = shard.number();
        let detail = format!(
            "its log ends at position {}, and was at {end} when something was handed over: it is older than the topology; put back the newer one",
            shard.committed()
        );
        close(&[shard]).await?;
        let error = Error::ShardFailed { shard: number, detail };
        checked.push(absent(directory, number, &error).ok_or(error)?);
    }
    Ok(checked)
}

/// A shard that another server has.
async fn elsewhere(directory: &Directory, shard: u16, options: &Options) -> Result<Handle, Error> {
    let first = directory.meta.topology.elsewhere().first().copied().unwrap_or(shard);
    let at = usize::from(shard.saturating_sub(first));
    let Elsewhere { urls, token_file, timeout } = options.elsewhere.clone();
    let no_address = || Error::Invalid { field: "shards.urls".to_owned(), detail: format!("has no address for shard {shard}") };
    let url = urls.get(at).cloned().ok_or_else(no_address)?;
    let log = directory.meta.logs.as_ref().and_then(|logs| logs.get(usize::from(shard)).copied());
    let queue_appends = options.queue_appends;
    let root = Arc::clone(&directory.place.root);
    remote::open(shard, remote::Options { url, token_file, timeout, queue_appends }, log, root).await
}

/// The place of a shard that can't be opened, if the others may serve without it.
fn absent(directory: &Directory, shard: u16, error: &Error) -> Option<Handle> {
    let detail = if let Error::ShardFailed { detail, .. } = error {
        detail.clone()
    } else if let Error::Storage(error) = error {
        told(error)
    } else {
        return None;
    };
    // A build that does not know a format has to be exchanged, not a folder.
    if matches!(error, Error::Storage(storage::Error::UnknownFormat { .. } | storage::Error::Locked { .. })) {
        return None;
    }
    let known = directory.meta.logs.as_ref().and_then(|logs| logs.get(usize::from(shard)).copied());
    // What the first shard's log is called is what the database is called: views and lakes are held to it.
    let log_id = known.or_else(|| (shard > 0).then_some([0; 16]))?;
    if directory.homes.len() == 1 {
        return None;
    }
    tracing::error!(shard, detail, "the shard can't be used; the others serve, and a restart looks again");
    Some(Handle::absent(shard, log_id, detail))
}

async fn given_up(shards: Vec<Handle>, error: Error) -> Error {
    // The others have nothing to flush that the next open would not find in their logs.
    if let Err(second) = close(&shards).await {
        tracing::warn!(error = %second, "closing the shards that could be opened has failed too");
    }
    error
}

async fn side_by_side(
    disks: Vec<(u16, Arc<dyn Disk>)>,
    lock: Option<&Arc<dyn LockGuard>>,
    options: &Options,
) -> Vec<Result<Handle, Error>> {
    // All of this machine's shards get the same time.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opening = disks.into_iter().map(|(shard, disk)| {
        let settings = settings(&options.storage, shard);
        let (clock, lock) = (Arc::clone(&clock), lock.cloned());
        let options = shard::Options { shard, disk, clock, queue_appends: options.queue_appends, storage: settings, lock };
        blocking(move || shard::open(options))
    });
    futures::future::join_all(opening.collect::<Vec<_>>()).await
}

/// Opens one shard that is to join.
pub(super) async fn one(shard: u16, disk: Arc<dyn Disk>, lock: Option<Arc<dyn LockGuard>>, options: &Options) -> Result<Handle, Error> {
    let opened = side_by_side(vec![(shard, disk)], lock.as_ref(), options).await;
    opened.into_iter().next().unwrap_or_else(|| Err(Error::Unavailable { shard, detail: "it was not opened".to_owned() }))
}

/// The engine's settings for one shard: its log gets an id of its own, so that the file of another shard or database is noticed.
fn settings(settings: &storage::Options, shard: u16) -> storage::Options {
    let mut settings = storage::Options { same_content: same_content::same_content, ..settings.clone() };
    if settings.new_log_id == [0; 16] {
        settings.new_log_id = *Uuid::now_v7().as_bytes();
    }
    let [high, low] = shard.to_be_bytes();
    let [.., last_high, last_low] = &mut settings.new_log_id;
    *last_high ^= high;
    *last_low ^= low;
    settings
}
