//! How are a file's bytes kept, so that a copy of a whole disk costs next to nothing?

use std::io;
use std::sync::Arc;

/// Bytes in pages that copies share until one of them writes. A page that was never written is a hole and reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    length: u64,
    pages: Vec<Option<Arc<Page>>>,
}

type Page = [u8; PAGE_BYTES];

impl Pages {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that the pages take, without holes.
    pub(super) fn allocated(&self) -> u64 {
        (self.pages.iter().flatten().count() * PAGE_BYTES) as u64
    }

    /// How many of `length` bytes can be written at `offset` while no more than `free` bytes are newly taken.
    pub(super) fn fitting(&self, offset: u64, length: usize, free: u64) -> io::Result<usize> {
        let start = place(offset)?;
        let end = start + length;
        let mut free = free;
        for page in start / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            if !matches!(self.pages.get(page), Some(Some(_))) {
                if free < PAGE_BYTES as u64 {
                    return Ok((page * PAGE_BYTES).saturating_sub(start));
                }
                free -= PAGE_BYTES as u64;
            }
        }
        Ok(length)
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = self.length.saturating_sub(offset).min(buffer.len() as u64);
        let count = usize::try_from(count).unwrap_or(0);
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = buffer.get_mut(..count).unwrap_or_default();
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let take = rest.len().min(PAGE_BYTES - within);
            let (target, others) = rest.split_at_mut(take);
            match self.pages.get(at / PAGE_BYTES) {
                Some(Some(page)) => target.copy_from_slice(&page[within..within + take]),
                _ => target.fill(0),
            }
            at += take;
            rest = others;
        }
        count
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = place(offset)?;
        let end = at + bytes.len();
        if self.pages.len() * PAGE_BYTES < end {
            self.pages.resize(end.div_ceil(PAGE_BYTES), None);
        }
        self.length = self.length.max(end as u64);
        while !bytes.is_empty() {
            let within = at % PAGE_BYTES;
            let (source, others) = bytes.split_at(bytes.len().min(PAGE_BYTES - within));
            let page = self.pages[at / PAGE_BYTES].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within..within + source.len()].copy_from_slice(source);
            at += source.len();
            bytes = others;
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, length: u64) -> io::Result<()> {
        let end = place(length)?;
        self.pages.resize(end.div_ceil(PAGE_BYTES), None);
        // What stands behind the end must read as zeros if the file grows again.
        if length < self.length
            && let Some(Some(page)) = self.pages.get_mut(end / PAGE_BYTES)
        {
            Arc::make_mut(page)[end % PAGE_BYTES..].fill(0);
        }
        self.length = length;
        Ok(())
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(0)];
        self.read(&mut bytes, 0);
        bytes
    }
}

/// A simulated file that does not fit into a bounded memory is a bug of the test or of the engine: it gets an error, like on a disk.
fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).ok().filter(|place| *place <= FILE_BYTES_MAX).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

pub(super) const PAGE_BYTES: usize = 4096;
const FILE_BYTES_MAX: usize = 1 << 32;
