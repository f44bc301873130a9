//! How far was the log of another server seen to reach, before this one was stopped?
//!
//! A small file a shard in the data directory. It is written beside the work and not synced: what it says was true once, and is only used
//! to notice a log that has less. Without it nothing is noticed, and nothing is lost.

use std::io;
use std::sync::Arc;

use factum_storage as storage;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::Serialize;
use storage::Disk;
use storage::EventId;
use storage::Position;
use uuid::Uuid;

use super::hex;

/// Where it is written down.
pub(super) struct Seen {
    disk: Arc<dyn Disk>,
    file: String,
    /// What the file says.
    written: Mutex<Option<(Position, EventId)>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    log_id: String,
    position: u64,
    event_id: Uuid,
}

impl Seen {
    pub(super) fn new(disk: Arc<dyn Disk>, shard: u16) -> Self {
        Self { disk, file: format!("{FOLDER}/{shard}.json"), written: Mutex::default() }
    }

    /// The last event of this log that was seen, if that is known.
    pub(super) fn read(&self, log: [u8; 16]) -> Option<(Position, EventId)> {
        let line = match self.line() {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = self.file, %error, "how far the log was seen to reach can't be read; an older one is not noticed");
                return None;
            }
        };
        let seen = (Position::new(line.position), EventId::from_bytes(*line.event_id.as_bytes()));
        *self.written.lock() = Some(seen);
        Some(seen).filter(|_| line.log_id == hex(&log))
    }

    fn line(&self) -> io::Result<Line> {
        let file = self.disk.open(&self.file)?;
        let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(LINE_BYTES_MAX);
        let mut text = vec![0; length];
        storage::disk::read_exact_at(&*file, &mut text, 0)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Writes it down, if it says something else.
    pub(super) fn write(&self, log: [u8; 16], seen: Option<(Position, EventId)>) {
        let mut written = self.written.lock();
        let Some((position, id)) = seen.filter(|_| *written != seen) else { return };
        match self.put(&Line { log_id: hex(&log), position: position.get(), event_id: Uuid::from_bytes(*id.as_bytes()) }) {
            Ok(()) => *written = seen,
            Err(error) => tracing::debug!(file = self.file, %error, "how far the log reaches was not written down"),
        }
    }

    fn put(&self, line: &Line) -> io::Result<()> {
        self.disk.create_dir(FOLDER)?;
        let temporary = format!("{}.tmp", self.file);
        match self.disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = self.disk.create_new(&temporary)?;
        storage::disk::write_all_at(&*file, &serde_json::to_vec(line)?, 0)?;
        self.disk.rename(&temporary, &self.file)
    }
}

/// Below the data directory.
const FOLDER: &str = "elsewhere";
const LINE_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use storage::MemDisk;

    use super::*;

    #[test]
    fn what_was_seen_of_a_log_is_known_of_that_one_alone() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        let seen = (Position::new(7), EventId::from_bytes([3; 16]));
        assert_eq!(Seen::new(Arc::clone(&disk), 1).read([1; 16]), None);
        for position in [6, 7] {
            Seen::new(Arc::clone(&disk), 1).write([1; 16], Some((Position::new(position), seen.1)));
        }
        assert_eq!(Seen::new(Arc::clone(&disk), 1).read([1; 16]), Some(seen));
        assert_eq!(Seen::new(Arc::clone(&disk), 1).read([2; 16]), None);
        assert_eq!(Seen::new(Arc::clone(&disk), 2).read([1; 16]), None);
        storage::disk::write_all_at(&*disk.open("elsewhere/1.json").unwrap(), b"{{{", 0).unwrap();
        assert_eq!(Seen::new(disk, 1).read([1; 16]), None);
    }
}
