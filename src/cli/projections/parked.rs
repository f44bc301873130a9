//! Which events has a projection stepped over, and why?

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::client::Client;
use crate::cli::event::seconds;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::cut;
use crate::cli::output::grouped;
use crate::cli::read::token;

#[derive(Deserialize)]
struct Page {
    parked: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Parked {
    position: u64,
    stream: String,
    version: u64,
    #[serde(rename = "type")]
    event_type: String,
    reason: String,
    parked_at: String,
}

/// Prints all of them, in the order of the log; people are shown the first ones.
pub(super) async fn list(client: &Client, name: &str, output: &mut Output) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    let mut rows = Vec::new();
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "projections", name, "parked"], &query).await?;
        for one in &page.parked {
            if output.is_human() {
                rows.push(row(one)?);
            } else {
                output.line(one.get())?;
            }
        }
        after = token(&page.next).filter(|_| !page.parked.is_empty());
        if after.is_none() || (output.is_human() && rows.len() >= SHOWN_MAX) {
            break;
        }
    }
    if output.is_human() {
        let count = rows.len();
        if count > 0 {
            output.table_of_lines(columns(), rows)?;
        }
        let more = if after.is_some() { ", and there are more (--json prints all)" } else { "" };
        let line = output.dim(&format!("{} parked event{}{more}", grouped(count as u64), if count == 1 { "" } else { "s" }));
        output.line(&line)?;
    }
    Ok(())
}

fn row(text: &RawValue) -> Result<Vec<String>, Failure> {
    let parked: Parked =
        serde_json::from_str(text.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    let Parked { position, stream, version, event_type, reason, parked_at } = parked;
    let event = format!("{} #{version}", cut(&stream, NAME_MAX));
    Ok(vec![position.to_string(), event, cut(&event_type, NAME_MAX), seconds(&parked_at), cut(&reason, REASON_MAX)])
}

fn columns() -> Vec<Column> {
    vec![Column::right("position"), Column::left("event"), Column::left("type"), Column::left("parked at"), Column::left("reason")]
}

const PAGE: u64 = 1_000;
const SHOWN_MAX: usize = 1_000;
const NAME_MAX: usize = 30;
const REASON_MAX: usize = 200;
