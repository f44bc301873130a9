//! What does the engine do when the disk loses power, tears writes, fails, fills up or lies?
//!
//! [`SimDisk`] is a disk in memory that keeps apart what was asked for and what is on the platter. [`SimDisk::crash`]
//! cuts the power: a new disk holds what was synced, and of the rest what chance left. [`Rule`]s make single calls go
//! wrong. All chance comes from seeds that the test gives, so a failure is replayed by its seed.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use self::tree::Tree;

mod calls;
mod directory;
mod fault;
mod file;
mod pages;
mod rng;
mod tamper;
#[cfg(test)]
mod tests;
mod tree;

pub use self::fault::Call;
pub use self::fault::Fault;
pub use self::fault::Rule;
pub use self::file::Cut;
pub use self::rng::Rng;

/// A disk in memory that a test can crash and break. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    observer: Arc<Mutex<Option<Observer>>>,
}

/// The disk as it was right before one of its calls: a power cut that can be tried many times.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How many calls with an effect had been made.
    pub effects: u64,
    tree: Tree,
}

/// Is told of each call before it is made.
type Observer = Arc<dyn Fn(Call, &str) + Send + Sync>;

struct State {
    tree: Tree,
    locks: BTreeSet<String>,
    is_off: bool,
    off_at_call: Option<u64>,
    calls: u64,
    effects: u64,
    trace: u64,
    rules: Vec<Rule>,
    capacity: Option<u64>,
    snapshots: Option<Vec<Snapshot>>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let files: Vec<String> = state.tree.files().into_iter().map(|(path, _)| path).collect();
        f.debug_struct("SimDisk").field("calls", &state.calls).field("is_off", &state.is_off).field("files", &files).finish()
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Tree::new())
    }

    fn of(tree: Tree) -> Self {
        let state = State {
            tree,
            locks: BTreeSet::new(),
            is_off: false,
            off_at_call: None,
            calls: 0,
            effects: 0,
            trace: 0,
            rules: Vec::new(),
            capacity: None,
            snapshots: None,
        };
        Self { state: Arc::new(Mutex::new(state)), observer: Arc::default() }
    }

    /// Cuts the power, and returns the disk as it is found when power is back. Files that are open on this one fail from now on.
    #[must_use]
    pub fn crash(&self, cut: Cut, seed: u64) -> Self {
        let mut state = self.state.lock();
        state.is_off = true;
        after(&state.tree, cut, seed)
    }

    /// Cuts the power and keeps everything: what is found when only the process died.
    #[must_use]
    pub fn restart(&self) -> Self {
        self.crash(Cut::KeepAll, 0)
    }

    /// A second disk with the same files, synced or not, that goes its own way from here on. Knobs are not copied.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of(self.state.lock().tree.clone())
    }

    /// The power goes at the `nth` call from now: that call and all later ones fail. The next one is the first.
    pub fn power_off_at(&self, nth: u64) {
        let mut state = self.state.lock();
        state.off_at_call = Some(state.calls + nth);
    }

    /// Keeps the disk as it is before each call that has an effect, until [`SimDisk::take_snapshots`].
    pub fn record_snapshots(&self) {
        self.state.lock().snapshots = Some(Vec::new());
    }

    /// What was recorded, and with it the disk as it is now.
    #[must_use]
    pub fn take_snapshots(&self) -> Vec<Snapshot> {
        let mut state = self.state.lock();
        let mut snapshots = state.snapshots.take().unwrap_or_default();
        snapshots.push(state.snapshot());
        snapshots
    }

    /// Makes calls go wrong. Rules are asked in the order in which they came; the first that strikes counts.
    pub fn add_rule(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// From now on nothing goes wrong.
    pub fn clear_rules(&self) {
        self.state.lock().rules.clear();
    }

    /// From now on files may take so many bytes more, in pages of 4 KiB; `None` gives the space back.
    pub fn limit_free(&self, bytes: Option<u64>) {
        let mut state = self.state.lock();
        state.capacity = bytes.map(|bytes| state.tree.allocated() + bytes);
    }

    /// Tells `observer` of each call before it is made. It may call the disk itself.
    pub fn observe(&self, observer: impl Fn(Call, &str) + Send + Sync + 'static) {
        *self.observer.lock() = Some(Arc::new(observer));
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many calls were made that change what a power cut leaves.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.state.lock().effects
    }

    /// A hash over all calls and their arguments so far: two runs that did the same have the same.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state.lock().trace
    }
}

impl Snapshot {
    /// The same disk, taken for one of which this many calls with an effect had been made: for a snapshot of what was done after a crash.
    #[must_use]
    pub fn at(mut self, effects: u64) -> Self {
        self.effects = effects;
        self
    }

    /// The disk that is found when the power was cut here. May be asked many times.
    #[must_use]
    pub fn crash(&self, cut: Cut, seed: u64) -> SimDisk {
        after(&self.tree, cut, seed)
    }
}

fn after(tree: &Tree, cut: Cut, seed: u64) -> SimDisk {
    let left = tree.after(cut, &mut Rng::new(seed)).expect("what was written once fits when it is written again");
    SimDisk::of(left)
}

/// What becomes of a call.
enum Verdict {
    Works,
    Fails(Fault),
    /// The power goes during this call: it may have been done or not.
    PowerGoes,
}

impl State {
    /// Counts a call and says what becomes of it.
    fn begin(&mut self, call: Call, path: &str, numbers: [u64; 2], bytes: &[u8]) -> io::Result<Verdict> {
        if self.is_off {
            return Err(power_is_off());
        }
        self.calls += 1;
        for number in [call as u64, xxh3_64(path.as_bytes()), numbers[0], numbers[1], xxh3_64(bytes)] {
            self.trace = (self.trace.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        if call.is_effect() {
            let snapshot = self.snapshots.is_some().then(|| self.snapshot());
            self.effects += 1;
            if let (Some(snapshots), Some(snapshot)) = (&mut self.snapshots, snapshot) {
                snapshots.push(snapshot);
            }
        }
        if self.off_at_call.is_some_and(|at| self.calls >= at) {
            self.is_off = true;
            return if call.is_effect() { Ok(Verdict::PowerGoes) } else { Err(power_is_off()) };
        }
        let fault = self.rules.iter_mut().find_map(|rule| rule.strikes(call, path));
        Ok(fault.map_or(Verdict::Works, Verdict::Fails))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { effects: self.effects, tree: self.tree.clone() }
    }

    fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.tree.allocated()))
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("power is off")
}
