//! How does a writer take a lake over, and change it step by step so that every event is in it once, whatever breaks off in between?
//!
//! Each step begins and ends with a manifest. The first tells what is about to be put, the second that it is there. A manifest is made
//! only where there is none of its sequence: whoever finds another writer's there has lost the lake, and touches nothing any more.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage::Clock;
use factum_storage::Timestamp;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use object_store::ObjectStore;
use object_store::path::Path;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::fault::Fault;
use super::file::FileNote;
use super::file::note_of;
use super::gather::Gathered;
use super::gather::PartitionEvents;
use super::lake::FOLDER;
use super::lake::Lake;
use super::lake::Made;
use super::log::Log;
use super::manifest::Intent;
use super::manifest::Manifest;
use super::manifest::Origin;
use super::manifest::PlannedFile;
use super::manifest::Retired;
use super::manifest::positions;
use super::partition::sequence_of;
use super::place::Place;
use super::published::Published;
use super::status::Status;
use super::threads::Threads;
use super::write::About;
use super::write::MadeFile;
use super::write::file_of;
use crate::analytics::columns::CategoryColumns;
use crate::schema::Registry;
use crate::subscription::Cursor;
use crate::subscription::time::push_timestamp;

/// What a writer of a lake works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) lake: Lake,
    /// Reads the lake for others.
    pub(super) readers: Arc<dyn ObjectStore>,
    pub(super) url: String,
    pub(super) status: Arc<Status>,
    pub(super) threads: Arc<Threads>,
    pub(super) schemas: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) place: Place,
}

/// A lake that this writer has taken over.
pub(super) struct Session {
    pub(super) tools: Tools,
    pub(super) manifest: Arc<Manifest>,
    writer: Uuid,
    /// Files that could not be read.
    pub(super) spoilt: BTreeSet<String>,
}

impl Session {
    /// Takes a lake over: from here on any other writer finds that it has lost it.
    ///
    /// # Errors
    ///
    /// [`Fault::Lasting`]: the lake can't be written to safely, is another export's, or its newest manifest can't be read.
    pub(super) async fn open(tools: Tools, origin: Origin, log: &Log) -> Result<Self, Fault> {
        let shards = log.router.count();
        tools.lake.probe().await?;
        let mut found = newest(&tools.lake).await?.unwrap_or_else(|| Manifest::empty(origin.clone(), shards));
        if found.origin != origin {
            return Err(Fault::Lasting(differs(&found.origin, &origin)));
        }
        let (at_first, now) = (usize::from(log.router.topology().began_with()), usize::from(shards));
        if !(at_first..=now).contains(&found.through.len()) {
            let detail = format!("the lake is of a database of {} shard(s), this one has {shards}", found.through.len());
            return Err(Fault::Lasting(detail));
        }
        // Shards that have joined since are read from their start.
        found.through.resize(now, 0);
        found.last.resize(now, None);
        log.check(&found).await?;
        let mut session = Self { tools, manifest: Arc::new(found), writer: Uuid::now_v7(), spoilt: BTreeSet::new() };
        let mut claim = session.next();
        claim.epoch += 1;
        session.commit(claim).await?;
        session.tools.status.set_writer(session.writer);
        session.retire().await?;
        Ok(session)
    }

    /// What is about to be put since before this writer came.
    pub(super) fn unfinished(&self) -> Option<Intent> {
        self.manifest.intent.clone()
    }

    /// Puts what was gathered into the lake.
    pub(super) async fn flush(&mut self, gathered: Gathered) -> Result<(), Fault> {
        if gathered.is_empty() {
            return self.advance(&gathered.through).await;
        }
        let mut next = self.next();
        let files = gathered.partitions.iter().map(|of| of.partition.file(next.sequence)).collect();
        next.intent = Some(Intent::Flush { through: positions(&gathered.through), last: gathered.last.clone(), files });
        next.columns.clone_from(&gathered.columns);
        self.commit(next).await?;
        self.finish_flush(Vec::new(), gathered.partitions, gathered.shapes).await?;
        self.tools.status.count(u64::try_from(gathered.events).unwrap_or(u64::MAX), gathered.last_recorded_at);
        Ok(())
    }

    /// Publishes that there is nothing for the lake up to here.
    pub(super) async fn advance(&mut self, through: &Cursor) -> Result<(), Fault> {
        let mut next = self.next();
        next.through = positions(through);
        self.commit(next).await
    }

    /// Puts the files of the manifest's intent and publishes them, with those that are there already.
    pub(super) async fn finish_flush(&mut self, there: Vec<LakeFile>, partitions: Vec<PartitionEvents>, shapes: u64) -> Result<(), Fault> {
        let Some(Intent::Flush { through, last, files }) = self.manifest.intent.clone() else { return Err(unplanned()) };
        // The files are named after the manifest of the intent, which later writers may have taken over.
        let sequence = files.first().and_then(|file| sequence_of(&file.path)).ok_or_else(unplanned)?;
        let shards = u16::try_from(through.len()).unwrap_or(u16::MAX);
        let about =
            About { mark: mark_of(&self.manifest), shards, shapes, says_category: files.iter().any(|file| file.category.is_some()) };
        let (tools, manifest) = (&self.tools, &self.manifest);
        let missing = partitions.into_iter().filter_map(|PartitionEvents { partition, events }| {
            let planned = partition.file(sequence);
            let is_there = there.iter().any(|file| file.planned == planned);
            (!is_there).then_some((planned, events))
        });
        let put = missing.map(|(planned, events)| {
            let columns = manifest.category_of(&planned).map(|category| tools.columns(&manifest.columns, category));
            let about = about.clone();
            async move {
                let turn = Arc::clone(&tools.threads.turn).acquire_owned().await;
                let made = file_of(events, columns, about, &tools.threads).await?;
                // A lake that does not answer is not to hold up the exports into others.
                drop(turn);
                tools.put(planned, made).await
            }
        });
        let put: Vec<LakeFile> = stream::iter(put).buffer_unordered(PUTS_AT_ONCE).try_collect().await?;
        let mut next = self.next();
        (next.intent, next.through, next.last) = (None, through, last);
        for file in there.into_iter().chain(put) {
            next.add(file.planned, file.bytes, file.note);
        }
        if next.files.len() > FILES_MAX {
            let detail = format!("the lake would have more than {FILES_MAX} files: partition by fewer things, or take fewer categories");
            return Err(Fault::Lasting(detail));
        }
        self.commit(next).await
    }

    /// Those files of the manifest's intent that are there already.
    pub(super) async fn put_already(&self, planned: &[PlannedFile]) -> Result<Vec<LakeFile>, Fault> {
        let mark = mark_of(&self.manifest);
        let mut found = Vec::new();
        for file in planned {
            let Some(bytes) = self.tools.lake.read(&path(&file.path)?).await? else { continue };
            found.extend(LakeFile::of(file.clone(), &bytes).filter(|found| found.note.mark == mark));
        }
        Ok(found)
    }

    /// The manifest behind the one that counts, as this writer's.
    pub(super) fn next(&self) -> Manifest {
        let mut next = Manifest::clone(&self.manifest);
        next.sequence += 1;
        next.writer = self.writer;
        next.written_at = time_text(self.tools.clock.now());
        next.drop_unused_schemas();
        next
    }

    /// Makes a manifest the one that counts.
    pub(super) async fn commit(&mut self, next: Manifest) -> Result<(), Fault> {
        match self.tools.lake.make(&manifest_path(next.sequence), next.encode().into()).await? {
            Made::This => {}
            Made::Other(there) => return Err(fenced(next.sequence, &there)),
        }
        let present = self.tools.status.published().filter(|_| self.manifest.files == next.files);
        let published = match present {
            // Only that something is about to be put, or how far the log was read.
            Some(present) => Published { through: next.through(), filter: present.filter.clone(), files: Arc::clone(&present.files) },
            None => Published::of(&next, &self.tools.url, &self.tools.readers),
        };
        self.manifest = Arc::new(next);
        self.tools.status.set_published(Arc::new(published));
        Ok(())
    }

    /// Moves files out of the way whose rows are in others now.
    pub(super) async fn retire(&self) -> Result<(), Fault> {
        for Retired { path: from, .. } in &self.manifest.retired {
            self.tools.lake.rename(&path(from)?, &retired_path(from)?).await?;
        }
        Ok(())
    }
}

impl Tools {
    /// The typed columns of a category, as far as it is known and as the schemas of its types say.
    pub(super) fn columns(&self, known: &BTreeMap<String, CategoryColumns>, category: &str) -> CategoryColumns {
        let mut columns = known.get(category).cloned().unwrap_or_default();
        columns.declare_by(&self.schemas);
        columns
    }

    /// Puts a file. One of its name that was made for the same intent stays: its rows are the same, and somebody may read it.
    pub(super) async fn put(&self, planned: PlannedFile, made: MadeFile) -> Result<LakeFile, Fault> {
        let to = path(&planned.path)?;
        let MadeFile { bytes, note } = made;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Made::Other(there) = self.lake.make(&to, bytes.clone()).await? {
            if let Some(file) = LakeFile::of(planned.clone(), &there).filter(|file| file.note.mark == note.mark) {
                return Ok(file);
            }
            tracing::warn!(file = planned.path, "a file that no manifest knows of bears a name that is needed; it is replaced");
            self.lake.replace(&to, bytes).await?;
        }
        Ok(LakeFile { planned, bytes: length, note })
    }
}

/// A file that is in the lake, whether or not a manifest says so.
#[derive(Clone, Debug)]
pub(super) struct LakeFile {
    pub(super) planned: PlannedFile,
    pub(super) bytes: u64,
    pub(super) note: FileNote,
}

impl LakeFile {
    /// `None` if the bytes are no file of an export.
    fn of(planned: PlannedFile, bytes: &Bytes) -> Option<Self> {
        let note = note_of(bytes).ok()?;
        Some(Self { planned, bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX), note })
    }
}

/// The manifest that counts; `None` in a lake without one.
pub(super) async fn newest(lake: &Lake) -> Result<Option<Manifest>, Fault> {
    loop {
        let objects = lake.list(Some(&Path::from(FOLDER))).await?;
        let Some(sequence) = objects.iter().filter_map(|object| manifest_sequence(&object.location)).max() else { return Ok(None) };
        let at = manifest_path(sequence);
        // Another writer may have cleaned up in between: then there is a newer one.
        let Some(bytes) = lake.read(&at).await? else { continue };
        return Manifest::decode(&bytes).map(Some).map_err(|reason| {
            Fault::Lasting(format!(
                "the newest manifest of the lake, {at}, can't be read: {reason}; bring it back from a copy, or delete it, and the one \
                 before it counts"
            ))
        });
    }
}

/// What tells the files of an intent from others: with the same mark they have the same rows.
pub(super) fn mark_of(manifest: &Manifest) -> String {
    match &manifest.intent {
        Some(Intent::Flush { through, .. }) => format!("events behind {} up to {}", manifest.through(), super::manifest::cursor(through)),
        Some(Intent::Merge { inputs, .. }) => format!("rows of {:016x}", xxh3_64(inputs.join("\n").as_bytes())),
        None => String::new(),
    }
}

fn fenced(sequence: u64, there: &[u8]) -> Fault {
    let by = Manifest::decode(there).map(|other| format!(" (writer {}, {})", other.writer, other.written_at)).unwrap_or_default();
    Fault::Fenced(format!(
        "another writer has taken the lake over{by}: manifest {sequence} is its; see that only one database exports there, and flush the \
         export to take it back"
    ))
}

fn unplanned() -> Fault {
    Fault::Lasting("files were to be put that no manifest tells of".to_owned())
}

fn differs(found: &Origin, wanted: &Origin) -> String {
    let shown = |origin: &Origin| serde_json::to_string(origin).unwrap_or_default();
    format!("the lake was begun as {}, and this export is {}; give it another url, or delete the lake's files", shown(found), shown(wanted))
}

pub(super) fn time_text(time: Timestamp) -> String {
    let mut text = Vec::new();
    push_timestamp(&mut text, time);
    String::from_utf8(text).unwrap_or_default()
}

/// The path of an object. Manifests come from outside: what is no path is refused.
pub(super) fn path(text: &str) -> Result<Path, Fault> {
    Path::parse(text).map_err(|error| Fault::Lasting(format!("the lake's manifest names a file that can't be one: {error}")))
}

pub(super) fn manifest_path(sequence: u64) -> Path {
    Path::from(format!("{FOLDER}/{MANIFEST_BEGINS}{sequence:020}{MANIFEST_ENDS}"))
}

pub(super) fn manifest_sequence(path: &Path) -> Option<u64> {
    path.filename()?.strip_prefix(MANIFEST_BEGINS)?.strip_suffix(MANIFEST_ENDS)?.parse().ok()
}

/// Where a file is kept for those who still read it, out of sight of those who look for Parquet files.
pub(super) fn retired_path(file: &str) -> Result<Path, Fault> {
    path(&format!("{FOLDER}/retired/{file}.retired"))
}

/// While some are being put others are made.
const PUTS_AT_ONCE: usize = 4;
/// The manifest lists them all.
const FILES_MAX: usize = 100_000;
const MANIFEST_BEGINS: &str = "manifest-";
const MANIFEST_ENDS: &str = ".json";
