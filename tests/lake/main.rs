//! Does everybody who reads the lake and the answers of SQL read the same? Real programs, a real server, real faults on the way.

#[path = "../cli/process.rs"]
#[expect(dead_code, reason = "the tests of the command line use the rest")]
mod process;
mod proxy;
mod python;
mod readers;
mod s3;
mod stand;
