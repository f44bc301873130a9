//! How do traces and lines of the log get to the files that the database keeps of them? Through queues of their own; who writes the files
//! takes them from there.

use std::sync::OnceLock;

use metrics::counter;
use parking_lot::Mutex;

use super::queue;
use super::queue::Outlet;
use super::queue::Queue;
use super::records::Record;
use super::traces::span::Span;

/// What is to be written.
pub(crate) struct Outlets {
    pub(crate) spans: Outlet<Span>,
    pub(crate) records: Outlet<Record>,
}

/// Keeps spans and lines from here on. Returns where they go in.
pub(super) fn install() -> (Queue<Span>, Queue<Record>) {
    let dropped = |table: &'static str| counter!(ROWS, "table" => table, "outcome" => "dropped");
    let (spans, of_spans) = queue::new(QUEUE_ITEMS, dropped("spans"));
    let (records, of_records) = queue::new(QUEUE_ITEMS, dropped("logs"));
    let outlets = Mutex::new(Some(Outlets { spans: of_spans, records: of_records }));
    LAKE.get_or_init(|| Lake { spans: spans.clone(), records: records.clone(), outlets });
    (spans, records)
}

/// What comes out, for the one who asks first; `None` if nothing is kept.
pub(crate) fn outlets() -> Option<Outlets> {
    LAKE.get()?.outlets.lock().take()
}

/// Waits until what was kept so far is written.
pub async fn flush() {
    if let Some(lake) = LAKE.get().filter(|lake| lake.outlets.lock().is_none()) {
        lake.spans.flush().await;
        lake.records.flush().await;
    }
}

struct Lake {
    spans: Queue<Span>,
    records: Queue<Record>,
    outlets: Mutex<Option<Outlets>>,
}

static LAKE: OnceLock<Lake> = OnceLock::new();
/// By table and by what came of them.
pub(crate) const ROWS: &str = "factum_telemetry_lake_rows_total";
const QUEUE_ITEMS: usize = 8_192;
