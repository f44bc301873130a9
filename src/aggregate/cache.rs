//! Which states are at hand? Those that were asked for lately, within a bound of bytes.
//!
//! Two generations: what is asked for moves to the young one; when that is full it becomes the old one, and what was in the old one and
//! was not asked for since is gone.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage::Version;
use parking_lot::Mutex;

/// A state of a stream at a version.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    /// Of everything but the events that the state depends on.
    pub(super) hash: [u8; 32],
    pub(super) version: Version,
    pub(super) state: Bytes,
    /// Of the snapshot in the store that it rests on, or 0.
    pub(super) snapshot_version: Version,
}

pub(super) struct Cache {
    generations: Mutex<Generations>,
    bytes_max: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Arc<str>, Cached>,
    young_bytes: usize,
    old: HashMap<Arc<str>, Cached>,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { generations: Mutex::default(), bytes_max }
    }

    pub(super) fn get(&self, stream: &str, hash: &[u8; 32]) -> Option<Cached> {
        let mut generations = self.generations.lock();
        if let Some(found) = generations.young.get(stream) {
            return (found.hash == *hash).then(|| found.clone());
        }
        let (name, found) = generations.old.remove_entry(stream)?;
        if found.hash != *hash {
            return None;
        }
        self.insert(&mut generations, name, found.clone());
        Some(found)
    }

    /// Keeps a state, unless a later one of the same making is there.
    pub(super) fn put(&self, stream: &str, cached: Cached) {
        let mut generations = self.generations.lock();
        let found = generations.young.get(stream).or_else(|| generations.old.get(stream));
        if found.is_none_or(|found| found.hash != cached.hash || found.version <= cached.version) {
            let mut cached = cached;
            // What it rests on is not forgotten when events are added to it.
            if let Some(found) = found.filter(|found| found.hash == cached.hash) {
                cached.snapshot_version = cached.snapshot_version.max(found.snapshot_version);
            }
            generations.old.remove(stream);
            self.insert(&mut generations, stream.into(), cached);
        }
    }

    /// Notes that the store has a snapshot of this stream.
    pub(super) fn note_snapshot(&self, stream: &str, hash: &[u8; 32], version: Version) {
        let mut generations = self.generations.lock();
        let Generations { young, old, .. } = &mut *generations;
        if let Some(found) = young.get_mut(stream).or_else(|| old.get_mut(stream))
            && found.hash == *hash
            && found.version >= version
        {
            found.snapshot_version = found.snapshot_version.max(version);
        }
    }

    fn insert(&self, generations: &mut Generations, name: Arc<str>, cached: Cached) {
        let bytes = weight(&name, &cached);
        // What is larger than a generation is not worth the others.
        if bytes > self.bytes_max / 2 {
            return;
        }
        let name_bytes = name.len();
        generations.young_bytes += bytes;
        if let Some(replaced) = generations.young.insert(name, cached) {
            generations.young_bytes -= NODE_BYTES + name_bytes + replaced.state.len();
        }
        if generations.young_bytes > self.bytes_max / 2 {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
    }
}

fn weight(name: &str, cached: &Cached) -> usize {
    NODE_BYTES + name.len() + cached.state.len()
}

/// About what an entry takes beside its name and state.
const NODE_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(version: u64, bytes: usize) -> Cached {
        Cached { hash: [1; 32], version: Version::new(version), state: vec![b'x'; bytes].into(), snapshot_version: Version::ZERO }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let cache = Cache::new(20_000);
        cache.put("hot", cached(1, 100));
        for number in 0..1000 {
            cache.put(&format!("cold-{number}"), cached(1, 100));
            assert!(cache.get("hot", &[1; 32]).is_some());
            let generations = cache.generations.lock();
            let held: usize = generations.young.iter().chain(&generations.old).map(|(name, cached)| weight(name, cached)).sum();
            assert!(held <= 20_500, "{held}");
            let young: usize = generations.young.iter().map(|(name, cached)| weight(name, cached)).sum();
            assert_eq!(generations.young_bytes, young);
        }
        assert!(cache.get("cold-1", &[1; 32]).is_none());
        assert!(cache.get("cold-999", &[1; 32]).is_some());
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one_of_the_same_making() {
        let cache = Cache::new(20_000);
        cache.put("s", cached(5, 1));
        cache.put("s", cached(3, 1));
        assert_eq!(cache.get("s", &[1; 32]).unwrap().version.get(), 5);
        assert!(cache.get("s", &[2; 32]).is_none(), "of another making");
        cache.put("s", Cached { hash: [2; 32], ..cached(2, 1) });
        assert_eq!(cache.get("s", &[2; 32]).unwrap().version.get(), 2);
        cache.note_snapshot("s", &[2; 32], Version::new(2));
        cache.note_snapshot("s", &[2; 32], Version::new(3));
        assert_eq!(cache.get("s", &[2; 32]).unwrap().snapshot_version.get(), 2, "not of a version that it does not have yet");
        cache.put("huge", cached(1, 20_000));
        assert!(cache.get("huge", &[1; 32]).is_none());
    }
}
