//! What does a build without analytics say to exports? That it has none.

use super::Database;
use super::definitions::fault;
use super::definitions::file;
use crate::Error;
use crate::definition::Format;
use crate::definition::Key;
use crate::error::DefinitionFault;

/// There are no exports.
pub(super) enum ExportSpec {}

impl Database {
    pub(super) fn export_spec(key: &Key, _: Format, _: &str) -> Result<ExportSpec, Error> {
        let detail = "this build of Factum has no exports (feature `analytics`)".to_owned();
        Err(fault(DefinitionFault { what: file(key), detail, ..DefinitionFault::default() }))
    }

    pub(super) fn check_export(&self, key: &Key, format: Format, text: &str) -> Result<(ExportSpec, bool), Error> {
        Self::export_spec(key, format, text).map(|spec| (spec, false))
    }

    #[expect(clippy::unused_async, reason = "in a build with analytics it waits")]
    pub(super) async fn revive_export(&self, _: &Key, spec: ExportSpec) -> Result<(), Error> {
        match spec {}
    }

    #[expect(clippy::unused_async, reason = "in a build with analytics it waits")]
    pub(super) async fn put_export(&self, _: &Key, spec: ExportSpec) -> Result<(), Error> {
        match spec {}
    }
}
