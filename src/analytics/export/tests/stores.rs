//! How does an object store fail? As this one is told, at the call that it is told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use futures::stream::BoxStream;
use object_store::CopyOptions;
use object_store::Error;
use object_store::GetOptions;
use object_store::GetResult;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::Result;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::sync::Notify;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// Nothing is done, and an error is told.
    Fail,
    /// It is done, and an error is told.
    LoseAnswer,
    /// Nothing is done any more, by this or any later call; nobody hears of it.
    StopBefore,
    /// It is done, and nothing after it; nobody hears of it.
    StopAfter,
    /// A create is done as if it were none.
    IgnoreCondition,
}

/// A store in memory whose calls meet the fates that a test gives them.
pub(super) struct FatefulStore {
    inner: Arc<InMemory>,
    shared: Arc<Shared>,
}

/// What happens to the call with this number, of which is said what it does.
type Fates = Box<dyn Fn(usize, &str) -> Fate + Send + Sync>;

struct Shared {
    fate: Fates,
    calls: AtomicUsize,
    is_stopped: AtomicBool,
    stopped: Notify,
}

impl FatefulStore {
    /// `fate` is asked with the number of the call, from 0, and what it is.
    pub(super) fn new(inner: &Arc<InMemory>, fate: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Arc<Self> {
        let shared = Shared { fate: Box::new(fate), calls: AtomicUsize::new(0), is_stopped: false.into(), stopped: Notify::new() };
        Arc::new(Self { inner: Arc::clone(inner), shared: Arc::new(shared) })
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Waits until nothing is done any more.
    pub(super) async fn stopped(&self) {
        self.shared.stopped.notified().await;
    }
}

impl Shared {
    async fn meet<T>(&self, call: &str, done: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_stopped.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let fate = (self.fate)(self.calls.fetch_add(1, Ordering::SeqCst), call);
        match fate {
            Fate::Pass | Fate::IgnoreCondition => done.await,
            Fate::Fail => Err(failure("503 Slow Down")),
            Fate::LoseAnswer => {
                drop(done.await);
                Err(failure("the connection was closed before the answer"))
            }
            Fate::StopBefore | Fate::StopAfter => {
                if fate == Fate::StopAfter {
                    drop(done.await);
                }
                self.stop().await;
                unreachable!("nothing goes on behind a stop")
            }
        }
    }

    /// Whether the next call is one whose condition is to be ignored.
    fn ignores_condition(&self, call: &str) -> bool {
        (self.fate)(self.calls.load(Ordering::SeqCst), call) == Fate::IgnoreCondition
    }

    async fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.stopped.notify_one();
        std::future::pending().await
    }
}

fn failure(detail: &str) -> Error {
    Error::Generic { store: "fateful", source: detail.into() }
}

impl fmt::Debug for FatefulStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatefulStore")
    }
}

impl fmt::Display for FatefulStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatefulStore")
    }
}

#[async_trait]
impl ObjectStore for FatefulStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let call = format!("put {location}");
        if self.shared.ignores_condition(&call) {
            options.mode = PutMode::Overwrite;
        }
        self.shared.meet(&call, self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.shared.meet(&format!("get {location}"), self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (shared, inner) = (Arc::clone(&self.shared), Arc::clone(&self.inner));
        let delete = move |location: Path| {
            let (shared, inner) = (Arc::clone(&shared), Arc::clone(&inner));
            async move {
                shared.meet(&format!("delete {location}"), inner.delete(&location)).await?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shared, listed) = (Arc::clone(&self.shared), self.inner.list(prefix));
        stream::once(async move { shared.meet("list", async { Ok(listed) }).await }).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.meet(&format!("copy {from}"), self.inner.copy_opts(from, to, options)).await
    }
}

/// All objects that there are, by path.
pub(super) async fn objects(store: &InMemory) -> Vec<(String, bytes::Bytes)> {
    let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let mut found = Vec::new();
    for object in listed {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        found.push((object.location.to_string(), bytes));
    }
    found.sort();
    found
}
