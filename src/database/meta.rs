//! What does `factum.meta` say, and how is it written?
//!
//! One line of JSON. Format 1 has the number of shards, which are spread by `hash`; with any other strategy it is format 2 and holds the
//! topology, so that a build which does not know that refuses the directory; once slots have moved or a shard was added it is format 3,
//! since streams may then have events in several logs; with shards at other servers it is format 4, and format 5 once ranges or regions
//! were changed. With several shards it also holds the ids of their logs, once all of them have one: a folder that is missing, empty,
//! foreign or there twice is found by them.

use std::io;

use factum_storage as storage;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;
use storage::Disk;
use storage::DiskFile;
use xxhash_rust::xxh3::xxh3_64;

use super::directory::damaged;
use super::directory::failed;
use crate::Error;
use crate::shard::Strategy;
use crate::shard::Topology;

/// What is known of a data directory before any of its shards is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) topology: Topology,
    /// The id of each shard's log; `None` until all of them have one.
    pub(super) logs: Option<Vec<[u8; 16]>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    format: u32,
    shards: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    logs: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology: Option<Box<RawValue>>,
    /// Over all that is not in every format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

/// The part of `factum.meta` that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads it, if it is there.
pub(super) fn read(disk: &dyn Disk) -> Result<Option<Meta>, Error> {
    let file = match disk.open(META_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("opening factum.meta", error)),
    };
    let text = read_start(&*file).map_err(|error| failed("reading factum.meta", error))?;
    let not_json = |error: serde_json::Error| damaged(format!("not a line of JSON as it should be: {error}"));
    let format = serde_json::from_slice::<Format>(&text).map_err(not_json)?.format;
    if format > FORMAT {
        return Err(storage::Error::UnknownFormat { file: META_FILE.into(), found: format, known: FORMAT }.into());
    }
    let line: Line = serde_json::from_slice(&text).map_err(not_json)?;
    if line.shards == 0 || format == 0 || (format >= FORMAT_TOPOLOGY) != line.topology.is_some() {
        return Err(damaged(format!("says format {format}, {} shards and {} topology", line.shards, line.topology.map_or("no", |_| "a"))));
    }
    if line.check.as_deref().is_some_and(|check| check != checked(&line)) || (line.check.is_none() && format >= FORMAT_TOPOLOGY) {
        return Err(damaged("its checksum does not fit".to_owned()));
    }
    let topology = match &line.topology {
        Some(text) => Topology::from_json(text.get()).map_err(|detail| damaged(format!("its topology can't be read: {detail}")))?,
        None => Topology::new(line.shards, Strategy::Hash),
    };
    let logs =
        line.logs.map(|logs| logs.iter().map(|id| u128::from_str_radix(id, 16).ok().map(u128::to_be_bytes)).collect::<Option<Vec<_>>>());
    let logs = logs.map(|logs| logs.ok_or_else(|| damaged("the id of a log is none".to_owned()))).transpose()?;
    let shards = usize::from(line.shards);
    if usize::from(topology.shards()) != shards || logs.as_ref().is_some_and(|logs| logs.len() != shards) {
        return Err(damaged("its parts are about different numbers of shards".to_owned()));
    }
    Ok(Some(Meta { topology, logs }))
}

/// Writes it, durable as a whole or not at all.
pub(super) fn write(disk: &dyn Disk, meta: &Meta) -> io::Result<()> {
    match disk.remove(META_TEMPORARY) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create_new(META_TEMPORARY)?;
    let mut line = serde_json::to_vec(&line(meta)?)?;
    line.push(b'\n');
    // What could not be read again must not take the place of what can.
    if line.len() > META_BYTES_MAX {
        let detail = format!(
            "factum.meta would have {} bytes, and at most {META_BYTES_MAX} are read: slots or ranges were handed over too often",
            line.len()
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, detail));
    }
    storage::disk::write_all_at(&*file, &line, 0)?;
    file.sync_data()?;
    disk.rename(META_TEMPORARY, META_FILE)?;
    disk.sync_dir("")
}

fn line(meta: &Meta) -> io::Result<Line> {
    let topology = match meta.topology.strategy() {
        Strategy::Hash if meta.topology.is_unchanged() && meta.topology.elsewhere().is_empty() => None,
        Strategy::Hash | Strategy::Ring { .. } | Strategy::Range { .. } | Strategy::Geo { .. } => {
            Some(RawValue::from_string(meta.topology.to_json())?)
        }
    };
    let logs = meta.logs.as_ref().map(|logs| logs.iter().map(|id| format!("{:032x}", u128::from_be_bytes(*id))).collect());
    let format = match (&topology, meta.topology.strategy()) {
        (None, _) => 1,
        (Some(_), _) if !meta.topology.elsewhere().is_empty() => FORMAT_ELSEWHERE,
        (Some(_), _) if meta.topology.is_unchanged() => FORMAT_TOPOLOGY,
        (Some(_), Strategy::Hash | Strategy::Ring { .. }) => FORMAT_MOVES,
        (Some(_), Strategy::Range { .. } | Strategy::Geo { .. }) => FORMAT,
    };
    let mut line = Line { format, shards: meta.topology.shards(), logs, topology, check: None };
    line.check = (line.logs.is_some() || line.topology.is_some()).then(|| checked(&line));
    Ok(line)
}

fn checked(line: &Line) -> String {
    let logs = line.logs.as_ref().map(|logs| logs.join(",")).unwrap_or_default();
    let topology = line.topology.as_ref().map_or("", |topology| topology.get());
    format!("{:016x}", xxh3_64(format!("{} {} {logs} {topology}", line.format, line.shards).as_bytes()))
}

fn read_start(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(META_BYTES_MAX);
    let mut text = vec![0; length];
    storage::disk::read_exact_at(file, &mut text, 0)?;
    Ok(text)
}

pub(super) const META_FILE: &str = "factum.meta";
const META_TEMPORARY: &str = "factum.meta.tmp";
/// The newest format of a data directory that this build knows.
pub(crate) const FORMAT: u32 = 5;
/// The first with shards at other servers.
const FORMAT_ELSEWHERE: u32 = 4;
/// The first in which slots have moved. Builds that know no more than this refuse ranges and regions that were changed.
const FORMAT_MOVES: u32 = 3;
/// The first that holds a topology.
const FORMAT_TOPOLOGY: u32 = 2;
const META_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use storage::MemDisk;

    use super::*;
    use crate::database::Strategy;
    use crate::shard::Goal;
    use crate::shard::GoalKind;

    fn written(meta: &Meta) -> (MemDisk, String) {
        let disk = MemDisk::new();
        write(&disk, meta).unwrap();
        let file = disk.open(META_FILE).unwrap();
        let text = String::from_utf8(read_start(&*file).unwrap()).unwrap();
        (disk, text)
    }

    fn ring() -> Topology {
        let (shards, strategy) = Strategy::named("ring").unwrap().settled(Some(3)).unwrap();
        Topology::new(shards, strategy)
    }

    #[test]
    fn one_shard_and_hash_are_kept_as_ever() {
        let meta = Meta { topology: Topology::new(1, Strategy::Hash), logs: None };
        let (disk, text) = written(&meta);
        assert_eq!(text, "{\"format\":1,\"shards\":1}\n");
        assert_eq!(read(&disk).unwrap(), Some(meta));
        let meta = Meta { topology: Topology::new(2, Strategy::Hash), logs: Some(vec![[1; 16], [0xAB; 16]]) };
        let (disk, text) = written(&meta);
        assert!(text.starts_with("{\"format\":1,\"shards\":2,\"logs\":[\"01010101010101010101010101010101\",\"abab"), "{text}");
        assert_eq!(read(&disk).unwrap(), Some(meta));
    }

    #[test]
    fn other_strategies_are_of_format_2_and_any_change_of_their_line_is_noticed() {
        let meta = Meta { topology: ring(), logs: Some(vec![[1; 16], [2; 16], [3; 16]]) };
        let (disk, text) = written(&meta);
        assert!(text.starts_with("{\"format\":2,\"shards\":3,"), "{text}");
        assert_eq!(read(&disk).unwrap(), Some(meta));
        // Every digit of it, by another digit.
        for (at, byte) in text.bytes().enumerate().filter(|(at, byte)| byte.is_ascii_digit() && (*at < 200 || at % 97 == 0)) {
            let file = disk.open(META_FILE).unwrap();
            storage::disk::write_all_at(&*file, &[if byte == b'9' { b'8' } else { byte + 1 }], at as u64).unwrap();
            assert!(read(&disk).is_err(), "byte {at}");
            storage::disk::write_all_at(&*file, &[byte], at as u64).unwrap();
        }
        assert!(read(&disk).is_ok());
    }

    /// A build that knows moved slots alone must not lead keys by ranges as they were at first.
    #[test]
    fn changed_ranges_and_regions_are_of_a_format_of_their_own() {
        let goal = || Goal {
            job: "a job".to_owned(),
            kind: GoalKind::Rebalance,
            started_at: 0,
            total: 0,
            is_paused: false,
            planned: Vec::new(),
            why: None,
        };
        let range = Topology::new(2, Strategy::Range { splits: vec!["g".to_owned()] });
        for (topology, format) in [(ring(), [2, 3]), (range, [2, 5])] {
            for (topology, format) in [topology.clone(), topology.with_goal(Some(goal()))].into_iter().zip(format) {
                let meta = Meta { topology, logs: None };
                let (disk, text) = written(&meta);
                assert!(text.starts_with(&format!("{{\"format\":{format},")), "{text}");
                assert_eq!(read(&disk).unwrap(), Some(meta));
            }
        }
    }
}
