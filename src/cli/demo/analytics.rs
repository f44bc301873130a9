//! What the demo shows of SQL: questions about all events at once, first of the live log, then of the Parquet files that follow it.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use super::tour::Tour;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::cut;
use crate::cli::output::grouped;
use crate::config::bytes_text;
use crate::config::duration_text;

/// A question in words and in SQL, where `{table}` is what holds the declarations' events.
struct Question {
    words: &'static str,
    sql: &'static str,
}

#[derive(Deserialize, PartialEq)]
struct Answer {
    columns: Vec<AnswerColumn>,
    rows: Vec<Vec<Value>>,
}

#[derive(Deserialize, PartialEq)]
struct AnswerColumn {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

#[derive(Deserialize)]
struct Export {
    url: String,
    lag_events: u64,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    rows: u64,
    bytes: u64,
}

impl Tour<'_> {
    /// Asks everything twice: of the log, and of files.
    pub(super) async fn analytics(&mut self) -> Result<(), Failure> {
        self.step("12. Questions about all events, in SQL: POST /v1/sql")?;
        let exported: Result<Value, Failure> = self.client.get(&["v1", "exports", EXPORT], &[]).await;
        let source = if exported.is_err() { "from the live log" } else { "from the files of an earlier demo, and the log behind them" };
        let mut from_log = Vec::new();
        for question in &QUESTIONS {
            let (answer, time) = self.ask_sql(question, LOG_TABLE).await?;
            self.say(question.words)?;
            self.answer_table(&answer)?;
            self.source(&format!("{} rows in {}, {source}", answer.rows.len(), duration_text(time)))?;
            from_log.push(answer);
        }
        self.export().await?;
        for (question, before) in QUESTIONS.iter().zip(from_log) {
            let (answer, time) = self.ask_sql(question, FILES_TABLE).await?;
            // The log may have got further meanwhile, but nobody else writes here.
            let verdict = if answer == before { "the same answer" } else { "another answer: that should not be" };
            self.say(&format!("{} {verdict}, in {}", cut(question.words, WORDS_WIDTH), duration_text(time)))?;
        }
        Ok(())
    }

    /// Has the events written as Parquet, and says what became of them.
    async fn export(&mut self) -> Result<(), Failure> {
        self.step(&format!("13. The same from Parquet: PUT /v1/exports/{EXPORT}, which follows the log by itself"))?;
        let definition = self.client.request(Method::PUT, &["v1", "exports", EXPORT], &[])?.header(CONTENT_TYPE, "application/json");
        self.client.send(definition.body("{}")).await?;
        let started = Instant::now();
        let flush = self.client.request(Method::POST, &["v1", "exports", EXPORT, "flush"], &[])?.header("Prefer", "wait=60");
        let response = self.client.send(flush).await?;
        let export: Export = self.client.json(response).await?;
        let time = started.elapsed();
        let (rows, bytes) = export.files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        let files = if export.files.len() == 1 { "1 file".to_owned() } else { format!("{} files", export.files.len()) };
        self.say(&format!(
            "{} events in {files}, {}, {} bytes an event; up to date after {}, lag {} events",
            grouped(rows),
            bytes_text(bytes),
            bytes / rows.max(1),
            duration_text(time),
            grouped(export.lag_events)
        ))?;
        self.source(&export.url)
    }

    async fn ask_sql(&self, question: &Question, table: &str) -> Result<(Answer, Duration), Failure> {
        let started = Instant::now();
        let body = json!({"query": question.sql.replace("{table}", table)});
        let request = self.client.request(Method::POST, &["v1", "sql"], &[])?.json(&body);
        let response = self.client.send(request).await?;
        let answer = self.client.json(response).await?;
        Ok((answer, started.elapsed()))
    }

    fn answer_table(&mut self, answer: &Answer) -> Result<(), Failure> {
        let columns: Vec<Column> =
            answer.columns.iter().map(|column| Column::named(column.name.clone(), column.data_type != "text")).collect();
        let told = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows = answer.rows.iter().map(|row| row.iter().map(told).collect()).collect();
        self.output.indented_table(&columns, rows)?;
        Ok(())
    }
}

const QUESTIONS: [Question; 3] = [
    Question {
        words: "How many days from submission to payment, by month of submission? (median, and 9 of 10)",
        sql: "with paid as (select stream, min(occurred_at) filter (where type = 'DeclarationSubmitted') as submitted, \
            max(occurred_at) filter (where type = 'PaymentHandled') as handled from {table} group by stream) \
            select to_char(submitted, '%Y-%m') as month, count(*) as paid, \
            round(median(date_part('epoch', handled - submitted) / 86400), 1) as median_days, \
            round(approx_percentile_cont(date_part('epoch', handled - submitted) / 86400, 0.9), 1) as nine_of_ten \
            from paid where handled is not null group by month order by month desc limit 6",
    },
    Question {
        words: "What is declared, and how often is it sent back?",
        sql: "with each as (select stream, max(amount) as amount, count(*) filter (where type = 'DeclarationRejected') as rejections \
            from {table} group by stream) \
            select case when amount < 50 then 'under 50' when amount < 500 then '50 to 500' else '500 and more' end as declared, \
            count(*) as declarations, round(sum(amount), 2) as total, \
            round(100.0 * count(*) filter (where rejections > 0) / count(*), 1) as percent_rejected \
            from each group by declared order by total desc",
    },
    Question {
        words: "Between which two steps does a declaration wait the longest?",
        sql: "with step as (select lag(type) over (partition by stream order by version) as before, type as after, \
            date_part('epoch', occurred_at - lag(occurred_at) over (partition by stream order by version)) / 86400 as days from {table}) \
            select before, after, count(*) as times, round(avg(days), 1) as days_on_average \
            from step where before is not null group by before, after having count(*) > 500 order by days_on_average desc limit 4",
    },
];
/// The category's table: the log, and what an export has already, as it comes.
const LOG_TABLE: &str = "declaration";
/// The files alone.
const FILES_TABLE: &str = "exports.demo";
const EXPORT: &str = "demo";
const WORDS_WIDTH: usize = 66;
