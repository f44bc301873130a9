//! A server with projections into a Postgres of the test's own.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;

use crate::cluster::Cluster;
use crate::http::Api;
use crate::process::Place;
use crate::process::Start;
use crate::process::skipped;

/// The variable of the server with the URL of [`Cluster`].
pub(crate) const URL: &str = "FACTUM_POSTGRES_URL";
/// Far more than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster of the test's own; `None` where there is no Postgres, and the test is skipped.
pub(crate) fn started(test: &str) -> Option<Cluster> {
    Cluster::start(&[]).map_err(|reason| skipped(test, &reason)).ok()
}

/// A server that finds the cluster, and does not wait for it for minutes.
pub(crate) fn beside(place: &Place, cluster: &Cluster) -> Start {
    place.start().env(URL, &hasty(&cluster.url()))
}

/// A URL with short timeouts.
pub(crate) fn hasty(url: &str) -> String {
    format!("{url}?connect_timeout=1&options=-c%20statement_timeout%3D2s%20-c%20lock_timeout%3D1s")
}

/// A definition whose rows go to Postgres.
pub(crate) fn into_postgres(definition: &str) -> String {
    format!("{definition}\n[target]\nkind = \"postgres\"\n")
}

/// Puts a definition in force.
pub(crate) async fn define(api: &Api, projection: &str, definition: &str) {
    let answer = api.put(&format!("/v1/projections/{projection}"), "application/toml", definition).await;
    assert!(matches!(answer.0, 200 | 201), "{projection}: {answer:?}");
}

/// Waits until a projection's state is as it should be; returns it.
pub(crate) async fn until(api: &Api, projection: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    let mut last = Value::Null;
    while began.elapsed() < PATIENCE {
        if let Some(status) = api.get(&format!("/v1/projections/{projection}")).await {
            if is_so(&status) {
                return status;
            }
            last = status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{projection} is never {what}: {last}");
}

/// Waits until a projection is in a state, with this in its reason.
pub(crate) async fn state(api: &Api, projection: &str, state: &str, reason: &str) -> Value {
    let is_so = |status: &Value| {
        let told = status["error"]["reason"].as_str().unwrap_or_default();
        status["state"] == state && told.contains(reason)
    };
    until(api, projection, &format!("{state} with {reason:?}"), is_so).await
}

/// Waits until everything that was written is in a projection's rows, and nothing is being built.
pub(crate) async fn settled(api: &Api, projection: &str) {
    until(api, projection, "of everything", |status| {
        status["state"] == "running" && status["lag_events"] == 0 && status["rebuild"].is_null() && status["error"].is_null()
    })
    .await;
}

/// A measurement of a projection.
pub(crate) async fn measured(api: &Api, series: &str) -> f64 {
    let text = api.text("/metrics").await.expect("measurements");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().expect("a number")
}

/// Runs SQL as the superuser, on a connection of its own.
pub(crate) async fn sql(cluster: &Cluster, statements: &str) -> Vec<Vec<Option<String>>> {
    let (client, connection) = tokio_postgres::connect(&cluster.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let messages = client.simple_query(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    let rows = messages.iter().filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    rows.map(|row| (0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect()).collect()
}
