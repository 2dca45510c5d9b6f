//! The process itself: its limits, its cores, its signals.

use anyhow::{Context, Result};

/// Threads that serve when nobody says how many: one per core that the process may use, by its affinity and its quota.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A runtime for everything but the serving of requests.
pub(crate) fn control_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("control")
        .enable_all()
        .build()
        .context("the control runtime cannot start")
}

/// Memory, open files and time on processors, in Prometheus' text format; what the system does not tell is left out.
pub(crate) fn metrics() -> String {
    let mut out = String::new();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    if let Some(kilobytes) = resident {
        push(&mut out, "process_resident_memory_bytes", "gauge", "Memory that is resident", (kilobytes << 10) as f64);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        push(&mut out, "process_open_fds", "gauge", "Open files and connections", entries.count() as f64);
    }
    let stat = read("/proc/self/stat");
    // The fields behind the name, which may hold anything, are told apart by blanks; the 12th and 13th are times.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (ticks(11), ticks(12)) {
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        push(&mut out, "process_cpu_seconds_total", "counter", "Time on processors", (user + system) / per_second);
    }
    out
}

fn push(out: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    out.push_str(&format!("# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}\n"));
}
