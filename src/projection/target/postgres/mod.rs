//! How do rows and checkpoint stand in Postgres? Tables of the user's own names with native types; what Factum notes stands in the schema
//! `factum`, in the same database, so that one transaction changes both.
//!
//! - Whoever opens a generation counts its epoch up; every transaction of a writer begins with a lock on that row and a look
//!   at the epoch.
//! - The live generation has the table that the definition names, one that is being built has `<table>__<8 digits of its hash>`.
//! - A table that Factum did not make, or that was altered, is neither written to nor dropped.

mod ask;
mod bookkeeping;
mod cell;
mod culprit;
mod fault;
mod name;
mod open;
mod portion;
mod promote;
mod read;
mod session;
mod statements;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod url;
mod writer;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_postgres::Config;

use super::Fault;
use super::Generation;
use super::Opening;
use super::Parked;
use super::Target;
use super::Writer;
use crate::projection::row::Row;
use crate::projection::spec::Columns;
use crate::projection::value::Value;
pub(crate) use ask::ask;
use fault::Trouble;
use name::Table;
use portion::Portion;
use session::Session;
pub(crate) use session::Timeouts;
use tls::Trust;

/// Where a projection's rows go. Holds a password: it is not printed.
pub(crate) struct Options {
    /// The projection's name.
    pub(crate) name: String,
    /// `postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=…`
    pub(crate) url: String,
    /// The table's schema; it is made if it is missing.
    pub(crate) schema: String,
    /// The table that readers see.
    pub(crate) table: String,
    pub(crate) timeouts: Timeouts,
}

/// The tables of one projection. Each writer has a connection of its own, everything else shares one.
pub(crate) struct PostgresTarget {
    projection: String,
    table: Table,
    config: Config,
    trust: Trust,
    timeouts: Timeouts,
    shared: Mutex<Option<Session>>,
    portion: Arc<Portion>,
}

impl PostgresTarget {
    /// Reads the options. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`Fault::Lasting`]: the URL or a name can't be used.
    pub(crate) fn new(options: Options) -> Result<Self, Fault> {
        let Options { name, url, schema, table, timeouts } = options;
        let refused = |detail| Fault::Lasting(format!("postgres: {detail}"));
        let (mut config, trust) = url::parse(&url).map_err(refused)?;
        let timeouts = url::timeouts(&config, timeouts).map_err(refused)?;
        name::check("schema", &schema, 0).map_err(refused)?;
        name::check("table", &table, name::BESIDE_BYTES).map_err(refused)?;
        config.application_name(format!("factum:{name}"));
        let table = Table { schema, name: table };
        Ok(Self { projection: name, table, config, trust, timeouts, shared: Mutex::new(None), portion: Arc::default() })
    }

    async fn connect(&self) -> Result<Session, Fault> {
        Session::connect(&self.config, &self.trust, self.timeouts).await
    }

    /// Does something on the shared connection, which is given up if it fails: a transaction may be open on it.
    async fn with_shared<T>(&self, act: impl AsyncFnOnce(&Session) -> Result<T, Trouble>) -> Result<T, Fault> {
        let mut shared = self.shared.lock().await;
        // Taken out until it is done: who stops waiting in between leaves none behind that is in a transaction.
        let session = match shared.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let done = act(&session).await.map_err(Trouble::into_fault)?;
        *shared = Some(session);
        Ok(done)
    }
}

impl Target for PostgresTarget {
    fn described(&self) -> String {
        format!("postgres:{}", self.table.described())
    }

    fn generations(&self) -> BoxFuture<'_, Result<Vec<Generation>, Fault>> {
        Box::pin(async {
            let entries = self.with_shared(async |session| read::entries(session, &self.projection).await).await?;
            entries.into_iter().map(bookkeeping::Entry::into_generation).collect()
        })
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Box<dyn Writer>, Fault>> {
        Box::pin(async move {
            let session = self.connect().await?;
            let writer = open::open(self, session, opening).await.map_err(Trouble::into_fault)?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn promote(&self, hash: [u8; 16]) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let generation = bookkeeping::hexadecimal(hash);
            self.with_shared(async |session| promote::promote(session, &self.projection, &generation, &self.table).await).await
        })
    }

    fn drop_generation(&self, hash: [u8; 16], keep_rows: bool) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let generation = bookkeeping::hexadecimal(hash);
            self.with_shared(async |session| promote::drop_generation(session, &self.projection, &generation, keep_rows).await).await
        })
    }

    fn parked(&self, hash: [u8; 16], after: Option<(u16, u64)>, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, Fault>> {
        Box::pin(async move {
            let generation = bookkeeping::hexadecimal(hash);
            self.with_shared(async |session| read::parked(session, &self.projection, &generation, after, limit).await).await
        })
    }

    fn row<'a>(&'a self, columns: &'a Columns, key: &'a Value) -> BoxFuture<'a, Result<Option<Row>, Fault>> {
        Box::pin(self.with_shared(async move |session| read::row(session, &self.projection, columns, key).await))
    }
}
