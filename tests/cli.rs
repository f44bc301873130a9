//! Does the binary keep its promises, seen from outside? Real processes, real files, real signals.

#[path = "cli/busy.rs"]
mod busy;
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "cli/collector.rs"]
mod collector;
#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/definitions.rs"]
mod definitions;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/elsewhere.rs"]
mod elsewhere;
#[cfg(feature = "analytics")]
#[path = "cli/exports.rs"]
mod exports;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/http.rs"]
mod http;
#[path = "cli/identity.rs"]
mod identity;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/measurements.rs"]
mod measurements;
#[path = "cli/offline.rs"]
mod offline;
#[path = "cli/open_metrics.rs"]
mod open_metrics;
#[path = "cli/openid.rs"]
mod openid;
#[path = "cli/oracle.rs"]
mod oracle;
#[path = "cli/others.rs"]
mod others;
#[path = "cli/otlp.rs"]
mod otlp;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/projection_faults.rs"]
mod projection_faults;
#[path = "cli/projection_kills.rs"]
mod projection_kills;
#[path = "cli/projection_rows.rs"]
mod projection_rows;
#[path = "cli/projection_server.rs"]
mod projection_server;
#[path = "cli/projection_shards.rs"]
mod projection_shards;
#[path = "cli/projections.rs"]
mod projections;
#[path = "cli/promtool.rs"]
mod promtool;
#[path = "cli/rules.rs"]
mod rules;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/shards.rs"]
mod shards;
#[path = "cli/snapshots.rs"]
mod snapshots;
#[cfg(feature = "analytics")]
#[path = "cli/sql.rs"]
mod sql;
#[path = "cli/status.rs"]
mod status;
#[path = "cli/strace.rs"]
mod strace;
#[path = "cli/subscriptions.rs"]
mod subscriptions;
#[cfg(feature = "analytics")]
#[path = "cli/telemetry_lake.rs"]
mod telemetry_lake;
#[path = "cli/tls.rs"]
mod tls;
#[path = "cli/traces.rs"]
mod traces;
#[path = "cli/transfers.rs"]
mod transfers;
