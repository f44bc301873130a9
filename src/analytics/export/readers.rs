//! How is a file read that is being moved out of the way? Where it was, and if it is there no more, where it is kept for a while.
//!
//! A query goes on with the files that it began with, although their rows are in another one by now.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
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
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::Result;
use object_store::path::Path;

use super::session::retired_path;

/// A lake for readers; it can't be written to.
#[derive(Debug)]
pub(super) struct Readers {
    store: Arc<dyn ObjectStore>,
}

impl Readers {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "readers of {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for Readers {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match (self.store.get_opts(location, options.clone()).await, retired_path(location.as_ref())) {
            (Err(Error::NotFound { .. }), Ok(kept)) => self.store.get_opts(&kept, options).await,
            (found, _) => found,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match (self.store.get_ranges(location, ranges).await, retired_path(location.as_ref())) {
            (Err(Error::NotFound { .. }), Ok(kept)) => self.store.get_ranges(&kept, ranges).await,
            (found, _) => found,
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(self.refused("put"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(self.refused("put_multipart"))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let refused = self.refused("delete");
        stream::once(async { Err(refused) }).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(self.refused("copy"))
    }
}

impl Readers {
    fn refused(&self, operation: &str) -> Error {
        Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}
