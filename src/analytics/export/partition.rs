//! Which folder does an event belong to?

use factum_storage::RecordedEvent;
use factum_storage::Timestamp;
use factum_storage::category;

use super::manifest::PlannedFile;
use super::spec::Layout;
use crate::projection::target::embedded::file::folder_name;
use crate::subscription::time::push_timestamp;

/// What the events of one folder have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Partition {
    pub(super) category: Option<String>,
    /// The day on which they were recorded (UTC), since 1970.
    pub(super) day: Option<i64>,
}

impl Partition {
    pub(super) fn of(layout: Layout, event: &RecordedEvent) -> Self {
        Self {
            category: layout.by_category.then(|| category(event.stream()).to_owned()),
            day: layout.by_date.then(|| day_of(event.recorded_at())),
        }
    }

    /// Whether the event belongs here, told without making anything.
    pub(super) fn holds(&self, event: &RecordedEvent) -> bool {
        self.category.as_deref().is_none_or(|own| own == category(event.stream()))
            && self.day.is_none_or(|own| own == day_of(event.recorded_at()))
    }

    /// A file in it, named after the manifest that announces it.
    pub(super) fn file(&self, sequence: u64) -> PlannedFile {
        let date = self.day.map(date_text);
        PlannedFile { path: path(self.category.as_deref(), date.as_deref(), sequence), category: self.category.clone(), date }
    }
}

/// The path of a file.
pub(super) fn path(category: Option<&str>, date: Option<&str>, sequence: u64) -> String {
    let mut path = String::new();
    if let Some(category) = category {
        // Hive's name for what has none.
        let value = if category.is_empty() { "__HIVE_DEFAULT_PARTITION__".to_owned() } else { folder_name(category) };
        path.push_str(&format!("category={value}/"));
    }
    if let Some(date) = date {
        path.push_str(&format!("date={date}/"));
    }
    format!("{path}{FILE_BEGINS}{sequence:012}{FILE_ENDS}")
}

/// The manifest that has announced a file, by the file's path; `None` for a file of somebody else.
pub(super) fn sequence_of(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?.strip_prefix(FILE_BEGINS)?.strip_suffix(FILE_ENDS)?;
    let is_plain = name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { name.parse().ok() } else { None }
}

pub(super) fn day_of(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(DAY_US)
}

/// Such as `2017-01-09`.
pub(super) fn date_text(day: i64) -> String {
    let mut text = Vec::new();
    push_timestamp(&mut text, Timestamp::from_micros(day.saturating_mul(DAY_US)));
    text.truncate(DATE_BYTES);
    String::from_utf8(text).unwrap_or_default()
}

const DAY_US: i64 = 86_400_000_000;
const DATE_BYTES: usize = 10;
const FILE_BEGINS: &str = "factum-";
const FILE_ENDS: &str = ".parquet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_hives() {
        let partition = |category: Option<&str>, day| Partition { category: category.map(str::to_owned), day };
        for (partition, expected) in [
            (partition(Some("order"), Some(17_175)), "category=order/date=2017-01-09/factum-000000000042.parquet"),
            (partition(Some("a/b=ü"), None), "category=a%2Fb%3D%C3%BC/factum-000000000042.parquet"),
            (partition(Some(""), None), "category=__HIVE_DEFAULT_PARTITION__/factum-000000000042.parquet"),
            (partition(None, Some(0)), "date=1970-01-01/factum-000000000042.parquet"),
            (partition(None, None), "factum-000000000042.parquet"),
        ] {
            let file = partition.file(42);
            assert_eq!((file.path.as_str(), sequence_of(&file.path)), (expected, Some(42)));
        }
        for path in ["factum-42.parquet", "mine.parquet", "a/factum-00000000004x.parquet", "factum-000000000042.parquet.retired"] {
            assert_eq!(sequence_of(path), None, "{path}");
        }
    }

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!(day_of(Timestamp::from_micros(-1)), -1);
        assert_eq!((day_of(Timestamp::from_micros(0)), day_of(Timestamp::from_micros(DAY_US - 1))), (0, 0));
        assert_eq!(date_text(-1), "1969-12-31");
    }
}
