//! `factum views`: what the rows of a read model say.

mod row;

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::grouped;
use super::read::token;
use row::Row;
use row::told;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  factum views\n  factum views declarations --where status=paid --where amount__gte=100 --order-by -amount\n  \
    factum views declarations declaration-86791\n  factum views declarations --count --where status=paid\n  \
    factum views declarations --min-position 4711 --json | jq .amount\n\n\
    Behind a column may stand __ne, __gt, __gte, __lt, __lte, __in (a list with commas), __prefix or\n\
    __null (true or false); the same column twice with = means one or the other.\n\
    A terminal shows each row on one line; piped, or with --json, rows come as JSON with all that is in them."
)]
pub(crate) struct Arguments {
    /// The view; without it, all of them are listed.
    view: Option<String>,
    /// Only the row with this primary key.
    #[arg(conflicts_with_all = ["filters", "order_by", "count"])]
    key: Option<String>,
    /// Only rows of which this is true, such as `status=paid` or `amount__gte=100`; all of several must be.
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    filters: Vec<String>,
    /// Columns to sort by, with `-` in front for the other direction.
    #[arg(long, value_name = "COLUMN,…", allow_hyphen_values = true)]
    order_by: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print how many rows there are, and no rows.
    #[arg(long)]
    count: bool,
    /// Wait until the view has applied everything up to this cursor, such as an append has answered.
    #[arg(long, value_name = "CURSOR")]
    min_position: Option<String>,
    /// Wait for that for at most so many seconds [default: 5]
    #[arg(long, value_name = "SECONDS", requires = "min_position", value_parser = clap::value_parser!(u32).range(0..=60))]
    wait: Option<u32>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    rows: Vec<Box<RawValue>>,
    next: Value,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct Listing {
    views: Vec<Box<RawValue>>,
    next: Value,
}

#[derive(Deserialize)]
struct View {
    view: String,
    columns: Vec<ViewColumn>,
    rows: Option<u64>,
    position: String,
}

#[derive(Deserialize)]
struct ViewColumn {
    name: String,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    match (&arguments.view, &arguments.key) {
        (None, _) => list(&client, arguments, output).await?,
        (Some(view), Some(key)) => {
            let row: Box<RawValue> = get(&client, &["v1", "views", view, key], &[], arguments).await?;
            if output.is_human() {
                let cells = Row::read(row.get())?.0.into_iter().map(|(name, value)| vec![name, told(&value, usize::MAX)]).collect();
                output.table(&[Column::left("column"), Column::left("value")], cells)?;
            } else {
                output.line(row.get())?;
            }
        }
        (Some(view), None) => rows(&client, view, arguments, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    let mut rows = Vec::new();
    loop {
        let query: Vec<_> = after.take().map(|after| ("after", after)).into_iter().collect();
        let page: Listing = get(client, &["v1", "views"], &query, arguments).await?;
        for text in &page.views {
            if output.is_human() {
                let view: View = serde_json::from_str(text.get()).map_err(|error| unreadable(&error))?;
                let columns: Vec<String> = view.columns.into_iter().map(|column| column.name).collect();
                let count = view.rows.map_or_else(|| "-".to_owned(), grouped);
                rows.push(vec![view.view, count, view.position, columns.join(", ")]);
            } else {
                output.line(text.get())?;
            }
        }
        after = token(&page.next).filter(|_| !page.views.is_empty());
        if after.is_none() {
            break;
        }
    }
    if output.is_human() {
        output.table(&[Column::left("view"), Column::right("rows"), Column::right("position"), Column::left("columns")], rows)?;
    }
    Ok(())
}

async fn rows(client: &Client, view: &str, arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let mut asked = Vec::new();
    for filter in &arguments.filters {
        let (name, value) = filter.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--where {filter:?} compares nothing")).next("write one such as status=paid, or amount__gte=100")
        })?;
        asked.push((name, value.to_owned()));
    }
    asked.extend(arguments.order_by.clone().map(|order| ("order_by", order)));
    if arguments.count {
        asked.extend([("count", "true".to_owned()), ("limit", "1".to_owned())]);
        let page: Page = get(client, &["v1", "views", view], &asked, arguments).await?;
        let count = page.count.unwrap_or_default();
        output.line(&if output.is_human() { grouped(count) } else { format!("{{\"count\":{count}}}") })?;
        return Ok(());
    }
    let mut left = arguments.limit;
    let mut after: Option<String> = None;
    let mut shown = Vec::new();
    while left > 0 {
        let mut query = asked.clone();
        query.push(("limit", left.min(PAGE_ROWS).to_string()));
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = get(client, &["v1", "views", view], &query, arguments).await?;
        left = left.saturating_sub(page.rows.len() as u64);
        for row in page.rows.iter() {
            if output.is_human() {
                shown.push(Row::read(row.get())?);
            } else {
                output.line(row.get())?;
            }
        }
        after = token(&page.next).filter(|_| !page.rows.is_empty());
        if after.is_none() {
            break;
        }
    }
    if output.is_human() {
        row::print_table(&shown, after.is_some(), output)?;
    }
    Ok(())
}

async fn get<T: DeserializeOwned>(client: &Client, path: &[&str], query: &[(&str, String)], arguments: &Arguments) -> Result<T, Failure> {
    let mut request = client.request(Method::GET, path, query)?.header(ACCEPT, "application/json").timeout(ANSWER_TIMEOUT);
    if let Some(cursor) = &arguments.min_position {
        request = request.header("Factum-Min-Position", cursor);
    }
    if let Some(seconds) = arguments.wait {
        request = request.header("Prefer", format!("wait={seconds}")).timeout(ANSWER_TIMEOUT + Duration::from_secs(u64::from(seconds)));
    }
    let response = client.send(request).await?;
    client.json(response).await
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::failed("the answer cannot be read").detail(error.to_string())
}

const PAGE_ROWS: u64 = 1_000;
