//! How the descriptors that the process may have are shared out, so that no user of them takes those of another: clients, backends, the
//! ports for operators, pipes, and all that is opened for a moment (configuration, names, logs).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for files, names, logs and the runtime: a sixteenth, within these bounds.
const FILES: (u64, u64) = (64, 1024);
/// Each worker's own.
const PER_WORKER: u64 = 8;
/// Connections to each port for operators: one in 32, within these bounds.
const OPERATORS: (u64, u64) = (4, 64);
/// Pipes of a worker at the most, where there are descriptors enough.
const PIPES: u64 = 512;
/// Connections of clients for each worker at the most, unless somebody asks for more.
const CLIENTS_PER_WORKER: u64 = 100_000;
/// Where the system has no limit.
const UNLIMITED: u64 = 1 << 30;

/// Who gets how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What the process may have.
    pub(crate) limit: u64,
    /// Connections of clients.
    pub(crate) clients: usize,
    /// Those and listening sockets.
    pub(crate) client_descriptors: usize,
    /// Connections to backends.
    pub(crate) backends: usize,
    /// Connections to each port for operators.
    pub(crate) operators: usize,
    /// Pipes of each worker, two descriptors each.
    pub(crate) pipes: usize,
}

impl Plan {
    /// Shares `limit` descriptors out; `ports` is how many ports for operators there are. A connection of a client may need one to a backend, so that both get half of what is left; whoever
    /// asks for so many connections of clients gets them up to three quarters.
    pub(crate) fn of(limit: u64, workers: usize, ports: usize, wanted: Option<usize>) -> Self {
        let workers = workers.max(1) as u64;
        let limit = limit.min(UNLIMITED);
        let files = (limit / 16).clamp(FILES.0, FILES.1).max(FILES.0 / 2 + PER_WORKER * workers).min(limit / 2);
        let operators = (limit / 32).clamp(OPERATORS.0, OPERATORS.1);
        let pipes = (limit / 32 / workers).min(PIPES);
        let left = limit.saturating_sub(files + ports as u64 * operators + 2 * pipes * workers);
        let wanted = wanted.map(|wanted| wanted as u64);
        let descriptors = wanted.unwrap_or(0).min(left / 4 * 3).max(left / 2);
        let clients = wanted.unwrap_or(CLIENTS_PER_WORKER.saturating_mul(workers)).min(descriptors);
        let number = |value: u64| usize::try_from(value.max(1)).unwrap_or(usize::MAX);
        Self {
            limit,
            clients: number(clients),
            client_descriptors: number(descriptors),
            backends: number(left - descriptors),
            operators: number(operators),
            pipes: usize::try_from(pipes).unwrap_or(usize::MAX),
        }
    }
}

/// Lets the process have as many descriptors as the system allows it; how many those are.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "RLIMIT_NOFILE cannot be raised to its hard limit");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_what_is_anothers() {
        for limit in [40, 64, 100, 256, 1024, 4096, 20_000, 65_536, 1 << 20, u64::MAX] {
            for (workers, ports) in [(1, 2), (2, 2), (2, 4), (8, 2), (64, 2), (64, 4)] {
                for wanted in [None, Some(1), Some(10_000), Some(usize::MAX)] {
                    let plan = Plan::of(limit, workers, ports, wanted);
                    let of_operators = ports * plan.operators;
                    let spent = plan.client_descriptors + plan.backends + of_operators + 2 * plan.pipes * workers;
                    let left = plan.limit.saturating_sub(spent as u64);
                    let files = (plan.limit / 16).clamp(FILES.0, FILES.1).min(plan.limit / 2);
                    assert!(left + 2 >= files || plan.limit < 64, "{plan:?}: {left} are left");
                    assert!(
                        plan.clients >= 1
                            && plan.clients <= plan.client_descriptors
                            && plan.backends >= 1
                            && plan.operators >= 4,
                        "{plan:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn clients_and_backends_get_the_same_unless_somebody_asks_for_more_clients() {
        let plan = Plan::of(20_000, 2, 2, None);
        assert_eq!((plan.clients, plan.backends, plan.operators, plan.pipes), (8800, 8800, 64, 312));
        let plan = Plan::of(20_000, 2, 2, Some(12_000));
        assert_eq!((plan.clients, plan.backends), (12_000, 5600));
        assert_eq!(Plan::of(20_000, 2, 2, Some(50_000)).clients, 13_200);
        assert_eq!(Plan::of(1 << 30, 2, 2, None).clients, 200_000);
        let small = Plan::of(256, 2, 2, None);
        assert_eq!((small.clients, small.backends, small.operators, small.pipes), (80, 80, 8, 4));
    }
}
