//! Where do keys lie? In `keys/ring.json` of the data directory, sealed; it is replaced as a whole, and only once its successor is on disk.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::Disk;
use factum_storage::DiskFile;
use factum_storage::RealDisk;
use factum_storage::Timestamp;
use factum_storage::disk;
use rustix::fs::Mode;
use serde::Deserialize;
use serde::Serialize;

use super::ring::Key;
use super::ring::KeyInfo;
use super::ring::KeyState;
use super::ring::Ring;
use super::seal::MATERIAL_BYTES_MIN;
use super::seal::SealingKey;
use super::seal::random;
use crate::auth::text::decode;
use crate::auth::text::encode;
use crate::config::SigningAlgorithm;

/// Why keys can't be had or kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A file can't be read or written.
    #[error("{what}")]
    Io {
        /// Which, and what was done to it.
        what: String,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The key that encrypts the others is too short to.
    #[error("the key that encrypts private keys has {0} bytes, at least {MATERIAL_BYTES_MIN} are needed")]
    Short(usize),
    /// The file is not what was written, or is sealed with another key.
    #[error("{file}: {detail}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        detail: &'static str,
    },
    /// What should never happen to a sound key on a sound machine.
    #[error("{0}")]
    Crypto(&'static str),
    /// So many rotations have come so fast that what they left behind has not expired.
    #[error("{0} keys are retiring already; wait until the first of them is gone")]
    TooMany(usize),
    /// The work was broken off.
    #[error("the keys were not kept: {0}")]
    Interrupted(String),
}

/// The place of a ring.
#[derive(Clone)]
pub(crate) struct KeyStore {
    folder: Option<Arc<Folder>>,
    key: SealingKey,
}

struct Folder {
    disk: RealDisk,
    path: PathBuf,
}

impl KeyStore {
    /// Opens the folder, and makes it if it is new. Without a key it takes the one that lies there, and draws one if there is none.
    /// Without a folder everything stays in memory.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Io`], [`KeyStoreError::Short`].
    pub(super) fn open(folder: Option<PathBuf>, key: Option<Vec<u8>>) -> Result<(Self, SealingKey), KeyStoreError> {
        let folder = folder.map(Folder::open).transpose()?.map(Arc::new);
        let material = match (key, &folder) {
            (Some(key), _) => key,
            (None, Some(folder)) => folder.own_key()?,
            (None, None) => random::<MATERIAL_BYTES_MIN>().to_vec(),
        };
        let key = SealingKey::derive(&material).ok_or(KeyStoreError::Short(material.len()))?;
        Ok((Self { folder, key: key.clone() }, key))
    }

    /// The ring, if one was ever written.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Io`], [`KeyStoreError::Unreadable`].
    pub(super) fn read(&self) -> Result<Option<Ring>, KeyStoreError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let Some(text) = folder.read(RING)? else { return Ok(None) };
        let unreadable = |detail| KeyStoreError::Unreadable { file: folder.path.join(RING).display().to_string(), detail };
        let stored: StoredRing = serde_json::from_slice(&text).map_err(|_| unreadable("is not what was written"))?;
        if stored.format != FORMAT {
            return Err(unreadable("is of another format than this version of Factum reads"));
        }
        let mut keys = Vec::with_capacity(stored.keys.len());
        for key in stored.keys {
            let Some((info, sealed)) = key.read() else { return Err(unreadable("is not what was written")) };
            let Some(pkcs8) = self.key.open(&context(&info), &sealed) else {
                return Err(unreadable("cannot be opened with the key of auth.key or auth.key_file: it was sealed with another"));
            };
            keys.push(Arc::new(Key::read(info, pkcs8)?));
        }
        Ok(Some(Ring { keys, token_ttl: Duration::from_secs(stored.token_ttl_seconds) }))
    }

    /// Replaces the ring: afterwards it is on disk whole, or the one before still is.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Io`].
    pub(super) fn write(&self, ring: &Ring) -> Result<(), KeyStoreError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut keys = Vec::with_capacity(ring.keys.len());
        for key in &ring.keys {
            let sealed = self.key.seal(&context(&key.info), &key.pkcs8).ok_or(KeyStoreError::Crypto("a key could not be sealed"))?;
            keys.push(StoredKey::new(&key.info, &sealed));
        }
        let stored = StoredRing { format: FORMAT, token_ttl_seconds: ring.token_ttl.as_secs(), keys };
        let mut text = serde_json::to_vec_pretty(&stored).map_err(|_| KeyStoreError::Crypto("the keys could not be written as JSON"))?;
        text.push(b'\n');
        folder.replace(RING, &text)
    }
}

impl Folder {
    fn open(path: PathBuf) -> Result<Self, KeyStoreError> {
        let folder = Self { disk: RealDisk::new(&path), path };
        let made = folder.disk.create_dir("").and_then(|()| private(&folder.path, Mode::RWXU)).and_then(|()| folder.disk.sync_dir(".."));
        made.map_err(|error| folder.failed("making", "", error))?;
        Ok(folder)
    }

    /// The key that lies beside the ring, drawn if there is none.
    fn own_key(&self) -> Result<Vec<u8>, KeyStoreError> {
        if let Some(key) = self.read(OWN_KEY)? {
            return Ok(key.trim_ascii().to_vec());
        }
        if self.read(RING)?.is_some() {
            let file = self.path.join(RING).display().to_string();
            return Err(KeyStoreError::Unreadable {
                file,
                detail: "was sealed with a key that is not here: set auth.key_file or auth.key",
            });
        }
        let key = encode(random::<MATERIAL_BYTES_MIN>());
        self.replace(OWN_KEY, format!("{key}\n").as_bytes())?;
        Ok(key.into_bytes())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, KeyStoreError> {
        let file = match self.disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("opening", name, error)),
        };
        read_whole(&*file).map(Some).map_err(|error| self.failed("reading", name, error))
    }

    fn replace(&self, name: &str, text: &[u8]) -> Result<(), KeyStoreError> {
        self.try_replace(name, text).map_err(|error| self.failed("writing", name, error))
    }

    fn try_replace(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.tmp");
        match self.disk.remove(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = self.disk.create_new(&temporary)?;
        // Before anything is in it.
        private(&self.path.join(&temporary), Mode::RUSR | Mode::WUSR)?;
        disk::write_all_at(&*file, text, 0)?;
        file.sync_data()?;
        self.disk.rename(&temporary, name)?;
        self.disk.sync_dir("")
    }

    fn failed(&self, doing: &str, name: &str, source: io::Error) -> KeyStoreError {
        KeyStoreError::Io { what: format!("{doing} {}", self.path.join(name).display()), source: Arc::new(source) }
    }
}

/// Nobody but the user that runs the server gets at it.
fn private(path: &Path, mode: Mode) -> io::Result<()> {
    Ok(rustix::fs::chmod(path, mode)?)
}

fn read_whole(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if length > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("has {length} bytes, more than such a file ever has")));
    }
    let mut text = vec![0; length];
    disk::read_exact_at(file, &mut text, 0)?;
    Ok(text)
}

/// A sealed key is that of its id and algorithm, and can't be put in another's place.
fn context(info: &KeyInfo) -> Vec<u8> {
    format!("{} {}", info.algorithm.as_str(), info.id).into_bytes()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRing {
    format: u32,
    token_ttl_seconds: u64,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: String,
    algorithm: String,
    state: String,
    created_at: i64,
    activated_at: Option<i64>,
    verifies_until: Option<i64>,
    /// The private key, sealed, in base64url.
    sealed: String,
}

impl StoredKey {
    fn new(info: &KeyInfo, sealed: &[u8]) -> Self {
        Self {
            id: info.id.clone(),
            algorithm: info.algorithm.as_str().to_owned(),
            state: info.state.as_str().to_owned(),
            created_at: info.created_at.as_micros(),
            activated_at: info.activated_at.map(Timestamp::as_micros),
            verifies_until: info.verifies_until.map(Timestamp::as_micros),
            sealed: encode(sealed),
        }
    }

    fn read(self) -> Option<(KeyInfo, Vec<u8>)> {
        let info = KeyInfo {
            algorithm: SigningAlgorithm::parse(&self.algorithm)?,
            state: KeyState::parse(&self.state)?,
            id: self.id,
            created_at: Timestamp::from_micros(self.created_at),
            activated_at: self.activated_at.map(Timestamp::from_micros),
            verifies_until: self.verifies_until.map(Timestamp::from_micros),
        };
        Some((info, decode(&self.sealed)?))
    }
}

const RING: &str = "ring.json";
const OWN_KEY: &str = "key";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: usize = 1 << 20;
