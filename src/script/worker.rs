//! What does one thread keep between its calls? A runtime for each of the modules that it met last.

use std::sync::Arc;

use super::Kind;
use super::Module;
use super::Options;
use super::ScriptError;
use super::job::Answer;
use super::job::Work;
use super::realm::Realm;

/// How many runtimes a thread keeps; each is some hundred kilobytes.
const REALMS_MAX: usize = 32;

/// The runtimes of one thread, the one that was used last in front.
pub(super) struct Worker {
    options: Options,
    realms: Vec<([u8; 32], String, Realm)>,
}

impl Worker {
    pub(super) fn new(options: Options) -> Self {
        Self { options, realms: Vec::new() }
    }

    /// Runs one call.
    pub(super) fn execute(&mut self, module: &Arc<Module>, work: &Work) -> Result<Answer, ScriptError> {
        let mut realm = self.take(module)?;
        let was_used = realm.was_used();
        let mut outcome = realm.call(module, work);
        if was_used && matches!(&outcome, Err(error) if error.kind == Kind::Memory) {
            // What earlier calls left behind takes memory too. Whether this call takes too much does not depend on them.
            drop(realm);
            realm = self.make(module)?;
            outcome = realm.call(module, work);
        }
        self.keep(module, realm);
        outcome
    }

    /// Makes the instance that the next call of `module` will need, while nobody waits for it.
    pub(super) fn prepare_ahead(&mut self, module: &Arc<Module>) {
        if let Ok(mut realm) = self.take(module) {
            realm.prepare_ahead(module);
            self.keep(module, realm);
        }
    }

    fn take(&mut self, module: &Arc<Module>) -> Result<Realm, ScriptError> {
        let known = self.realms.iter().position(|(hash, name, _)| *hash == module.hash() && name == module.name());
        match known {
            Some(at) => Ok(self.realms.remove(at).2),
            None => self.make(module),
        }
    }

    fn make(&self, module: &Module) -> Result<Realm, ScriptError> {
        if let Some(line) = module.big_integer() {
            let message = "whole numbers of any size (such as 10n, here or in a text or comment) are not available";
            return Err(ScriptError { line: Some(line), ..ScriptError::new(Kind::Definition, module.name(), message) });
        }
        Realm::new(&self.options)
            .map_err(|error| ScriptError::new(Kind::Died, module.name(), format!("a runtime could not be made: {error}")))
    }

    fn keep(&mut self, module: &Module, realm: Realm) {
        if realm.is_worn() {
            return;
        }
        self.realms.truncate(REALMS_MAX - 1);
        self.realms.insert(0, (module.hash(), module.name().to_owned(), realm));
    }
}
