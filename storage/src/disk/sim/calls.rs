//! How does the simulated disk answer each call?

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Call;
use super::Fault;
use super::SimDisk;
use super::State;
use super::Verdict;
use super::power_is_off;
use super::tree::Tree;
use crate::Disk;
use crate::DiskFile;
use crate::LockGuard;

impl SimDisk {
    fn tell(&self, call: Call, path: &str) {
        let observer = self.observer.lock().clone();
        if let Some(observer) = observer {
            observer(call, path);
        }
    }

    /// A call whose whole effect is a change of the tree.
    fn change<T>(&self, call: Call, path: &str, other: &str, change: impl FnOnce(&mut Tree) -> io::Result<T>) -> io::Result<T> {
        self.tell(call, path);
        let mut state = self.state.lock();
        match state.begin(call, path, [0, 0], other.as_bytes())? {
            Verdict::Works => change(&mut state.tree),
            Verdict::Fails(fault) => Err(failed(fault, state, path)),
            Verdict::PowerGoes => change(&mut state.tree).and(Err(power_is_off())),
        }
    }

    /// A call that looks and changes nothing.
    fn look<T>(&self, call: Call, path: &str, look: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.tell(call, path);
        let mut state = self.state.lock();
        match state.begin(call, path, [0, 0], &[])? {
            Verdict::Works | Verdict::PowerGoes => look(&mut state),
            Verdict::Fails(fault) => Err(failed(fault, state, path)),
        }
    }

    fn handle(&self, path: &str, number: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), path: path.into(), number })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.look(Call::Open, path, |state| state.tree.find_file(path))?;
        Ok(self.handle(path, number))
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.change(Call::CreateNew, path, "", |tree| tree.create(path))?;
        Ok(self.handle(path, number))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.change(Call::CreateDir, path, "", |tree| tree.create_directories(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Call::Rename, from, to, |tree| tree.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(Call::Remove, path, "", |tree| tree.remove(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.look(Call::List, dir, |state| state.tree.list(dir))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.tell(Call::SyncDir, dir);
        let mut state = self.state.lock();
        match state.begin(Call::SyncDir, dir, [0, 0], &[])? {
            Verdict::Works => state.tree.sync_directory(dir),
            Verdict::Fails(Fault::Lie) => Ok(()),
            Verdict::Fails(fault) => Err(failed(fault, state, dir)),
            Verdict::PowerGoes => Err(power_is_off()),
        }
    }

    fn available(&self) -> io::Result<u64> {
        self.look(Call::Available, "", |state| Ok(state.free()))
    }

    fn lock(&self, path: &str, owner: &str) -> io::Result<Box<dyn LockGuard>> {
        self.look(Call::Lock, path, |state| {
            if state.locks.insert(path.to_owned()) {
                state.tree.put(path, owner.as_bytes())
            } else {
                let number = state.tree.find_file(path)?;
                let owner = state.tree.file(number)?.live().to_vec();
                Err(io::Error::new(io::ErrorKind::WouldBlock, String::from_utf8_lossy(&owner).into_owned()))
            }
        })?;
        Ok(Box::new(SimLock { path: path.to_owned(), state: Arc::clone(&self.state) }))
    }
}

struct SimFile {
    disk: SimDisk,
    path: Arc<str>,
    number: u64,
}

impl SimFile {
    /// The path by which the file was opened may not be its name any more.
    fn path(&self) -> Arc<str> {
        let state = self.disk.state.lock();
        state.tree.file(self.number).map_or_else(|_| Arc::clone(&self.path), |file| Arc::clone(&file.path))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let path = self.path();
        self.disk.look(Call::Len, &path, |state| Ok(state.tree.file(self.number)?.live().length()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let path = self.path();
        self.disk.tell(Call::Read, &path);
        let mut state = self.disk.state.lock();
        let length = match state.begin(Call::Read, &path, [offset, buffer.len() as u64], &[])? {
            Verdict::Works | Verdict::PowerGoes => buffer.len(),
            Verdict::Fails(Fault::Short(bytes)) => buffer.len().min(bytes),
            Verdict::Fails(fault) => return Err(failed(fault, state, &path)),
        };
        Ok(state.tree.file(self.number)?.read(buffer.get_mut(..length).unwrap_or_default(), offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let path = self.path();
        self.disk.tell(Call::Write, &path);
        let mut state = self.disk.state.lock();
        let (length, offset, failure) = match state.begin(Call::Write, &path, [offset, bytes.len() as u64], bytes)? {
            Verdict::Works => (bytes.len(), offset, None),
            Verdict::Fails(Fault::Short(most)) => (bytes.len().min(most), offset, None),
            Verdict::Fails(Fault::Misdirect(other)) => (bytes.len(), other, None),
            Verdict::Fails(fault @ Fault::WriteThenEio) => (bytes.len(), offset, fault.error()),
            Verdict::Fails(fault) => return Err(failed(fault, state, &path)),
            Verdict::PowerGoes => (bytes.len(), offset, Some(power_is_off())),
        };
        let free = state.free();
        let length = state.tree.file(self.number)?.live().fitting(offset, length, free)?;
        if length == 0 && !bytes.is_empty() {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::StorageFull.into()));
        }
        state.tree.file_mut(self.number)?.write(bytes.get(..length).unwrap_or_default(), offset)?;
        failure.map_or(Ok(length), Err)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let path = self.path();
        self.disk.tell(Call::SetLen, &path);
        let mut state = self.disk.state.lock();
        match state.begin(Call::SetLen, &path, [length, 0], &[])? {
            Verdict::Works => state.tree.file_mut(self.number)?.set_len(length),
            Verdict::Fails(fault) => Err(failed(fault, state, &path)),
            Verdict::PowerGoes => state.tree.file_mut(self.number)?.set_len(length).and(Err(power_is_off())),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let path = self.path();
        self.disk.tell(Call::Sync, &path);
        let mut state = self.disk.state.lock();
        match state.begin(Call::Sync, &path, [0, 0], &[])? {
            Verdict::Works => {
                state.tree.file_mut(self.number)?.sync();
                Ok(())
            }
            Verdict::Fails(Fault::Lie) => Ok(()),
            Verdict::Fails(fault) => {
                if fault != Fault::Interrupted {
                    state.tree.file_mut(self.number)?.fail_sync();
                }
                Err(failed(fault, state, &path))
            }
            Verdict::PowerGoes => Err(power_is_off()),
        }
    }
}

struct SimLock {
    path: String,
    state: Arc<Mutex<State>>,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.state.lock().locks.remove(&self.path);
    }
}

/// The error of a fault. The state comes along so that it is let go of before a panic.
fn failed(fault: Fault, state: parking_lot::MutexGuard<'_, State>, path: &str) -> io::Error {
    drop(state);
    assert!(fault != Fault::Panic, "the test asked for a panic at {path}");
    fault.error().unwrap_or_else(|| io::Error::other("this fault does not fit this call"))
}
