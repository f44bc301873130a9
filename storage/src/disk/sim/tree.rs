//! Which file does a path lead to, now and after a power cut?

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::directory::DirectoryNode;
use super::file::Cut;
use super::file::FileNode;
use super::rng::Rng;

/// All files and directories of a disk. Copies share what neither of them changes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

#[derive(Clone, Debug)]
enum Node {
    File(Arc<FileNode>),
    Directory(Arc<DirectoryNode>),
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::Directory(Arc::default()))]), next: ROOT + 1 }
    }

    pub(super) fn file(&self, number: u64) -> io::Result<&FileNode> {
        match self.nodes.get(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file_mut(&mut self, number: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(Arc::make_mut(file)),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The number of the file or directory at a path.
    pub(super) fn find(&self, path: &str) -> io::Result<u64> {
        let mut number = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            number = *self.directory(number)?.live().get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(number)
    }

    pub(super) fn find_file(&self, path: &str) -> io::Result<u64> {
        let number = self.find(path)?;
        self.file(number).map(|_| number)
    }

    /// Creates a file that must not exist and returns its number.
    pub(super) fn create(&mut self, path: &str) -> io::Result<u64> {
        self.link_new(path, Node::File(Arc::new(FileNode::at(path))))
    }

    pub(super) fn create_directories(&mut self, path: &str) -> io::Result<()> {
        let mut so_far = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(name);
            match self.find(&so_far) {
                Ok(number) => self.directory(number).map(|_| ())?,
                Err(_) => self.link_new(&so_far, Node::Directory(Arc::default())).map(|_| ())?,
            }
        }
        Ok(())
    }

    /// Within a directory a rename is one step, between two it is two that a power cut can part.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let number = self.find_file(from)?;
        if self.find(to).is_ok_and(|target| matches!(self.nodes.get(&target), Some(Node::Directory(_)))) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        if from_parent == to_parent {
            self.directory_mut(from_parent)?.rename(from_name, to_name, number);
        } else {
            self.directory_mut(to_parent)?.link(to_name, number);
            self.directory_mut(from_parent)?.unlink(from_name);
        }
        self.file_mut(number)?.path = to.into();
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.find_file(path)?;
        let (parent, name) = self.parent(path)?;
        self.directory_mut(parent)?.unlink(name);
        Ok(())
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let number = self.find(path)?;
        Ok(self.directory(number)?.live().keys().cloned().collect())
    }

    pub(super) fn sync_directory(&mut self, path: &str) -> io::Result<()> {
        let number = self.find(path)?;
        self.directory_mut(number)?.sync();
        Ok(())
    }

    /// Puts a file there that is on the platter, name and all, in place of the one that may be there. Open handles see the new bytes.
    pub(super) fn put(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let file = FileNode::durable(path, bytes)?;
        match self.find(path) {
            Ok(number) => *self.file_mut(number)? = file,
            Err(_) => {
                self.link_new(path, Node::File(Arc::new(file)))?;
                let (parent, _) = self.parent(path)?;
                self.directory_mut(parent)?.sync();
            }
        }
        Ok(())
    }

    /// Paths of all files.
    pub(super) fn files(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut waiting = vec![(String::new(), ROOT)];
        while let Some((path, number)) = waiting.pop() {
            match self.nodes.get(&number) {
                Some(Node::File(_)) => found.push((path, number)),
                Some(Node::Directory(directory)) => {
                    let prefix = if path.is_empty() { path } else { path + "/" };
                    waiting.extend(directory.live().iter().map(|(name, number)| (format!("{prefix}{name}"), *number)));
                }
                None => {}
            }
        }
        found.sort();
        found
    }

    /// Bytes that all files take.
    pub(super) fn allocated(&self) -> u64 {
        self.files().iter().filter_map(|(_, number)| self.file(*number).ok()).map(|file| file.live().allocated()).sum()
    }

    /// What a power cut leaves: files that no name leads to any more are gone.
    pub(super) fn after(&self, cut: Cut, rng: &mut Rng) -> io::Result<Self> {
        let keep_percent = *rng.pick(&[5, 30, 50, 70, 95]).unwrap_or(&50);
        let mut left = Self { nodes: BTreeMap::new(), next: self.next };
        let mut waiting = vec![ROOT];
        while let Some(number) = waiting.pop() {
            if left.nodes.contains_key(&number) {
                continue;
            }
            let node = match self.nodes.get(&number) {
                Some(Node::File(file)) if !file.is_settled() => Node::File(Arc::new(file.after(cut, keep_percent, rng)?)),
                Some(Node::Directory(directory)) => {
                    let directory =
                        if directory.is_settled() { Arc::clone(directory) } else { Arc::new(directory.after(cut, keep_percent, rng)) };
                    waiting.extend(directory.live().values());
                    Node::Directory(directory)
                }
                Some(settled @ Node::File(_)) => settled.clone(),
                None => continue,
            };
            left.nodes.insert(number, node);
        }
        for (path, number) in left.files() {
            if *left.file(number)?.path != *path {
                left.file_mut(number)?.path = path.as_str().into();
            }
        }
        Ok(left)
    }

    fn link_new(&mut self, path: &str, node: Node) -> io::Result<u64> {
        let (parent, name) = self.parent(path)?;
        if self.directory(parent)?.live().contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        self.directory_mut(parent)?.link(name, number);
        Ok(number)
    }

    fn parent<'a>(&self, path: &'a str) -> io::Result<(u64, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((self.find(parent)?, name))
    }

    fn directory(&self, number: u64) -> io::Result<&DirectoryNode> {
        match self.nodes.get(&number) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn directory_mut(&mut self, number: u64) -> io::Result<&mut DirectoryNode> {
        match self.nodes.get_mut(&number) {
            Some(Node::Directory(directory)) => Ok(Arc::make_mut(directory)),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

const ROOT: u64 = 0;
