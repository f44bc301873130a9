//! What the demo shows of Postgres: the same events as a table there, and a question in SQL.

use std::time::Instant;

use super::rows::Built;
use super::tour::Tour;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::cut;
use crate::cli::output::printable;
use crate::cli::projections::State;
use crate::config::duration_text;
use crate::projection::target::Fault;
use crate::projection::target::postgres;

impl Tour<'_> {
    /// Fills a table in Postgres and asks it, or says how to get one.
    pub(super) async fn postgres(&mut self) -> Result<(), Failure> {
        let Some(url) = postgres_url() else {
            self.step("11. The same rows in Postgres: not shown, as FACTUM_POSTGRES_URL is not set")?;
            return self.say(&format!("{URL_VARIABLE}=postgres://USER:PASSWORD@HOST/DATABASE factum demo"));
        };
        self.step(&format!("11. The same rows in Postgres: PUT /v1/projections/{VIEW}, kind = \"postgres\""))?;
        let built = match self.build(VIEW, DEFINITION).await {
            Err(failure) if self.has_failed().await => {
                self.say(&format!("what is there is not of this log ({}): built anew", cut(&failure.summary(), REASON_MAX)))?;
                self.build_anew(VIEW).await
            }
            built => built,
        };
        match built {
            Ok(built) => self.question(&url, &built).await,
            // Without Postgres there is all the rest.
            Err(failure) => self.not_filled(&failure),
        }
    }

    /// Whether it stands still, as over a table that an earlier demo has filled from another data directory.
    async fn has_failed(&self) -> bool {
        let state: Result<State, Failure> = self.client.get(&["v1", "projections", VIEW], &[]).await;
        state.is_ok_and(|state| state.state == "failed")
    }

    async fn question(&mut self, url: &str, built: &Built) -> Result<(), Failure> {
        let told = |fault: Fault| Failure::failed("Postgres does not answer the question").detail(fault.to_string());
        let count = postgres::ask(url, COUNT).await.map_err(told)?;
        let count = count.first().and_then(|row| row.first()).and_then(Option::as_deref).and_then(|count| count.parse().ok());
        self.say(&built.told(VIEW, count.unwrap_or_default()))?;
        self.say("What was paid each month, and how many days after it had been sent in?")?;
        let started = Instant::now();
        let rows = postgres::ask(url, QUESTION).await.map_err(told)?;
        let time = started.elapsed();
        let cells = rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect();
        let columns = [Column::left("month"), Column::right("declarations"), Column::right("amount"), Column::right("days")];
        self.output.indented_table(&columns, cells)?;
        self.source(&format!("in SQL, from {TABLE}, in {}; its checkpoint is in factum.checkpoints", duration_text(time)))
    }

    fn not_filled(&mut self, failure: &Failure) -> Result<(), Failure> {
        let line = self.output.yellow(&cut(&printable(&failure.summary()), TOLD_MAX));
        self.say(&line)?;
        self.source(&format!("{URL_VARIABLE} says where it is; `factum projections {VIEW}` tells how it goes on"))
    }
}

/// Where Postgres is, if there is one for the demo.
pub(super) fn postgres_url() -> Option<String> {
    std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())
}

/// What to ask on.
pub(super) const SQL: &str = "select status, count(*), sum(amount) from factum_demo.declarations group by 1 order by 2 desc";
const URL_VARIABLE: &str = "FACTUM_POSTGRES_URL";
static DEFINITION: &str = include_str!("../../../tests/data/definitions-postgres/projections/declarations_in_postgres.toml");
const VIEW: &str = "declarations_in_postgres";
const TABLE: &str = "factum_demo.declarations";
const COUNT: &str = "select count(*) from factum_demo.declarations";
const QUESTION: &str = "select to_char(paid_at, 'YYYY-MM'), count(*), sum(amount), \
     round(avg(extract(epoch from paid_at - submitted_at))::numeric / 86400, 1) \
     from factum_demo.declarations where paid_at is not null group by 1 order by 1 desc limit 5";
const TOLD_MAX: usize = 90;
const REASON_MAX: usize = 40;
