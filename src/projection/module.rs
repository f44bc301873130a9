//! What do events do, according to a module in JavaScript?

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value as Json;

use super::intake::Taken;
use super::row::Change;
use super::target::Writer;
use super::working::Refusal;
use super::working::Working;
use crate::script::Module;
use crate::script::Sandbox;

/// Rows of other views.
pub(crate) trait Lookup: Send + Sync {
    /// A row of another view as JSON, `None` if it is not there.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn row<'a>(&'a self, view: &'a str, key: &'a Json) -> BoxFuture<'a, Result<Option<Json>, String>>;
}

/// The calls of a module for the events of one batch.
pub(super) struct Calls<'a> {
    _module: &'a Arc<Module>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(module: &'a Arc<Module>, _sandbox: &'a Sandbox, _lookup: &'a dyn Lookup, _batch: &[Taken]) -> Self {
        Self { _module: module }
    }

    pub(super) async fn changes(&mut self, _at: usize, _working: &mut Working, _writer: &mut dyn Writer) -> Result<Vec<Change>, Refusal> {
        Err(Refusal::Poison("modules are not run yet".to_owned()))
    }

    pub(super) fn forget(&mut self) {}
}
