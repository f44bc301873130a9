//! Are snapshots there when whole, and absent whatever is wrong with them?

use crate::Error;
use crate::Snapshot;
use crate::StreamName;
use crate::Version;
use crate::index::Index;
use crate::index::fault::guarded;
use crate::index::rows;
use crate::index::snapshots::SNAPSHOT_BYTES_MAX;

use super::apply;
use super::disk;
use super::event;
use super::open;

const HASH: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [0xff; 32];

fn with_streams() -> Index {
    let index = open(&disk());
    apply(&index, &[event(1, "a", 1), event(2, "a", 2), event(3, "a", 3), event(4, "a-1", 1), event(5, "b", 1)]);
    index
}

fn at(index: &Index, stream: &str, version: u64, hash: [u8; 32]) -> Option<(u64, Vec<u8>)> {
    let found = index.snapshot_at_or_below(stream, Version::new(version), hash).unwrap();
    found.map(|(version, state)| (version.get(), state))
}

/// Changes what is stored for every snapshot.
fn spoil(index: &Index, change: impl Fn(&mut Vec<u8>)) {
    guarded(|| {
        let transaction = index.database()?.begin_write()?;
        {
            let mut table = transaction.open_table(rows::SNAPSHOTS)?;
            let mut all = Vec::new();
            for row in redb::ReadableTable::iter(&table)? {
                let (key, value) = row?;
                all.push((key.value().to_vec(), value.value().to_vec()));
            }
            for (key, mut value) in all {
                change(&mut value);
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_newest_at_or_below_is_found() {
    let index = with_streams();
    let state = b"some state, some state, some state".to_vec();
    for (stream, version, hash) in [("a", 1u8, HASH), ("a", 3, HASH), ("a", 2, OTHER), ("a-1", 1, HASH)] {
        put(&index, stream, Version::new(version.into()), hash, &[state.as_slice(), &[version]].concat()).unwrap();
    }
    let expect = |version: u8| Some((u64::from(version), [state.as_slice(), &[version]].concat()));
    assert_eq!(at(&index, "a", 9, HASH), expect(3));
    assert_eq!(at(&index, "a", 2, HASH), expect(1));
    assert_eq!(at(&index, "a", 0, HASH), None);
    assert_eq!(at(&index, "a", 9, OTHER), expect(2));
    assert_eq!(at(&index, "a", 1, OTHER), None);
    assert_eq!(at(&index, "b", 1, HASH), None);
    assert_eq!(at(&index, "nobody", 1, HASH), None);
    let listed: Vec<(u64, [u8; 32])> =
        index.list_snapshots("a").unwrap().iter().map(|snapshot| (snapshot.version.get(), snapshot.definition_hash)).collect();
    assert_eq!(listed, [(1, HASH), (2, OTHER), (3, HASH)]);
    put(&index, "a", Version::new(3), HASH, b"").unwrap();
    assert_eq!(at(&index, "a", 9, HASH), Some((3, Vec::new())));
    assert_eq!(index.remove_snapshots("a", Some(HASH)).unwrap(), 2);
    assert_eq!((at(&index, "a", 9, HASH), at(&index, "a", 9, OTHER)), (None, expect(2)));
    assert_eq!(index.remove_snapshots("a", None).unwrap(), 1);
    assert_eq!(index.remove_snapshots("a", None).unwrap(), 0);
    assert_eq!(at(&index, "a-1", 1, HASH), expect(1));
}

#[test]
fn i6_a_damaged_snapshot_is_absent() {
    let index = with_streams();
    for version in [1, 2] {
        put(&index, "a", Version::new(version), HASH, &[7; 5000]).unwrap();
    }
    let (_, whole) = at(&index, "a", 3, HASH).unwrap();
    assert_eq!(whole, [7; 5000]);
    spoil(&index, |value| *value.last_mut().unwrap() ^= 1);
    assert_eq!(at(&index, "a", 3, HASH), None);
    spoil(&index, |value| *value.last_mut().unwrap() ^= 1);
    assert!(at(&index, "a", 3, HASH).is_some());
    spoil(&index, |value| value.truncate(3));
    assert_eq!(at(&index, "a", 3, HASH), None);
    spoil(&index, Vec::clear);
    assert_eq!(at(&index, "a", 3, HASH), None);
    // An older one that is whole serves in place of a newer one that is not.
    put(&index, "a", Version::new(1), HASH, b"whole").unwrap();
    assert_eq!(at(&index, "a", 3, HASH), Some((1, b"whole".to_vec())));
}

#[test]
fn i6_a_snapshot_newer_than_the_stream_is_absent() {
    let index = with_streams();
    put(&index, "a", Version::new(4), HASH, b"of events that are not there").unwrap();
    assert_eq!(at(&index, "a", 9, HASH), None);
    put(&index, "a", Version::new(3), HASH, b"fine").unwrap();
    assert_eq!(at(&index, "a", 9, HASH), Some((3, b"fine".to_vec())));
}

#[test]
fn a_snapshot_has_a_largest_size() {
    let index = with_streams();
    let largest = vec![3; SNAPSHOT_BYTES_MAX];
    put(&index, "a", Version::new(1), HASH, &largest).unwrap();
    assert!(at(&index, "a", 1, HASH).is_some_and(|(_, state)| state == largest));
    let too_large = put(&index, "a", Version::new(1), HASH, &vec![3; SNAPSHOT_BYTES_MAX + 1]);
    assert!(matches!(too_large, Err(Error::TooLarge { .. })), "{too_large:?}");
}

fn put(index: &Index, stream: &str, version: Version, definition_hash: [u8; 32], state: &[u8]) -> Result<(), Error> {
    let snapshot = Snapshot { stream: StreamName::new(stream).unwrap(), version, definition_hash, state: state.to_vec().into() };
    index.put_snapshots(&[snapshot], &|_, _| true)
}

#[test]
fn several_are_put_at_once_and_unwanted_ones_go() {
    let index = with_streams();
    for version in 1..=3 {
        put(&index, "a", Version::new(version), HASH, b"old").unwrap();
        put(&index, "b", Version::new(version), HASH, b"old").unwrap();
    }
    let snapshot = |version| Snapshot {
        stream: StreamName::new("a").unwrap(),
        version: Version::new(version),
        definition_hash: HASH,
        state: vec![b'n'].into(),
    };
    index.put_snapshots(&[snapshot(3), snapshot(4)], &|put, old| old.version == Version::new(2) || old.version > put.version).unwrap();
    let versions = |stream| index.list_snapshots(stream).unwrap().iter().map(|info| info.version.get()).collect::<Vec<_>>();
    assert_eq!((versions("a"), versions("b")), (vec![2, 3, 4], vec![1, 2, 3]), "what is put is never taken away with the old ones");
}
