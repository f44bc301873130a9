//! Where do rows go that nobody looks at? To stdout or into a file, as they come; a file is there once it is whole.

use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use super::super::failure::Failure;
use super::super::output::Output;
use super::document::problem_of;

/// Takes the bytes of an answer.
pub(super) trait Sink {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

impl Sink for Output {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.raw(bytes)?)
    }
}

/// A file that is written beside its place, and taken away again if it does not become whole.
pub(super) struct Whole {
    path: PathBuf,
    beside: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl Whole {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let mut name = path.file_name().ok_or_else(|| Failure::usage(format!("{} names no file", path.display())))?.to_owned();
        name.push(".part");
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(|error| cannot(&beside, &error))?;
        Ok(Self { path: path.to_owned(), beside, writer: Some(BufWriter::new(file)) })
    }

    /// Puts it where it belongs.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let done = match self.writer.take() {
            Some(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all()),
            None => Ok(()),
        };
        done.and_then(|()| std::fs::rename(&self.beside, &self.path)).map_err(|error| cannot(&self.path, &error))
    }
}

impl Sink for Whole {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.writer {
            Some(writer) => writer.write_all(bytes).map_err(|error| cannot(&self.beside, &error)),
            None => Ok(()),
        }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // After `finish` it is not there any more.
        if self.path != self.beside {
            drop(std::fs::remove_file(&self.beside));
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written", path.display())).detail(error.to_string())
}

/// Lines on their way, each looked at: the last may say that something broke.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Hands on the lines that are whole.
    pub(super) fn pass(&mut self, part: &[u8], sink: &mut dyn Sink) -> Result<u64, Failure> {
        self.buffer.extend_from_slice(part);
        let Some(end) = self.buffer.iter().rposition(|byte| *byte == b'\n') else { return Ok(0) };
        let rest = self.buffer.split_off(end + 1);
        let whole = std::mem::replace(&mut self.buffer, rest);
        let mut count = 0;
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            if let Some(problem) = problem_of(line) {
                return Err(Failure::problem(problem));
            }
            sink.take(line)?;
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn finish(&self) -> Result<(), Failure> {
        if self.buffer.is_empty() { Ok(()) } else { Err(Failure::failed("the answer broke off amid a line")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let mut file = Whole::create(&path).unwrap();
        file.take(b"a\n1\n").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut file = Whole::create(&path).unwrap();
        file.take(b"a\n1\n").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a\n1\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Whole::create(&folder.path().join("no/such/folder.csv")).is_err());
    }

    #[test]
    fn an_error_among_lines_is_none_of_them() {
        #[derive(Default)]
        struct Kept(Vec<u8>);
        impl Sink for Kept {
            fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
                self.0.extend_from_slice(bytes);
                Ok(())
            }
        }
        let (mut lines, mut kept) = (Lines::default(), Kept::default());
        assert_eq!(lines.pass(b"{\"a\":1}\n{\"a\"", &mut kept).unwrap(), 1);
        assert!(lines.finish().is_err());
        let error = b":2}\n{\"$error\":{\"type\":\"urn:factum:problem:x\",\"title\":\"t\",\"status\":422,\"detail\":\"d\"}}\n";
        assert_eq!(lines.pass(error, &mut kept).unwrap_err().as_problem().map(|problem| problem.status), Some(422));
        assert_eq!(kept.0, b"{\"a\":1}\n{\"a\":2}\n");
    }
}
