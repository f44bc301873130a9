//! What goes wrong, and when?

use std::io;

/// What the engine can ask of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Open an existing file.
    Open,
    /// Create a file.
    CreateNew,
    /// Create a directory.
    CreateDir,
    /// Rename a file.
    Rename,
    /// Remove a file.
    Remove,
    /// List a directory.
    List,
    /// Sync a directory.
    SyncDir,
    /// Ask for the space that is left.
    Available,
    /// Take a lock file.
    Lock,
    /// Ask for a file's length.
    Len,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Cut or extend a file.
    SetLen,
    /// Sync a file.
    Sync,
}

impl Call {
    /// Whether it changes what a power cut leaves.
    #[must_use]
    pub const fn is_effect(self) -> bool {
        match self {
            Self::CreateNew | Self::CreateDir | Self::Rename | Self::Remove | Self::SyncDir | Self::Write | Self::SetLen | Self::Sync => {
                true
            }
            Self::Open | Self::List | Self::Available | Self::Lock | Self::Len | Self::Read => false,
        }
    }
}

/// How one call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with EIO. A sync that fails leaves what it should have synced in doubt for ever.
    Eio,
    /// It fails with ENOSPC.
    StorageFull,
    /// It fails with EINTR: nothing was done, the caller may repeat it.
    Interrupted,
    /// A read or a write does at most so many bytes and says so.
    Short(usize),
    /// A sync answers that all is well, and nothing became durable.
    Lie,
    /// A write lands at this offset and answers that all is well.
    Misdirect(u64),
    /// A write lands whole but answers with EIO.
    WriteThenEio,
    /// The caller's thread panics.
    Panic,
}

impl Fault {
    pub(super) fn error(self) -> Option<io::Error> {
        match self {
            Self::Eio | Self::WriteThenEio => Some(io::Error::from_raw_os_error(EIO)),
            Self::StorageFull => Some(io::ErrorKind::StorageFull.into()),
            Self::Interrupted => Some(io::ErrorKind::Interrupted.into()),
            Self::Short(_) | Self::Lie | Self::Misdirect(_) | Self::Panic => None,
        }
    }
}

/// Which calls go wrong, and how.
#[derive(Clone, Debug)]
pub struct Rule {
    call: Call,
    part_of_path: Option<String>,
    skip: u64,
    times: u64,
    fault: Fault,
}

impl Rule {
    /// The next such call goes wrong, once.
    #[must_use]
    pub const fn next(call: Call, fault: Fault) -> Self {
        Self { call, part_of_path: None, skip: 0, times: 1, fault }
    }

    /// The `nth` such call from now goes wrong, once. The next one is the first.
    #[must_use]
    pub const fn nth(call: Call, nth: u64, fault: Fault) -> Self {
        Self { call, part_of_path: None, skip: nth.saturating_sub(1), times: 1, fault }
    }

    /// Only calls for paths that contain this text are counted and go wrong.
    #[must_use]
    pub fn on(mut self, part_of_path: &str) -> Self {
        self.part_of_path = Some(part_of_path.to_owned());
        self
    }

    /// So many calls in a row go wrong.
    #[must_use]
    pub const fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// All calls from there on go wrong.
    #[must_use]
    pub const fn for_ever(self) -> Self {
        self.times(u64::MAX)
    }

    /// Whether the call goes wrong; counts it if it is one of these.
    pub(super) fn strikes(&mut self, call: Call, path: &str) -> Option<Fault> {
        if self.call != call || self.times == 0 || self.part_of_path.as_ref().is_some_and(|part| !path.contains(part.as_str())) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault)
    }
}

const EIO: i32 = 5;
