//! Which object store is meant by where a lake lies?

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use parking_lot::Mutex;

use super::fault::chain;
use super::spec::Spec;
use super::url::Allowed;
use super::url::LakeUrl;
use crate::error::DefinitionFault;
use crate::projection::target::embedded::file::folder_name;

/// Where the lake of an export lies.
#[derive(Clone)]
pub(super) struct Place {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    /// That of a database without a directory: gone with it.
    Memory {
        name: String,
        store: Arc<InMemory>,
    },
    #[cfg(feature = "s3")]
    S3 {
        url: LakeUrl,
        store: Arc<object_store::aws::AmazonS3>,
    },
    #[cfg(test)]
    Given(Arc<dyn ObjectStore>),
}

/// Which places there are for a database's lakes.
pub(super) struct Places {
    /// The folder of the data directory in which lakes may always lie; `None`: in memory.
    folder: Option<PathBuf>,
    allowed: Allowed,
    /// The lakes of a database without a directory, so that an export that is defined again finds its own.
    in_memory: Mutex<BTreeMap<String, Arc<InMemory>>>,
}

impl Places {
    pub(super) fn new(folder: Option<PathBuf>, allowed: Allowed) -> Self {
        Self { folder, allowed, in_memory: Mutex::default() }
    }

    /// The place that a definition means.
    ///
    /// # Errors
    ///
    /// It may not lie there, or the settings for it are not there.
    pub(super) fn of(&self, spec: &Spec) -> Result<Place, DefinitionFault> {
        let kind = match (&spec.url, &self.folder) {
            (None, Some(folder)) => Kind::Folder(folder.join(folder_name(&spec.name))),
            (None, None) => {
                let mut lakes = self.in_memory.lock();
                let store = Arc::clone(lakes.entry(spec.name.clone()).or_default());
                Kind::Memory { name: spec.name.clone(), store }
            }
            (Some(url), _) => {
                self.check_allowed(url)?;
                match url {
                    LakeUrl::File(folder) => Kind::Folder(folder.clone()),
                    LakeUrl::S3 { .. } => s3(url, spec)?,
                }
            }
        };
        Ok(Place { kind })
    }

    fn check_allowed(&self, url: &LakeUrl) -> Result<(), DefinitionFault> {
        let is_own = match (url, &self.folder) {
            (LakeUrl::File(lake), Some(folder)) => lake != folder && lake.starts_with(folder),
            (LakeUrl::File(_) | LakeUrl::S3 { .. }, _) => false,
        };
        if is_own || self.allowed.allows(url) {
            return Ok(());
        }
        let own = self.folder.as_ref().map(|folder| format!(" nor below {}", folder.display())).unwrap_or_default();
        let detail = format!(
            "{url} is not among what the server's setting exports.allow says{own}; leave the url out to keep the lake in the data directory"
        );
        Err(crate::definition::document::at("/url", &detail))
    }
}

impl Place {
    /// The store, its paths relative to the lake. A folder is made if it is not there.
    ///
    /// # Errors
    ///
    /// Why the folder can't be had.
    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>, String> {
        match &self.kind {
            Kind::Folder(folder) => {
                let shown = folder.display();
                std::fs::create_dir_all(folder).map_err(|error| format!("can't make the folder {shown}: {error}"))?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| chain(&error))?;
                // What a manifest names must be on the disk before the manifest is.
                Ok(Arc::new(store.with_fsync(true)))
            }
            Kind::Memory { store, .. } => Ok(Arc::clone(store) as Arc<dyn ObjectStore>),
            #[cfg(test)]
            Kind::Given(store) => Ok(Arc::clone(store)),
            #[cfg(feature = "s3")]
            Kind::S3 { url, store } => Ok(match url {
                LakeUrl::S3 { prefix, .. } if !prefix.is_empty() => {
                    Arc::new(object_store::prefix::PrefixStore::new(Arc::clone(store) as Arc<dyn ObjectStore>, prefix.join("/")))
                }
                LakeUrl::S3 { .. } | LakeUrl::File(_) => Arc::clone(store) as Arc<dyn ObjectStore>,
            }),
        }
    }

    /// A store that a test brings.
    #[cfg(test)]
    pub(super) fn given(store: Arc<dyn ObjectStore>) -> Self {
        Self { kind: Kind::Given(store) }
    }

    /// Deletes what a process that was killed has left of files that it was writing into a folder: no store lists these.
    pub(super) fn sweep_staged(&self, grace: Duration) {
        if let Kind::Folder(folder) = &self.kind {
            sweep_folder(folder, grace, 0);
        }
    }

    /// Its url.
    pub(super) fn url(&self) -> String {
        match &self.kind {
            Kind::Folder(folder) => LakeUrl::File(folder.clone()).to_string(),
            Kind::Memory { name, .. } => format!("memory:///{name}"),
            #[cfg(test)]
            Kind::Given(_) => "test://lake".to_owned(),
            #[cfg(feature = "s3")]
            Kind::S3 { url, .. } => url.to_string(),
        }
    }

    /// Whether one of two lakes lies in the other: readers of the outer one would read both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self.lake_url(), other.lake_url()) {
            (Some(own), Some(other)) => own.is_below(&other) || other.is_below(&own),
            _ => false,
        }
    }

    fn lake_url(&self) -> Option<LakeUrl> {
        match &self.kind {
            Kind::Folder(folder) => Some(LakeUrl::File(folder.clone())),
            Kind::Memory { .. } => None,
            #[cfg(test)]
            Kind::Given(_) => None,
            #[cfg(feature = "s3")]
            Kind::S3 { url, .. } => Some(url.clone()),
        }
    }
}

fn sweep_folder(folder: &Path, grace: Duration, depth: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth < DEPTH_MAX {
            sweep_folder(&path, grace, depth + 1);
            continue;
        }
        // As the store names them: the name that the file is to get, and a number.
        let staged =
            name.to_str().and_then(|name| name.split_once('#')).filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
        let is_own =
            staged.is_some_and(|(name, _)| (name.starts_with("factum-") && name.ends_with(".parquet")) || name.starts_with("manifest-"));
        let is_old = metadata.modified().ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age >= grace);
        if metadata.is_file() && is_own && is_old {
            // The next sweep tries again.
            std::fs::remove_file(&path).unwrap_or_default();
        }
    }
}

#[cfg(feature = "s3")]
fn s3(url: &LakeUrl, spec: &Spec) -> Result<Kind, DefinitionFault> {
    use crate::definition::document::at;
    use object_store::ClientConfigKey;
    use object_store::aws::AmazonS3Builder;
    use object_store::aws::AmazonS3ConfigKey as Key;

    let LakeUrl::S3 { bucket, .. } = url else { return Err(at("/url", "must begin with s3://")) };
    let names = &spec.s3;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let given = [
        ("endpoint_env", &names.endpoint, Key::Endpoint),
        ("region_env", &names.region, Key::Region),
        ("access_key_id_env", &names.access_key_id, Key::AccessKeyId),
        ("secret_access_key_env", &names.secret_access_key, Key::SecretAccessKey),
        ("session_token_env", &names.session_token, Key::Token),
    ];
    for (field, variable, key) in given {
        let Some(variable) = variable else { continue };
        let pointer = format!("/s3/{field}");
        let value = std::env::var(variable)
            .map_err(|_| at(&pointer, &format!("the server has no environment variable {variable}; set it and start the server again")))?;
        // A named endpoint counts more than the one that AWS's variables name.
        if key == Key::Endpoint {
            builder = builder.with_config(Key::S3Endpoint, value.clone());
        }
        builder = builder.with_config(key, value);
    }
    let endpoint = builder.get_config_value(&Key::S3Endpoint).or_else(|| builder.get_config_value(&Key::Endpoint));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        // Whoever sets this endpoint has decided so.
        builder = builder.with_allow_http(true);
    }
    // The export tries again by itself, and tells that it does.
    let retry = object_store::RetryConfig { max_retries: 1, retry_timeout: REQUEST_TIMEOUT, ..object_store::RetryConfig::default() };
    let store = builder.with_config(Key::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT_TEXT).with_retry(retry).build();
    let store = store.map_err(|error| at("/url", &chain(&error)))?;
    Ok(Kind::S3 { url: url.clone(), store: Arc::new(store) })
}

#[cfg(not(feature = "s3"))]
fn s3(_: &LakeUrl, _: &Spec) -> Result<Kind, DefinitionFault> {
    Err(crate::definition::document::at("/url", "this build of Factum does not speak S3 (feature `s3`)"))
}

/// `category=…/date=…` below the lake.
const DEPTH_MAX: usize = 4;
#[cfg(feature = "s3")]
const REQUEST_TIMEOUT: Duration = Duration::from_secs(100);
#[cfg(feature = "s3")]
const REQUEST_TIMEOUT_TEXT: &str = "100s";
