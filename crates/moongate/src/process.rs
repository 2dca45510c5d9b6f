//! The process itself: its limits, its cores, its signals.

use anyhow::{Context, Result};
use dataplane::{Counters, Gauges};
use prometheus_client::registry::Registry;

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

/// Adds memory, open files and time on processors; what the system does not tell is left out.
pub(crate) fn register(registry: &mut Registry) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    if let Some(kilobytes) = resident {
        registry.register("process_resident_memory_bytes", "Resident memory", Gauges::one(kilobytes << 10));
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        registry.register("process_open_fds", "Open files and connections", Gauges::one(entries.count() as u64));
    }
    let stat = read("/proc/self/stat");
    // The name may hold anything; of the fields behind it, which blanks separate, the 12th and 13th are times.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (ticks(11), ticks(12)) {
        let seconds = (user + system) / rustix::param::clock_ticks_per_second() as f64;
        registry.register("process_cpu_seconds", "Time on processors", Counters::one(seconds));
    }
}
