//! Which names does a power cut leave?

use std::collections::BTreeMap;

use super::file::Cut;
use super::rng::Rng;

/// A directory: the names that are seen, those on the platter, and what was done in between. Numbers are those of files and directories.
#[derive(Clone, Debug, Default)]
pub(super) struct DirectoryNode {
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
enum Operation {
    Link { name: String, node: u64 },
    Unlink { name: String },
    Rename { from: String, to: String, node: u64 },
}

impl Operation {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, node } => {
                // The name may since be another file's; then it is not this rename's to take away.
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl DirectoryNode {
    pub(super) fn live(&self) -> &BTreeMap<String, u64> {
        &self.live
    }

    pub(super) fn link(&mut self, name: &str, node: u64) {
        self.perform(Operation::Link { name: name.to_owned(), node });
    }

    pub(super) fn unlink(&mut self, name: &str) {
        self.perform(Operation::Unlink { name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, node: u64) {
        self.perform(Operation::Rename { from: from.to_owned(), to: to.to_owned(), node });
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.live.clone();
        self.operations.clear();
    }

    /// Whether a power cut could take something away.
    pub(super) fn is_settled(&self) -> bool {
        self.operations.is_empty()
    }

    /// The directory after a power cut. A kept rename brings its file along, also when the creation of the old name is lost.
    pub(super) fn after(&self, cut: Cut, keep_percent: u64, rng: &mut Rng) -> Self {
        let mut left = self.durable.clone();
        for operation in &self.operations {
            if cut == Cut::KeepAll || (cut == Cut::Random && rng.chance(keep_percent)) {
                operation.apply(&mut left);
            }
        }
        Self { live: left.clone(), durable: left, operations: Vec::new() }
    }

    fn perform(&mut self, operation: Operation) {
        operation.apply(&mut self.live);
        self.operations.push(operation);
    }
}
