//! How is the process itself? What the system says of it, in the text format and under the names that every exporter gives it.

use std::fmt::Write;
use std::fs;
use std::sync::OnceLock;

use jiff::Timestamp;
use rustix::process::Resource;
use rustix::process::getrlimit;
use rustix::time::ClockId;
use rustix::time::clock_gettime;

use super::catalogue::METRICS;

/// Notes when the process began; the first call counts.
pub(super) fn begin() {
    BEGAN.get_or_init(Timestamp::now);
}

/// When that was.
pub(super) fn began() -> Timestamp {
    *BEGAN.get_or_init(Timestamp::now)
}

/// One family a measurement. What this system does not tell is left out.
pub(super) fn text() -> String {
    let mut text = String::new();
    let began = began();
    push(&mut text, "factum_build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0);
    push(&mut text, "process_start_time_seconds", "", began.as_microsecond() as f64 / 1e6);
    let processor = clock_gettime(ClockId::ProcessCPUTime);
    push(&mut text, "process_cpu_seconds_total", "", processor.tv_sec as f64 + processor.tv_nsec as f64 / 1e9);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, line, unit) in STATUS {
        if let Some(value) = status_value(&status, line) {
            push(&mut text, name, "", value * unit);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself, which is closed again.
        push(&mut text, "process_open_fds", "", open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        push(&mut text, "process_max_fds", "", most as f64);
    }
    text
}

fn push(text: &mut String, name: &str, labels: &str, value: f64) {
    let metric = METRICS.iter().find(|metric| metric.name == name).expect("what is measured is in the table");
    writeln!(text, "# HELP {name} {}\n# TYPE {name} {}\n{name}{labels} {value}\n", metric.help, metric.kind.as_str())
        .expect("a String takes everything");
}

/// The number in a line such as `VmRSS:     1234 kB`.
fn status_value(status: &str, line: &str) -> Option<f64> {
    let rest = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

static BEGAN: OnceLock<Timestamp> = OnceLock::new();

/// What the lines of the system's own account mean, and in how many bytes.
const STATUS: &[(&str, &str, f64)] = &[
    ("process_resident_memory_bytes", "VmRSS", 1024.0),
    ("process_virtual_memory_bytes", "VmSize", 1024.0),
    ("process_threads", "Threads", 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_everything_that_is_asked() {
        let text = text();
        for metric in METRICS.iter().filter(|metric| metric.name.starts_with("process_")) {
            let value: f64 =
                text.lines().find_map(|line| line.strip_prefix(metric.name)?.strip_prefix(' ')?.parse().ok()).expect(metric.name);
            assert!(value > 0.0, "{} is {value}", metric.name);
        }
        assert_eq!(status_value("VmRSS:\t  12 kB\nThreads:\t3\n", "Threads"), Some(3.0));
        assert_eq!(status_value("VmRSSX: 12 kB\n", "VmRSS"), None);
    }
}
