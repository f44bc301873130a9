//! Is damage found, named and never mistaken for a torn tail?

use std::sync::Arc;

use factum_storage::Clock;
use factum_storage::Damage;
use factum_storage::Direction;
use factum_storage::Error;
use factum_storage::ExpectedVersion;
use factum_storage::Filter;
use factum_storage::OpenReport;
use factum_storage::Options;
use factum_storage::Position;
use factum_storage::Reader;
use factum_storage::RecordedEvent;
use factum_storage::Store;
use factum_storage::VerifyOptions;
use factum_storage::VerifyReport;
use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Fault;
use factum_storage::disk::sim::Rule;
use factum_storage::disk::sim::SimDisk;
use factum_storage::verify;

use crate::oracle::read_all;
use crate::world::TestClock;
use crate::world::check;
use crate::world::data;
use crate::world::fill;
use crate::world::open;
use crate::world::open_whole;
use crate::world::options;
use crate::world::plain;
use crate::world::transaction;

pub(crate) mod active;
pub(crate) mod sealed;
pub(crate) mod zombies;

/// A store on a disk that a test may break, and what was in it.
pub(crate) struct Fixture {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) options: Options,
    pub(crate) events: Vec<RecordedEvent>,
}

/// One frame, read by the rules of `docs/format.md` alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameAt {
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl FrameAt {
    pub(crate) fn end(&self) -> usize {
        self.offset + self.length
    }
}

impl Fixture {
    /// Four segments: 1 to 3 are sealed, the second one has `large` bytes of events; the fourth is the newest. Closed, with an index.
    pub(crate) fn sealed(large: usize) -> Result<Self, String> {
        Self::sealed_for("order", large)
    }

    /// The same with streams of another category.
    pub(crate) fn sealed_for(category: &str, large: usize) -> Result<Self, String> {
        let (disk, clock, options) = (SimDisk::new(), TestClock::new(), options());
        let (mut store, _) = open_whole(&disk, &clock, &options)?;
        let mut write = || {
            fill(&mut store, &format!("{category}-1"), 1, 4, 100)?;
            let events = (0..large as u64 / 250).map(|n| plain(1000 + n, &data(n, 150))).collect();
            store.stage(&transaction(&format!("{category}-2"), ExpectedVersion::Any, events))?;
            store.commit()?;
            let mut next = 5000;
            while !disk.files().contains(&segment(4)) {
                fill(&mut store, &format!("{category}-3"), next, 1, 300)?;
                next += 1;
            }
            fill(&mut store, &format!("{category}-3"), next, 2, 300)?;
            while store.maintainer().step()? {}
            Ok::<_, Error>(())
        };
        write().map_err(|error| format!("write: {error:?}"))?;
        let events = all(&store.reader())?;
        store.close().map_err(|error| format!("close: {error:?}"))?;
        Ok(Self { disk, clock, options, events })
    }

    /// One segment that holds the commits of `write`, closed, with an index.
    pub(crate) fn with(options: Options, write: impl FnOnce(&mut Store) -> Result<(), Error>) -> Result<Self, String> {
        let (disk, clock) = (SimDisk::new(), TestClock::new());
        let (mut store, _) = open_whole(&disk, &clock, &options)?;
        write(&mut store).map_err(|error| format!("write: {error:?}"))?;
        let events = all(&store.reader())?;
        store.close().map_err(|error| format!("close: {error:?}"))?;
        Ok(Self { disk, clock, options, events })
    }

    /// Appends one more event whose commit never came to its sync, and cuts the power; all of it is left on the disk.
    /// Its event is not among `events`.
    pub(crate) fn unacknowledged(self, bytes: usize) -> Result<Self, String> {
        self.unacknowledged_as(9000, bytes)
    }

    /// The same once more.
    pub(crate) fn unacknowledged_again(self) -> Result<Self, String> {
        self.unacknowledged_as(9001, 60)
    }

    fn unacknowledged_as(mut self, id: u64, bytes: usize) -> Result<Self, String> {
        let (mut store, _) = open_whole(&self.disk, &self.clock, &self.options)?;
        store.stage(&transaction("late", ExpectedVersion::Any, vec![plain(id, &data(9, bytes))])).map_err(|error| format!("{error:?}"))?;
        self.disk.add_rule(Rule::next(Call::Sync, Fault::Eio).on(".seg"));
        check(matches!(store.commit(), Err(Error::OutcomeUnknown(_))), || "a failed sync must not be acknowledged".to_owned())?;
        drop(store);
        self.disk = self.disk.restart();
        Ok(self)
    }

    pub(crate) fn fork(&self) -> Self {
        Self { disk: self.disk.fork(), clock: Arc::clone(&self.clock), options: self.options.clone(), events: self.events.clone() }
    }

    pub(crate) fn without_index(self) -> Self {
        self.disk.erase("index.redb");
        self
    }

    pub(crate) fn open(&self) -> Result<(Store, OpenReport), Error> {
        open(&self.disk, &self.clock, &self.options)
    }

    pub(crate) fn verify(&self) -> Result<VerifyReport, Error> {
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        verify(Arc::new(self.disk.clone()), clock, VerifyOptions { chain: false, deep: false }, &mut |_| {})
    }

    /// What the proof finds; a file that can't be read at all counts as found.
    pub(crate) fn damages(&self) -> Vec<Damage> {
        match self.verify() {
            Ok(report) => report.damages,
            Err(error) => {
                vec![Damage { file: String::new(), offset: 0, first: Position::ZERO, last: Position::ZERO, detail: format!("{error:?}") }]
            }
        }
    }

    /// Opens what must be found damaged: it takes no appends, no byte of a segment changes, and what can be read is right.
    /// `must_name` is part of the name of a file that one of the damages must have.
    pub(crate) fn opens_damaged(&self, must_name: &str) -> Result<(), String> {
        self.opens_read_only(must_name, true)
    }

    /// The same, and if not `reads_right` it can't be known which of two halves of the log is the right one.
    pub(crate) fn opens_read_only(&self, must_name: &str, reads_right: bool) -> Result<(), String> {
        let before = self.segments();
        let (mut store, report) = match self.open() {
            Ok(opened) => opened,
            Err(error) => return Err(format!("does not open at all: {error:?}")),
        };
        let Some(damage) = report.damage else { return Err(format!("opens as if it were whole, at {}", report.committed)) };
        check(damage.file.contains(must_name), || format!("names {damage}, the damage is in {must_name}"))?;
        let refused = store.stage(&transaction("order-1", ExpectedVersion::Any, vec![plain(77_777, b"no")]));
        check(matches!(refused, Err(Error::ReadOnly(_))), || format!("answers an append with {refused:?}"))?;
        if reads_right {
            self.reads_right(&store.reader())?;
        }
        drop(store);
        check(self.segments() == before, || "a damaged log was changed".to_owned())
    }

    /// Every event that can be read is the one that was written; positions that can't be read give errors.
    pub(crate) fn reads_right(&self, reader: &Reader) -> Result<(), String> {
        for expected in &self.events {
            let after = Position::new(expected.position().get() - 1);
            let everything = Filter { include_system: true, ..Filter::default() };
            if let Ok(page) = reader.read_events(&everything, after, Direction::Forward, 1, 1 << 20)
                && let Some(found) = page.events.first()
                && found.position() == expected.position()
            {
                check(found == expected, || format!("position {} reads as {found:?}", expected.position()))?;
            }
        }
        Ok(())
    }

    /// Opens what must be whole and hold exactly `count` of the events.
    pub(crate) fn opens_with(&self, count: usize) -> Result<Store, String> {
        let (store, report) = open_whole(&self.disk, &self.clock, &self.options)?;
        let found = all(&store.reader())?;
        let expected = self.events.get(..count).ok_or("not so many events")?;
        check(found == expected && report.committed.get() == count as u64, || {
            let positions: Vec<String> = found.iter().map(|event| format!("{}:{}", event.position(), event.stream())).collect();
            format!("opened at {} with {positions:?}, expected the first {count} events", report.committed)
        })?;
        Ok(store)
    }

    pub(crate) fn newest(&self) -> String {
        self.segment_paths().last().cloned().expect("a log has a segment")
    }

    pub(crate) fn segment_paths(&self) -> Vec<String> {
        self.disk.files().into_iter().filter(|path| path.ends_with(".seg")).collect()
    }

    pub(crate) fn contents(&self, path: &str) -> Vec<u8> {
        self.disk.contents(path).expect("the file is there")
    }

    fn segments(&self) -> Vec<(String, Vec<u8>)> {
        self.segment_paths().into_iter().map(|path| (path.clone(), self.contents(&path))).collect()
    }
}

pub(crate) fn segment(id: u64) -> String {
    format!("log/{id:016}.seg")
}

pub(crate) fn all(reader: &Reader) -> Result<Vec<RecordedEvent>, String> {
    read_all(reader, &Filter { include_system: true, ..Filter::default() }, Direction::Forward, 10_000, 64 << 20)
}

/// The frames that stand one behind the other from the header on.
pub(crate) fn frames(bytes: &[u8]) -> Vec<FrameAt> {
    let number = |at: usize, length: usize| bytes[at..at + length].iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let mut found = Vec::new();
    let mut offset = HEADER_BYTES;
    while bytes.get(offset..offset + 4) == Some(b"FRM1") {
        let length = usize::try_from(number(offset + 8, 4)).expect("small");
        found.push(FrameAt { offset, length, first: number(offset + 24, 8), count: number(offset + 12, 4) });
        offset += length;
    }
    found
}

/// Makes the checksum of a changed frame right again, as somebody would who forges one.
pub(crate) fn reseal(bytes: &mut [u8], frame: FrameAt, segment: u64) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&(frame.offset as u64).to_le_bytes());
    hasher.update(&bytes[frame.offset + 8..frame.end()]);
    bytes[frame.offset + 4..frame.offset + 8].copy_from_slice(&hasher.finalize().to_le_bytes());
}

pub(crate) const HEADER_BYTES: usize = 128;
pub(crate) const FOOTER_BYTES: usize = 192;
