//! What Envoy does with headers, paths, rewrites and redirects, and that ours does the same, but for what docs/divergences.md argues. Envoy's
//! answers are in `envoy/answers.txt`, so that ours are compared everywhere; where Envoy can be had, it is asked once more.
//!
//! `ENVOY_RECORD=1 cargo test -p moongate --test program envoy` writes the file anew.

mod rules;

use super::clients::gateway;
use rules::{BEHIND, CONDITIONS, NAMES, PATHS, REDIRECTS, REWRITES, VALUES, hosts, istio};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use testkit::backend::{Backend, Seen};
use testkit::client::{self, Request};
use testkit::envoy::Envoy;

/// One request, by the key that the file of answers has for it.
struct Question {
    key: String,
    host: &'static str,
    target: String,
    header: Option<(&'static str, &'static [&'static str])>,
}

fn questions() -> Vec<Question> {
    let mut all = Vec::new();
    let plain = |key: String, host, target| Question { key, host, target, header: None };
    for (name, values) in NAMES.iter().flat_map(|name| VALUES.iter().map(move |values| (*name, *values))) {
        for (kind, not) in CONDITIONS.iter().flat_map(|(kind, ..)| [(kind, ""), (kind, "not-")]) {
            let target = format!("/{name}/{not}{kind}");
            let key = format!("{target} {}", json!(values));
            all.push(Question { key, host: "headers.test", target, header: Some((name, values)) });
        }
    }
    let characters = (0x21..0x7f_u8).map(char::from).filter(|c| !matches!(c, '?' | '#')).map(|c| format!("/x{c}y"));
    let escapes = (0..=255_u8).map(|byte| format!("/x%{byte:02X}y"));
    let others = PATHS.iter().map(|path| (*path).to_owned());
    all.extend(characters.chain(escapes).chain(others).map(|path| plain(path.clone(), "paths.test", path)));
    for (host, list) in [("rewrites", REWRITES), ("redirects", REDIRECTS)] {
        for (at, (written, _)) in list.iter().enumerate() {
            let name: &'static str = Box::leak(format!("{at}.{host}.test").into_boxed_str());
            let question =
                |behind: &&str| plain(format!("{host} {written} /old{behind}"), name, format!("/old{behind}"));
            all.extend(BEHIND.iter().map(question));
        }
    }
    all
}

/// The essence of a response: the path that the backend received, the target of a redirect, or the status.
fn ask(address: SocketAddr, question: &Question) -> String {
    // The port shows whether a redirect keeps it.
    let mut headers = vec![("Host".to_owned(), format!("{}:8081", question.host))];
    let (name, values) = question.header.unwrap_or(("", &[]));
    headers.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    let answer =
        client::send(address, &Request { method: "GET", target: &question.target, headers: &headers, body: b"" })
            .unwrap_or_else(|error| panic!("{}: {error:?}", question.key));
    match serde_json::from_slice::<Seen>(&answer.body) {
        Ok(seen) if answer.status == 200 => seen.path,
        _ => answer.header("location").unwrap_or_else(|| answer.status.to_string()),
    }
}

/// What ours is where it is not as Envoy's: docs/divergences.md has the rows.
fn expected(question: &Question, envoy: &str) -> String {
    let path = envoy.split('?').next().unwrap_or_default();
    let digits = |text: &str| text.len() >= 2 && text.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let asked = question.target.split('?').next().unwrap_or_default();
    let invalid = asked.split('%').skip(1).any(|behind| !digits(behind));
    let rewritten = question.host.ends_with(".rewrites.test");
    let dots = |segment: &str| matches!(segment, "." | ".." | "..;");
    match envoy {
        // S-116
        _ if invalid => "400".to_owned(),
        // VS-37
        _ if rewritten && path.split('/').any(dots) => "400".to_owned(),
        envoy if rewritten && !envoy.starts_with('/') && envoy != "404" => format!("/{envoy}"),
        envoy => envoy.to_owned(),
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/envoy/answers.txt")
}

fn recorded() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file()).unwrap();
    let pair = |line: &str| line.rsplit_once(" -> ").map(|(key, answer)| (key.to_owned(), answer.to_owned()));
    text.lines().filter_map(pair).collect()
}

#[test]
fn vs_15_vs_16_vs_35_vs_37_s_116_ours_does_as_envoy() {
    let envoys = recorded();
    let backend = Backend::start(9001, None).unwrap();
    let (gateway, _folder) = gateway(&istio(backend.address));
    let mut differ = Vec::new();
    let questions = questions();
    for question in &questions {
        let envoy = envoys.get(&question.key).unwrap_or_else(|| panic!("{} is not recorded", question.key));
        let (ours, expected) = (ask(gateway.address(8080), question), expected(question, envoy));
        if ours != expected {
            differ.push(format!("{}: {ours}, not {expected}, and Envoy {envoy}", question.key));
        }
    }
    assert!(questions.len() > 1000 && differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn the_recorded_answers_are_envoys() {
    let backend = Backend::start(9001, None).unwrap();
    let Some(envoy) = Envoy::start(&hosts(), backend.address).unwrap() else { return };
    let answers: BTreeMap<String, String> =
        questions().into_iter().map(|question| (question.key.clone(), ask(envoy.address, &question))).collect();
    if std::env::var_os("ENVOY_RECORD").is_some() {
        let lines: String = answers.iter().map(|(key, answer)| format!("{key} -> {answer}\n")).collect();
        std::fs::write(file(), lines).unwrap();
    }
    let recorded = recorded();
    let differ: Vec<_> = answers.iter().filter(|(key, answer)| recorded.get(*key) != Some(answer)).collect();
    assert!(differ.is_empty() && recorded.len() == answers.len(), "{differ:#?}");
}
