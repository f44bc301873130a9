//! What stands at the two ends of a segment file? See `docs/format.md`, "Header" and "Seal".

use std::io;

use crate::Error;
use crate::disk::DiskFile;
use crate::disk::read_exact_at;

use super::frame::POSITIONS_MAX;

/// The first bytes of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) log_id: [u8; 16],
    pub(crate) segment: u64,
    pub(crate) capacity: u64,
    pub(crate) first: u64,
    pub(crate) created_at: i64,
    pub(crate) epoch: u32,
    pub(crate) chain: [u8; 32],
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Fields::<HEADER_BYTES>::start(HEADER_MAGIC);
        out.put(16, &self.log_id);
        out.put(32, &self.segment.to_le_bytes());
        out.put(40, &self.capacity.to_le_bytes());
        out.put(48, &self.first.to_le_bytes());
        out.put(56, &self.created_at.to_le_bytes());
        out.put(64, &self.epoch.to_le_bytes());
        out.put(72, &self.chain);
        out.finish()
    }

    /// # Errors
    ///
    /// [`Bad::Format`] for a format that is not known, [`Bad::Damaged`] for everything else.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Bad> {
        check_ends(bytes, HEADER_MAGIC)?;
        if !(1..POSITIONS_MAX).contains(&u64::from_le_bytes(field(bytes, 48))) {
            return Err(Bad::Damaged("first position"));
        }
        let capacity_and_epoch = (u64::from_le_bytes(field(bytes, 40)), u32::from_le_bytes(field(bytes, 64)));
        if capacity_and_epoch.0 > super::recover::SEGMENT_BYTES_MAX || capacity_and_epoch.1 == u32::MAX {
            return Err(Bad::Damaged("capacity or epoch"));
        }
        Ok(Self {
            log_id: field(bytes, 16),
            segment: u64::from_le_bytes(field(bytes, 32)),
            capacity: u64::from_le_bytes(field(bytes, 40)),
            first: u64::from_le_bytes(field(bytes, 48)),
            created_at: i64::from_le_bytes(field(bytes, 56)),
            epoch: u32::from_le_bytes(field(bytes, 64)),
            chain: field(bytes, 72),
        })
    }
}

/// The last bytes of a sealed segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) log_id: [u8; 16],
    pub(crate) segment: u64,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) data_end: u64,
    pub(crate) first_recorded_at: i64,
    pub(crate) last_recorded_at: i64,
    pub(crate) epoch: u32,
    pub(crate) is_trimmed: bool,
    pub(crate) chain: [u8; 32],
    pub(crate) content: [u8; 32],
    pub(crate) previous: [u8; 32],
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = Fields::<FOOTER_BYTES>::start(FOOTER_MAGIC);
        out.put(16, &self.log_id);
        out.put(32, &self.segment.to_le_bytes());
        out.put(40, &self.first.to_le_bytes());
        out.put(48, &self.count.to_le_bytes());
        out.put(56, &self.data_end.to_le_bytes());
        out.put(64, &self.first_recorded_at.to_le_bytes());
        out.put(72, &self.last_recorded_at.to_le_bytes());
        out.put(80, &self.epoch.to_le_bytes());
        out.put(84, &u32::from(self.is_trimmed).to_le_bytes());
        out.put(96, &self.chain);
        out.put(128, &self.content);
        out.put(160, &self.previous);
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Self, Bad> {
        check_ends(bytes, FOOTER_MAGIC)?;
        let flags = u32::from_le_bytes(field(bytes, 84));
        if flags > 1 {
            return Err(Bad::Damaged("unknown footer flags"));
        }
        let (first, count, data_end) =
            (u64::from_le_bytes(field(bytes, 40)), u64::from_le_bytes(field(bytes, 48)), u64::from_le_bytes(field(bytes, 56)));
        if !(1..POSITIONS_MAX).contains(&first) || count > u64::from(u32::MAX) || data_end > u64::from(u32::MAX) {
            return Err(Bad::Damaged("footer fields"));
        }
        Ok(Self {
            log_id: field(bytes, 16),
            segment: u64::from_le_bytes(field(bytes, 32)),
            first: u64::from_le_bytes(field(bytes, 40)),
            count: u64::from_le_bytes(field(bytes, 48)),
            data_end: u64::from_le_bytes(field(bytes, 56)),
            first_recorded_at: i64::from_le_bytes(field(bytes, 64)),
            last_recorded_at: i64::from_le_bytes(field(bytes, 72)),
            epoch: u32::from_le_bytes(field(bytes, 80)),
            is_trimmed: flags == 1,
            chain: field(bytes, 96),
            content: field(bytes, 128),
            previous: field(bytes, 160),
        })
    }

    /// What the next footer keeps of this one; neither trimming nor repair changes it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let bytes = self.encode();
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes.get(16..56).unwrap_or_default());
        hasher.update(bytes.get(96..128).unwrap_or_default());
        *hasher.finalize().as_bytes()
    }

    /// Bytes of the whole sealed file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.data_end + table_bytes(self.count) + FOOTER_BYTES as u64
    }

    /// The footer at the end of a file of this length, if there is one.
    pub(crate) fn read(file: &dyn DiskFile, length: u64) -> io::Result<Option<Self>> {
        let Some(at) = length.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let mut bytes = [0; FOOTER_BYTES];
        read_exact_at(file, &mut bytes, at)?;
        Ok(Self::decode(&bytes).ok().filter(|footer| footer.file_bytes() == length))
    }
}

/// Why a header or footer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Damaged(&'static str),
    Format(u32),
}

impl Bad {
    pub(crate) fn detail(self) -> String {
        match self {
            Self::Damaged(detail) => detail.to_owned(),
            Self::Format(found) => format!("format version {found}"),
        }
    }
}

/// Reads and checks the header of the segment file `name`.
pub(crate) fn read_header(file: &dyn DiskFile, name: &str) -> Result<Result<Header, Bad>, Error> {
    let mut bytes = [0; HEADER_BYTES];
    match read_exact_at(file, &mut bytes, 0) {
        Ok(()) => Ok(Header::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Bad::Damaged("shorter than a header"))),
        Err(error) => Err(Error::io(format!("read {name}"), error)),
    }
}

/// `log/0000000000000001.seg`
pub(crate) fn path(segment: u64) -> String {
    format!("{LOG_DIR}/{segment:016}{SUFFIX}")
}

/// The segment id in a file's name, if it is one of ours.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Bytes of the offset table of so many events, with padding.
pub(crate) fn table_bytes(count: u64) -> u64 {
    (count * 4).next_multiple_of(8)
}

struct Fields<const N: usize>([u8; N]);

impl<const N: usize> Fields<N> {
    fn start(magic: [u8; 8]) -> Self {
        let mut fields = Self([0; N]);
        fields.put(0, &magic);
        fields.put(8, &FORMAT.to_le_bytes());
        fields
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(slot) = self.0.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
    }

    fn finish(mut self) -> [u8; N] {
        let sum = ends_checksum(&self.0);
        self.put(12, &sum.to_le_bytes());
        self.0
    }
}

fn check_ends(bytes: &[u8], magic: [u8; 8]) -> Result<(), Bad> {
    if field::<8>(bytes, 0) != magic {
        return Err(Bad::Damaged("magic"));
    }
    if u32::from_le_bytes(field(bytes, 12)) != ends_checksum(bytes) {
        return Err(Bad::Damaged("checksum"));
    }
    // After the checksum: a flipped bit is damage, not a newer format.
    match u32::from_le_bytes(field(bytes, 8)) {
        FORMAT => Ok(()),
        found => Err(Bad::Format(found)),
    }
}

fn ends_checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(8..12).unwrap_or_default());
    hasher.update(bytes.get(16..).unwrap_or_default());
    hasher.finalize()
}

/// A field of fixed width; zeros if the slice is too short, which callers exclude.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}

pub(crate) const HEADER_BYTES: usize = 128;
pub(crate) const FOOTER_BYTES: usize = 192;
pub(crate) const FORMAT: u32 = 1;
pub(crate) const LOG_DIR: &str = "log";
/// The next segment, zeroed ahead of need; what stands in it never counts.
pub(crate) const PREPARED: &str = "log/prepared.tmp";
/// A segment that is being written and has no name yet.
pub(crate) const FRESH: &str = "log/fresh.tmp";
pub(crate) const LOST_OFFSET: u32 = u32::MAX;
const SUFFIX: &str = ".seg";
const HEADER_MAGIC: [u8; 8] = *b"FACTUMSG";
const FOOTER_MAGIC: [u8; 8] = *b"FACTUMFT";
