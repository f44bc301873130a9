//! How does a question become an answer of one cut of the log?

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use serde_json::Value as Json;

use super::Analytics;
use super::SqlAnswer;
use super::VisibleStreams;
use super::export::Published;
use super::sql;
use super::sql::Parsed;
use super::sql::Tables;
use super::tables;
use super::tables::Cold;
use super::tables::EventsTable;
use super::tables::ExportTable;
use super::tables::Found;
use super::tables::Named;
use super::tables::Place;
use super::tables::TelemetryTable;
use super::tables::ViewTable;
use crate::Error;
use crate::projection;
use crate::shard::Handle;
use crate::shard::LeftOut;
use crate::subscription::Cursor;

/// A query whose tables are known to be there.
pub(crate) struct Prepared {
    parsed: Parsed,
    params: Vec<Json>,
    found: Vec<Found>,
    whose: Whose,
}

/// Who asks, and what will do for an answer.
#[derive(Clone, Default)]
pub(crate) struct Whose {
    /// They see these streams alone.
    pub(crate) only: Option<Arc<VisibleStreams>>,
    /// They take an answer without these shards.
    pub(crate) left_out: Option<LeftOut>,
}

/// What one query sees: all of its tables are of it.
struct State {
    published: Vec<(String, Arc<Published>)>,
    cut: Cursor,
    whose: Whose,
}

impl Whose {
    /// The shards that are left out.
    fn left_out(&self) -> Arc<[u16]> {
        self.left_out.as_ref().map_or_else(Arc::default, |left_out| left_out.shards().into())
    }
}

impl Prepared {
    /// The views that it names.
    pub(crate) fn views(&self) -> impl Iterator<Item = &str> {
        self.found.iter().filter_map(|found| match &found.table {
            Named::View(name) => Some(name.as_str()),
            Named::Events | Named::Category(_) | Named::Export(_) | Named::Telemetry(_) => None,
        })
    }
}

impl Analytics {
    /// Reads a query's text, and finds the tables that it names.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`], [`Error::Storage`].
    pub(crate) async fn prepare(&self, text: String, params: Vec<Json>, whose: Whose) -> Result<Prepared, Error> {
        if let Some(left_out) = &whose.left_out {
            left_out.take_absent(&self.router.shards());
        }
        self.find(text, params, whose).await.inspect_err(|error| self.engine.refused(error))
    }

    async fn find(&self, text: String, params: Vec<Json>, whose: Whose) -> Result<Prepared, Error> {
        // Where the stack is deep enough for what can be nested.
        let parsing = self.engine.handle()?.spawn_blocking(move || sql::parse(&text));
        let parsed = parsing.await.map_err(|error| Error::Unavailable { shard: 0, detail: format!("reading a query: {error}") })??;
        let mut found = Vec::new();
        for reference in parsed.tables() {
            match tables::find(self, reference, &whose).await {
                Ok(table) => found.push(table),
                // The plan knows which functions there are.
                Err(Error::InvalidQuery { .. }) if parsed.is_function(reference) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Prepared { parsed, params, found, whose })
    }

    /// Answers a query with what is committed now.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`], [`Error::QueryLimit`], [`Error::SqlBusy`], [`Error::Storage`], [`Error::TargetUnavailable`],
    /// [`Error::LakeUnavailable`].
    pub(crate) async fn answer(self: &Arc<Self>, prepared: Prepared) -> Result<SqlAnswer, Error> {
        let Prepared { parsed, params, found, whose } = prepared;
        let state = self.state(whose);
        let cut = state.cut.clone();
        let confidence = Arc::clone(&self.confidence);
        let exports: Vec<String> = state.published.iter().map(|(export, _)| export.clone()).collect();
        let lake_failed = Box::new(move || {
            confidence.lose();
            exports.join(", ")
        });
        let analytics = Arc::clone(self);
        let tables = Box::pin(async move { analytics.tables(found, &state).await });
        sql::answer(Arc::clone(&self.engine), sql::Work { parsed, params, cut, tables, lake_failed }).await
    }

    /// What a query that begins now sees.
    fn state(&self, whose: Whose) -> State {
        // What is published is behind the end that is taken after it.
        let published = self.exports.published();
        State { published, cut: Cursor::end(&self.router), whose }
    }

    /// All tables that whoever asks may see, with their columns, or the first thousand of them.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub(crate) async fn list(&self, only: Option<VisibleStreams>) -> Result<Vec<(Named, SchemaRef)>, Error> {
        let state = self.state(Whose { only: only.map(Arc::new), left_out: None });
        let mut listed = Vec::new();
        for named in tables::all(self, &state.whose).await?.into_iter().take(TABLES_MAX) {
            match self.table(&named, &state).await {
                Ok(table) => listed.push((named, table.schema())),
                // It is being made, or was just removed: there is nothing to ask yet, or no more.
                Err(Error::TargetUnavailable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// The tables, and the names in them that are not all lower case.
    async fn tables(&self, found: Vec<Found>, state: &State) -> Result<(Tables, HashSet<String>), Error> {
        let mut exact = HashSet::new();
        let mut tables: Tables = Vec::new();
        for found in found {
            if tables.iter().any(|(schema, name, _)| *schema == found.schema && *name == found.written) {
                continue;
            }
            let table = self.table(&found.table, state).await?;
            let names = table.schema().fields().iter().map(|field| field.name().clone()).chain([found.name.clone()]).collect::<Vec<_>>();
            exact.extend(names.into_iter().filter(|name| name.chars().any(char::is_uppercase)));
            for name in [found.name, found.written] {
                if !tables.iter().any(|(schema, known, _)| *schema == found.schema && *known == name) {
                    tables.push((found.schema, name, Arc::clone(&table)));
                }
            }
        }
        Ok((tables, exact))
    }

    /// One table, in one state.
    async fn table(&self, table: &Named, state: &State) -> Result<Arc<dyn TableProvider>, Error> {
        match table {
            Named::Events => {
                self.check_shards(&state.whose)?;
                Ok(Arc::new(EventsTable::all(self.place(None, state))))
            }
            Named::Category(name) => {
                self.check_shards(&state.whose)?;
                let threads = self.engine.handle()?;
                let left_out = state.whose.left_out();
                let columns = self.inference.columns(name, (&state.cut, &left_out), (&threads, self.engine.threads())).await?;
                Ok(Arc::new(EventsTable::of_category(self.place(Some(name), state), name.clone(), columns)))
            }
            Named::View(name) => self.view(name).await,
            Named::Export(name) => {
                let published = state.published.iter().find(|(export, _)| export == name).map(|(_, published)| Arc::clone(published));
                Ok(Arc::new(ExportTable::new(name, published, Arc::clone(&self.footers))))
            }
            Named::Telemetry(table) => {
                let detail = "telemetry.lake is off".to_owned();
                let lake = self.telemetry.clone().ok_or_else(|| Error::TargetUnavailable { view: table.name().to_owned(), detail })?;
                Ok(Arc::new(TelemetryTable::new(lake, *table)))
            }
        }
    }

    /// Of a shard that is absent the cut has nothing: its events would be left out in silence.
    fn check_shards(&self, whose: &Whose) -> Result<(), Error> {
        let is_wanted = |shard: &&Handle| whose.left_out.as_ref().is_none_or(|left_out| !left_out.holds(shard.number()));
        self.router.shards().iter().filter(is_wanted).try_for_each(Handle::check_open)
    }

    /// Where the events of a table are.
    fn place(&self, category: Option<&str>, state: &State) -> Place {
        let left_out = state.whose.left_out();
        // Which events in files are hidden by now, every shard has to say.
        let may_read_files = state.whose.only.is_none() && left_out.is_empty() && self.confidence.holds();
        let cold = Cold::best(&state.published, category, self.reshape.generation()).filter(|_| may_read_files);
        Place {
            router: Arc::clone(&self.router),
            reshape: Arc::clone(&self.reshape),
            cut: state.cut.clone(),
            cold,
            footers: Arc::clone(&self.footers),
            only: state.whose.only.clone(),
            left_out,
        }
    }

    async fn view(&self, name: &str) -> Result<Arc<dyn TableProvider>, Error> {
        let gone = || Error::TargetUnavailable { view: name.to_owned(), detail: "the view was just removed".to_owned() };
        let handle = self.projections.get(name).ok_or_else(gone)?;
        let projection::Place::Embedded(target) = &handle.place else { return Err(gone()) };
        let (view, target, columns) = (name.to_owned(), Arc::clone(target), handle.columns());
        let opened = tokio::task::spawn_blocking(move || ViewTable::open(&view, &target, &columns)).await;
        let opened = opened.map_err(|error| Error::TargetUnavailable { view: name.to_owned(), detail: error.to_string() })?;
        Ok(Arc::new(opened?))
    }
}

/// Where each stream is a category of its own, nobody reads the list.
const TABLES_MAX: usize = 1_000;
