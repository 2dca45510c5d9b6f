//! What kubectl shows of a Pod: `printPod` of Kubernetes, whose order of cases this keeps.

use super::age::since;
use super::value::{NONE, array, is_true, number, or, text};
use jiff::Timestamp;
use serde_json::Value;

/// A cell of a Pod.
pub(super) fn cell(column: &str, pod: &Value, now: Timestamp) -> String {
    match column {
        "READY" => Containers::of(pod).ready,
        "STATUS" => Containers::of(pod).reason,
        "RESTARTS" => Containers::of(pod).restarts.shown(now),
        "IP" => or(array(pod, "/status/podIPs").next().map_or("", |one| text(one, "/ip")), NONE),
        "NODE" => or(text(pod, "/spec/nodeName"), NONE),
        "NOMINATED NODE" => or(text(pod, "/status/nominatedNodeName"), NONE),
        _ => gates(pod),
    }
}

/// How many of the conditions hold without which it is not ready.
fn gates(pod: &Value) -> String {
    let gates: Vec<&str> = array(pod, "/spec/readinessGates").map(|one| text(one, "/conditionType")).collect();
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let passed = gates.iter().filter(|gate| holds(pod, gate)).count();
    format!("{passed}/{}", gates.len())
}

/// Whether the first condition of this type says that it holds.
fn holds(pod: &Value, kind: &str) -> bool {
    let condition = array(pod, "/status/conditions").find(|one| text(one, "/type") == kind);
    condition.is_some_and(|one| text(one, "/status") == "True")
}

/// How often containers were started again, and when the last one of them had ended.
#[derive(Debug, Default, Clone, Copy)]
struct Restarts {
    count: u64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(status, "/restartCount").unwrap_or_default().unsigned_abs();
        let ended = text(status, "/lastState/terminated/finishedAt").parse().ok();
        self.last = self.last.max(ended);
    }

    fn shown(self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count > 0 => {
                format!("{} ({} ago)", self.count, since(now.as_second().saturating_sub(last.as_second())))
            }
            _ => self.count.to_string(),
        }
    }
}

/// What the statuses of all containers come to.
struct Containers {
    ready: String,
    reason: String,
    restarts: Restarts,
}

impl Containers {
    fn of(pod: &Value) -> Self {
        let init = Init::of(pod);
        let total = array(pod, "/spec/containers").count() + init.beside;
        let (mut ready, mut reason) = (init.ready, or(text(pod, "/status/reason"), text(pod, "/status/phase")));
        let is_gated = |one: &Value| text(one, "/type") == "PodScheduled" && text(one, "/reason") == "SchedulingGated";
        if array(pod, "/status/conditions").any(is_gated) {
            "SchedulingGated".clone_into(&mut reason);
        }
        let is_initializing = init.reason.is_some();
        let mut restarts = init.restarts;
        if let Some(of_init) = init.reason {
            reason = of_init;
        }
        if !is_initializing || holds(pod, "Initialized") {
            restarts = init.restarts_beside;
            let statuses: Vec<&Value> = array(pod, "/status/containerStatuses").collect();
            let (mut is_running, mut error) = (false, None);
            for status in statuses.into_iter().rev() {
                restarts.add(status);
                let waiting = text(status, "/state/waiting/reason");
                if !waiting.is_empty() {
                    waiting.clone_into(&mut reason);
                } else if let Some(terminated) = status.pointer("/state/terminated").filter(|one| one.is_object()) {
                    reason = end(terminated);
                    if exit_code(terminated) != 0 {
                        error = Some(reason.clone());
                    }
                } else if is_true(status, "/ready") && status.pointer("/state/running").is_some_and(Value::is_object) {
                    is_running = true;
                    ready += 1;
                }
            }
            // Some have ended, and that is not all there is to say.
            if reason == "Completed" {
                reason = match (is_running, error) {
                    (true, _) if is_ready(pod) => "Running".to_owned(),
                    (_, Some(error)) => error,
                    (true, None) => "NotReady".to_owned(),
                    (false, None) => reason,
                };
            }
        }
        Self { ready: format!("{ready}/{total}"), reason: ending(pod).unwrap_or(reason), restarts }
    }
}

/// Whether any condition says that it is ready.
fn is_ready(pod: &Value) -> bool {
    array(pod, "/status/conditions").any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True")
}

/// The status of a Pod that was asked to end, and has not.
fn ending(pod: &Value) -> Option<String> {
    pod.pointer("/metadata/deletionTimestamp").filter(|time| !time.is_null())?;
    if text(pod, "/status/reason") == "NodeLost" {
        return Some("Unknown".to_owned());
    }
    (!matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")).then(|| "Terminating".to_owned())
}

fn exit_code(terminated: &Value) -> i64 {
    number(terminated, "/exitCode").unwrap_or_default()
}

/// Why a container has ended: the reason, the signal or the code.
fn end(terminated: &Value) -> String {
    let signal = number(terminated, "/signal").unwrap_or_default();
    match text(terminated, "/reason") {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", exit_code(terminated)),
        reason => reason.to_owned(),
    }
}

/// What the statuses of the containers come to that run before the others, or beside them all along.
#[derive(Default)]
struct Init {
    /// How many run beside the others, and how many of these are ready.
    beside: usize,
    ready: usize,
    restarts: Restarts,
    restarts_beside: Restarts,
    /// What the Pod waits for; `None`: they are done.
    reason: Option<String>,
}

impl Init {
    fn of(pod: &Value) -> Self {
        let all: Vec<&Value> = array(pod, "/spec/initContainers").collect();
        let is_beside =
            |name: &str| all.iter().any(|one| text(one, "/name") == name && text(one, "/restartPolicy") == "Always");
        let beside = all.iter().filter(|one| text(one, "/restartPolicy") == "Always").count();
        let mut init = Self { beside, ..Self::default() };
        for (at, status) in array(pod, "/status/initContainerStatuses").enumerate() {
            let is_beside = is_beside(text(status, "/name"));
            init.restarts.add(status);
            if is_beside {
                init.restarts_beside.add(status);
            }
            let terminated = status.pointer("/state/terminated").filter(|one| one.is_object());
            if terminated.is_some_and(|one| exit_code(one) == 0) {
                continue;
            }
            if is_beside && is_true(status, "/started") {
                init.ready += usize::from(is_true(status, "/ready"));
                continue;
            }
            let waiting = text(status, "/state/waiting/reason");
            init.reason = Some(match (terminated, waiting) {
                (Some(terminated), _) => format!("Init:{}", end(terminated)),
                (None, "" | "PodInitializing") => format!("Init:{at}/{}", all.len()),
                (None, waiting) => format!("Init:{waiting}"),
            });
            break;
        }
        init
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// READY, STATUS and RESTARTS of a Pod.
    fn row(pod: &Value) -> [String; 3] {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        ["READY", "STATUS", "RESTARTS"].map(|column| cell(column, pod, now))
    }

    fn status(name: &str, restarts: u32, ready: bool, state: Value) -> Value {
        json!({"name": name, "restartCount": restarts, "ready": ready, "state": state})
    }

    fn terminated(code: i64, reason: &str) -> Value {
        json!({"terminated": {"exitCode": code, "reason": reason}})
    }

    fn waiting(reason: &str) -> Value {
        json!({"waiting": {"reason": reason}})
    }

    fn conditions(names: &[&str]) -> Value {
        names.iter().map(|name| json!({"type": name, "status": "True"})).collect()
    }

    /// A Pod of two containers.
    fn of_two(phase: &str, statuses: &[Value], names: &[&str]) -> Value {
        json!({
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": phase, "containerStatuses": statuses, "conditions": conditions(names)},
        })
    }

    /// The same with two containers before these, the second of which runs beside them.
    fn after_two(before: &[Value], statuses: &[Value], names: &[&str]) -> Value {
        let mut pod = of_two("Pending", statuses, names);
        pod["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]);
        pod["status"]["initContainerStatuses"] = before.into();
        pod
    }

    #[test]
    fn containers_decide_what_a_pod_is() {
        let running = || json!({"running": {}});
        let ended = |code, signal| json!({"terminated": {"exitCode": code, "signal": signal}});
        for (pod, expected) in [
            (json!({"status": {"phase": "Pending"}}), ["0/0", "Pending", "0"]),
            (of_two("Pending", &[], &[]), ["0/2", "Pending", "0"]),
            (
                of_two("Running", &[status("a", 1, true, running()), status("b", 2, true, running())], &[]),
                ["2/2", "Running", "3"],
            ),
            (
                of_two("Running", &[status("a", 0, false, running()), status("b", 0, true, running())], &[]),
                ["1/2", "Running", "0"],
            ),
            // The first container has the last word.
            (
                of_two(
                    "Running",
                    &[status("a", 4, false, waiting("CrashLoopBackOff")), status("b", 0, false, waiting("x"))],
                    &[],
                ),
                ["0/2", "CrashLoopBackOff", "4"],
            ),
            (
                of_two("Running", &[status("a", 0, false, waiting("")), status("b", 0, true, running())], &[]),
                ["1/2", "Running", "0"],
            ),
            (of_two("Failed", &[status("a", 0, false, terminated(1, "Error"))], &[]), ["0/2", "Error", "0"]),
            (of_two("Failed", &[status("a", 0, false, ended(0, 9))], &[]), ["0/2", "Signal:9", "0"]),
            (of_two("Failed", &[status("a", 0, false, ended(3, 0))], &[]), ["0/2", "ExitCode:3", "0"]),
            // Some have ended well.
            (
                of_two(
                    "Running",
                    &[status("a", 0, false, terminated(0, "Completed")), status("b", 0, true, running())],
                    &["Ready"],
                ),
                ["1/2", "Running", "0"],
            ),
            (
                of_two(
                    "Running",
                    &[status("a", 0, false, terminated(0, "Completed")), status("b", 0, true, running())],
                    &[],
                ),
                ["1/2", "NotReady", "0"],
            ),
            (
                of_two(
                    "Failed",
                    &[status("a", 0, false, terminated(0, "Completed")), status("b", 0, false, terminated(1, "Error"))],
                    &[],
                ),
                ["0/2", "Error", "0"],
            ),
            (of_two("Succeeded", &[status("a", 0, false, terminated(0, "Completed"))], &[]), ["0/2", "Completed", "0"]),
        ] {
            assert_eq!(row(&pod), expected, "{pod}");
        }
    }

    #[test]
    fn containers_before_the_others_decide_until_they_are_done() {
        let running = || json!({"running": {}});
        let done = || status("i", 1, false, terminated(0, "Completed"));
        let beside = |started: bool, ready: bool| {
            let mut beside = status("s", 2, ready, running());
            beside["started"] = started.into();
            beside
        };
        let main =
            [status("a", 4, false, waiting("PodInitializing")), status("b", 0, false, waiting("PodInitializing"))];
        for (pod, expected) in [
            (after_two(&[status("i", 1, false, running())], &main, &[]), ["0/3", "Init:0/2", "1"]),
            (after_two(&[status("i", 0, false, waiting("PodInitializing"))], &main, &[]), ["0/3", "Init:0/2", "0"]),
            (
                after_two(&[status("i", 0, false, waiting("ErrImagePull"))], &main, &[]),
                ["0/3", "Init:ErrImagePull", "0"],
            ),
            (after_two(&[status("i", 3, false, terminated(1, "Error"))], &main, &[]), ["0/3", "Init:Error", "3"]),
            (after_two(&[status("i", 3, false, terminated(2, ""))], &main, &[]), ["0/3", "Init:ExitCode:2", "3"]),
            (after_two(&[done(), beside(false, false)], &main, &[]), ["0/3", "Init:1/2", "3"]),
            (after_two(&[done(), beside(true, true)], &main, &[]), ["1/3", "PodInitializing", "6"]),
            // A container beside the others was started anew: they run all the same.
            (
                after_two(&[done(), beside(false, false)], &[status("a", 4, true, running())], &["Initialized"]),
                ["1/3", "Init:1/2", "6"],
            ),
            (
                after_two(&[done(), beside(true, true)], &[status("a", 4, true, running())], &[]),
                ["2/3", "Pending", "6"],
            ),
        ] {
            assert_eq!(row(&pod), expected, "{pod}");
        }
        let signal = json!({"terminated": {"exitCode": 137, "signal": 9}});
        assert_eq!(row(&after_two(&[status("i", 0, false, signal)], &main, &[]))[1], "Init:Signal:9");
    }

    #[test]
    fn the_last_end_of_a_container_is_shown_with_its_restarts() {
        let mut statuses = [status("a", 2, true, json!({"running": {}})), status("b", 1, true, json!({"running": {}}))];
        statuses[0]["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:12:00Z"}});
        statuses[1]["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": "2025-12-31T00:00:00Z"}});
        assert_eq!(row(&of_two("Running", &statuses, &[]))[2], "3 (48m ago)");
        statuses[0]["restartCount"] = 0.into();
        statuses[1]["restartCount"] = 0.into();
        assert_eq!(row(&of_two("Running", &statuses, &[]))[2], "0");
    }

    #[test]
    fn reasons_of_the_pod_itself_come_first_or_last() {
        let with = |phase: &str, changes: &[(&str, Value)]| {
            let mut pod = of_two(phase, &[], &[]);
            for (field, value) in changes {
                pod["status"][*field] = value.clone();
            }
            pod
        };
        assert_eq!(row(&with("Failed", &[("reason", "Evicted".into())]))[1], "Evicted");
        let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
        assert_eq!(row(&with("Pending", &[("conditions", gated)]))[1], "SchedulingGated");
        let ending = |mut pod: Value| {
            pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
            row(&pod)[1].clone()
        };
        assert_eq!(ending(with("Running", &[])), "Terminating");
        assert_eq!(ending(with("Failed", &[])), "Failed");
        assert_eq!(ending(with("Running", &[("reason", "NodeLost".into())])), "Unknown");
    }

    #[test]
    fn wide_columns_have_what_there_is() {
        let cells = |pod: &Value| {
            ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"].map(|column| cell(column, pod, Timestamp::UNIX_EPOCH))
        };
        assert_eq!(cells(&json!({})), [NONE; 4]);
        let pod = json!({
            "spec": {"nodeName": "n", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "nominatedNodeName": "m", "conditions": conditions(&["g"])},
        });
        assert_eq!(cells(&pod), ["10.0.0.1", "n", "m", "1/2"]);
    }
}
