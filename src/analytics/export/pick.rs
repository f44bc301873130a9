//! Which small files are to become a larger one? Those of one folder, of about one size: so each row is written again a few times at most.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::manifest::FileEntry;
use super::manifest::Manifest;

/// What decides.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) target_bytes: u64,
    /// Folders of days before this one get nothing new.
    pub(super) today: String,
}

/// The paths of files that should be one; none if all is well. `spoilt` ones can't be read, and are left alone.
pub(super) fn pick(manifest: &Manifest, policy: &Policy, spoilt: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut folders: BTreeMap<(Option<&str>, Option<&str>), Vec<&FileEntry>> = BTreeMap::new();
    for file in manifest.files.iter().filter(|file| file.bytes < policy.target_bytes / 2 && !spoilt.contains(&file.planned.path)) {
        folders.entry((file.planned.category.as_deref(), file.planned.date.as_deref())).or_default().push(file);
    }
    folders.into_iter().find_map(|((_, date), files)| {
        let is_closed = date.is_some_and(|date| date < policy.today.as_str());
        if is_closed { whole(files, policy.target_bytes) } else { tier(files, policy.target_bytes) }
    })
}

/// In a folder that gets nothing new all small files become one, or as many as are needed.
fn whole(mut files: Vec<&FileEntry>, target_bytes: u64) -> Option<Vec<String>> {
    files.sort_unstable_by_key(|file| file.bytes);
    fitting(files, target_bytes).filter(|paths| paths.len() >= 2)
}

/// Else those of one size, once there are enough of them, with all that are smaller.
fn tier(mut files: Vec<&FileEntry>, target_bytes: u64) -> Option<Vec<String>> {
    files.sort_unstable_by_key(|file| file.bytes);
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for file in &files {
        *counts.entry(size_class(file.bytes)).or_default() += 1;
    }
    let class = counts.into_iter().rev().find(|(_, count)| *count >= TIER_FILES).map(|(class, _)| class)?;
    fitting(files.into_iter().filter(|file| size_class(file.bytes) <= class), target_bytes).filter(|paths| paths.len() >= TIER_FILES / 2)
}

fn fitting<'a>(files: impl IntoIterator<Item = &'a FileEntry>, target_bytes: u64) -> Option<Vec<String>> {
    let mut bytes = 0;
    let taken = files.into_iter().take(INPUTS_MAX).take_while(|file| {
        bytes += file.bytes;
        bytes <= target_bytes
    });
    Some(taken.map(|file| file.planned.path.clone()).collect())
}

/// Files within a class differ by less than a factor of eight.
fn size_class(bytes: u64) -> u32 {
    bytes.max(1).ilog2() / 3
}

/// So many of a size are merged.
const TIER_FILES: usize = 8;
const INPUTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::export::manifest::Origin;
    use crate::analytics::export::manifest::PlannedFile;
    use crate::analytics::export::spec::Spec;
    use crate::definition::Format;

    fn manifest(sizes: &[(&str, u64)]) -> Manifest {
        let spec = Spec::parse("lake", Format::Json, "{}").unwrap();
        let mut manifest = Manifest::empty(Origin::of(&spec), 1);
        for (number, (date, bytes)) in sizes.iter().enumerate() {
            let planned = PlannedFile { path: format!("{number:03}"), category: Some("order".to_owned()), date: Some((*date).to_owned()) };
            let entry = FileEntry {
                planned,
                rows: 1,
                bytes: *bytes,
                positions: Vec::new(),
                recorded: (0, 0),
                occurred: (0, 0),
                schema: 0,
                shapes: 0,
            };
            manifest.files.push(entry);
        }
        manifest
    }

    fn picked(sizes: &[(&str, u64)]) -> Vec<String> {
        let policy = Policy { target_bytes: 10_000, today: "2026-01-02".to_owned() };
        pick(&manifest(sizes), &policy, &BTreeSet::new()).unwrap_or_default()
    }

    #[test]
    fn a_day_that_is_over_gets_one_file() {
        let over = "2026-01-01";
        assert_eq!(picked(&[(over, 100)]), [""; 0]);
        assert_eq!(picked(&[(over, 100), (over, 4_000)]), ["000", "001"]);
        assert_eq!(picked(&[(over, 100), (over, 5_000)]), [""; 0], "what is large enough stays");
        assert_eq!(picked(&[(over, 4_900), (over, 4_800), (over, 4_700)]), ["002", "001"], "as many as fit");
    }

    #[test]
    fn today_files_of_a_size_are_merged_once_there_are_enough() {
        let today = "2026-01-02";
        assert_eq!(picked(&[(today, 100); 7]), [""; 0]);
        assert_eq!(picked(&[(today, 100); 8]).len(), 8);
        let mut sizes = vec![(today, 4_000)];
        sizes.extend([(today, 100); 8]);
        assert_eq!(picked(&sizes).len(), 8, "the large one is not written again for the small ones' sake");
    }

    #[test]
    fn folders_are_not_mixed_and_what_is_spoilt_is_left_alone() {
        assert_eq!(picked(&[("2025-12-31", 100), ("2026-01-01", 100)]), [""; 0]);
        let policy = Policy { target_bytes: 10_000, today: "2026-01-02".to_owned() };
        let manifest = manifest(&[("2026-01-01", 1); 3]);
        let spoilt = BTreeSet::from(["001".to_owned()]);
        assert_eq!(pick(&manifest, &policy, &spoilt), Some(vec!["000".to_owned(), "002".to_owned()]));
    }

    #[test]
    fn a_row_is_written_again_a_few_times_at_most() {
        // A day of flushes, one a minute, of which each merge makes what it makes of them.
        let today = "2026-01-02";
        let (mut sizes, mut written, mut flushed) = (Vec::new(), 0, 0);
        for _ in 0..1_440 {
            sizes.push((today, 10));
            flushed += 10;
            loop {
                let policy = Policy { target_bytes: 1_000_000, today: today.to_owned() };
                let Some(paths) = pick(&manifest(&sizes), &policy, &BTreeSet::new()) else { break };
                let places: BTreeSet<usize> = paths.iter().map(|path| path.parse().unwrap()).collect();
                let merged: u64 = places.iter().map(|place| sizes[*place].1).sum();
                written += merged;
                sizes = sizes.iter().enumerate().filter(|(place, _)| !places.contains(place)).map(|(_, size)| *size).collect();
                sizes.push((today, merged));
            }
        }
        assert!(written <= 5 * flushed && sizes.len() <= 40, "{written} of {flushed}, {} files", sizes.len());
    }
}
