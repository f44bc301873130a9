//! Does the binary keep its promises, seen from outside? Real processes, real files, real signals.

#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/definitions.rs"]
mod definitions;
#[path = "cli/demo.rs"]
mod demo;
#[cfg(feature = "analytics")]
#[path = "cli/exports.rs"]
mod exports;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/http.rs"]
mod http;
#[path = "cli/offline.rs"]
mod offline;
#[path = "cli/oracle.rs"]
mod oracle;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/snapshots.rs"]
mod snapshots;
#[path = "cli/strace.rs"]
mod strace;
#[path = "cli/subscriptions.rs"]
mod subscriptions;
