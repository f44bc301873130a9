//! Which target does a definition mean?

use std::path::PathBuf;
use std::sync::Arc;

use super::spec::TargetSpec;
use super::target::Target;
use super::target::embedded::EmbeddedTarget;

/// Where the rows of a view are.
#[derive(Clone)]
pub(crate) enum Place {
    Embedded(Arc<EmbeddedTarget>),
    Postgres(Arc<dyn Target>),
}

impl Place {
    /// The place that a definition means.
    ///
    /// # Errors
    ///
    /// Why there is none: the variable that holds the URL is not set, or what it holds is no URL.
    pub(super) fn of(name: &str, target: &TargetSpec, folder: Option<PathBuf>, cache_bytes: usize) -> Result<Self, String> {
        match target {
            TargetSpec::Embedded => Ok(Self::Embedded(Arc::new(EmbeddedTarget::new(name, folder, cache_bytes)))),
            TargetSpec::Postgres { url_env, .. } => Err(format!("{url_env} is not supported")),
        }
    }

    pub(crate) fn target(&self) -> Arc<dyn Target> {
        match self {
            Self::Embedded(target) => Arc::clone(target) as Arc<dyn Target>,
            Self::Postgres(target) => Arc::clone(target),
        }
    }
}
