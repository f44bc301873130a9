//! How do small files give way to a larger one, and what is taken away in the end?
//!
//! The merged file is put, then a manifest says so, then the files that it stands for are moved out of sight. In between a reader who goes
//! by names alone finds rows twice, never too few; one who goes by the manifest finds each once at any time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::Timestamp;
use object_store::ObjectMeta;

use super::fault::Fault;
use super::file::FileNote;
use super::lake::FOLDER;
use super::lake::is_probe;
use super::manifest::FileEntry;
use super::manifest::Intent;
use super::manifest::PlannedFile;
use super::manifest::Retired;
use super::merge::Input;
use super::merge::Trouble;
use super::merge::merged;
use super::partition;
use super::partition::sequence_of;
use super::session::LakeFile;
use super::session::Session;
use super::session::manifest_sequence;
use super::session::mark_of;
use super::session::path;
use super::session::retired_path;
use crate::subscription::time::parse_timestamp;

impl Session {
    /// Makes one file of several.
    pub(super) async fn merge(&mut self, inputs: Vec<String>) -> Result<(), Fault> {
        let mut next = self.next();
        let Some(first) = next.files.iter().find(|file| inputs.contains(&file.planned.path)) else { return Ok(()) };
        let PlannedFile { category, date, .. } = first.planned.clone();
        let path = partition::path(category.as_deref(), date.as_deref(), next.sequence);
        next.intent = Some(Intent::Merge { inputs, output: PlannedFile { path, category, date } });
        self.commit(next).await?;
        self.finish_merge().await
    }

    /// Does what the manifest's intent says: a merged file that is there already is taken.
    pub(super) async fn finish_merge(&mut self) -> Result<(), Fault> {
        let Some(Intent::Merge { inputs: paths, output }) = self.manifest.intent.clone() else {
            return Err(Fault::Lasting("files were to be merged that no manifest tells of".to_owned()));
        };
        let there = self.put_already(std::slice::from_ref(&output)).await?.pop();
        let file = match there {
            Some(file) => file,
            None => match self.put_merged(&paths, output).await {
                Ok(file) => file,
                Err(Trouble::Fault(fault)) => return Err(fault),
                Err(Trouble::Spoilt { path, reason }) => return self.give_up_merge(path, &reason).await,
            },
        };
        let mut next = self.next();
        next.intent = None;
        next.files.retain(|file| !paths.contains(&file.planned.path));
        next.add(file.planned, file.bytes, file.note);
        let since = next.written_at.clone();
        next.retired.extend(paths.into_iter().map(|path| Retired { path, since: since.clone() }));
        self.commit(next).await?;
        self.retire().await
    }

    async fn put_merged(&self, paths: &[String], output: PlannedFile) -> Result<LakeFile, Trouble> {
        let entries: Vec<&FileEntry> = self.manifest.files.iter().filter(|file| paths.contains(&file.planned.path)).collect();
        let mut inputs = Vec::with_capacity(entries.len());
        for entry in &entries {
            let columns = self.manifest.columns_of(entry).to_vec();
            let spoilt = |reason: &str| Trouble::Spoilt { path: entry.planned.path.clone(), reason: reason.to_owned() };
            let bytes = self.tools.lake.read(&path(&entry.planned.path)?).await?.ok_or_else(|| spoilt("it is gone"))?;
            inputs.push(Input { path: entry.planned.path.clone(), bytes, columns });
        }
        let columns = self.manifest.category_of(&output).map(|category| self.tools.columns(&self.manifest.columns, category));
        let columns = (columns, output.category.is_some());
        let turn = Arc::clone(&self.tools.threads.turn).acquire_owned().await;
        let made = merged(inputs, columns, note_of(&entries, mark_of(&self.manifest)), &self.tools.threads).await?;
        drop(turn);
        Ok(self.tools.put(output, made).await?)
    }

    /// An input can't be read: the files stay as they are, and that is told.
    async fn give_up_merge(&mut self, path: String, reason: &str) -> Result<(), Fault> {
        tracing::error!(file = path, reason, "a file of the lake can't be read; it is left as it is");
        self.tools.status.set_damage(format!("the file {path} of the lake can't be read: {reason}"));
        self.spoilt.insert(path);
        let mut next = self.next();
        next.intent = None;
        self.commit(next).await
    }

    /// Takes away what nobody needs any more: old manifests, files whose rows have been in others for long enough, and those that a writer
    /// has put too late, when it was none any more.
    pub(super) async fn sweep(&mut self) -> Result<(), Fault> {
        let objects = self.tools.lake.list(None).await?;
        self.sweep_manifests(&objects).await?;
        self.sweep_orphans(&objects).await?;
        let place = self.tools.place.clone();
        self.tools.threads.run(move || place.sweep_staged(GRACE)).await?;
        self.sweep_retired().await
    }

    async fn sweep_manifests(&self, objects: &[ObjectMeta]) -> Result<(), Fault> {
        // The store's own clock has timed them all.
        let Some(newest) = objects.iter().map(|object| object.last_modified).max() else { return Ok(()) };
        for object in objects.iter().filter(|object| object.location.as_ref().starts_with(FOLDER)) {
            let is_old = newest.signed_duration_since(object.last_modified).to_std().is_ok_and(|age| age >= GRACE);
            let is_past = manifest_sequence(&object.location).is_some_and(|sequence| sequence + MANIFESTS_KEPT <= self.manifest.sequence);
            if is_old && (is_past || is_probe(&object.location)) {
                self.tools.lake.remove(&object.location).await?;
            }
        }
        Ok(())
    }

    async fn sweep_orphans(&self, objects: &[ObjectMeta]) -> Result<(), Fault> {
        let mut known: BTreeSet<&str> = self.manifest.files.iter().map(|file| file.planned.path.as_str()).collect();
        known.extend(self.manifest.retired.iter().map(|retired| retired.path.as_str()));
        match &self.manifest.intent {
            Some(Intent::Flush { files, .. }) => known.extend(files.iter().map(|file| file.path.as_str())),
            Some(Intent::Merge { output, .. }) => {
                known.insert(&output.path);
            }
            None => {}
        }
        let Some(newest) = objects.iter().map(|object| object.last_modified).max() else { return Ok(()) };
        for object in objects.iter().filter(|object| !known.contains(object.location.as_ref())) {
            // Of files of a later manifest this writer can't know anything: it may have lost the lake. Those of an earlier one that are not
            // known now will never be.
            let is_past = sequence_of(object.location.as_ref()).is_some_and(|sequence| sequence <= self.manifest.sequence);
            let is_old = newest.signed_duration_since(object.last_modified).to_std().is_ok_and(|age| age >= GRACE);
            if is_past && is_old && !object.location.as_ref().starts_with(FOLDER) {
                tracing::warn!(file = %object.location, "a file that no manifest knows of is taken away");
                self.tools.lake.remove(&object.location).await?;
            }
        }
        Ok(())
    }

    async fn sweep_retired(&mut self) -> Result<(), Fault> {
        let now = self.tools.clock.now();
        let (over, kept): (Vec<Retired>, Vec<Retired>) = self.manifest.retired.iter().cloned().partition(|retired| is_over(retired, now));
        if over.is_empty() {
            return Ok(());
        }
        for Retired { path, .. } in &over {
            self.tools.lake.remove(&retired_path(path)?).await?;
        }
        let mut next = self.next();
        next.retired = kept;
        self.commit(next).await
    }
}

fn is_over(retired: &Retired, now: Timestamp) -> bool {
    // A time that can't be read was not written here.
    let since = parse_timestamp(&retired.since).map_or(0, Timestamp::as_micros);
    let age = u64::try_from(now.as_micros().saturating_sub(since)).unwrap_or(0);
    Duration::from_micros(age) >= GRACE
}

/// What the rows of several files have in common.
fn note_of(entries: &[&FileEntry], mark: String) -> FileNote {
    let mut positions: Vec<Option<(u64, u64)>> = Vec::new();
    for entry in entries {
        positions.resize(positions.len().max(entry.positions.len()), None);
        for (slot, own) in positions.iter_mut().zip(&entry.positions) {
            *slot = match (*slot, *own) {
                (Some((least, most)), Some((own_least, own_most))) => Some((least.min(own_least), most.max(own_most))),
                (one, other) => one.or(other),
            };
        }
    }
    let span = |of: fn(&FileEntry) -> (i64, i64)| {
        let spans = entries.iter().map(|entry| of(entry));
        spans.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))).unwrap_or_default()
    };
    FileNote {
        mark,
        rows: entries.iter().map(|entry| entry.rows).sum(),
        positions,
        recorded: span(|entry| entry.recorded),
        occurred: span(|entry| entry.occurred),
        columns: Vec::new(),
        // The oldest of the shapes, whichever that is: of files that differ no reader may think that they are of today's.
        shapes: match entries {
            [first, rest @ ..] if rest.iter().all(|entry| entry.shapes == first.shapes) => first.shapes,
            _ => MIXED_SHAPES,
        },
    }
}

/// How long somebody may go on with what a manifest said that counts no more.
const GRACE: Duration = Duration::from_mins(10);
/// Beside those within the grace.
const MANIFESTS_KEPT: u64 = 8;
/// Names no shapes at all.
const MIXED_SHAPES: u64 = u64::MAX;
