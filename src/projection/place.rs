//! Which target does a definition mean?

use std::path::PathBuf;
use std::sync::Arc;

use super::spec::TargetSpec;
use super::target::Target;
use super::target::absent::AbsentTarget;
use super::target::embedded::EmbeddedTarget;
use super::target::postgres;
use super::target::postgres::PostgresTarget;

/// Where the rows of a view are.
#[derive(Clone)]
pub(crate) enum Place {
    Embedded(Arc<EmbeddedTarget>),
    Postgres(Arc<PostgresTarget>),
    Absent(Arc<AbsentTarget>),
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
            TargetSpec::Postgres { url_env, schema, table } => {
                let url = std::env::var(url_env)
                    .map_err(|_| format!("the server has no environment variable {url_env}; set it to postgres://user:password@host/database and start it again"))?;
                let (name, schema, table) = (name.to_owned(), schema.clone(), table.clone());
                let options = postgres::Options { name, url, schema, table, timeouts: postgres::Timeouts::default() };
                PostgresTarget::new(options).map(|target| Self::Postgres(Arc::new(target))).map_err(|fault| format!("{url_env}: {fault}"))
            }
        }
    }

    /// The place of a definition that is in force, and can't be reached for.
    pub(super) fn absent(target: &TargetSpec, reason: String) -> Self {
        let described = match target {
            TargetSpec::Embedded => "embedded".to_owned(),
            TargetSpec::Postgres { schema, table, .. } => format!("postgres:{schema}.{table}"),
        };
        Self::Absent(Arc::new(AbsentTarget { described, reason }))
    }

    pub(crate) fn target(&self) -> Arc<dyn Target> {
        match self {
            Self::Embedded(target) => Arc::clone(target) as Arc<dyn Target>,
            Self::Postgres(target) => Arc::clone(target) as Arc<dyn Target>,
            Self::Absent(target) => Arc::clone(target) as Arc<dyn Target>,
        }
    }
}
