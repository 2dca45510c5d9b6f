//! The decision log, its rotation, and `moongate audit verify`.

use super::operation::{PROGRAM, direct, server, start, status};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::client;
use testkit::gateway::{Gateway, Signal};
use testkit::wait::until;

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: no-admin, namespace: istio-system}\nspec:\n  action: DENY\n  rules:\n  - to: [{operation: {paths: ['/admin*']}}]\n---\n";

/// A gateway with a decision log beside its configuration.
struct Logged {
    gateway: Gateway,
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Logged {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        fs::create_dir(&config).unwrap();
        fs::write(config.join("a.yaml"), server("g", 80) + &direct("a", "g", 201) + POLICY).unwrap();
        let file = folder.path().join("decisions.log");
        let args = [&["--decision-log", file.to_str().unwrap()], args].concat();
        Self { gateway: start(&config, &[80], &args), folder, file }
    }

    /// The records of requests, once there are as many.
    fn requests(&self, count: usize) -> Vec<Value> {
        let read =
            || -> Vec<Value> { records(&self.file).into_iter().filter(|record| record["kind"] == "request").collect() };
        until("the records are written", || read().len() >= count);
        read()
    }

    /// Ends the gateway; its log is whole then.
    fn end(mut self) -> (tempfile::TempDir, PathBuf) {
        self.gateway.signal(Signal::INT);
        assert_eq!(self.gateway.wait().unwrap(), Some(0), "{}", self.gateway.log());
        (self.folder, self.file)
    }
}

fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn verify(args: &[&str]) -> (Output, String) {
    let output = Command::new(PROGRAM).args(["audit", "verify"]).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[test]
fn every_request_has_a_record_of_who_what_which_rule_and_why() {
    let logged = Logged::start(&[]);
    let address = logged.gateway.address(80);
    assert_eq!(status(&logged.gateway, 80, "a.test"), 201);
    assert_eq!(client::get(address, "a.test", "/admin?token=secret").unwrap().status, 403);
    assert_eq!(status(&logged.gateway, 80, "unknown.test"), 404);
    // The workers write in any order.
    let requests = logged.requests(3);
    let one = |status: u16| requests.iter().find(|record| record["status"] == status).unwrap().clone();
    let [allowed, denied, unrouted] = [201, 403, 404].map(one);
    let of = |record: &Value, fields: [&str; 5]| fields.map(|field| record[field].as_str().unwrap_or("-").to_owned());
    let fields = ["decision", "authority", "path", "rule", "reason"];
    assert_eq!(of(&allowed, fields), ["allowed", "a.test", "/", "VirtualService default/a http[0]", "direct_response"]);
    let policy = "rbac_access_denied_matched_policy[ns[istio-system]-policy[no-admin]-rule[0]]";
    assert_eq!(of(&denied, fields), ["denied", "a.test", "/admin", policy, policy]);
    assert_eq!(of(&unrouted, fields), ["denied", "unknown.test", "/", "-", "route_not_found"]);
    assert_eq!(unrouted["flags"], "NR");
    assert!(allowed["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")));
    assert_eq!(allowed["request_id"].as_str().map(str::len), Some(36));
    // The process has the file open, so that its last record may be missing.
    let (output, text) = verify(&[logged.file.to_str().unwrap()]);
    assert!(output.status.success() && text.contains("not ended"), "{text}");
    let (_folder, file) = logged.end();
    let (output, text) = verify(&[file.to_str().unwrap()]);
    assert!(output.status.success() && text.contains("5 records, 0 faults"), "{text}");
    let whole = fs::read_to_string(&file).unwrap();
    for (edited, fault) in [
        (whole.replace("\"denied\"", "\"allowed\""), ": was changed"),
        (
            whole.lines().filter(|line| !line.contains("/admin")).map(|line| format!("{line}\n")).collect(),
            "records are missing",
        ),
        (whole[..whole.trim_end().rfind('\n').unwrap() + 1].to_owned(), "has no last record"),
    ] {
        fs::write(&file, edited).unwrap();
        let (output, text) = verify(&[file.to_str().unwrap()]);
        assert!(output.status.code() == Some(1) && text.contains(fault), "{text}");
    }
}

#[test]
fn a_rotated_log_with_a_key_is_one_chain() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    fs::write(&key, "a key of more than sixteen octets\n").unwrap();
    let logged = Logged::start(&["--decision-log-key", key.to_str().unwrap()]);
    assert_eq!(status(&logged.gateway, 80, "a.test"), 201);
    logged.requests(1);
    let older = logged.folder.path().join("decisions.log.1");
    fs::rename(&logged.file, &older).unwrap();
    logged.gateway.signal(Signal::USR1);
    until("the log is reopened", || logged.gateway.log().contains("decision log reopened"));
    assert_eq!(status(&logged.gateway, 80, "a.test"), 201);
    logged.requests(1);
    let (_folder, file) = logged.end();
    let (key, older, file) = (key.to_str().unwrap(), older.to_str().unwrap(), file.to_str().unwrap());
    let cases: [(&[&str], bool); 6] = [
        (&["--key", key, older, file], true),
        (&["--key", key, older], true),
        (&["--key", key, "--continues", file], true),
        (&["--key", key, file], false),
        (&["--key", key, file, older], false),
        (&[older, file], false),
    ];
    for (args, is_whole) in cases {
        let (output, text) = verify(args);
        assert_eq!(output.status.success(), is_whole, "{args:?}: {text}");
    }
}

#[test]
fn a_key_that_is_too_short_and_a_file_that_cannot_be_written_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), server("g", 80)).unwrap();
    fs::write(folder.path().join("key"), "short\n").unwrap();
    let key = folder.path().join("key");
    let log = folder.path().join("no-such-folder/decisions.log");
    for (args, error) in [
        (vec!["--decision-log-key", key.to_str().unwrap()], "has 5 octets; it needs 16 or more"),
        (vec![], "cannot write the decision log to"),
    ] {
        let mut run = Command::new(PROGRAM);
        run.arg("run").arg(folder.path()).args(["--decision-log", log.to_str().unwrap()]).args(args);
        let output = run.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(error), "{said}");
    }
}
