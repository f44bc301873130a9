//! How does a test damage files behind the engine's back? All of it is on the platter at once.

use super::SimDisk;

impl SimDisk {
    /// Paths of all files, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.state.lock().tree.files().into_iter().map(|(path, _)| path).collect()
    }

    /// A file's true bytes, without flipped bits; `None` if there is no such file.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let number = state.tree.find_file(path).ok()?;
        Some(state.tree.file(number).ok()?.live().to_vec())
    }

    /// Puts a file there, in place of the one that may be there. Open files see the new bytes.
    ///
    /// # Panics
    ///
    /// If its directory is not there: the test has the path wrong.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.state.lock().tree.put(path, bytes).unwrap_or_else(|error| panic!("put {path}: {error}"));
    }

    /// Changes a file's bytes in any way.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.contents(path).unwrap_or_else(|| panic!("no file {path}"));
        edit(&mut bytes);
        self.put(path, &bytes);
    }

    /// Removes a file for good.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn erase(&self, path: &str) {
        let mut state = self.state.lock();
        let removed = state.tree.remove(path).and_then(|()| {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            state.tree.sync_directory(parent)
        });
        removed.unwrap_or_else(|error| panic!("erase {path}: {error}"));
    }

    /// Makes `to` a copy of `from`.
    ///
    /// # Panics
    ///
    /// If there is no file `from` or no directory for `to`.
    pub fn duplicate(&self, from: &str, to: &str) {
        let bytes = self.contents(from).unwrap_or_else(|| panic!("no file {from}"));
        self.put(to, &bytes);
    }

    /// Exchanges the bytes of two files.
    ///
    /// # Panics
    ///
    /// If one of them is not there.
    pub fn swap(&self, one: &str, other: &str) {
        let bytes = self.contents(one).unwrap_or_else(|| panic!("no file {one}"));
        self.duplicate(other, one);
        self.put(other, &bytes);
    }

    /// From now on reads see this bit turned over, until it is written or [`SimDisk::heal`] is called. Bits are counted from the
    /// file's start.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn flip_bit(&self, path: &str, bit: u64) {
        let mut state = self.state.lock();
        let file = state.tree.find_file(path).and_then(|number| state.tree.file_mut(number));
        file.unwrap_or_else(|error| panic!("flip a bit of {path}: {error}")).flip(bit / 8, 1 << (bit % 8));
    }

    /// Reads see the file's true bytes again.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn heal(&self, path: &str) {
        let mut state = self.state.lock();
        let file = state.tree.find_file(path).and_then(|number| state.tree.file_mut(number));
        file.unwrap_or_else(|error| panic!("heal {path}: {error}")).heal();
    }
}
