//! Who keeps snapshots, and which? One task beside the appends: it follows the defined categories, and looks at their streams again when
//! something was defined.
//!
//! Of a stream stay the newest few snapshots and every [`SPARSE`]th, so that a look into the past starts near too.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use factum_storage::Filter;
use factum_storage::Snapshot;
use factum_storage::SnapshotInfo;
use factum_storage::StreamInfo;
use factum_storage::StreamName;
use factum_storage::Version;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Aggregates;
use super::CLIENTS_HASH;
use super::evolver::Running;
use super::load::Base;
use super::load::EVENT_ID_BYTES;
use super::load::Failed;
use super::load::Loaded;
use super::load::Source;
use crate::Error;
use crate::shard::Handle;
use crate::shard::StreamListing;
use crate::subscription::Cursor;
use crate::subscription::Feed;
use crate::subscription::FeedItem;

/// Streams that should get a snapshot.
#[derive(Default)]
pub(super) struct Wanted {
    streams: Mutex<HashSet<StreamName>>,
    changed: Notify,
}

impl Wanted {
    pub(super) fn want(&self, stream: &StreamName) {
        let mut streams = self.streams.lock();
        // What finds no room is wanted again by the next one who has to wait for it.
        if streams.len() < WANTED_MAX && streams.insert(stream.clone()) {
            self.changed.notify_one();
        }
    }

    fn take(&self) -> Vec<StreamName> {
        self.streams.lock().drain().collect()
    }
}

/// What was made and is not in the store yet.
#[derive(Default)]
struct Made {
    snapshots: HashMap<u16, Vec<Snapshot>>,
    every: HashMap<StreamName, u64>,
    count: usize,
}

impl Aggregates {
    /// Keeps snapshots until the database closes.
    pub(crate) async fn keep_snapshots(self: Arc<Self>) {
        let mut feed = None;
        loop {
            let followed = async {
                match &mut feed {
                    Some(feed) => Feed::next(feed).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.redefined.notified() => {
                    // The feed begins before the streams are listed, so that none is missed in between.
                    feed = self.feed();
                    if let Err(error) = self.look_at_all().await {
                        tracing::debug!(%error, "looking for streams without a snapshot has ended early");
                    }
                }
                () = self.wanted.changed.notified() => {}
                item = followed => match item {
                    Ok(FeedItem::Events(events)) => {
                        for (event, _) in events {
                            self.look_at_event(event.record.stream(), event.record.version());
                        }
                    }
                    Ok(FeedItem::CaughtUp(_) | FeedItem::FellBehind(_)) => {}
                    Err(Error::Unavailable { .. }) => return,
                    Err(error) => {
                        tracing::warn!(%error, "snapshots are made at reads alone until something is defined");
                        feed = None;
                    }
                },
            }
            self.work().await;
        }
    }

    fn feed(&self) -> Option<Feed> {
        let categories: Vec<String> = self.evolvers.read().keys().cloned().collect();
        if categories.is_empty() {
            return None;
        }
        let filter = Filter { categories, ..Filter::default() };
        Some(Feed::of_log(Arc::clone(&self.router), filter, &Cursor::end(&self.router)))
    }

    fn look_at_event(&self, stream: &str, version: Version) {
        let Ok(stream) = StreamName::new(stream) else { return };
        if version.get().is_multiple_of(self.evolver(stream.category()).snapshot_every) {
            self.wanted.want(&stream);
        }
    }

    /// Wants a snapshot of each stream of the defined categories that is too far from its last.
    async fn look_at_all(&self) -> Result<(), Error> {
        let defined: Vec<_> = self.evolvers.read().iter().map(|(category, evolver)| (category.clone(), Arc::clone(evolver))).collect();
        for (category, evolver) in defined {
            for shard in self.router.shards().iter().filter(|shard| shard.keeps_snapshots()) {
                let mut after = None;
                loop {
                    let category = Some(category.clone());
                    let listing = StreamListing {
                        after,
                        prefix: String::new(),
                        category,
                        include_system: false,
                        leave_out_undecided: false,
                        limit: LISTED_AT_ONCE,
                    };
                    let infos = shard.streams(listing).await?;
                    for info in &infos {
                        if info.version.get() >= evolver.snapshot_every && self.is_behind(shard, info, evolver.snapshot_every).await? {
                            self.wanted.want(&info.stream);
                        }
                    }
                    match infos.last() {
                        Some(last) if infos.len() == LISTED_AT_ONCE => after = Some(last.stream.to_string()),
                        _ => break,
                    }
                    self.work().await;
                }
            }
        }
        Ok(())
    }

    async fn is_behind(&self, shard: &Handle, info: &StreamInfo, every: u64) -> Result<bool, Error> {
        let hash = self.hash(&self.evolver(info.stream.category()), info.first_version);
        let snapshots = shard.snapshots(info.stream.clone()).await?;
        let newest = snapshots.iter().filter(|snapshot| snapshot.definition_hash == hash).map(|snapshot| snapshot.version.get()).max();
        Ok(newest.unwrap_or(0) < info.version.get() / every * every)
    }

    async fn work(&self) {
        loop {
            let streams = self.wanted.take();
            if streams.is_empty() {
                return;
            }
            let mut made = Made::default();
            for stream in streams {
                match self.make(&stream, &mut made).await {
                    Ok(()) | Err(Failed::Moved) => {}
                    // Whoever asks for the state is told what is wrong with it.
                    Err(Failed::Error(error)) => tracing::debug!(%stream, %error, "no snapshot could be made"),
                }
                if made.count >= PUT_AT_ONCE {
                    self.put(std::mem::take(&mut made)).await;
                }
            }
            self.put(made).await;
            // Each time is a sync; what is wanted meanwhile shares the next.
            tokio::time::sleep(REST).await;
        }
    }

    /// Makes the snapshots that a stream lacks, up to the last multiple of its category's interval.
    async fn make(&self, stream: &StreamName, made: &mut Made) -> Result<(), Failed> {
        let source = self.source(stream).await?;
        if !source.shard.owner().keeps_snapshots() {
            return Ok(());
        }
        let every = source.evolver.snapshot_every;
        let newest = source.info.version.get() / every * every;
        if newest < source.info.first_version.get() {
            return Ok(());
        }
        let all = source.shard.snapshots(stream.clone()).await?;
        let own = all.iter().filter(|snapshot| snapshot.definition_hash == source.hash).map(|snapshot| snapshot.version.get());
        let last = own.filter(|version| *version >= source.info.first_version.get()).max().unwrap_or(0);
        if last >= newest {
            self.cache.note_snapshot(stream.as_str(), &source.hash, Version::new(last));
            return Ok(());
        }
        let start = last.max(source.info.first_version.get() - 1);
        let sparse = every * SPARSE;
        let milestones = (start / sparse + 1..).map(|number| number * sparse).take_while(|version| *version < newest);
        let mut base = if last > 0 {
            let loaded = self.load(&source, Version::new(last)).await?;
            let running = source.evolver.resume(&loaded.state).unwrap_or(Running::Initial);
            Base { running, next: loaded.version.next(), snapshot_version: loaded.version }
        } else {
            Base { running: Running::Initial, next: source.info.first_version, snapshot_version: Version::ZERO }
        };
        for version in milestones.chain([newest]).map(Version::new) {
            let loaded = self.replay(&source, base, version, false).await?;
            let running = source.evolver.resume(&loaded.state).ok_or(Failed::Moved)?;
            base = Base { running, next: version.next(), snapshot_version: version };
            made.add(&source, every, &loaded);
            if made.count >= PUT_AT_ONCE {
                self.put(std::mem::take(made)).await;
            }
        }
        Ok(())
    }

    async fn put(&self, made: Made) {
        let every = Arc::new(made.every);
        for (shard, snapshots) in made.snapshots {
            let notes: Vec<_> =
                snapshots.iter().map(|snapshot| (snapshot.stream.clone(), snapshot.definition_hash, snapshot.version)).collect();
            let every = Arc::clone(&every);
            let keep = move |put: &Snapshot, old: &SnapshotInfo| stays(put, old, every.get(&put.stream).copied().unwrap_or(1));
            let (count, began) = (snapshots.len(), Instant::now());
            let put = self.router.shard(shard).put_snapshots(snapshots, keep).await;
            self.meters.put(count, began.elapsed(), put.is_ok());
            match put {
                Ok(()) => {
                    for (stream, hash, version) in notes {
                        self.cache.note_snapshot(stream.as_str(), &hash, version);
                    }
                }
                Err(error) => tracing::warn!(shard, %error, "snapshots could not be kept; states are folded from further back"),
            }
        }
    }
}

impl Made {
    fn add(&mut self, source: &Source, every: u64, loaded: &Loaded) {
        let Some(id) = loaded.last_event else { return };
        let mut state = Vec::with_capacity(EVENT_ID_BYTES + loaded.state.len());
        state.extend_from_slice(id.as_bytes());
        state.extend_from_slice(&loaded.state);
        let snapshot =
            Snapshot { stream: source.stream.clone(), version: loaded.version, definition_hash: source.hash, state: Bytes::from(state) };
        self.snapshots.entry(source.shard.number()).or_default().push(snapshot);
        self.every.insert(source.stream.clone(), every);
        self.count += 1;
    }
}

/// Whether an old snapshot of a stream stays beside one that is put.
fn stays(put: &Snapshot, old: &SnapshotInfo, every: u64) -> bool {
    if old.definition_hash == CLIENTS_HASH {
        return true;
    }
    let (newest, version) = (put.version.get(), old.version.get());
    old.definition_hash == put.definition_hash
        && (version.is_multiple_of(every * SPARSE) || newest.saturating_sub(version) < NEWEST * every)
}

const WANTED_MAX: usize = 100_000;
const LISTED_AT_ONCE: usize = 1000;
const PUT_AT_ONCE: usize = 64;
/// Every so many intervals a snapshot stays for good.
const SPARSE: u64 = 16;
/// So many of the newest stay.
const NEWEST: u64 = 3;
const REST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_every_sixteenth_and_those_of_clients_stay() {
        let put = Snapshot {
            stream: StreamName::new("a-1").unwrap(),
            version: Version::new(5000),
            definition_hash: [1; 32],
            state: Bytes::new(),
        };
        let old = |version, definition_hash| SnapshotInfo { version: Version::new(version), definition_hash, bytes: 1 };
        for (version, hash, expected) in [
            (4900, [1; 32], true),
            (4800, [1; 32], true),
            (4700, [1; 32], false),
            (1600, [1; 32], true),
            (1700, [1; 32], false),
            (4900, [2; 32], false),
            (4700, CLIENTS_HASH, true),
            (5100, [1; 32], true),
        ] {
            assert_eq!(stays(&put, &old(version, hash), 100), expected, "{version}");
        }
    }
}
