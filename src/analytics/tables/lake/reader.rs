//! How are bytes of a file fetched from a lake, and its footer only once?

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::metadata::ParquetMetaDataReader;

/// The footers of files that were read lately. Files never change.
#[derive(Default)]
pub(in crate::analytics) struct Footers(Mutex<VecDeque<(String, Arc<ParquetMetaData>)>>);

impl Footers {
    fn find(&self, url: &str) -> Option<Arc<ParquetMetaData>> {
        self.0.lock().iter().find(|(known, _)| known == url).map(|(_, footer)| Arc::clone(footer))
    }

    /// Forgets the oldest beyond what there is room for.
    fn keep(&self, url: &str, footer: &Arc<ParquetMetaData>) {
        let mut footers = self.0.lock();
        if footers.iter().all(|(known, _)| known != url) {
            footers.push_back((url.to_owned(), Arc::clone(footer)));
        }
        while footers.len() > 1 && footers.iter().map(|(_, footer)| footer.memory_size()).sum::<usize>() > FOOTER_BYTES_MAX {
            footers.pop_front();
        }
    }
}

/// Where a file is: goes with it through the plan.
#[derive(Clone)]
pub(super) struct Location {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    pub(super) url: String,
}

/// Makes readers of the files of lakes.
pub(super) struct Readers {
    pub(super) footers: Arc<Footers>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let location = file.extension::<Location>().cloned();
        let location = location.ok_or_else(|| DataFusionError::Internal("a file of no lake".to_owned()))?;
        Ok(Box::new(Reader { location, bytes: file.object_meta.size, footers: Arc::clone(&self.footers) }))
    }
}

/// Reads one file.
struct Reader {
    location: Location,
    bytes: u64,
    footers: Arc<Footers>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let Location { store, path, .. } = &self.location;
        async move { store.get_range(path, range).await.map_err(unread) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let Location { store, path, .. } = &self.location;
        async move { store.get_ranges(path, &ranges).await.map_err(unread) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let (footers, url, bytes) = (Arc::clone(&self.footers), self.location.url.clone(), self.bytes);
            if let Some(footer) = footers.find(&url) {
                return Ok(footer);
            }
            let footer =
                ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional).with_prefetch_hint(Some(FOOTER_GUESS_BYTES));
            let footer = Arc::new(footer.load_and_finish(self, bytes).await?);
            footers.keep(&url, &footer);
            Ok(footer)
        }
        .boxed()
    }
}

fn unread(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// What footers may take in memory.
const FOOTER_BYTES_MAX: usize = 64 << 20;
/// What is read of a file's end at first.
const FOOTER_GUESS_BYTES: usize = 256 << 10;
