//! What does a question in SQL say? For whoever shows rows that are in Postgres; projections themselves don't ask.

use tokio_postgres::SimpleQueryMessage;

use super::super::Fault;
use super::fault::Trouble;
use super::session::Session;
use super::session::Timeouts;
use super::url;

/// Asks on a connection of its own. The rows that come back, every value as Postgres writes it; null is `None`.
///
/// # Errors
///
/// The URL is none of Postgres, the server does not answer, or it does not like the question.
pub(crate) async fn ask(url: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, Fault> {
    let (config, trust) = url::parse(url).map_err(|detail| Fault::Lasting(format!("postgres: {detail}")))?;
    let session = Session::connect(&config, &trust, Timeouts::default()).await?;
    let messages = session.wait("asking", session.client().simple_query(sql)).await.map_err(Trouble::into_fault)?;
    let rows = messages.into_iter().filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    Ok(rows.map(|row| (0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect()).collect())
}
