//! One connection to Postgres, on which nothing waits for ever.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Client;
use tokio_postgres::Config;
use tokio_postgres::Error;
use tokio_postgres::Statement;

use super::super::Fault;
use super::fault;
use super::fault::Trouble;
use super::tls::Trust;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Until there is a connection that answers.
    pub(crate) connect: Duration,
    /// For a statement (`statement_timeout`).
    pub(crate) statement: Duration,
    /// For a lock (`lock_timeout`).
    pub(crate) lock: Duration,
    /// For the next statement of a transaction (`idle_in_transaction_session_timeout`): how long a server that vanished stays the owner.
    pub(crate) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            statement: Duration::from_mins(1),
            lock: Duration::from_secs(10),
            idle: Duration::from_mins(2),
        }
    }
}

/// A connection. Dropping it ends it, and rolls back what was not committed.
pub(super) struct Session {
    client: Client,
    /// Why the connection ended, once it has.
    ended: watch::Receiver<Option<String>>,
    timeouts: Timeouts,
}

impl Session {
    pub(super) async fn connect(config: &Config, trust: &Trust, timeouts: Timeouts) -> Result<Self, Fault> {
        let trust = trust.clone();
        let connector = tokio::task::spawn_blocking(move || trust.connector());
        let connector = connector.await.map_err(|error| Fault::Passing(format!("postgres, connecting: {error}")))?;
        let connector = connector.map_err(|detail| Fault::Passing(format!("postgres, connecting: {detail}")))?;
        let connected = tokio::time::timeout(timeouts.connect, Box::pin(config.connect(connector))).await;
        let connected = connected.map_err(|_| Fault::Passing(format!("postgres, connecting: no answer in {:?}", timeouts.connect)))?;
        let (client, connection) = connected.map_err(|error| fault::connecting(&error))?;
        let (tell, ended) = watch::channel(None);
        tokio::spawn(async move {
            let why = match connection.await {
                Ok(()) => "the connection was closed".to_owned(),
                Err(error) => fault::sort(&error, "the connection ended").into_fault().to_string(),
            };
            tell.send_replace(Some(why));
        });
        let session = Self { client, ended, timeouts };
        session.run("setting up", &settings(timeouts)).await.map_err(Trouble::into_fault)?;
        Ok(session)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Waits for an answer: longer than Postgres itself lets a statement take, and not for ever.
    pub(super) async fn wait<T>(&self, doing: &str, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        let within = self.timeouts.statement.saturating_add(self.timeouts.connect);
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.trouble(&error, doing).await),
            Err(_) => Err(Fault::Passing(format!("postgres, {doing}: no answer in {within:?}")).into()),
        }
    }

    /// Runs statements that give nothing back.
    pub(super) async fn run(&self, doing: &str, sql: &str) -> Result<(), Trouble> {
        self.wait(doing, self.client.batch_execute(sql)).await
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Trouble> {
        self.wait("preparing", self.client.prepare(sql)).await
    }

    /// A connection that has ended says so to whoever waits on it; why is told to the connection itself.
    pub(super) async fn trouble(&self, error: &Error, doing: &str) -> Trouble {
        if !error.is_closed() {
            return fault::sort(error, doing);
        }
        let mut ended = self.ended.clone();
        let why = tokio::time::timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await;
        let why = why.ok().and_then(Result::ok).and_then(|why| why.clone());
        Fault::Passing(why.unwrap_or_else(|| format!("postgres, {doing}: the connection was closed"))).into()
    }
}

/// A table is empty when its writer plans how to find rows by key, and then all of it is read as quickly. It grows under that plan, for as
/// long as nobody analyses it: so an index is used wherever there is one.
fn settings(timeouts: Timeouts) -> String {
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET client_min_messages = warning; \
         SET enable_seqscan = off",
        timeouts.statement.as_millis(),
        timeouts.lock.as_millis(),
        timeouts.idle.as_millis(),
    )
}
