//! The access log by the mesh settings, and the flags that override them (TE-03, TE-05).

use super::operation::{direct, server, start, status};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::wait::until;

/// A folder with a configuration, and the file of its access log.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), server("g", 80) + &direct("a", "g", 201)).unwrap();
    let log = folder.path().join("access.log");
    (folder, log)
}

fn mesh(folder: &Path, text: &str) {
    // Written aside and renamed, so that no half of it is read.
    fs::write(folder.join("mesh.new"), text).unwrap();
    fs::rename(folder.join("mesh.new"), folder.join("mesh.yaml")).unwrap();
}

fn last(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn te_03_mesh_settings_start_change_and_stop_the_access_log() {
    let (folder, log) = folder();
    let file = format!("accessLogFile: {}\n", log.display());
    mesh(folder.path(), &format!("{file}accessLogFormat: '%RESPONSE_CODE% %REQ(:authority)% %ROUTE_NAME:3%'\n"));
    let gateway = start(folder.path(), &[80], &[]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the line is written", || last(&log) == "201 a.test -");
    // Another format, with an error first: the settings before are kept.
    mesh(folder.path(), &format!("{file}accessLogFormat: '%RESPONSE_CODES%'\n"));
    until("the error is reported", || {
        let said = gateway.log();
        said.contains("unknown operator `RESPONSE_CODES` at character 1; did you mean `RESPONSE_CODE`?")
            && said.contains("the settings before are kept")
    });
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the second line is written", || fs::read_to_string(&log).unwrap() == "201 a.test -\n201 a.test -\n");
    let json = r#"{"code": "%RESPONSE_CODE%", "protocol": "%PROTOCOL%", "cluster": "%UPSTREAM_CLUSTER%"}"#;
    mesh(folder.path(), &format!("{file}accessLogEncoding: JSON\naccessLogFormat: '{json}'\n"));
    let line = r#"{"cluster":null,"code":201,"protocol":"HTTP/1.1"}"#;
    until("a line of JSON is written", || status(&gateway, 80, "a.test") == 201 && last(&log) == line);
    mesh(folder.path(), "rootNamespace: istio-system\n");
    until("the log is stopped", || gateway.log().contains("access log stopped"));
    fs::remove_file(&log).unwrap();
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    mesh(folder.path(), &file);
    let line = "\"GET / HTTP/1.1\" 201 - direct_response - ";
    until("a line of Istio's format is written", || status(&gateway, 80, "a.test") == 201 && last(&log).contains(line));
}

#[test]
fn te_03_each_flag_overrides_its_setting() {
    let (folder, log) = folder();
    let other = folder.path().join("other.log");
    mesh(folder.path(), &format!("accessLogFile: {}\naccessLogFormat: 'of mesh %RESPONSE_CODE%'\n", log.display()));
    let target = other.to_str().unwrap();
    let gateway = start(folder.path(), &[80], &["--access-log", target]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the line is written", || last(&other) == "of mesh 201");
    drop(gateway);
    let gateway = start(folder.path(), &[80], &["--access-log", target, "--access-log-format", "json"]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the line of JSON is written", || last(&other).contains("\"response_code\":201,"));
    drop(gateway);
    let gateway = start(folder.path(), &[80], &["--access-log", "off"]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    drop(gateway);
    assert!(!log.exists());
}
