//! Where do the lines of an import come from? A file, stdin or memory; plain, gzip or zstd.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::failure::Failure;

/// What is imported.
pub(crate) struct Source {
    name: String,
    bytes_total: Option<u64>,
    reader: Box<dyn Read + Send>,
}

impl Source {
    /// Opens a file, or stdin for `-`.
    #[expect(clippy::disallowed_methods, reason = "the user's files are not the database's")]
    pub(crate) fn open(name: &str) -> Result<Self, Failure> {
        if name == "-" {
            return Ok(Self { name: "stdin".to_owned(), bytes_total: None, reader: Box::new(io::stdin()) });
        }
        let cannot = |error: io::Error| Failure::failed(format!("{name} cannot be read")).detail(error.to_string());
        let file = File::open(Path::new(name)).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{name} is a directory")).next("name the files in it"));
        }
        let bytes_total = metadata.is_file().then_some(metadata.len());
        Ok(Self { name: name.to_owned(), bytes_total, reader: Box::new(file) })
    }

    /// What the program carries with it.
    pub(crate) fn of_memory(name: &str, bytes: &'static [u8]) -> Self {
        Self { name: name.to_owned(), bytes_total: Some(bytes.len() as u64), reader: Box::new(bytes) }
    }

    /// Bytes as they lie there, compressed or not; `None` if nobody knows.
    pub(crate) fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    /// Unpacks on a thread of its own into a short queue: a slow server slows the reading down.
    /// The task's result says why the source could not be read to its end, if so; the queue then breaks off with an error.
    pub(crate) fn chunks(self, bar: ProgressBar) -> (mpsc::Receiver<io::Result<Bytes>>, JoinHandle<Option<Failure>>) {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let task = tokio::task::spawn_blocking(move || {
            let name = self.name;
            let error = send_all(bar.wrap_read(self.reader), &sender).err()?;
            // Breaking off with an error tells the server that the body is not whole.
            drop(sender.blocking_send(Err(io::Error::new(error.kind(), error.to_string()))));
            Some(Failure::failed(format!("{name} cannot be read to its end")).detail(error.to_string()))
        });
        (receiver, task)
    }
}

fn send_all(reader: impl Read, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut reader = unpacked(BufReader::with_capacity(CHUNK_BYTES, reader))?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let count = reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        // A closed queue means that the server has answered already, usually with a refusal.
        if count == 0 || sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
            return Ok(());
        }
    }
}

/// The first bytes say how the rest is packed, whatever the name is.
fn unpacked<'a>(mut reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let head = reader.fill_buf()?;
    Ok(if head.starts_with(&GZIP_MAGIC) {
        Box::new(MultiGzDecoder::new(reader))
    } else if head.starts_with(&ZSTD_MAGIC) {
        Box::new(zstd::stream::read::Decoder::with_buffer(reader)?)
    } else {
        Box::new(reader)
    })
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const CHUNK_BYTES: usize = 128 << 10;
const CHUNKS_AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(packed: &[u8], expected: &str) {
        let mut text = String::new();
        unpacked(packed).expect("opens").read_to_string(&mut text).expect("reads");
        assert_eq!(text, expected);
    }

    #[test]
    fn packing_is_recognised_by_its_first_bytes() {
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        };
        check(b"{}\n", "{}\n");
        check(b"", "");
        check(&gzip("one\n"), "one\n");
        // Files that were joined with `cat` are one file.
        check(&[gzip("one\n"), gzip("two\n")].concat(), "one\ntwo\n");
        check(&zstd::encode_all(&b"three\n"[..], 1).unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error() {
        let packed = zstd::encode_all(&b"three\n"[..], 1).unwrap();
        let mut text = String::new();
        assert!(unpacked(&packed[..packed.len() - 3]).unwrap().read_to_string(&mut text).is_err());
    }
}
